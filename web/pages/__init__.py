"""All pages, one per file: a typed context and its route."""

from __future__ import annotations

from fastapi import APIRouter

from web.pages import (
    about,
    api_docs,
    audit,
    board,
    external,
    external_evaluation,
    home,
    model,
    moderation,
    submission,
    submissions,
    submit,
)

router = APIRouter(include_in_schema=False)
_pages = (
    home, board, model, external, external_evaluation, submit, submissions, submission, moderation, audit, about,
    api_docs,
)  # fmt: skip
for _page in _pages:
    router.include_router(_page.router)
