"""A submission goes only where the table of transitions lets it, and every step is on record."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from benchmark.errors import Conflict, NotFound
from store.blobs import LocalBlobs
from store.database import Database
from store.states import LEGAL, move
from store.submissions import get_submission, submit
from store.tables import SubmissionRow
from store.views import State
from tests.store.material import Rules, new_submission

# Written out once more, so that a slip in the table is seen.
STEPS = {
    "received": "checking failed cancelled",
    "checking": "rejected queued failed cancelled",
    "queued": "running failed cancelled",
    "running": "evaluated rejected failed cancelled",
    "evaluated": "published rejected failed",
    "published": "withdrawn",
    "withdrawn": "published",
}


def test_every_step_is_taken_or_refused(db: Database, blobs: LocalBlobs, rules: Rules) -> None:
    submission_id = submit(db, blobs, new_submission(blobs), rules).id
    for present, to in itertools.product(State, State):
        with db.transaction() as session:
            session.get_one(SubmissionRow, submission_id).state = present
        before = get_submission(db, submission_id)
        if to in STEPS.get(present, "").split():
            with db.transaction() as session:
                move(session, submission_id, to, reason="because", fault="model")
            after = get_submission(db, submission_id)
            assert (after.state, after.reason, after.fault) == (to, "because", "model")
            assert [step.state for step in after.transitions[len(before.transitions) :]] == [to]
        else:
            with pytest.raises(Conflict), db.transaction() as session:
                move(session, submission_id, to)
            assert get_submission(db, submission_id) == before


def test_every_state_has_a_place_in_the_table() -> None:
    assert set(LEGAL) == set(State)


def test_the_table_in_the_documentation_is_this_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*)\|", text, flags=re.MULTILINE)
    written = {state: frozenset(re.findall(r"`(\w+)`", after)) for state, after in rows if state in set(State)}
    assert written == dict(LEGAL)


def test_nobody_can_be_moved(db: Database) -> None:
    with pytest.raises(NotFound), db.transaction() as session:
        move(session, "nobody", State.FAILED)
