"""Between evaluated and published: whoever is killed there, the result waits, and is published once and whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from store.actors import Actor, Role
from store.boards import get_model
from store.moderation import approve
from store.submissions import get_submission
from store.tables import AuditRow, EntryRow
from store.views import Badge, State
from tests.faults.cases import USUAL
from tests.faults.evidence import difference
from tests.faults.programs import ROOT
from tests.faults.stack import Stack
from tests.store.deciders import person

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

KILLED = """
import os, signal, sys
from pathlib import Path
import store.publication
from store.actors import Actor
from store.blobs import LocalBlobs
from store.database import Database
from store.moderation import approve

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(store.publication, sys.argv[1], die)
approve(Database(sys.argv[2]), LocalBlobs(Path(sys.argv[3]), 0), sys.argv[4], Actor.model_validate_json(sys.argv[5]))
"""
"""Approve, and die at the first call of a function of the transaction that publishes."""


@pytest.fixture(scope="module")
def strict() -> Iterator[Stack]:
    """A service on which maintainers must agree to everything."""
    with Stack(settings={"APPROVAL": "on"}) as stack:
        yield stack


def die_while_approving(stack: Stack, submission_id: str, who: Actor, at: str) -> None:
    arguments = [at, stack.postgres.url, str(stack.directory / "var" / "blobs"), submission_id, who.model_dump_json()]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert killed.returncode == -9


def test_a_result_that_waits_outlives_everybody_and_is_published_once(strict: Stack) -> None:
    maintainer = person(strict.db, "maintainer", Role.MAINTAINER)
    submission_id = strict.submit(USUAL)
    strict.wait(lambda: strict.state(submission_id) is State.EVALUATED, "the end of the evaluation")
    for program in (strict.service, strict.sweeper, *strict.workers):
        program.kill()
    strict.postgres.kill()
    strict.mend()
    for at in ("set_names", "remember", "move"):
        die_while_approving(strict, submission_id, maintainer, at)
        strict.wait(lambda: get_submission(strict.db, submission_id).rests, "the end of what was killed")
    with strict.db.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(EntryRow).where(EntryRow.badge == "evaluated_here")) == 0
        assert session.scalar(select(AuditRow.id).where(AuditRow.action == "approve")) is None
    name = approve(strict.db, strict.blobs, submission_id, maintainer).submission.name
    assert get_model(strict.db, strict.blobs, "digits", "Linf", name).row.badge is Badge.EVALUATED
    with Stack() as other:
        expected = other.undisturbed(USUAL)
    assert difference(strict.evidence(submission_id), expected) == ""
    assert strict.wrongs(submission_id) == []
