"""What each may upload in a day and keep."""

from __future__ import annotations

import pytest

from benchmark.errors import Conflict
from store.database import Database
from store.errors import RateLimited
from store.quotas import Quotas, count_upload, upload_room
from store.tables import UploadRow

QUOTAS = Quotas(bytes_a_day=100, bytes_kept=250)
DAY_MS = 24 * 3600 * 1000


def test_the_day_ends_and_what_is_kept_stays(db: Database) -> None:
    assert upload_room(db, QUOTAS, "jane") == 100
    count_upload(db, "jane", "a" * 64, 60)
    count_upload(db, "other", "a" * 64, 100)
    assert upload_room(db, QUOTAS, "jane", 40) == 40
    with pytest.raises(RateLimited) as refused:
        upload_room(db, QUOTAS, "jane", 41)
    assert DAY_MS // 1000 - 60 <= refused.value.retry_after_s <= DAY_MS // 1000
    for number in range(4):
        with db.transaction() as session:
            session.add(UploadRow(submitter="jane", sha256=f"{number:064x}", bytes=40, sent_ms=1))
    with pytest.raises(Conflict, match="quota"):
        upload_room(db, QUOTAS, "jane", 31)
    assert upload_room(db, QUOTAS, "jane", 30) == 30


def test_a_file_sent_twice_is_kept_once(db: Database) -> None:
    for _ in range(3):
        count_upload(db, "jane", "a" * 64, 60)
    assert upload_room(db, QUOTAS, "jane") == 40
