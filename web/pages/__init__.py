"""All pages, one per file: a typed context and its route."""

from __future__ import annotations

from fastapi import APIRouter

from web.pages import (
    about,
    api_docs,
    board,
    external,
    external_evaluation,
    home,
    model,
    submission,
    submissions,
    submit,
)

router = APIRouter(include_in_schema=False)
for _page in (home, board, model, external, external_evaluation, submit, submissions, submission, about, api_docs):
    router.include_router(_page.router)
