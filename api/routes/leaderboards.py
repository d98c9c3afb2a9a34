"""Leaderboards."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.answers import respond
from api.errors import responses
from api.examples import BOARD
from api.exports.formats import MEDIA_TYPES, Format, headers_of, wanted, written
from api.schemas import BoardList
from api.services import Store
from store.as_of import read_moment
from store.board_filters import BoardFilters
from store.boards import get_board, list_boards
from store.comparison import ComparisonView, compare_entries
from store.database import GREATEST_NUMBER
from store.rendered import Answer, answer_of, standing_of
from store.views import MOST_ROWS, BoardView, Order, Sort, Ties

router = APIRouter(prefix="/leaderboards", tags=["leaderboards"])


class BoardQuestion(BoardFilters):
    """Which part of a board is asked for, as of when, in which order and how it is written."""

    sort: Sort = Field(Sort.BEST, description="By what to sort; ranks do not depend on it")
    order: Order | None = Field(None, description="Which way; by default the usual one of the column")
    as_of: str = Field(
        "",
        max_length=40,
        description="The moment to show: a date, which means its end, or a date-time; UTC where it does not say",
    )
    format: Format | None = Field(None, description="How to write it; by default JSON, or CSV to those who accept that")
    limit: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS, description="Most rows to return")
    offset: int = Field(0, ge=0, le=GREATEST_NUMBER, description="Rows to pass over")

    @property
    def is_rare(self) -> bool:
        """Whether hardly anybody else asks so: kept, it would drive out what is asked for again and again."""
        usual = {"badge", "extra_data", "flagged", "baseline", "withdrawn", "old_protocol", "sort", "order"}
        return not self.model_fields_set <= usual | {"format", "limit", "offset"}

    @property
    def filters(self) -> BoardFilters:
        """What an entry must be to be shown."""
        return BoardFilters(**{name: getattr(self, name) for name in BoardFilters.model_fields})


@router.get("", responses=responses())
def read_leaderboards(store: Store) -> BoardList:
    """List all boards with their leaders."""
    return BoardList(boards=list_boards(store.db))


@router.get(
    "/{dataset}/{threat_model}",
    response_model=BoardView,
    responses=responses(404)
    | {
        200: {
            "description": "The board",
            "content": {
                MEDIA_TYPES[how].partition(";")[0]: {
                    "schema": {"type": "string"},
                    "example": written(BOARD, how).decode(),
                }
                for how in Format
                if how is not Format.JSON
            },
            "headers": {
                "X-Total-Count": {"description": "As `matching`", "schema": {"type": "integer"}},
                "Link": {"description": "The parts before and after this one", "schema": {"type": "string"}},
            },
        }
    },
)
def read_leaderboard(
    dataset: str, threat_model: str, store: Store, request: Request, question: Annotated[BoardQuestion, Query()]
) -> Response:
    """Return a board, ranked by best-known robust accuracy.

    A long board comes in parts: `matching` tells how many rows there are to get, with `limit` and `offset`, and `total`
    how many entries the board has.
    """
    how = wanted(question.format, request.headers.get("accept", ""))
    standing = None if question.is_rare else standing_of(store.db, dataset, threat_model)

    def render() -> Answer:
        board = get_board(
            store.db,
            dataset,
            threat_model,
            question.filters,
            sort=question.sort,
            order=question.order,
            as_of_ms=read_moment(question.as_of) if question.as_of else None,
            limit=question.limit,
            offset=question.offset,
            verdicts=store.verdicts,
        )
        return answer_of(written(board, how), board.matching, lasting=board.ties is not Ties.UNAVAILABLE)

    key = ("board", dataset, threat_model, question, how)
    answer = render() if standing is None else store.rendered.get(key, standing, render)
    headers = headers_of(how, dataset, threat_model) | {"Vary": "Accept", "X-Total-Count": str(answer.count)}
    if links := _links(request, question, answer.count):
        headers["Link"] = ", ".join(links)
    return respond(request, answer, MEDIA_TYPES[how], headers)


@router.get("/{dataset}/{threat_model}/compare", responses=responses(404))
def compare(
    dataset: str,
    threat_model: str,
    store: Store,
    model: Annotated[list[str], Query(description="An entry that was evaluated here; from two to five, each once")],
) -> ComparisonView:
    """Compare entries of a board point by point: after each attack, by class, and pair by pair."""
    return compare_entries(store.db, store.blobs, dataset, threat_model, model)


def _links(request: Request, question: BoardQuestion, matching: int) -> list[str]:
    """Return the parts before and after this one, as RFC 8288 writes them."""
    offsets = {}
    if question.offset:
        offsets["prev"] = max(0, min(question.offset, matching) - question.limit)
    if question.offset + question.limit < matching:
        offsets["next"] = question.offset + question.limit
    address = request.url.include_query_params
    return [
        f'<{(url := address(limit=question.limit, offset=offset)).path}?{url.query}>; rel="{name}"'
        for name, offset in offsets.items()
    ]
