"""Seeds are committed to before a run and told after it, and nobody can draw again."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.report import CheckOutcome
from store.blobs import LocalBlobs
from store.boards import get_model
from store.claims import fail_attempt
from store.database import Database
from store.migrate import upgrade
from store.outcomes import finish_check, finish_shard
from store.seeds import key_of_run, seed_of_key
from store.services import Services
from store.states import move
from store.submission_views import TOLD
from store.submissions import cancel, get_submission, list_submissions, submit
from store.tables import SEED_SECRET, MetaRow, RunRow
from store.views import LookState, Purpose, SeedView, State
from tests.store.lowered import doubt, judge_examples, look_closer, send_examples
from tests.store.material import (
    Rules,
    check,
    judge,
    must_claim,
    new_submission,
    published,
    running,
    shard_report,
)

HIDDEN = {"key": None, "seed": None}


def key(db: Database, **changes: object) -> str:
    fields: dict[str, object] = {
        "purpose": Purpose.RANKING,
        "protocol": "standard-1",
        "dataset": "digits",
        "threat_model": "Linf",
        "checkpoint_sha256": "0" * 64,
    }
    with db.snapshot() as session:
        return key_of_run(session, **(fields | changes))  # type: ignore[arg-type]  # whichever is changed


def test_equal_files_on_one_board_draw_by_one_key_and_nothing_else_does(db: Database) -> None:
    others: list[dict[str, object]] = [
        {},
        {"purpose": Purpose.FOLLOW_UP},
        {"purpose": Purpose.EXTERNAL},
        {"protocol": "standard-2"},
        {"dataset": "cifar10"},
        {"threat_model": "L2"},
        {"checkpoint_sha256": "1" * 64},
    ]
    keys = [key(db, **other) for other in others]
    assert keys == [key(db, **other) for other in others]
    assert all(len(bytes.fromhex(each)) == 32 for each in keys)
    for one, other in itertools.combinations(keys, 2):
        assert one != other
        assert seed_of_key(one) != seed_of_key(other)


def test_the_secret_makes_the_key(db: Database) -> None:
    with db.transaction() as session:
        row = session.get_one(MetaRow, SEED_SECRET)
        assert len(bytes.fromhex(row.value)) == 32
        message = b"ranking/standard-1/digits/Linf/" + b"0" * 64
        expected = hmac.new(bytes.fromhex(row.value), message, hashlib.sha256).hexdigest()
    assert key(db) == expected
    with db.transaction() as session:
        session.get_one(MetaRow, SEED_SECRET).value = "00" * 32
    assert key(db) != expected


def test_every_service_has_a_secret_of_its_own(empty_database: str, db: Database) -> None:
    upgrade(empty_database)
    other = Database(empty_database)
    assert key(other) != key(db)
    other.close()


@given(st.binary(min_size=32, max_size=32))
def test_the_seed_follows_from_the_key_alone(content: bytes) -> None:
    """As the documentation tells those who check it."""
    seed = seed_of_key(content.hex())
    assert seed == int.from_bytes(hashlib.sha256(b"seed" + content).digest()[:6], "big")
    assert seed < 2**48


def seed(db: Database, submission_id: str) -> SeedView:
    shown = get_submission(db, submission_id).seed
    assert shown is not None
    assert next(view.seed for view in list_submissions(db) if view.id == submission_id) == shown
    return shown


def require_hidden(db: Database, submission_id: str, secret: str) -> None:
    """Check that the commitment is shown and nothing of the key, wherever it might stand."""
    shown = seed(db, submission_id)
    assert shown.model_dump() == {"commitment": hashlib.sha256(bytes.fromhex(secret)).hexdigest()} | HIDDEN
    everything = get_submission(db, submission_id).model_dump_json()
    assert secret not in everything
    assert str(seed_of_key(secret)) not in everything


def test_the_commitment_is_there_from_the_start_and_the_key_is_told_with_the_result(
    db: Database, blobs: LocalBlobs
) -> None:
    view = submit(db, blobs, new_submission(blobs), Rules())
    secret = key(db, checkpoint_sha256=view.submission.checkpoint_sha256)
    assert view.seed == seed(db, view.id)
    require_hidden(db, view.id, secret)
    work = must_claim(db)
    require_hidden(db, view.id, secret)
    finish_check(db, work, [check()], parameters=1, shard_points=250)
    for _ in range(2):
        work = must_claim(db)
        assert (work.seed_key, work.seed) == (secret, seed_of_key(secret))
        finish_shard(db, blobs, work, shard_report(work).to_bytes())
        require_hidden(db, view.id, secret)
    assert judge(db, blobs) is State.PUBLISHED
    told = seed(db, view.id)
    assert view.seed is not None
    assert told == SeedView(commitment=view.seed.commitment, key=secret, seed=seed_of_key(secret))
    assert hashlib.sha256(bytes.fromhex(told.key or "")).hexdigest() == view.seed.commitment
    model = get_model(db, blobs, "digits", "Linf", "Method A")
    assert model.report is not None
    assert model.report.provenance.seed == told.seed
    with db.transaction() as session:
        move(session, view.id, State.WITHDRAWN, reason="by request")
    assert seed(db, view.id) == told


def break_off(db: Database, blobs: LocalBlobs, how: str) -> str:
    """Let a submission come to nothing, and return its id."""
    if how in {"rejected by its check", "no check possible"}:
        view = submit(db, blobs, new_submission(blobs), Rules())
        work = must_claim(db)
        if how == "no check possible":
            fail_attempt(db, work, "no model", "model")
        else:
            finish_check(db, work, [check(outcome=CheckOutcome.REJECTED)])
        return view.id
    view = running(db, blobs)
    if how == "failed":
        for _ in range(3):
            fail_attempt(db, must_claim(db), "no more memory", "service")
    elif how == "cancelled":
        must_claim(db)
        cancel(db, view.id)
    return view.id


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("rejected by its check", State.REJECTED),
        ("no check possible", State.FAILED),
        ("failed", State.FAILED),
        ("cancelled", State.CANCELLED),
    ],
)
def test_the_key_of_a_run_that_broke_off_is_never_told(db: Database, blobs: LocalBlobs, how: str, state: State) -> None:
    """For the same file draws by it again."""
    broken_off = break_off(db, blobs, how)
    assert get_submission(db, broken_off).state is state
    secret = key(db, checkpoint_sha256=blobs.put(b"weights"))
    require_hidden(db, broken_off, secret)
    again = submit(db, blobs, new_submission(blobs, name="Method B"), Rules())
    assert seed(db, again.id) == seed(db, broken_off)
    assert must_claim(db).seed_key == secret
    require_hidden(db, broken_off, secret)


def test_nothing_is_told_in_any_state_on_the_way() -> None:
    assert {State.PUBLISHED, State.WITHDRAWN} == TOLD


def test_the_same_file_brings_no_luckier_seed(db: Database, blobs: LocalBlobs) -> None:
    """Under another name it has the same seed, on another board or as another file another one."""
    changes: list[dict[str, object]] = [
        {"name": "A"},
        {"name": "B", "title": "Once more", "claimed_robust_accuracy": 0.5, "architecture": "tiny-mlp"},
        {"name": "A", "threat_model": "L2"},
        {"name": "C", "checkpoint_sha256": blobs.put(b"weights of another")},
    ]
    views = [submit(db, blobs, new_submission(blobs, **each), Rules()) for each in changes]
    first, same, elsewhere, other = (seed(db, view.id).commitment for view in views)
    assert first == same
    assert len({first, elsewhere, other}) == 3


def test_a_published_key_does_not_tell_another_submission_s_before_its_end(db: Database, blobs: LocalBlobs) -> None:
    told = seed(db, published(db, blobs, "Method A").id)
    view = submit(db, blobs, new_submission(blobs, name="Method B"), Rules())
    assert told.key is not None
    require_hidden(db, view.id, told.key)
    other = submit(db, blobs, new_submission(blobs, name="Method C", threat_model="L2"), Rules())
    assert seed(db, other.id).commitment != told.commitment


def test_runs_that_are_older_than_keys_show_none(db: Database, blobs: LocalBlobs) -> None:
    view = submit(db, blobs, new_submission(blobs), Rules())
    with db.transaction() as session:
        session.query(RunRow).filter_by(submission_id=view.id).update({"seed_key": ""})
    assert get_submission(db, view.id).seed is None


def look_seed(services: Services, state: LookState) -> SeedView:
    (look,) = get_model(services.db, services.blobs, "digits", "Linf", "Method A").looks
    assert look.state is state
    assert look.seed is not None
    return look.seed


def fail_look(services: Services) -> None:
    for _ in range(3):
        fail_attempt(services.db, must_claim(services.db), "no more memory", "service")


@pytest.mark.parametrize(
    ("end", "state"),
    [(lambda services: look_closer(services, broken=1), LookState.DONE), (fail_look, LookState.FAILED)],
)
def test_a_closer_look_has_a_key_of_its_own_told_once_it_is_done(
    services: Services, end: Callable[[Services], None], state: LookState
) -> None:
    view = doubt(services, "Method A")
    ranking = seed(services.db, view.id)
    before = look_seed(services, LookState.QUEUED)
    assert ranking.key is not None  # what is published tells its own key, and nothing of the look's
    assert before.commitment != ranking.commitment
    assert (before.key, before.seed) == (None, None)
    end(services)
    after = look_seed(services, state)
    assert after.commitment == before.commitment
    if state is LookState.FAILED:
        assert after == before
        return
    assert after.key is not None
    assert hashlib.sha256(bytes.fromhex(after.key)).hexdigest() == before.commitment
    assert after.seed == seed_of_key(after.key)


def test_judging_examples_of_others_draws_nothing(services: Services) -> None:
    published(services.db, services.blobs, "Method A")
    before = get_model(services.db, services.blobs, "digits", "Linf", "Method A").submission
    judge_examples(services, send_examples(services, "Method A"), [100])
    assert get_model(services.db, services.blobs, "digits", "Linf", "Method A").submission == before
