"""Uploads that nobody has submitted."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import select

from benchmark.errors import GauntletError
from store.blobs import LocalBlobs
from store.checkpoint_deletion import delete_checkpoint
from store.database import Database
from store.quotas import Quotas, count_upload, upload_room
from store.submissions import cancel, submit
from store.sweeping import sweep
from store.tables import ShardRow, UploadRow
from store.unused_uploads import UNUSED_DAYS, discard_unused
from tests.store.material import Rules, new_submission

QUOTAS = Quotas(bytes_a_day=1_000, bytes_kept=1_000)


def upload(db: Database, blobs: LocalBlobs, *, days_ago: float, submitter: str = "jane") -> str:
    sha256 = blobs.put(os.urandom(100))
    count_upload(db, submitter, sha256, 100)
    age(db, sha256, days_ago, submitter)
    return sha256


def age(db: Database, sha256: str, days: float, submitter: str = "jane") -> None:
    with db.transaction() as session:
        session.get_one(UploadRow, (submitter, sha256)).sent_ms -= int(days * 24 * 3600 * 1000)


def test_after_a_week_they_go_and_count_no_more(db: Database, blobs: LocalBlobs) -> None:
    old = upload(db, blobs, days_ago=UNUSED_DAYS + 0.01)
    fresh = upload(db, blobs, days_ago=UNUSED_DAYS - 0.01)
    assert upload_room(db, QUOTAS, "jane") == 800
    sweep(db, blobs)
    assert (blobs.exists(old), blobs.exists(fresh)) == (False, True)
    assert upload_room(db, QUOTAS, "jane") == 900
    assert discard_unused(db, blobs) == ()


def test_what_somebody_else_has_sent_since_stays(db: Database, blobs: LocalBlobs) -> None:
    sha256 = upload(db, blobs, days_ago=UNUSED_DAYS + 1)
    count_upload(db, "john", sha256, 100)
    assert discard_unused(db, blobs) == ()
    age(db, sha256, UNUSED_DAYS + 1, "john")
    assert discard_unused(db, blobs) == (sha256,)
    with db.snapshot() as session:
        assert session.scalars(select(UploadRow)).all() == []


def test_what_was_submitted_stays_until_its_checkpoint_is_deleted(db: Database, blobs: LocalBlobs) -> None:
    new = new_submission(blobs)
    made = submit(db, blobs, new, Rules(), submitter="jane")
    count_upload(db, "jane", new.checkpoint_sha256, 100)
    age(db, new.checkpoint_sha256, 365)
    cancel(db, made.id)
    assert discard_unused(db, blobs) == ()
    assert blobs.exists(new.checkpoint_sha256)
    delete_checkpoint(db, blobs, made.id)
    assert not blobs.exists(new.checkpoint_sha256)
    assert discard_unused(db, blobs) == ()


def test_a_submission_that_comes_too_late_is_told_to_send_the_file_again(db: Database, blobs: LocalBlobs) -> None:
    new = new_submission(blobs)
    count_upload(db, "jane", new.checkpoint_sha256, 100)
    age(db, new.checkpoint_sha256, UNUSED_DAYS + 1)
    assert discard_unused(db, blobs) == (new.checkpoint_sha256,)
    with pytest.raises(GauntletError) as refused:
        submit(db, blobs, new, Rules())
    assert refused.value.detail is not None
    assert refused.value.detail.field == "checkpoint_sha256"


def test_what_something_else_refers_to_stays(db: Database, blobs: LocalBlobs) -> None:
    """A file of examples, or a report that happens to have been uploaded too."""
    new = new_submission(blobs, name="Other")
    submit(db, blobs, new, Rules())
    sha256 = upload(db, blobs, days_ago=UNUSED_DAYS + 1)
    with db.transaction() as session:
        session.scalars(select(ShardRow)).one().checkpoint = sha256
    assert discard_unused(db, blobs) == ()
    assert blobs.exists(sha256)
