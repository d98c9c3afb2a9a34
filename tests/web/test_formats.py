from __future__ import annotations

import pytest

from benchmark.report import Interval
from benchmark.verdicts import Verdict
from store.views import ExternalState, LookState, NewExternal, State
from web import formats


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.0, "0.00"), (1.0, "100.00"), (0.6656, "66.56"), (1 / 3, "33.33"), (None, "–")]
)
def test_percent(fraction: float | None, text: str) -> None:
    assert formats.percent(fraction) == text


def test_percent_with_its_sign_and_other_digits() -> None:
    assert formats.percent(0.6656, unit=True) == "66.56\u202f%"
    assert formats.percent(None, unit=True) == "–"
    assert formats.percent(0.6656, digits=0) == "67"


def test_half_width() -> None:
    assert formats.half_width(Interval(low=0.25, high=0.75)) == 0.25
    assert formats.half_width(None) is None


def test_span() -> None:
    assert formats.span(Interval(low=0.5321, high=0.619)) == "53.2–61.9\u202f%"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 1 s"), (3_661, "1 h 1 min")]
)
def test_duration(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (512 * 1024**2, "512 MiB")]
)
def test_size(n_bytes: int, text: str) -> None:
    assert formats.size(n_bytes).replace("\u202f", " ") == text


def test_count_sets_thousands_apart() -> None:
    assert formats.count(10_000) == "10\u202f000"
    assert formats.count(None) == "–"


def test_times() -> None:
    assert formats.iso_time(1_795_247_006_141) == "2026-11-21T07:43:26Z"
    assert formats.readable_time(1_795_247_006_141) == "21 Nov 2026, 07:43:26 UTC"


@pytest.mark.parametrize("code", [0x202E, 0x2066, 0x200F, 0x0, 0x1B, 0x2028, 0xFEFF, 0xD800])
def test_without_hidden_removes_what_disguises(code: int) -> None:
    assert formats.without_hidden(f"a{chr(code)}b\u00e9") == "ab\u00e9"


def test_without_hidden_keeps_lines_and_narrow_spaces() -> None:
    assert formats.without_hidden("a\nb\u202fc\u2113") == "a\nb\u202fc\u2113"


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [("8/255", "8/255"), ("1/5", "0.2"), ("1/2", "0.5"), ("0.031", "0.031"), ("4", "4"), ("x", "x"), ("1/0", "1/0")],
)
def test_budget(epsilon: str, text: str) -> None:
    assert formats.budget(epsilon) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (64.0, "64"),
        (21_600.0, "21\u202f600"),
        (0.123456, "0.1235"),
        (1e12, "1e+12"),
        (-3.0, "-3"),
    ],
)
def test_measured(number: float | None, text: str) -> None:
    assert formats.measured(number) == text


def test_states_of_different_things_have_names_of_their_own() -> None:
    for states in (State, LookState, ExternalState):
        assert all(formats.state_name(state) for state in states)
    assert formats.state_name(State.QUEUED) == "Queued"
    assert formats.state_name(LookState.QUEUED) == "Waiting"
    assert formats.state_name(ExternalState.QUEUED) == "Waiting to be judged"


def test_checks_on_the_graph_say_so() -> None:
    assert formats.words("zero_gradient_in_graph") == "zero gradient (in the graph)"
    assert formats.words("zero_gradient") == "zero gradient"


def test_only_codes_of_ours_become_ids() -> None:
    assert formats.anchor("zero_gradient") == "finding-zero_gradient"
    assert all(formats.anchor(code) == "" for code in ("", "<b>", "a b", "A", 'x"', "x" * 101, "a\n"))


def test_tally_tells_what_there_is() -> None:
    assert formats.tally({}) == "–"
    assert set(formats.VERDICT_NAMES) == set(Verdict)
    counts = {Verdict.OVER_BUDGET: 2, Verdict.HOLDS: 1_498, Verdict.NOT_FINITE: 0}
    assert formats.tally(counts) == "1\u202f498 hold, 2 over budget"


def test_headline_is_the_title_or_else_the_first_line() -> None:
    new = NewExternal(examples_sha256="", title="A title", attack="by hand\nand foot")
    assert formats.headline(new) == "A title"
    assert formats.headline(new.model_copy(update={"title": ""})) == "by hand"
    assert len(formats.headline(new.model_copy(update={"title": "x" * 300}))) < 130
