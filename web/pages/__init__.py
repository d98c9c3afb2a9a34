"""All pages, one per file: a typed context and its route."""

from __future__ import annotations

from fastapi import APIRouter

from web.pages import (
    about,
    account,
    accounts,
    api_docs,
    audit,
    board,
    claims,
    compare,
    docs,
    docs_cite,
    docs_formats,
    docs_programs,
    docs_protocol,
    edit,
    external,
    external_evaluation,
    home,
    model,
    moderation,
    progress,
    register,
    sign_in,
    submission,
    submissions,
    submit,
    tokens,
    unverified,
    webhooks,
    welcome,
)

router = APIRouter(include_in_schema=False)
PAGES = (
    home,
    board,
    progress,
    model,
    compare,
    external,
    external_evaluation,
    submit,
    submissions,
    submission,
    moderation,
    audit,
    about,
    docs,
    docs_protocol,
    docs_formats,
    docs_programs,
    docs_cite,
    api_docs,
    sign_in,
    register,
    welcome,
    account,
    tokens,
    accounts,
    unverified,
    edit,
    claims,
    webhooks,
)
for _page in PAGES:
    router.include_router(_page.router)
