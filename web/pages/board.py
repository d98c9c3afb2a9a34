"""A leaderboard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from benchmark.corruption_table import CELLS
from store.actors import Actor
from store.boards import get_board, list_points
from store.breakdowns import Breakdown, list_breakdowns
from store.rendered import Answer, answer_of, standing_of
from store.services import Services
from store.submissions import list_open
from store.views import Badge, BoardView, Order, Sort, SubmissionView, Ties
from web.board_columns import (
    FROM_REPORTS,
    Column,
    chosen_columns,
    column_name,
    possible_columns,
    usual_columns,
)
from web.board_query import BoardQuery
from web.charts import Scatter, scatter
from web.rendering import Page, as_html, board_address, render, respond
from web.services import Store, Who

router = APIRouter()

ROWS = 100
"""Most rows of a page: more would make it large and slow, and nobody reads that far."""
REFRESH_S = 5


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
    breakdowns: Mapping[str, Breakdown] = Field(default_factory=dict)
    """By entry, where a column shows them; of those evaluated here."""

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

    @property
    def ranks(self) -> dict[str, int]:
        """The ranks of the entries that are shown and have one."""
        return {row.model_id: row.rank for row in self.board.rows if row.rank is not None}

    @property
    def choices(self) -> tuple[tuple[Column, str], ...]:
        """The columns that the board may have, with what they are called."""
        return tuple((column, column_name(column, self.attacked)) for column in possible_columns(self.attacked))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that are shown. A usual one is left out where no row has anything in it."""
        if self.query.columns:
            return self.query.columns
        return tuple(column for column in usual_columns(self.attacked) if column is not Column.MCE or self.with_mce)

    @property
    def parts(self) -> tuple[str, ...]:
        """The attacks or types of corruption that have a column; none where they are not asked for."""
        if Column.BREAKDOWN not in self.columns:
            return ()
        known = () if self.attacked else (corruption for corruption, _ in CELLS)
        measured = (part for breakdown in self.breakdowns.values() for part in breakdown.accuracies)
        return tuple(dict.fromkeys((*known, *measured)))

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
        return self._address(self.query.beyond | self.query.sorting)

    @property
    def beyond_address(self) -> str:
        """The address of this view with what is hidden without being asked for."""
        asked = self.query.model_copy(update={"withdrawn": True, "old_protocol": True})
        return self._address(asked.filters | asked.sorting)

    @property
    def present_address(self) -> str:
        """The address of this view as it stands now."""
        now = self.query.model_copy(update={"as_of": ""})
        return self._address(now.filters | now.sorting)

    @property
    def usual_address(self) -> str:
        """The address of this view with the usual columns."""
        usual = self.model_copy(update={"query": self.query.model_copy(update={"columns": ()})})
        return usual.page_address(self.query.page)

    def written_as(self, format_name: str) -> str:
        """Return the address of exactly these rows, in this order, in another format."""
        part = {"limit": str(ROWS), "offset": str((self.query.page - 1) * ROWS)} if self.pages > 1 else {}
        asked = self.query.filters | self.query.sorting | part | {"format": format_name}
        return f"{self.all_json_address}?{urlencode(asked)}"

    def _address(self, said: Mapping[str, str]) -> str:
        asked = [*said.items(), *(("columns", column.value) for column in self.query.columns)]
        board = board_address(self.board.dataset, self.board.threat_model)
        return f"{board}?{urlencode(asked)}" if asked else board


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
    columns = chosen_columns(query.columns, board.epsilon is not None)
    query = query.model_copy(update={"columns": columns})
    if not board.rows and query.page > 1:
        query = query.model_copy(update={"page": _pages(board)})
        board = _page_of(services, dataset, threat_model, query)
    # After the entries, so that none is shown both as an entry and as still on its way there.
    now = board.evaluated_here and not query.as_of
    running = list_open(services.db, dataset, threat_model, who=who) if now else ()
    points = list_points(services.db, dataset, threat_model, query.entries, as_of_ms=query.as_of_ms)
    reports = FROM_REPORTS.intersection(columns)
    here = [row.model_id for row in board.rows if row.badge is Badge.EVALUATED]
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
        breakdowns=list_breakdowns(services.db, dataset, threat_model, here) if reports else {},
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
    withdrawn: str = "",
    old_protocol: str = "",
    columns: Annotated[tuple[str, ...], Query()] = (),
) -> BoardQuery:
    """Read the parameters without waiting for a thread to do so."""
    return BoardQuery.read(
        search,
        badge,
        sort,
        page,
        extra_data=extra_data,
        flagged=flagged,
        as_of=as_of,
        order=order,
        withdrawn=withdrawn,
        old_protocol=old_protocol,
        columns=columns,
    )


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
    # Kept, whatever words, days or columns anybody chooses would drive out what is asked for again and again.
    if who.account_id is not None or query.search or query.as_of or query.columns:
        return render(request, board_page(store, dataset, threat_model, query, who))
    # What these say is part of what is compared, so that it counts no changes while workers write it.
    running = list_open(store.db, dataset, threat_model, who=who) if standing.under_way else ()

    def make() -> Answer:
        page = board_page(store, dataset, threat_model, query, who)
        return answer_of(as_html(page).encode(), lasting=page.board.ties is not Ties.UNAVAILABLE)

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
        verdicts=services.verdicts,
    )


def _pages(board: BoardView) -> int:
    return max(1, math.ceil(board.matching / ROWS))
