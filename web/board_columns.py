"""The columns of a board, those that are always there left out: rank, model, and the number by which it ranks."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class Column(StrEnum):
    """A column that may be shown, in the order of the table."""

    STANDARD = "standard"
    CLAIMED = "claimed"
    ROBUST = "robust"
    BREAKDOWN = "breakdown"
    """One column for each attack, or for each type of corruption."""
    RELIABILITY = "reliability"
    MCE = "mce"
    EXTRA_DATA = "extra_data"
    ARCHITECTURE = "architecture"
    PARAMETERS = "parameters"
    FORWARD_PASSES = "forward_passes"
    VENUE = "venue"
    PUBLISHED = "published"
    ZOO_ID = "zoo_id"


FROM_REPORTS = frozenset({Column.BREAKDOWN, Column.FORWARD_PASSES})
"""Columns that need the reports of the rows."""
_NAMES = {
    Column.STANDARD: "Standard accuracy",
    Column.CLAIMED: "Claimed by its authors",
    Column.ROBUST: "AutoAttack robust accuracy",
    Column.RELIABILITY: "Reliability",
    Column.MCE: "Mean corruption error",
    Column.EXTRA_DATA: "Extra data",
    Column.ARCHITECTURE: "Architecture",
    Column.PARAMETERS: "Parameters",
    Column.FORWARD_PASSES: "Forward passes",
    Column.VENUE: "Venue",
    Column.PUBLISHED: "Date published here",
    Column.ZOO_ID: "Zoo id",
}
_ONLY_ATTACKED = frozenset({Column.ROBUST, Column.RELIABILITY})
_ONLY_CORRUPTED = frozenset({Column.MCE})
_ON_REQUEST = frozenset({Column.CLAIMED, Column.PARAMETERS, Column.PUBLISHED}) | FROM_REPORTS


def possible_columns(attacked: bool) -> tuple[Column, ...]:
    """Return the columns that a board may have, with or without an attacker."""
    elsewhere = _ONLY_CORRUPTED if attacked else _ONLY_ATTACKED
    return tuple(column for column in Column if column not in elsewhere)


def usual_columns(attacked: bool) -> tuple[Column, ...]:
    """Return the columns that a board has where nobody chooses any."""
    return tuple(column for column in possible_columns(attacked) if column not in _ON_REQUEST)


def chosen_columns(asked: Collection[Column], attacked: bool) -> tuple[Column, ...]:
    """Return which columns are chosen; none where that comes to the usual ones, so that equal views have one address.

    Args:
        asked: what was asked for; what boards of this kind do not have is left out.
        attacked: whether the board has an attacker.
    """
    chosen = tuple(column for column in possible_columns(attacked) if column in asked)
    return () if chosen == usual_columns(attacked) else chosen


def column_name(column: Column, attacked: bool) -> str:
    """Return what a column is called where columns are chosen."""
    if column is Column.BREAKDOWN:
        return "Robust accuracy after each attack" if attacked else "Accuracy on each type of corruption"
    return _NAMES[column]
