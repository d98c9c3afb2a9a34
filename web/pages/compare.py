"""Entries of a board side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, ClassVar

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from benchmark.errors import ErrorDetail, InvalidInput, NotFound
from benchmark.side_by_side import MOST
from benchmark.threat_models import official_board
from store.analyses import find_studies
from store.board_filters import BoardFilters
from store.boards import get_board
from store.comparison import ComparisonView, compare_entries
from store.services import Services
from store.views import Badge
from web.analyses import Section, compared_analyses
from web.rendering import Page, compare_address, render
from web.services import Store
from web.side_by_side import LETTERS, Difference, Profile, differences, profile

router = APIRouter()

MOST_CHOICES = 1_000
"""Entries that are offered; a longer board's others can still be named."""


class Compared(BaseModel):
    """Entries side by side."""

    model_config = ConfigDict(frozen=True)

    view: ComparisonView
    letters: tuple[str, ...]
    profile: Profile | None
    differences: tuple[Difference, ...]
    analyses: tuple[Section, ...]
    """Those that at least two of the entries have."""
    json_address: str

    @property
    def protocols_differ(self) -> bool:
        """Whether a difference may be one of the attacks."""
        return len({row.protocol for row in self.view.entries}) > 1


class ComparePage(Page):
    """The choice of entries, and what they look like side by side."""

    template: ClassVar[str] = "compare.html"
    section: ClassVar[str] = "boards"

    dataset: str
    threat_model: str
    board_title: str
    epsilon: str | None
    asked: tuple[str, ...]
    choices: tuple[str, ...]
    """Entries that were evaluated here, in the order of the ranking."""
    problem: ErrorDetail | None
    compared: Compared | None
    """None where too few are chosen, or there is a problem."""

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The letter of each field of the form, and what stands in it."""
        return tuple(zip_longest(LETTERS, self.asked, fillvalue=""))


def compare_page(services: Services, dataset: str, threat_model: str, model_ids: Sequence[str]) -> ComparePage:
    """Return what the page shows for these entries.

    Raises:
        NotFound: there is no such board.
    """
    board = official_board(dataset, threat_model)
    offered = get_board(
        services.db, dataset, threat_model, BoardFilters(badge=Badge.EVALUATED, old_protocol=True), limit=MOST_CHOICES
    )
    asked = tuple(model_id for model_id in (text.strip() for text in model_ids) if model_id)
    problem, compared = None, None
    # One entry is the beginning of a choice: so the links on the entries' pages lead here.
    if len(asked) > 1:
        try:
            view = compare_entries(services.db, services.blobs, dataset, threat_model, asked)
        except (InvalidInput, NotFound) as error:
            problem = error.detail
        else:
            stored = find_studies(services.db, services.blobs, board, asked) if board.attacked else {}
            compared = _compared(view, asked, compared_analyses(dataset, threat_model, stored))
    return ComparePage(
        title=f"{' and '.join(asked)} side by side" if compared else f"Side by side · {board.title}",
        dataset=dataset,
        threat_model=threat_model,
        board_title=board.title,
        epsilon=str(board.epsilon) if board.epsilon is not None else None,
        asked=asked[:MOST],
        choices=tuple(row.model_id for row in offered.rows),
        problem=problem,
        compared=compared,
    )


@router.get("/compare/{dataset}/{threat_model}")
def show_comparison(
    request: Request,
    dataset: str,
    threat_model: str,
    store: Store,
    model: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """Show two to five entries side by side, and the form to choose them."""
    page = compare_page(store, dataset, threat_model, model or ())
    return render(request, page, status=422 if page.problem else 200)


def _compared(view: ComparisonView, asked: Sequence[str], analyses: tuple[Section, ...]) -> Compared:
    address = compare_address(view.dataset, view.threat_model, asked)
    return Compared(
        view=view,
        letters=tuple(LETTERS[: len(asked)]),
        profile=profile(view.comparison),
        differences=differences(view.comparison),
        analyses=analyses,
        json_address=f"/api/v1/leaderboards/{view.dataset}/{view.threat_model}/compare?{address.partition('?')[2]}",
    )
