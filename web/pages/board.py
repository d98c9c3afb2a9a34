"""A leaderboard."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, ClassVar, Self, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from benchmark.errors import InvalidInput
from store.actors import Actor
from store.as_of import read_moment
from store.board_filters import BoardFilters, usual_order
from store.boards import get_board, list_points
from store.rendered import standing_of
from store.services import Services
from store.submissions import list_open
from store.views import Badge, BoardView, ExtraData, Order, Sort, SubmissionView
from web.charts import Scatter, scatter
from web.rendering import Page, as_html, board_address, render, respond
from web.services import Store, Who

router = APIRouter()

ROWS = 200
"""Most rows of a page."""
MANY = 1_000_000_000
"""A page's number beyond which it does not matter."""
REFRESH_S = 5


class YesNo(StrEnum):
    """An answer."""

    YES = "yes"
    NO = "no"


class BoardQuery(BaseModel):
    """Which part of the board is shown, in which order: all of it stands in the page's address."""

    model_config = ConfigDict(frozen=True)

    search: str = ""
    badge: Badge | None = None
    extra_data: ExtraData | None = None
    flagged: bool | None = None
    as_of: str = ""
    sort: Sort = Sort.BEST
    order: Order | None = None
    """None for the one that is usual for ``sort``."""
    page: int = 1

    @classmethod
    def read(
        cls,
        search: str = "",
        badge: str = "",
        sort: str = "",
        page: str = "",
        *,
        extra_data: str = "",
        flagged: str = "",
        as_of: str = "",
        order: str = "",
    ) -> Self:
        """Read the parameters of the address; empty ones say nothing.

        Raises:
            InvalidInput: a parameter has an unknown value.
        """
        return cls(
            search=search.strip(),
            badge=_one_of(Badge, "badge", badge) if badge else None,
            extra_data=_one_of(ExtraData, "extra_data", extra_data) if extra_data else None,
            flagged=_one_of(YesNo, "flagged", flagged) is YesNo.YES if flagged else None,
            as_of=as_of.strip(),
            sort=_one_of(Sort, "sort", sort) if sort else Sort.BEST,
            order=_one_of(Order, "order", order) if order else None,
            page=_page_number(page) if page else 1,
        )

    @property
    def as_of_ms(self) -> int | None:
        """The moment that is shown; None for the present.

        Raises:
            InvalidInput: it cannot be read.
        """
        return read_moment(self.as_of) if self.as_of else None

    @property
    def direction(self) -> Order:
        """Which way it is sorted."""
        return self.order or usual_order(self.sort)

    @property
    def entries(self) -> BoardFilters:
        """The filters as the store knows them."""
        return BoardFilters(search=self.search, badge=self.badge, extra_data=self.extra_data, flagged=self.flagged)

    @property
    def filters(self) -> dict[str, str]:
        """The parameters that hide entries, as the API knows them too."""
        given = {
            "search": self.search,
            "badge": self.badge.value if self.badge else "",
            "extra_data": self.extra_data.value if self.extra_data else "",
            "flagged": "" if self.flagged is None else (YesNo.YES if self.flagged else YesNo.NO).value,
        }
        return {name: str(value) for name, value in given.items() if value}

    @property
    def sorting(self) -> dict[str, str]:
        """The parameters of the moment and the order, as the API knows them too; what is usual is left out."""
        given = {
            "as_of": self.as_of,
            "sort": "" if self.sort is Sort.BEST else self.sort.value,
            "order": "" if self.direction is usual_order(self.sort) else self.direction.value,
        }
        return {name: value for name, value in given.items() if value}


class BoardPage(Page):
    """A leaderboard as it is asked for."""

    template: ClassVar[str] = "board.html"
    section: ClassVar[str] = "boards"

    board: BoardView
    """With the rows that are shown, in the order shown."""
    query: BoardQuery
    """As asked; its page is the last one where there are fewer."""
    running: tuple[SubmissionView, ...]
    plot: Scatter | None
    json_address: str
    all_json_address: str

    @property
    def attacked(self) -> bool:
        """Whether the board has an attacker."""
        return self.board.epsilon is not None

    @property
    def hidden(self) -> int:
        """Entries that the filters hide."""
        return self.board.total - self.board.matching

    @property
    def pages(self) -> int:
        """How many pages the matching entries take."""
        return _pages(self.board)

    @property
    def first_row(self) -> int:
        """Place of the first row among the matching entries."""
        return (self.query.page - 1) * ROWS + 1

    @property
    def last_row(self) -> int:
        """Place of the last row among the matching entries."""
        return (self.query.page - 1) * ROWS + len(self.board.rows)

    @property
    def with_mce(self) -> bool:
        """Whether any row has a mean corruption error."""
        return any(row.mce is not None for row in self.board.rows)

    def sorted_by(self, sort: str) -> str:
        """Return the address of this view in another order: by another column, or by the same the other way."""
        other = {Order.ASCENDING: Order.DESCENDING, Order.DESCENDING: Order.ASCENDING}
        order = other[self.query.direction] if self.query.sort == sort else None
        turned = self.query.model_copy(update={"sort": Sort(sort), "order": order})
        return self._address(turned.filters | turned.sorting)

    def page_address(self, number: int) -> str:
        """Return the address of another page of this view."""
        page = {} if number == 1 else {"page": str(number)}
        return self._address(self.query.filters | self.query.sorting | page)

    @property
    def all_address(self) -> str:
        """The address of this board in this order with all its entries."""
        return self._address(self.query.sorting)

    def written_as(self, format_name: str) -> str:
        """Return the address of exactly these rows, in this order, in another format."""
        part = {"limit": str(ROWS), "offset": str((self.query.page - 1) * ROWS)} if self.pages > 1 else {}
        asked = self.query.filters | self.query.sorting | part | {"format": format_name}
        return f"{self.all_json_address}?{urlencode(asked)}"

    def _address(self, said: dict[str, str]) -> str:
        return board_address(self.board.dataset, self.board.threat_model, **said)


def board_page(
    services: Services, dataset: str, threat_model: str, query: BoardQuery, who: Actor | None = None
) -> BoardPage:
    """Return what the page of a board shows.

    Args:
        services: where it is found.
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        query: which part of the board.
        who: who asks; None for the service itself.
    Raises:
        NotFound: there is no such board.
    """
    board = _page_of(services, dataset, threat_model, query)
    if not board.rows and query.page > 1:
        query = query.model_copy(update={"page": _pages(board)})
        board = _page_of(services, dataset, threat_model, query)
    # After the entries, so that none is shown both as an entry and as still on its way there.
    now = board.evaluated_here and not query.as_of
    running = list_open(services.db, dataset, threat_model, who=who) if now else ()
    points = list_points(services.db, dataset, threat_model, query.entries, as_of_ms=query.as_of_ms)
    address = f"/api/v1/leaderboards/{board.dataset}/{board.threat_model}"
    view = query.filters | ({"as_of": query.as_of} if query.as_of else {})
    if _pages(board) > 1:
        view |= query.sorting | {"sort": query.sort.value, "limit": str(ROWS), "offset": str((query.page - 1) * ROWS)}
    return BoardPage(
        title=f"{board.title}, page {query.page}" if query.page > 1 else board.title,
        refresh_s=REFRESH_S if running else None,
        board=board,
        query=query,
        running=running,
        plot=scatter(board.dataset, board.threat_model, points),
        json_address=f"{address}?{urlencode(view)}" if view else address,
        all_json_address=address,
    )


async def _asked(
    search: Annotated[str, Query(max_length=200)] = "",
    badge: str = "",
    sort: str = "",
    page: str = "",
    *,
    extra_data: str = "",
    flagged: str = "",
    as_of: Annotated[str, Query(max_length=40)] = "",
    order: str = "",
) -> BoardQuery:
    """Read the parameters without waiting for a thread to do so."""
    return BoardQuery.read(search, badge, sort, page, extra_data=extra_data, flagged=flagged, as_of=as_of, order=order)


@router.get("/boards/{dataset}/{threat_model}")
def show_board(
    request: Request,
    dataset: str,
    threat_model: str,
    store: Store,
    who: Who,
    query: Annotated[BoardQuery, Depends(_asked)],
) -> Response:
    """Show a leaderboard; to people who are not signed in one that was rendered before, where nothing has changed."""
    standing = standing_of(store.db, dataset, threat_model)
    # Kept, any words or days that anybody asks for would drive out what is asked for again and again.
    if who.account_id is not None or query.search or query.as_of:
        return render(request, board_page(store, dataset, threat_model, query, who))
    # What these say is part of what is compared, so that it counts no changes while workers write it.
    running = list_open(store.db, dataset, threat_model, who=who) if standing.under_way else ()

    def make() -> bytes:
        return as_html(board_page(store, dataset, threat_model, query, who)).encode()

    return respond(request, store.rendered.get(("page", dataset, threat_model, query), (standing, running), make))


def _page_of(services: Services, dataset: str, threat_model: str, query: BoardQuery) -> BoardView:
    offset = (query.page - 1) * ROWS
    return get_board(
        services.db,
        dataset,
        threat_model,
        query.entries,
        sort=query.sort,
        order=query.order,
        as_of_ms=query.as_of_ms,
        limit=ROWS,
        offset=offset,
    )


def _pages(board: BoardView) -> int:
    return max(1, math.ceil(board.matching / ROWS))


def _page_number(value: str) -> int:
    if value.isascii() and value.isdigit() and int(value[:20]) > 0:
        return min(int(value[:20]), MANY)
    raise InvalidInput.because(
        "page", found=ascii(value)[:80], expected="a number from 1 on", remedy="choose a page, or leave page out"
    )


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
