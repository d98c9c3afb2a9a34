"""What pydantic finds wrong, in the words of our own errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.errors import ErrorDetail, InvalidInput

LONGEST_FOUND = 80
HIDDEN = object()
"""Stands for what was sent where it may be a secret."""
_PREFIXES = ("Input should be ", "Value error, ", "String should ", "Value should ")


def invalid_input(problems: Sequence[Mapping[str, Any]], *, remedy: str) -> InvalidInput:
    """Return one error for all the problems: its detail is the first one's, its message names every field.

    Args:
        problems: at least one of pydantic's error dictionaries.
        remedy: what to do about them.
    """
    details = [_detail(problem, remedy) for problem in problems]
    parts = [f"{detail.field}: found {detail.found}, expected {detail.expected}" for detail in details[:5]]
    if len(details) > len(parts):
        parts.append(f"and {len(details) - len(parts)} more")
    return InvalidInput("; ".join(parts) + ".", details[0])


def shown(value: object) -> str:
    """Show what was sent, short and in printable ASCII only."""
    if value is HIDDEN:
        return "a value that is not shown"
    text = ascii(value)
    return text if len(text) <= LONGEST_FOUND else f"{text[: LONGEST_FOUND - 3]}..."


def _detail(problem: Mapping[str, Any], remedy: str) -> ErrorDetail:
    place = [str(part) for part in problem["loc"]]
    if len(place) > 1 and place[0] in {"body", "path", "query", "header"}:
        place = place[1:]
    field = ".".join(place) or "body"
    kind, message = str(problem["type"]), str(problem["msg"])
    if kind == "missing":
        return ErrorDetail(field, "nothing", "a value", f"add {field}")
    if kind == "extra_forbidden":
        return ErrorDetail(field, shown(problem.get("input")), "no field of this name", f"leave {field} out")
    if kind == "json_invalid":
        reason = problem.get("ctx", {}).get("error", message)
        found = f"text that breaks at position {place[-1]}: {reason}"
        return ErrorDetail("body", found, "one JSON object", "send valid JSON")
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    return ErrorDetail(field, shown(problem.get("input")), message, remedy)
