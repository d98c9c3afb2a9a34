"""Evaluations by others: who may send what, and that nothing counts but what was judged to hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import inspect

from benchmark.errors import Conflict, EvaluationFailed, InvalidExamples, InvalidSubmission, NotFound
from benchmark.report import canonical_json
from benchmark.verdicts import Verdict, Verdicts
from store.blobs import LocalBlobs
from store.boards import get_model
from store.claims import Claim, claim, fail_attempt
from store.errors import QueueFull
from store.external_claims import _claimable, conclude_external
from store.externals import (
    MAX_OPEN,
    MAX_OPEN_EACH,
    get_external,
    list_externals,
    points_to_attack,
    require_external_room,
    submit_external,
)
from store.outcomes import finish_judge
from store.services import Services
from store.tables import Base, ExternalRow, RunRow
from store.views import ExternalState, ExternalView, ModelView, NewExternal, Purpose
from tests.store.interleaving import at_once
from tests.store.lowered import judge_examples, send_examples
from tests.store.material import (
    LEASE_MS,
    Rules,
    a_worker,
    board_entry,
    examples,
    must_claim,
    published,
    running,
    verdicts_of,
)

Row = TypeVar("Row", bound=Base)
NAME = "Method A"
PLACE = ("digits", "Linf", NAME)
DISTANCES = {Verdict.OVER_BUDGET: 0.3, Verdict.NOT_FINITE: None, Verdict.OUTSIDE_BOX: 0.1, Verdict.HOLDS: 0.1}


@pytest.fixture
def evaluated(services: Services) -> Services:
    """A store with an entry of 500 points: 0 to 9 are misclassified, 10 to 59 broken; 0.88 is left."""
    published(services.db, services.blobs, NAME)
    return services


def judged(work: Claim, verdicts: dict[int, Verdict]) -> Verdicts:
    """Verdicts on the examples, by position; what is not named is classified correctly."""
    found = [verdicts.get(index, Verdict.CLASSIFIED_CORRECTLY) for index in work.indices]
    honest = verdicts_of(work, work.indices, [False] * len(found))
    return honest.model_copy(
        update={"verdict": tuple(found), "distance": tuple(DISTANCES.get(verdict, 0.0) for verdict in found)}
    )


def conclude(services: Services, view: ExternalView, verdicts: dict[int, Verdict]) -> ExternalView:
    work = must_claim(services.db)
    assert work.purpose is Purpose.EXTERNAL
    content = judged(work, verdicts).to_bytes()
    finish_judge(services.db, services.blobs, work, [content], [work.indices])
    return get_external(services.db, view.id)


def holding(indices: Sequence[int]) -> dict[int, Verdict]:
    return dict.fromkeys(indices, Verdict.HOLDS)


def model(services: Services) -> ModelView:
    return get_model(services.db, services.blobs, *PLACE)


def test_takes_examples_in_and_has_them_judged(evaluated: Services) -> None:
    view = send_examples(evaluated, NAME, points=(3, 100), title=" A  title ", attack="one\ntwo", authors="Jane")
    assert (view.state, view.counts, view.reason) == (ExternalState.QUEUED, {}, "")
    assert (view.robust_accuracy, view.newly_broken, view.concluded_ms) == (None, None, None)
    assert (view.submitted.points, view.submitted.attack, view.submitted.authors) == ((3, 100), "one\ntwo", "Jane")
    assert get_external(evaluated.db, view.id) == view
    whole = send_examples(evaluated, NAME)
    assert whole.submitted.points is None
    assert list_externals(evaluated.db, PLACE, 10) == (whole, view)
    assert list_externals(evaluated.db, PLACE, 1) == (whole,)
    assert model(evaluated).externals == (view, whole)
    first, second = must_claim(evaluated.db), must_claim(evaluated.db)
    assert (first.kind, first.purpose, first.indices, first.seed_key) == ("judge", Purpose.EXTERNAL, (3, 100), "")
    assert second.indices == tuple(range(500))
    assert [one.x_adv_sha256 for one in second.examples] == [whole.submitted.examples_sha256]
    assert points_to_attack(evaluated.db, PLACE) == 500


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "points that descend": ({"points": (100, 3)}, "points"),
    "a point twice": ({"points": (3, 3)}, "points"),
    "no points": ({"points": ()}, "points"),
    "a point below 0": ({"points": (-1, 3)}, "points"),
    "a point beyond the board's": ({"points": (3, 500)}, "points"),
    "a claim above 1": ({"claimed_robust_accuracy": 1.0001}, "claimed_robust_accuracy"),
    "a claim below 0": ({"claimed_robust_accuracy": -0.0001}, "claimed_robust_accuracy"),
    "a claim that is no number": ({"claimed_robust_accuracy": float("nan")}, "claimed_robust_accuracy"),
    "a claim without end": ({"claimed_robust_accuracy": float("inf")}, "claimed_robust_accuracy"),
    "no word of how": ({"attack": " \n ", "title": "", "authors": "Jane Doe"}, "attack"),
    "a long story": ({"attack": "x" * 2_001}, "attack"),
    "an address of a script": ({"paper_url": "javascript:alert(1)"}, "paper_url"),
    "a file that is not there": ({"examples_sha256": "0" * 64}, "examples_sha256"),
    "a path": ({"examples_sha256": "../../etc/passwd"}, "examples_sha256"),
}


def test_refuses_and_names_the_field(evaluated: Services) -> None:
    """One entry for all of them: nothing that is refused leaves anything behind."""
    for kind, (changes, field) in REFUSED.items():
        with pytest.raises(InvalidSubmission) as caught:
            send_examples(evaluated, NAME, **changes)  # type: ignore[arg-type]  # wrong on purpose
        assert caught.value.detail is not None, kind
        assert caught.value.detail.field == field, kind
    fields: dict[str, object] = {"examples_sha256": evaluated.blobs.put(examples("digits", 3)), "attack": "by hand"}
    for points in ((3, 100), None):
        with pytest.raises(InvalidExamples):
            submit_external(
                evaluated.db,
                evaluated.blobs,
                PLACE,
                NewExternal.model_validate(fields | {"points": points}),
                Rules(),
            )
    assert list_externals(evaluated.db, PLACE, 10) == ()
    assert claim(evaluated.db, a_worker(), LEASE_MS) is None
    for claimed in (0.0, 1.0):
        send_examples(evaluated, NAME, claimed_robust_accuracy=claimed)


def test_before_the_file_is_sent_the_same_is_refused(evaluated: Services) -> None:
    def ask(**changes: object) -> int:
        new = NewExternal.model_validate({"examples_sha256": "", "attack": "by hand"} | changes)
        return require_external_room(evaluated.db, PLACE, new, "jane")

    assert (ask(), ask(points=(1, 2, 3))) == (500, 3)
    for kind, (changes, field) in REFUSED.items():
        if field != "examples_sha256":
            with pytest.raises(InvalidSubmission) as caught:
                ask(**changes)
            assert caught.value.detail is not None, kind
            assert caught.value.detail.field == field, kind


def test_only_entries_that_were_evaluated_here_take_examples(services: Services) -> None:
    with services.db.transaction() as session:
        session.add(board_entry("Reported", 0.5))
    running(services.db, services.blobs, NAME)
    new = NewExternal(examples_sha256=services.blobs.put(examples("digits", 500)), attack="by hand")
    places: tuple[tuple[tuple[str, str, str], type[Exception]], ...] = (
        (("digits", "L2", "Reported"), Conflict),
        (PLACE, NotFound),  # it is still on its way
        (("digits", "L2", NAME), NotFound),
        (("digits", "L9", NAME), NotFound),
        (("mnist", "Linf", NAME), NotFound),
    )
    for place, error in places:
        with pytest.raises(error):
            submit_external(services.db, services.blobs, place, new, Rules())
        with pytest.raises(error):
            require_external_room(services.db, place, new, "")
        with pytest.raises(error):
            points_to_attack(services.db, place)
    assert list_externals(services.db, ("digits", "L2", "Reported"), 10) == ()
    with pytest.raises(NotFound):
        list_externals(services.db, PLACE, 10)
    with pytest.raises(NotFound):
        get_external(services.db, "0" * 20)


def send_as(services: Services, submitter: str) -> ExternalView:
    new = NewExternal(examples_sha256=services.blobs.put(examples("digits", 500)), attack="by hand")
    return submit_external(services.db, services.blobs, PLACE, new, Rules(), submitter=submitter)


def test_one_submitter_does_not_fill_the_queue(evaluated: Services) -> None:
    outcomes = at_once(*[partial(send_as, evaluated, "jane")] * (MAX_OPEN_EACH + 2))
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    assert [type(error) for error in errors] == [QueueFull, QueueFull]
    assert len(list_externals(evaluated.db, PLACE, 100)) == MAX_OPEN_EACH
    new = NewExternal(examples_sha256="", attack="by hand")
    with pytest.raises(QueueFull, match="of your evaluations"):
        require_external_room(evaluated.db, PLACE, new, "jane")
    assert require_external_room(evaluated.db, PLACE, new, "joe") == 500
    send_as(evaluated, "joe")
    (first, *_) = reversed(list_externals(evaluated.db, PLACE, 100))
    conclude(evaluated, first, holding([100]))
    send_as(evaluated, "jane")
    with pytest.raises(QueueFull):
        send_as(evaluated, "jane")


def fill_up(services: Services, view: ExternalView) -> None:
    """Let as many evaluations wait as the service takes on, all like the one that is given."""
    with services.db.transaction() as session:
        external = session.get_one(ExternalRow, view.id)
        run = session.get_one(RunRow, external.run_id)
        for number in range(MAX_OPEN - 1):
            session.add(another := copied(run, id=run.id + 1 + number))
            session.flush()
            session.add(copied(external, id=f"{number:020x}", run_id=another.id))


def copied(row: Row, **changes: object) -> Row:
    """A row like another, but for what is changed."""
    columns = {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}
    return type(row)(**(columns | changes))


def test_all_together_do_not_fill_it_either(evaluated: Services) -> None:
    first = send_as(evaluated, "")
    fill_up(evaluated, first)
    for name in ("", "jill"):
        with pytest.raises(QueueFull, match="by others are waiting"):
            send_as(evaluated, name)
    with evaluated.db.transaction() as session:
        session.delete(session.get_one(ExternalRow, f"{0:020x}"))
    assert require_external_room(evaluated.db, PLACE, NewExternal(examples_sha256="", attack="x"), "jill") == 500
    conclude(evaluated, first, {})  # what is refused waits no longer


ROBUST = 440 / 500
"""What the entry's own evaluation has left."""
NONE_RIGHTLY = "No point is broken that the model classifies correctly. "


def tally(holds: int, correct: int, over: int = 0, outside: int = 0, not_finite: int = 0) -> str:
    """What every refusal says of the examples."""
    sent = holds + correct + over + outside + not_finite
    return (
        f"Of {sent} examples {holds} hold, {correct} are classified correctly, "
        f"{over} are farther away than the budget allows, {outside} have values outside [0, 1] and {not_finite} have "
        "values that are not finite; "
    )


COMPLAINTS: dict[str, tuple[dict[str, object], dict[int, Verdict], str, float]] = {
    "nothing breaks, and nothing is claimed": (
        {},
        {},
        NONE_RIGHTLY + tally(0, 500) + "alone they leave 0.9800. Send examples within the budget",
        0.98,
    ),
    "nothing breaks, and the standard accuracy is claimed": (
        {"claimed_robust_accuracy": 0.98},
        holding(range(10)),
        NONE_RIGHTLY + tally(10, 490),
        0.98,
    ),
    "nothing breaks, and nothing could be less": (
        {"claimed_robust_accuracy": 1.0},
        {100: Verdict.OVER_BUDGET, 101: Verdict.OUTSIDE_BOX, 102: Verdict.NOT_FINITE, 103: Verdict.NOT_FINITE},
        NONE_RIGHTLY + tally(0, 496, over=1, outside=1, not_finite=2),
        0.98,
    ),
    "points that are misclassified anyway are named": (
        {"points": (3, 9)},
        holding([3, 9]),
        NONE_RIGHTLY + tally(2, 0),
        0.98,
    ),
    "a claim that is too low": (
        {"claimed_robust_accuracy": 0.5},
        holding(range(200)) | {200: Verdict.OVER_BUDGET},
        f"The claim of 0.5000 does not hold. {tally(200, 299, over=1)}alone they leave 0.6000. Claim 0.6000, or",
        0.6,
    ),
    "a claim for named points that is too low": (
        {"points": (100, 101), "claimed_robust_accuracy": 0.9},
        holding([100, 101]),
        f"The claim of 0.9000 does not hold. {tally(2, 0)}alone they leave 0.9760. Claim 0.9760, or nothing.",
        0.976,
    ),
    "a named point whose example does not hold": (
        {"points": (100, 101, 102), "claimed_robust_accuracy": 0.99},
        holding([100, 102]) | {101: Verdict.OUTSIDE_BOX},
        f"Not every example for the named points holds. {tally(2, 0, outside=1)}alone they leave 0.9760. Name only",
        0.976,
    ),
    "nothing new": (
        {},
        holding(range(60)),
        f"No point is broken that was not broken before. {tally(60, 440)}alone they leave 0.8800. Claim what they",
        ROBUST,
    ),
}


def test_a_claim_that_does_not_hold_is_refused_with_its_counts(evaluated: Services) -> None:
    """One entry for all of them: what is refused changes nothing."""
    before = model(evaluated)
    for kind, (changes, verdicts, reason, left) in COMPLAINTS.items():
        view = conclude(evaluated, send_examples(evaluated, NAME, **changes), verdicts)  # type: ignore[arg-type]
        assert view.state is ExternalState.REFUSED, kind
        assert view.reason.startswith(reason), view.reason
        points = 500 if view.submitted.points is None else len(view.submitted.points)
        assert sum(view.counts.values()) == points, kind
        for verdict in Verdict:
            by_default = verdict is Verdict.CLASSIFIED_CORRECTLY
            counted = points - len(verdicts) if by_default else list(verdicts.values()).count(verdict)
            assert view.counts[verdict] == counted, kind
        assert view.robust_accuracy == pytest.approx(left), kind
        assert view.newly_broken == 0, kind
        assert view.concluded_ms is not None, kind
        after = model(evaluated)
        assert (after.row, after.history) == (before.row, before.history), kind


HELD: dict[str, tuple[dict[str, object], Sequence[int], int]] = {
    "one point more": ({}, [100], 1),
    "known ones too": ({}, range(5, 105), 45),
    "all named points": ({"points": (3, 20, 499)}, [3, 20, 499], 1),
    "named points that are known": ({"points": (20, 30)}, [20, 30], 0),
    "exactly what is claimed": ({"claimed_robust_accuracy": 0.6}, range(200), 140),
    "more than is claimed": ({"claimed_robust_accuracy": 0.9}, range(200), 140),
    "a claim of what is known": ({"claimed_robust_accuracy": 0.9}, range(55), 0),
}


@pytest.mark.parametrize("kind", HELD)
def test_a_claim_that_holds_counts(evaluated: Services, kind: str) -> None:
    changes, broken, newly = HELD[kind]
    view = send_examples(evaluated, NAME, title="A title", authors="Jane Doe", **changes)  # type: ignore[arg-type]
    view = judge_examples(evaluated, view, broken)
    left = 1 - len({*range(10), *broken}) / 500
    assert (view.state, view.newly_broken, view.robust_accuracy) == (ExternalState.VERIFIED, newly, left)
    assert f"leave {left:.4f}, and {newly} of the points" in view.reason
    after = model(evaluated)
    source = f"Jane Doe: A title (external evaluation {view.id})"
    assert [(item.source, item.newly_broken) for item in after.history[1:]] == [(source, newly)]
    assert after.row.robust_accuracy == ROBUST
    assert after.row.best_known_robust_accuracy == (440 - newly) / 500
    assert after.row.best_known_source == "Evaluated here, standard-1" + (f" + {source}" if newly else "")


def test_numbers_are_attributed(evaluated: Services) -> None:
    sources: list[tuple[dict[str, object], str]] = [
        ({"attack": "PGD, by hand\nwith 20 restarts"}, "PGD, by hand"),
        ({"attack": "x" * 100}, "x" * 80),
        ({"attack": "PGD", "title": "A title"}, "A title"),
        ({"attack": "PGD", "title": "A title", "authors": "Jane Doe"}, "Jane Doe: A title"),
        ({"attack": "PGD", "authors": "Jane Doe"}, "Jane Doe: PGD"),
    ]
    expected = ["Evaluated here, standard-1"]
    for number, (fields, source) in enumerate(sources):
        view = send_examples(evaluated, NAME, **fields)  # type: ignore[arg-type]
        judge_examples(evaluated, view, [100 + number])
        expected.append(f"{source} (external evaluation {view.id})")
    assert [item.source for item in model(evaluated).history] == expected
    text = " + ".join(expected)
    assert len(text) > 300
    assert model(evaluated).row.best_known_source == f"{text[:300]}…"


@given(st.integers(1, 10_000), st.data())
def test_what_a_refusal_proposes_is_the_least_claim_that_holds(points: int, data: st.DataObject) -> None:
    """Claims are made in percent with two decimals, and half of the last one is not held against anybody."""
    left = 1 - data.draw(st.integers(0, points)) / points
    proposed = _claimable(left)
    assert proposed == round(proposed, 4)
    assert left <= proposed + 1e-9
    assert proposed - left < 1e-4 - 1e-9


def test_what_a_refusal_proposes_is_what_is_left(evaluated: Services) -> None:
    """Of 500 points a share of two decimals in percent is left, whatever becomes of it in binary numbers."""
    for broken, left in ((91, 0.818), (204, 0.592), (499, 0.002)):
        for claimed, state in ((0.0, ExternalState.REFUSED), (left, ExternalState.VERIFIED)):
            view = send_examples(evaluated, NAME, claimed_robust_accuracy=claimed)
            view = conclude(evaluated, view, holding(range(broken)))
            assert view.state is state
            proposed = f"alone they leave {left:.4f}. Claim {left:.4f}, or nothing."
            assert view.reason.endswith(proposed) == (state is ExternalState.REFUSED)


def test_a_claim_may_be_rounded(evaluated: Services) -> None:
    for below, state in ((6e-5, ExternalState.REFUSED), (4e-5, ExternalState.VERIFIED)):
        view = send_examples(evaluated, NAME, claimed_robust_accuracy=0.6 - below)
        assert conclude(evaluated, view, holding(range(200))).state is state


def test_nothing_counts_but_what_holds(evaluated: Services) -> None:
    """Beside one example that holds, all others are of the same kind."""
    others = (Verdict.OVER_BUDGET, Verdict.OUTSIDE_BOX, Verdict.NOT_FINITE, Verdict.CLASSIFIED_CORRECTLY)
    for number, verdict in enumerate(others, start=1):
        view = send_examples(evaluated, NAME)
        view = conclude(evaluated, view, dict.fromkeys(range(60, 500), verdict) | holding([100 + number]))
        assert (view.state, view.newly_broken, view.robust_accuracy) == (ExternalState.VERIFIED, 1, 1 - 11 / 500)
        assert model(evaluated).row.best_known_robust_accuracy == (440 - number) / 500


def changed(verdicts: Verdicts, column: str, value: object) -> bytes:
    content = verdicts.model_dump(mode="json")
    content[column][100] = value
    return canonical_json(content)


HOSTILE: dict[str, Callable[[Claim], bytes]] = {
    "farther away than the budget": lambda work: changed(judged(work, holding([100])), "distance", 0.3),
    "at no distance": lambda work: changed(judged(work, holding([100])), "distance", None),
    "at less than none": lambda work: changed(judged(work, holding([100])), "distance", -0.1),
    "at a distance that is no number": lambda work: judged(work, holding([100])).to_bytes().replace(b"0.1", b"NaN"),
    "a verdict that is none": lambda work: changed(judged(work, {}), "verdict", "breaks"),
    "about another point": lambda work: changed(judged(work, {}), "index", 500),
    "with a greater budget": lambda work: judged(work, holding([100])).model_copy(update={"epsilon": "1"}).to_bytes(),
    "in another norm": lambda work: judged(work, holding([100])).model_copy(update={"norm": "L2"}).to_bytes(),
    "about another model": lambda work: (
        judged(work, holding([100])).model_copy(update={"checkpoint_sha256": "0" * 64}).to_bytes()
    ),
}


def test_hostile_verdicts_change_nothing(evaluated: Services) -> None:
    view = send_examples(evaluated, NAME)
    work = must_claim(evaluated.db)
    for kind, verdicts in HOSTILE.items():
        with pytest.raises(EvaluationFailed):
            finish_judge(evaluated.db, evaluated.blobs, work, [verdicts(work)], [work.indices])
        assert get_external(evaluated.db, view.id) == view, kind
    finish_judge(evaluated.db, evaluated.blobs, work, [judged(work, holding([100])).to_bytes()], [work.indices])
    assert get_external(evaluated.db, view.id).state is ExternalState.VERIFIED


def test_a_judge_that_fails_is_the_services_trouble(evaluated: Services) -> None:
    view = send_examples(evaluated, NAME)
    before = model(evaluated)
    for _ in range(3):
        fail_attempt(evaluated.db, must_claim(evaluated.db), "no more memory", "service")
    failed = get_external(evaluated.db, view.id)
    assert (failed.state, failed.reason, failed.counts) == (ExternalState.FAILED, "no more memory", {})
    assert failed.concluded_ms is not None
    assert claim(evaluated.db, a_worker(), LEASE_MS) is None
    assert model(evaluated).row == before.row


def test_is_concluded_once(evaluated: Services) -> None:
    view = send_examples(evaluated, NAME)
    work = must_claim(evaluated.db)
    finish_judge(evaluated.db, evaluated.blobs, work, [judged(work, holding([100])).to_bytes()], [work.indices])
    before, seen = model(evaluated), get_external(evaluated.db, view.id)
    for broken in ([], [101]):
        conclude_external(evaluated.db, evaluated.blobs, work.run_id, judged(work, holding(broken)))
    assert (model(evaluated), get_external(evaluated.db, view.id)) == (before, seen)


class Overtaken(LocalBlobs):
    """Blobs at whose second reading somebody else comes first."""

    def __init__(self, blobs: LocalBlobs, meanwhile: Callable[[], object]) -> None:
        super().__init__(blobs.root, free_floor_bytes=0)
        self.reads, self.meanwhile = 0, meanwhile

    def read(self, sha256: str) -> bytes:
        self.reads += 1
        if self.reads == 2:
            self.meanwhile()
        return super().read(sha256)


@pytest.mark.parametrize(
    ("others", "claimed", "state", "newly"),
    [
        ([100, 101], None, ExternalState.REFUSED, 0),
        ([100], None, ExternalState.VERIFIED, 1),
        ([100, 101], 0.98, ExternalState.VERIFIED, 0),
    ],
    ids=["all", "some", "claimed"],
)
def test_what_somebody_else_breaks_meanwhile_is_not_new(
    evaluated: Services, blobs: LocalBlobs, others: list[int], claimed: float | None, state: ExternalState, newly: int
) -> None:
    second = send_examples(evaluated, NAME, claimed_robust_accuracy=claimed)
    late = must_claim(evaluated.db)
    first = send_examples(evaluated, NAME)
    slow = Overtaken(blobs, lambda: judge_examples(evaluated, first, others))
    conclude_external(evaluated.db, slow, late.run_id, judged(late, holding([100, 101])))
    assert slow.reads > 2
    view = get_external(evaluated.db, second.id)
    assert (view.state, view.newly_broken) == (state, newly)
    verified = 1 + (state is ExternalState.VERIFIED)
    after = model(evaluated)
    assert [item.newly_broken for item in after.history[1:]] == [len(others), newly][:verified]
    assert after.row.best_known_robust_accuracy == 438 / 500
    with evaluated.db.snapshot() as session:
        row = session.get_one(ExternalRow, second.id)
        assert row.concluded_ms is not None
