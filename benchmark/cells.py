"""Cells of comma-separated values that no spreadsheet takes for formulas."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_cell(value: object) -> str | int | float:
    """Return a value as a cell: unknown is empty, and no text is a formula."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return value
        case _:
            # The apostrophe is what spreadsheets themselves put before a text that is to stay one.
            text = str(value).replace("\0", "")
            return f"'{text}" if text.startswith(_FORMULA) else text
