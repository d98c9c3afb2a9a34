"""Which entries of a board are shown, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field
from sqlalchemy import ColumnElement, Text, UnaryExpression, and_, case, cast, false, func, or_

from benchmark.threat_models import Board
from store.tables import EntryRow
from store.views import Badge, ExtraData, Order, Sort, View

MOST_PARAMETERS = 2**53
_BY_CODE_POINT = Text().with_variant(Text(collation="C"), "postgresql")
_RISING = frozenset({Sort.NAME, Sort.EXTRA_DATA, Sort.ARCHITECTURE, Sort.VENUE, Sort.ZOO_ID, Sort.MCE})
"""What is read from its beginning, or is the better the smaller it is."""


class BoardFilters(View):
    """What an entry must be to be shown; whatever is left out says nothing."""

    search: str = Field("", max_length=200, description="Words in name, title, authors, architecture or venue")
    badge: Badge | None = Field(None, description="Whose numbers to show")
    extra_data: ExtraData | None = Field(None, description="Training data beyond the board's own")
    architecture: str = Field("", max_length=200, description="Part of the architecture, in either case")
    venue: str = Field("", max_length=200, description="Part of the venue, in either case")
    flagged: bool | None = Field(None, description="Whether its number is in doubt")
    baseline: bool | None = Field(None, description="Whether it was trained without any defence, for comparison")
    minimum_standard_accuracy: float | None = Field(None, ge=0, le=1)
    maximum_standard_accuracy: float | None = Field(None, ge=0, le=1)
    minimum_robust_accuracy: float | None = Field(
        None, ge=0, le=1, description="Of the best known robust accuracy, by which the board ranks"
    )
    maximum_robust_accuracy: float | None = Field(None, ge=0, le=1, description="Likewise")
    minimum_parameters: int | None = Field(None, ge=0, le=MOST_PARAMETERS)
    maximum_parameters: int | None = Field(None, ge=0, le=MOST_PARAMETERS)
    withdrawn: bool = Field(False, description="Whether to show withdrawn entries too; they never rank")
    old_protocol: bool = Field(
        False,
        description="Whether to show entries too that were evaluated here by a protocol that the board no longer "
        "ranks by; they do not rank",
    )


EVERYTHING = BoardFilters()
"""All entries that are not hidden without being asked for."""


def of_board(board: Board, entry: type[EntryRow] = EntryRow) -> ColumnElement[bool]:
    """Return the condition that an entry is of a board."""
    return and_(entry.dataset == board.dataset, entry.threat_model == board.threat_model)


def standing(board: Board, filters: BoardFilters = EVERYTHING, entry: type[EntryRow] = EntryRow) -> ColumnElement[bool]:
    """Return the condition that an entry of a board counts among its entries."""
    conditions = [of_board(board, entry)]
    if not filters.withdrawn:
        conditions.append(entry.withdrawn_ms.is_(None))
    if not filters.old_protocol:
        conditions.append(~_of_old_protocol(board, entry))
    return and_(*conditions)


def ranked(board: Board, entry: type[EntryRow] = EntryRow) -> ColumnElement[bool]:
    """Return the condition that an entry of a board has a place in the ranking."""
    return and_(standing(board, EVERYTHING, entry), entry.badge != Badge.UNVERIFIED)


def matching(filters: BoardFilters, entry: type[EntryRow] = EntryRow) -> Sequence[ColumnElement[bool]]:
    """Return the conditions that an entry passes the filters; which of a board count is for `standing` to say."""
    exact = (
        (entry.badge, filters.badge),
        (entry.extra_data, filters.extra_data),
        (flagged(entry), filters.flagged),
        (entry.baseline, filters.baseline),
    )
    parts = ((entry.architecture, filters.architecture), (entry.venue, filters.venue))
    ranges = (
        (entry.standard_accuracy, filters.minimum_standard_accuracy, filters.maximum_standard_accuracy),
        (entry.best_known_robust_accuracy, filters.minimum_robust_accuracy, filters.maximum_robust_accuracy),
        (entry.parameters, filters.minimum_parameters, filters.maximum_parameters),
    )
    conditions: list[ColumnElement[bool]] = [column == value for column, value in exact if value is not None]
    conditions += [_holds(column, value) for column, value in parts if value.strip()]
    conditions += [column >= least for column, least, _ in ranges if least is not None]
    conditions += [column <= most for column, _, most in ranges if most is not None]
    if filters.search.strip():
        told = or_(*(_holds(column, filters.search) for column in (entry.title, entry.authors, entry.venue)))
        plain = (_holds(column, filters.search) for column in (entry.model_id, entry.architecture))
        conditions.append(or_(*plain, and_(~entry.anonymous, told)))
    return conditions


def flagged(entry: type[EntryRow]) -> ColumnElement[bool]:
    """Return whether an entry's number is in doubt."""
    return or_(func.coalesce(entry.potentially_unreliable, false()), entry.findings != "[]")


def ranking(entry: type[EntryRow]) -> tuple[UnaryExpression[Any], ...]:
    """Return the ranking's order: the best first; unknown numbers last; of equal numbers the one published first."""
    return (
        entry.best_known_robust_accuracy.desc().nulls_last(),
        entry.standard_accuracy.desc().nulls_last(),
        entry.published_ms.asc().nulls_last(),
    )


def in_order(
    entry: type[EntryRow], sort: Sort = Sort.BEST, order: Order | None = None
) -> tuple[ColumnElement[Any], ...]:
    """Return an order in which every entry of a board has its one place; equal ones stay in the ranking's order."""
    places = (*ranking(entry), entry.model_id.asc())
    order = order or usual_order(sort)
    if sort is Sort.BEST and order is Order.DESCENDING:
        return places
    key = _key(entry, sort)
    return ((key.asc() if order is Order.ASCENDING else key.desc()).nulls_last(), *places)


def usual_order(sort: Sort) -> Order:
    """Return which way a column is sorted where nobody says."""
    return Order.ASCENDING if sort in _RISING else Order.DESCENDING


def _key(entry: type[EntryRow], sort: Sort) -> ColumnElement[Any]:
    keys: dict[Sort, ColumnElement[Any]] = {
        Sort.BEST: entry.best_known_robust_accuracy.expression,
        Sort.STANDARD: entry.standard_accuracy.expression,
        Sort.ROBUST: entry.robust_accuracy.expression,
        Sort.NAME: _without_case(case((entry.title == "", entry.model_id), else_=entry.title)),
        Sort.RELIABILITY: case((flagged(entry), 1), (entry.potentially_unreliable.is_(None), None), else_=0),
        Sort.EXTRA_DATA: func.nullif(entry.extra_data, ExtraData.UNKNOWN.value),
        Sort.ARCHITECTURE: _without_case(func.nullif(entry.architecture, "")),
        Sort.VENUE: _without_case(func.nullif(entry.venue, "")),
        Sort.ZOO_ID: _without_case(entry.zoo_id.expression),
        Sort.MCE: entry.mce.expression,
        Sort.CLAIMED: entry.claimed_robust_accuracy.expression,
        Sort.PARAMETERS: entry.parameters.expression,
        Sort.PUBLISHED: entry.published_ms.expression,
    }
    return keys[sort]


def _without_case(text: ColumnElement[Any]) -> ColumnElement[str]:
    """Return a text without case. The collation makes the order the same on every database."""
    return func.lower(cast(text, _BY_CODE_POINT))


def _holds(column: Any, text: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column.icontains(text.strip(), autoescape=True)
    return found


def _of_old_protocol(board: Board, entry: type[EntryRow]) -> ColumnElement[bool]:
    other = func.coalesce(entry.protocol, "") != board.protocol
    return and_(entry.badge == Badge.EVALUATED, other)
