"""Both engines give the same report of the same submission, by the whole protocol, byte for byte."""

from __future__ import annotations

from contextlib import closing

import pytest

from gauntlet.client import Client
from model_zoo.registry import bundled_checkpoint
from store.blobs import LocalBlobs
from store.database import Database
from store.submissions import get_submission
from store.views import State
from tests.faults.cases import WHOLE
from tests.faults.evidence import FINAL, evidence, wrongs
from tests.faults.stack import Stack, share_seeds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def test_embedded_and_distributed_give_the_same_report(stack: Stack) -> None:
    """One in SQLite within the service, the other in PostgreSQL by a worker, both killed in the middle."""
    distributed = stack.undisturbed(WHOLE)
    var = stack.directory / "embedded"
    alone = {"VAR_DIR": str(var), "DATABASE_URL": f"sqlite:///{var / 'gauntlet.sqlite'}", "WORKER_CHILDREN": "1"}
    service = stack.program("embedded", "serve", "--port", "0", REDIS_URL=None, **alone)
    try:
        service.said("url")  # the schema exists
        with closing(Database(alone["DATABASE_URL"])) as db:
            share_seeds(db)
        with Client(service.said("url"), timeout=60) as client:
            sha256 = client.upload(bundled_checkpoint(WHOLE.card)).sha256
            submission_id = client.submit(stack.new(WHOLE, sha256)).id
            stack.wait(lambda: client.get_submission(submission_id).progress.attack, "the first attack")
        service.kill()
        service.begin()
        service.said("url")
        with closing(Database(alone["DATABASE_URL"])) as db:
            stack.wait(lambda: get_submission(db, submission_id).state in FINAL, "the result")
            assert get_submission(db, submission_id).state is State.PUBLISHED
            assert wrongs(db, submission_id) == []
            assert evidence(db, LocalBlobs(var / "blobs", 0), submission_id) == distributed
    finally:
        service.kill()
