"""A leaderboard."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Self, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from benchmark.errors import InvalidInput
from store.boards import get_board
from store.services import Services
from store.states import OPEN
from store.submissions import list_submissions
from store.views import Badge, BoardRow, BoardView, SubmissionView
from web.charts import Scatter, scatter
from web.rendering import Page, board_address, render
from web.services import Store

router = APIRouter()

REFRESH_S = 5
RECENT = 200
"""Submissions looked through for those under way; older ones have ended or will be found again after a reload."""


class Sort(StrEnum):
    """What a board may be sorted by."""

    BEST = "best"
    STANDARD = "standard"
    ROBUST = "robust"
    NAME = "name"


class BoardQuery(BaseModel):
    """Which part of the board is shown, in which order: all of it stands in the page's address."""

    model_config = ConfigDict(frozen=True)

    search: str = ""
    badge: Badge | None = None
    sort: Sort = Sort.BEST

    @classmethod
    def read(cls, search: Annotated[str, Query(max_length=200)] = "", badge: str = "", sort: str = "") -> Self:
        """Read the parameters of the address; empty ones say nothing.

        Raises:
            InvalidInput: a parameter has an unknown value.
        """
        return cls(
            search=search.strip(),
            badge=_one_of(Badge, "badge", badge) if badge else None,
            sort=_one_of(Sort, "sort", sort) if sort else Sort.BEST,
        )

    @property
    def filters(self) -> dict[str, str]:
        """The parameters that hide entries, as the API knows them too."""
        given = {"search": self.search, "badge": self.badge.value if self.badge else ""}
        return {name: value for name, value in given.items() if value}


class BoardPage(Page):
    """A leaderboard as it is asked for."""

    template: ClassVar[str] = "board.html"
    section: ClassVar[str] = "boards"

    board: BoardView
    """With the rows that are shown, in the order shown."""
    query: BoardQuery
    total: int
    hidden: int
    running: tuple[SubmissionView, ...]
    plot: Scatter | None
    json_address: str
    all_json_address: str

    @property
    def attacked(self) -> bool:
        """Whether the board has an attacker."""
        return self.board.epsilon is not None

    @property
    def with_mce(self) -> bool:
        """Whether any row has a mean corruption error."""
        return any(row.mce is not None for row in self.board.rows)

    def sorted_by(self, sort: str) -> str:
        """Return the address of this view in another order."""
        return board_address(
            self.board.dataset,
            self.board.threat_model,
            **self.query.filters,
            sort="" if sort == Sort.BEST else sort,
        )


def board_page(services: Services, dataset: str, threat_model: str, query: BoardQuery) -> BoardPage:
    """Return what the page of a board shows.

    Raises:
        NotFound: there is no such board.
    """
    whole = get_board(services.db, dataset, threat_model)
    board = whole
    if query.filters:
        board = get_board(services.db, dataset, threat_model, search=query.search, badge=query.badge)
    running = _running(services, board) if board.evaluated_here else ()
    address = f"/api/v1/leaderboards/{board.dataset}/{board.threat_model}"
    return BoardPage(
        title=board.title,
        refresh_s=REFRESH_S if running else None,
        board=board.model_copy(update={"rows": _sorted(board.rows, query.sort)}),
        query=query,
        total=len(whole.rows),
        hidden=len(whole.rows) - len(board.rows),
        running=running,
        plot=scatter(board.dataset, board.threat_model, board.rows),
        json_address=f"{address}?{urlencode(query.filters)}" if query.filters else address,
        all_json_address=address,
    )


@router.get("/boards/{dataset}/{threat_model}")
def show_board(
    request: Request,
    dataset: str,
    threat_model: str,
    store: Store,
    query: Annotated[BoardQuery, Depends(BoardQuery.read)],
) -> Response:
    """Show a leaderboard."""
    return render(request, board_page(store, dataset, threat_model, query))


def _running(services: Services, board: BoardView) -> tuple[SubmissionView, ...]:
    """Return the submissions on their way to the board, the first in the queue first."""
    return tuple(
        view
        for view in reversed(list_submissions(services.db, RECENT))
        if view.state in OPEN
        and (view.submission.dataset, view.submission.threat_model) == (board.dataset, board.threat_model)
    )


def _sorted(rows: tuple[BoardRow, ...], sort: Sort) -> tuple[BoardRow, ...]:
    """Sort the rows; unknown numbers come last, and equal ones stay in the order of the ranking."""
    match sort:
        case Sort.BEST:
            return rows
        case Sort.STANDARD:
            return tuple(sorted(rows, key=lambda row: -_or_least(row.standard_accuracy)))
        case Sort.ROBUST:
            return tuple(sorted(rows, key=lambda row: -_or_least(row.robust_accuracy)))
        case Sort.NAME:
            return tuple(sorted(rows, key=lambda row: (row.title or row.model_id).casefold()))


def _or_least(accuracy: float | None) -> float:
    return -1.0 if accuracy is None else accuracy


_Choice = TypeVar("_Choice", bound=StrEnum)


def _one_of(choices: type[_Choice], field: str, value: str) -> _Choice:
    try:
        return choices(value)
    except ValueError:
        raise InvalidInput.because(
            field,
            found=ascii(value)[:80],
            expected=f"one of {', '.join(choices)}",
            remedy=f"choose one of them, or leave {field} out",
        ) from None
