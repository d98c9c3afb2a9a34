"""Deleting a checkpoint: who may, when, and what stays."""

from __future__ import annotations

import pytest

from benchmark.errors import Conflict, InvalidSubmission, NotFound
from store.actors import ANYBODY, Actor, Forbidden, Role, SignInNeeded
from store.blobs import LocalBlobs
from store.boards import get_model
from store.checkpoint_deletion import delete_checkpoint, may_delete_checkpoint
from store.database import Database
from store.externals import points_to_attack
from store.quotas import Quotas, count_upload, upload_room
from store.submissions import cancel, get_submission, submit
from store.views import State
from tests.quick_passwords import quick_passwords
from tests.store.material import Rules, new_submission, published
from tests.store.test_accounts import actor, jane

__all__ = ["quick_passwords"]

MAINTAINER = Actor(account_id="0" * 20, name="m", role=Role.MAINTAINER)


def test_the_owner_deletes_it_and_the_evidence_stays(db: Database, blobs: LocalBlobs) -> None:
    made = published(db, blobs)
    sha256 = made.submission.checkpoint_sha256
    for who, error in ((ANYBODY, SignInNeeded), (Actor(account_id="1" * 20), Forbidden)):
        assert not may_delete_checkpoint(db, made.id, who)
        with pytest.raises(error):
            delete_checkpoint(db, blobs, made.id, who)
    assert blobs.exists(sha256)
    assert may_delete_checkpoint(db, made.id, MAINTAINER)
    assert delete_checkpoint(db, blobs, made.id, MAINTAINER).checkpoint_deleted_ms is not None
    assert not blobs.exists(sha256)
    model = get_model(db, blobs, "digits", "Linf", "Method A")
    assert model.report is not None
    assert model.submission is not None
    assert (model.submission.state, model.submission.checkpoint_deleted_ms is None) == (State.PUBLISHED, False)
    with pytest.raises(Conflict, match="deleted"):
        points_to_attack(db, ("digits", "Linf", "Method A"))
    with pytest.raises(Conflict, match="deleted"):
        delete_checkpoint(db, blobs, made.id, MAINTAINER)


def test_one_that_is_on_its_way_stays(db: Database, blobs: LocalBlobs) -> None:
    made = submit(db, blobs, new_submission(blobs), Rules())
    with pytest.raises(Conflict, match="received"):
        delete_checkpoint(db, blobs, made.id)
    assert blobs.exists(made.submission.checkpoint_sha256)
    with pytest.raises(NotFound):
        delete_checkpoint(db, blobs, "nothing")


def test_a_file_that_others_have_submitted_too_stays_until_the_last(db: Database, blobs: LocalBlobs) -> None:
    account = jane(db)
    who = actor(db)
    first, second = (
        submit(db, blobs, new_submission(blobs, name=name), Rules(), owner_id=account.id, submitter=who.submitter)
        for name in ("One", "Two")
    )
    sha256 = first.submission.checkpoint_sha256
    count_upload(db, who.submitter, sha256, 60)
    for view in (first, second):
        cancel(db, view.id, who)
    delete_checkpoint(db, blobs, first.id, who)
    assert blobs.exists(sha256)
    assert upload_room(db, Quotas(100, 100), who.submitter) == 40
    delete_checkpoint(db, blobs, second.id, who)
    assert not blobs.exists(sha256)
    assert upload_room(db, Quotas(100, 100), who.submitter) == 100
    assert get_submission(db, first.id, who).checkpoint_deleted_ms is not None
    again = new_submission(blobs)
    blobs.remove(sha256)
    with pytest.raises(InvalidSubmission, match="checkpoint_sha256"):
        submit(db, blobs, again, Rules())
