"""Two at once: whatever one of them does in the middle of the other, nothing is lost, doubled or stuck."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import pytest
from sqlalchemy import Table, func, select

from benchmark.errors import Conflict, GauntletError
from store.blobs import LocalBlobs
from store.claims import MAX_ATTEMPTS, Claim, beat, claim, fail_attempt, release, release_worker
from store.database import Database
from store.errors import StaleClaim
from store.intervention import requeue
from store.outcomes import finish_check, finish_judge, finish_shard
from store.states import LEGAL, OPEN
from store.submissions import cancel, submit
from store.sweeping import sweep
from store.tables import (
    Base,
    EntryHistoryRow,
    EntryRow,
    ReportRow,
    RunRow,
    ShardRow,
    SubmissionRow,
    TransitionRow,
)
from store.views import Purpose, State
from tests.store.interleaving import interleaved
from tests.store.material import (
    LEASE_MS,
    Rules,
    a_worker,
    check,
    must_claim,
    new_submission,
    running,
    shard_report,
    verdicts_on,
)

MOST_STEPS = 60
REPORTS: dict[tuple[str, int, int], bytes] = {}
"""By the protocol, the seed and the first point of their shard: what one race reports, all others do."""


@dataclass
class Scene:
    """A submission on its way, and those who hold a part of its work."""

    db: Database
    blobs: LocalBlobs
    submission_id: str
    held: list[Claim]


@dataclass(frozen=True)
class Situation:
    """Where a race begins.

    Args:
        shards: whether the check is over; then there are two shards.
        held: pieces of work that somebody has claimed.
        done: pieces of work that are finished.
        last_attempt: whether what is held is tried for the last time.
        run_out: how many of the leases have run out.
        judging: whether the shards are done, and what is held is the judging of their examples.
        published: whether all of that is done and published, and what is held is a closer look at the entry.
    """

    shards: bool
    held: int
    done: int = 0
    last_attempt: bool = False
    run_out: int = 0
    judging: bool = False
    published: bool = False


SITUATIONS = {
    "check waiting": Situation(shards=False, held=0),
    "check held": Situation(shards=False, held=1),
    "shards waiting": Situation(shards=True, held=0),
    "both shards held": Situation(shards=True, held=2),
    "the last shard held": Situation(shards=True, held=1, done=1),
    "a lease run out": Situation(shards=True, held=2, run_out=1),
    "last attempts": Situation(shards=True, held=2, last_attempt=True),
    "last attempts run out": Situation(shards=True, held=2, last_attempt=True, run_out=2),
    "the judge held": Situation(shards=True, held=1, judging=True),
    "the judge waiting": Situation(shards=True, held=0, judging=True),
    "a closer look": Situation(shards=True, held=1, published=True),
    "a closer look given up": Situation(shards=True, held=1, last_attempt=True, run_out=1, published=True),
}


@dataclass(frozen=True)
class Act:
    """What somebody does.

    Args:
        do: how.
        held: how many pieces of work that are held it speaks of.
        refused: the error by which they may learn that they came too late.
    """

    do: Callable[[Scene], object]
    held: int = 0
    refused: type[GauntletError] | None = None


ACTS = {
    "claim": Act(lambda it: claim(it.db, a_worker("another"), LEASE_MS)),
    "cancel": Act(lambda it: cancel(it.db, it.submission_id), refused=Conflict),
    "finish": Act(lambda it: finish(it, it.held[0]), 1, StaleClaim),
    "finish the other": Act(lambda it: finish(it, it.held[1]), 2, StaleClaim),
    "hand in and vanish": Act(lambda it: hand_in(it, it.held[0]), 1, StaleClaim),
    "fail": Act(lambda it: fail_attempt(it.db, it.held[0], "it broke", "service"), 1, StaleClaim),
    "fail the other": Act(lambda it: fail_attempt(it.db, it.held[1], "it broke", "service"), 2, StaleClaim),
    "beat": Act(lambda it: beat(it.db, it.held[0], LEASE_MS), 1),
    "release": Act(lambda it: release(it.db, it.held[0]), 1, StaleClaim),
    "release all": Act(lambda it: release_worker(it.db, "w")),
    "sweep": Act(lambda it: sweep(it.db, it.blobs)),
    "requeue": Act(lambda it: requeue(it.db, it.held[0].shard_id), 1, Conflict),
}

INTERRUPTED = ("claim", "cancel", "finish", "fail", "release all", "sweep", "requeue")

# Who could take each other's rows, wait crosswise or decide by what is no longer so.
FEW = 6
"""Of the dangerous pairs, those that are tried in every run."""
DANGEROUS = [
    ("shards waiting", "claim", "cancel"),
    ("check held", "finish", "cancel"),
    ("check held", "cancel", "finish"),
    ("check held", "sweep", "finish"),
    ("both shards held", "finish", "finish the other"),
    ("the last shard held", "finish", "cancel"),
    ("the last shard held", "finish", "sweep"),
    ("the last shard held", "sweep", "finish"),
    ("the last shard held", "sweep", "hand in and vanish"),
    ("a lease run out", "sweep", "sweep"),
    ("a lease run out", "sweep", "beat"),
    ("last attempts", "fail", "fail the other"),
    ("last attempts run out", "sweep", "sweep"),
    ("the judge held", "finish", "cancel"),
    ("the judge held", "finish", "sweep"),
    ("the judge held", "sweep", "hand in and vanish"),
    ("the judge waiting", "claim", "claim"),
    ("a closer look", "finish", "finish"),
    ("check held", "requeue", "finish"),
    ("check held", "finish", "requeue"),
    ("the last shard held", "requeue", "finish"),
    ("the last shard held", "finish", "requeue"),
    ("the last shard held", "requeue", "beat"),
    ("the judge held", "requeue", "finish"),
    ("a lease run out", "sweep", "requeue"),
    ("both shards held", "requeue", "cancel"),
]


def all_pairs() -> list[tuple[str, str, str]]:
    """Every act in the middle of every one that touches more than a row, in every situation that has what they need."""
    return [
        (name, first, second)
        for name, situation in SITUATIONS.items()
        for first, second in itertools.product(INTERRUPTED, ACTS)
        if max(ACTS[first].held, ACTS[second].held) <= situation.held
    ]


@pytest.mark.parametrize(
    ("situation", "first", "second"),
    [*DANGEROUS[:FEW], *(pytest.param(*pair, marks=pytest.mark.slow) for pair in DANGEROUS[FEW:])],
)
def test_who_comes_in_between_does_no_harm(
    db: Database, blobs: LocalBlobs, situation: str, first: str, second: str
) -> None:
    race(db, blobs, situation, first, second)


@pytest.mark.slow
@pytest.mark.parametrize(("situation", "first", "second"), sorted(set(all_pairs()) - set(DANGEROUS)))
def test_nobody_who_comes_in_between_does_harm(
    on_postgresql: Database, blobs: LocalBlobs, situation: str, first: str, second: str
) -> None:
    """All others on PostgreSQL alone: on SQLite the transactions of writers come one after the other anyway."""
    race(on_postgresql, blobs, situation, first, second)


def race(db: Database, blobs: LocalBlobs, situation: str, first: str, second: str) -> None:
    """Let the second come in before every statement of the first, each time from the beginning."""
    scene = set_up(db, blobs, SITUATIONS[situation])
    beginning = all_rows(db)
    for step in range(MOST_STEPS):
        acts = ACTS[first], ACTS[second]
        one, two = interleaved(db, partial(acts[0].do, scene), partial(acts[1].do, scene), step)
        for act, outcome in zip(acts, (one, two), strict=True):
            if outcome.error is not None and type(outcome.error) is not act.refused:
                raise outcome.error
        require_sound(scene)
        if one.steps <= step:
            return
        put_back(db, beginning)
    pytest.fail("the first came to no end")


def set_up(db: Database, blobs: LocalBlobs, situation: Situation) -> Scene:
    if situation.shards:
        view = running(db, blobs, shard_points=250)
    else:
        view = submit(db, blobs, new_submission(blobs), Rules())
    scene = Scene(db, blobs, view.id, [])
    if situation.judging or situation.published:
        for work in (must_claim(db), must_claim(db)):
            finish(scene, work)
    if situation.published:
        finish(scene, must_claim(db))
    scene.held += (must_claim(db) for _ in range(situation.held + situation.done))
    for _ in range(situation.done):
        finish(scene, scene.held.pop())
    with db.transaction() as session:
        for i, work in enumerate(scene.held):
            shard = session.get_one(ShardRow, work.shard_id)
            if situation.last_attempt:
                shard.attempt = MAX_ATTEMPTS
                scene.held[i] = work.model_copy(update={"attempt": MAX_ATTEMPTS})
            if i < situation.run_out:
                shard.lease_until = 1
    return scene


def finish(scene: Scene, work: Claim) -> State:
    if work.kind == "check":
        return finish_check(scene.db, work, [check()], parameters=1, shard_points=250)
    if work.kind == "judge":
        return finish_judge(scene.db, scene.blobs, work, *verdicts_on(LocalBlobs(scene.blobs.root, 0), work))
    key = work.protocol, work.seed, work.first
    if key not in REPORTS:
        looks_closer = work.purpose is Purpose.FOLLOW_UP
        broken = {"misclassified": 0, "broken": 3, "by_square": 2} if looks_closer else {"by_square": 20}
        REPORTS[key] = shard_report(work, **broken).to_bytes()
    return finish_shard(scene.db, scene.blobs, work, REPORTS[key])


class Vanished(Exception):
    """The process ends here."""


class Unread(LocalBlobs):
    """Blobs of which nothing can be read any more: whoever tries is gone."""

    def read(self, sha256: str) -> bytes:
        raise Vanished


def hand_in(scene: Scene, work: Claim) -> None:
    """Finish, but vanish before the shards are merged."""
    with suppress(Vanished):
        finish(replace(scene, blobs=Unread(scene.blobs.root, 0)), work)


def require_sound(scene: Scene) -> None:
    """Check what must hold of the rows whenever nobody is at work on them."""
    with scene.db.snapshot() as session:
        state = State(session.get_one(SubmissionRow, scene.submission_id).state)
        steps = [State(step) for step in session.scalars(select(TransitionRow.state).order_by(TransitionRow.id))]
        shards = session.scalars(select(ShardRow)).all()
        look = session.scalars(select(RunRow).where(RunRow.purpose == Purpose.FOLLOW_UP)).one_or_none()
        entries, reports, history = (
            session.scalar(select(func.count()).select_from(table)) for table in (EntryRow, ReportRow, EntryHistoryRow)
        )
    assert (steps[0], steps[-1]) == (State.RECEIVED, state)
    assert all(after in LEGAL[before] for before, after in itertools.pairwise(steps))
    assert all(shard.lease_token is not None for shard in shards if shard.state == "running")
    assert all(shard.lease_token is None for shard in shards if shard.state == "queued")
    assert all(shard.attempt <= MAX_ATTEMPTS for shard in shards)

    closer_look = None if look is None else look.id
    ends = {shard.state for shard in shards if shard.run_id != closer_look}
    if state in OPEN:
        assert ends & {"queued", "running"} or (ends == {"done"} and state is State.RUNNING), "nothing is left to do"
    else:
        assert not ends & {"queued", "running"}, f"{state}, and there is still work"
    assert ends != {"done"} or state is not State.FAILED, "given up with everything done"

    judges = [shard for shard in shards if shard.kind == "judge"]
    assert len({shard.run_id for shard in judges}) == len(judges), "judged twice"
    of_the_look = [shard for shard in shards if shard.run_id == closer_look]
    given_up = any(shard.state == "failed" for shard in of_the_look)
    looked = look is not None and look.concluded and not given_up
    # Between the last shard and its judge, and between that and the report, nobody may be left but the sweeper.
    unfinished = any(shard.state in {"queued", "running"} for shard in of_the_look)
    handed_in = bool(of_the_look) and all(shard.state == "done" for shard in of_the_look)
    assert look is None or looked or given_up or unfinished or handed_in
    assert (entries, closer_look is not None) == ((1, True) if state is State.PUBLISHED else (0, False))
    assert reports == history
    assert reports in ((1, 1 + looked) if entries else (0,))


def all_rows(db: Database) -> dict[Table, list[dict[str, object]]]:
    """Return what is in the tables, those first that others refer to."""
    with db.snapshot() as session:
        return {
            table: [dict(row) for row in session.execute(select(table)).mappings()]
            for table in Base.metadata.sorted_tables
        }


def put_back(db: Database, beginning: dict[Table, list[dict[str, object]]]) -> None:
    """Have in the tables what was in them, so that one race begins like the other, and soon."""
    with db.transaction() as session:
        for table in reversed(beginning):
            session.execute(table.delete())
        for table, rows in beginning.items():
            if rows:
                session.execute(table.insert(), rows)
