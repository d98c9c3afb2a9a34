"""Leaderboards."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.answers import respond
from api.errors import responses
from api.schemas import BoardList
from api.services import Store
from store.boards import get_board, list_boards
from store.rendered import answer_of, standing_of
from store.views import MOST_ROWS, Badge, BoardView, Sort

MOST_OFFSET = 2**31 - 1

router = APIRouter(prefix="/leaderboards", tags=["leaderboards"])


@router.get("", responses=responses())
def read_leaderboards(store: Store) -> BoardList:
    """List all boards with their leaders."""
    return BoardList(boards=list_boards(store.db))


@router.get("/{dataset}/{threat_model}", response_model=BoardView, responses=responses(404))
def read_leaderboard(
    dataset: str,
    threat_model: str,
    store: Store,
    *,
    request: Request,
    search: Annotated[
        str | None, Query(max_length=200, description="Words in name, title, architecture or venue")
    ] = None,
    badge: Annotated[Badge | None, Query(description="Whose numbers to show")] = None,
    sort: Annotated[Sort, Query(description="The order of the rows; ranks do not depend on it")] = Sort.BEST,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS, description="Most rows to return")] = MOST_ROWS,
    offset: Annotated[int, Query(ge=0, le=MOST_OFFSET, description="Rows to pass over")] = 0,
) -> Response:
    """Return a board, ranked by best-known robust accuracy.

    A long board comes in parts: `matching` tells how many rows there are to get, with `limit` and `offset`, and `total`
    how many entries the board has.
    """
    view = (dataset, threat_model, search, badge)

    def render() -> bytes:
        board = get_board(store.db, *view, sort=sort, limit=limit, offset=offset)
        return board.model_dump_json().encode()

    if search:  # anybody can ask for any words: kept, they would drive out what is asked for again and again
        return respond(request, answer_of(render()))
    standing = standing_of(store.db, dataset, threat_model)
    return respond(request, store.rendered.get(("json", *view, sort, limit, offset), standing, render))
