"""The front page: all boards."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from store.boards import list_boards
from store.services import Services
from store.submissions import count_open
from store.views import BoardSummary
from web.formats import board_name
from web.rendering import Page, render
from web.services import Store

router = APIRouter()

REFRESH_S = 10


class Card(BaseModel):
    """A board, and how many submissions are on their way to it."""

    model_config = ConfigDict(frozen=True)

    board: BoardSummary
    under_way: int


class Group(BaseModel):
    """The boards of one data set."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    name: str
    points: int
    evaluated_here: bool
    cards: tuple[Card, ...]


class HomePage(Page):
    """All boards by data set."""

    template: ClassVar[str] = "home.html"
    section: ClassVar[str] = "boards"

    groups: tuple[Group, ...]
    entries: int
    evaluated_entries: int


def home_page(services: Services) -> HomePage:
    """Return what the front page shows: the boards where one can take part come first."""
    under_way = count_open(services.db)
    boards = sorted(list_boards(services.db), key=lambda board: not board.evaluated_here)
    groups = []
    for dataset, members in groupby(boards, key=lambda board: board.dataset):
        same = tuple(members)
        groups.append(
            Group(
                dataset=dataset,
                name=board_name(same[0].title),
                points=same[0].points,
                evaluated_here=same[0].evaluated_here,
                cards=tuple(
                    Card(board=board, under_way=under_way.get((board.dataset, board.threat_model), 0)) for board in same
                ),
            )
        )
    return HomePage(
        title="Leaderboards",
        refresh_s=REFRESH_S if under_way else None,
        groups=tuple(groups),
        entries=sum(board.entries for board in boards),
        evaluated_entries=sum(board.evaluated_entries for board in boards),
    )


@router.get("/")
def show_home(request: Request, store: Store) -> Response:
    """Show all boards."""
    return render(request, home_page(store))
