"""How values are written on the pages. Unknown is always a dash, and only here does a fraction become a percentage."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction

from benchmark.report import Interval
from benchmark.rules import IN_GRAPH
from benchmark.verdicts import Verdict
from store.views import ExternalState, ExtraData, LookState, NewExternal, State

DASH = "–"
_NARROW_SPACE = "\u202f"
_MINUTE_S, _HOUR_S = 60, 3600
_SHORT_DECIMAL = 10_000
"""Its divisors are the denominators whose fractions have at most four decimals."""
_LONGEST_HEADLINE = 120
_MOST_COUNTED = 10**9
_OWN_CODE = re.compile(r"[a-z0-9_]{1,100}")
# Control, format (which holds the bidirectional marks), surrogate and line-separating characters.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

STATE_NAMES = {
    State.RECEIVED: "Received",
    State.CHECKING: "Being checked",
    State.REJECTED: "Rejected",
    State.QUEUED: "Queued",
    State.RUNNING: "Being evaluated",
    State.EVALUATED: "Evaluated",
    State.PUBLISHED: "Published",
    State.WITHDRAWN: "Withdrawn",
    State.FAILED: "Failed",
    State.CANCELLED: "Cancelled",
}
EXTRA_DATA_NAMES = {
    ExtraData.NONE: "None",
    ExtraData.REAL: "Real",
    ExtraData.SYNTHETIC: "Synthetic",
    ExtraData.SOME: "Yes",
    ExtraData.UNKNOWN: DASH,
}
LOOK_STATE_NAMES = {
    LookState.QUEUED: "Waiting",
    LookState.RUNNING: "Under way",
    LookState.DONE: "Done",
    LookState.FAILED: "Failed",
    LookState.SUSPENDED: "Suspended",
}
EXTERNAL_STATE_NAMES = {
    ExternalState.QUEUED: "Waiting to be judged",
    ExternalState.VERIFIED: "Verified",
    ExternalState.REFUSED: "Refused",
    ExternalState.FAILED: "Failed",
}
VERDICT_NAMES = {
    Verdict.HOLDS: "hold",
    Verdict.CLASSIFIED_CORRECTLY: "classified correctly",
    Verdict.OVER_BUDGET: "over budget",
    Verdict.OUTSIDE_BOX: "outside [0, 1]",
    Verdict.NOT_FINITE: "not finite",
}
"""Verdicts in the order in which they are told."""
_THREATS = {
    "Linf": "\u2113\u221e",
    "L2": "\u2113\u2082",
    "L1": "\u2113\u2081",
    "corruptions": "Common corruptions",
}


def percent(fraction: float | None, unit: bool = False, digits: int = 2) -> str:
    """Write a fraction of 1 as a percentage, with or without its sign."""
    if fraction is None:
        return DASH
    number = f"{100 * fraction:.{digits}f}"
    return f"{number}{_NARROW_SPACE}%" if unit else number


def difference(fractions: float) -> str:
    """Write a difference of two fractions of 1 as percentage points, with its sign."""
    number = percent(abs(fractions))
    sign = "" if float(number) == 0 else "−" if fractions < 0 else "+"
    return f"{sign}{number}"


def half_width(interval: Interval | None) -> float | None:
    """Return the half width of an interval, the number after a ±."""
    return None if interval is None else (interval.high - interval.low) / 2


def span(interval: Interval) -> str:
    """Write an interval of accuracies from end to end."""
    return f"{percent(interval.low, digits=1)}–{percent(interval.high, True, 1)}"


def count(number: int | None) -> str:
    """Write a whole number with its thousands apart."""
    return DASH if number is None else f"{number:,}".replace(",", _NARROW_SPACE)


def known(text: str | None) -> str:
    """Write a text, or a dash where there is none."""
    return text or DASH


def threat(name: str) -> str:
    """Write the name of a threat model as people read it."""
    return _THREATS.get(name, name)


def budget(epsilon: str) -> str:
    """Write a budget as people say it: 8/255, but 0.5 rather than 1/2."""
    try:
        exact = Fraction(epsilon)
    except (ValueError, ZeroDivisionError):
        return epsilon
    return f"{float(exact):g}" if _SHORT_DECIMAL % exact.denominator == 0 else epsilon


def board_name(title: str) -> str:
    """Return the data set's name: what stands before the comma in a board's title."""
    return title.partition(",")[0]


def duration(seconds: float | None) -> str:
    """Write a time span in the two units that matter."""
    if seconds is None:
        return DASH
    if seconds < _MINUTE_S:
        return f"{seconds:.1f}{_NARROW_SPACE}s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    if seconds < _HOUR_S:
        return f"{minutes}{_NARROW_SPACE}min {rest}{_NARROW_SPACE}s"
    return f"{minutes // 60}{_NARROW_SPACE}h {minutes % 60}{_NARROW_SPACE}min"


def size(n_bytes: int) -> str:
    """Write a number of bytes."""
    amount = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.{0 if unit == 'bytes' else 1}f}".removesuffix(".0") + f"{_NARROW_SPACE}{unit}"
        amount /= 1024
    raise AssertionError("unreachable: the last unit always returns")


def iso_time(at_ms: int) -> str:
    """Write a time for programs."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def readable_time(at_ms: int) -> str:
    """Write a time for people."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC"


def as_day(at_ms: int) -> str:
    """Write a date for people."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{at.day} {at:%b %Y}"


def measured(number: float | None) -> str:
    """Write a measured value or threshold with as many digits as it needs."""
    if number is None:
        return DASH
    return count(int(number)) if number.is_integer() and abs(number) < _MOST_COUNTED else f"{number:.4g}"


def state_name(state: State | LookState | ExternalState) -> str:
    """Write a state for people."""
    match state:
        case State():
            return STATE_NAMES[state]
        case LookState():
            return LOOK_STATE_NAMES[state]
        case ExternalState():
            return EXTERNAL_STATE_NAMES[state]


def headline(new: NewExternal) -> str:
    """Name an evaluation by others: by its paper's title, or by the first line of how its examples were found."""
    text = new.title or new.attack.partition("\n")[0]
    return text if len(text) <= _LONGEST_HEADLINE else f"{text[:_LONGEST_HEADLINE].rstrip()}…"


def tally(counts: Mapping[Verdict, int]) -> str:
    """Write how many examples got each verdict, those that none got left out; a dash before they are judged."""
    parts = [f"{count(counts[verdict])} {name}" for verdict, name in VERDICT_NAMES.items() if counts.get(verdict)]
    return ", ".join(parts) or DASH


def extra_data_name(extra_data: ExtraData) -> str:
    """Write a kind of extra data for people."""
    return EXTRA_DATA_NAMES[extra_data]


def words(code: str) -> str:
    """Write a code such as ``zero_gradient`` as words, and say of a check on the graph that it is one."""
    text = code.removesuffix(IN_GRAPH).replace("_", " ")
    return f"{text} (in the graph)" if code.endswith(IN_GRAPH) else text


def anchor(code: str) -> str:
    """Return the id of the line that a finding has on its page; empty where its code is none of ours."""
    return f"finding-{code}" if _OWN_CODE.fullmatch(code) else ""


def as_sentence(text: str) -> str:
    """Write a reason as a sentence of its own."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def without_hidden(text: str) -> str:
    """Remove what is invisible and can turn the reading direction, so that no name can disguise what follows it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in _HIDDEN)


def age(milliseconds: int) -> str:
    """Write how long something has been so, in the units that people think in."""
    minutes = max(milliseconds, 0) // 60_000
    if minutes == 0:
        return f"{max(milliseconds, 0) // 1000}{_NARROW_SPACE}s"
    if minutes < 60:
        return f"{minutes}{_NARROW_SPACE}min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours}{_NARROW_SPACE}h {minutes % 60}{_NARROW_SPACE}min"
    return f"{hours // 24} days"
