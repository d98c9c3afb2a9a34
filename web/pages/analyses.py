"""The plots of analyses and their numbers, as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Annotated

from fastapi import APIRouter, Query, Response

from benchmark.analysis.results import Study
from benchmark.errors import NotFound
from benchmark.side_by_side import MOST
from benchmark.threat_models import official_board
from store.analyses import find_studies
from store.errors import RateLimited
from store.rates import Counted
from store.rendered import Answer
from store.services import Services
from web.analyses import MEDIA_TYPES, having, kind_of, make_file
from web.analyses import version as version_of
from web.pages.gallery import FOREVER
from web.services import Client, Store

router = APIRouter()

_MOST_WAITING = 16
"""Drawings that may wait for each other: one is made at a time, and every other request needs a thread as well."""
_places = BoundedSemaphore(_MOST_WAITING)
_RETRY_AFTER_S = 5


@dataclass(frozen=True)
class Asked:
    """A file that is asked for.

    Args:
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        names: of the entries.
        version: what its address says of its content.
        file: its name.
    """

    dataset: str
    threat_model: str
    names: tuple[str, ...]
    version: str
    file: str


@router.get("/models/{dataset}/{threat_model}/{model_id}/analyses/{version}/{file}")
def show_analysis(
    dataset: str, threat_model: str, model_id: str, version: str, file: str, *, store: Store,
    client: Client,
) -> Response:  # fmt: skip
    """Send a file of an analysis of an entry."""
    return _answer(store, client, Asked(dataset, threat_model, (model_id,), version, file))


@router.get("/compare/{dataset}/{threat_model}/analyses/{version}/{file}")
def show_compared_analysis(
    dataset: str,
    threat_model: str,
    version: str,
    file: str,
    *,
    model: Annotated[list[str] | None, Query()] = None,
    store: Store,
    client: Client,
) -> Response:
    """Send a file of an analysis of several entries of a board."""
    names = tuple(dict.fromkeys(model or ()))
    if not 2 <= len(names) <= MOST:
        raise _no_such_file(version, file)
    return _answer(store, client, Asked(dataset, threat_model, names, version, file))


def _answer(services: Services, client: str, asked: Asked) -> Response:
    kind = kind_of(asked.file)
    stored = find_studies(services.db, services.blobs, official_board(asked.dataset, asked.threat_model), asked.names)
    studies, places = having(kind.analysis, stored) if kind is not None else ({}, ())
    least = min(2, len(asked.names))
    if kind is None or len(studies) < least or version_of(kind.analysis, studies, places) != asked.version:
        raise _no_such_file(asked.version, asked.file)

    def make() -> Answer:
        services.rates.spend(Counted.DRAWING, client)
        return _drawn(asked.file, studies, places)

    answer = services.drawings.get((asked.version, asked.file), asked.version, make)
    return Response(answer.plain, media_type=MEDIA_TYPES[kind.ending], headers={"Cache-Control": FOREVER})


def _drawn(file: str, studies: Mapping[str, Study], places: Sequence[int]) -> Answer:
    if not _places.acquire(blocking=False):
        raise RateLimited(Counted.DRAWING.value, _RETRY_AFTER_S)
    try:
        return make_file(file, studies, places)
    finally:
        _places.release()


def _no_such_file(version: str, file: str) -> NotFound:
    return NotFound.because(
        "file",
        found=f"{version[:80]}/{file[:80]}",
        expected="a file that the entries' page links to",
        remedy="load that page again",
    )
