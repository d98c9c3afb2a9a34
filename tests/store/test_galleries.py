"""A gallery is stored with its evaluation, and dropped where it is not sound; nothing ever fails for want of one."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import select

from benchmark.threat_models import official_board
from benchmark.verdicts import Verdicts
from store.actors import Actor
from store.again import evaluate_again
from store.blobs import LocalBlobs
from store.boards import get_model
from store.checkpoint_deletion import is_referred_to
from store.claims import Claim
from store.database import Database
from store.galleries import StoredGallery, find_gallery, sound_gallery
from store.outcomes import finish_check, finish_judge, finish_shard
from store.services import Services
from store.tables import RunRow
from store.views import Badge, Purpose, State
from tests.store.lowered import doubt
from tests.store.material import Rules, check, must_claim, published, shard_report, verdicts_on
from tests.store.pictures import gallery_for, gallery_of, publish_with_gallery

BOARD = official_board("digits", "Linf")


def found(services: Services, model_id: str = "Method A") -> StoredGallery | None:
    return find_gallery(services.db, services.blobs, BOARD, model_id)


def test_is_found_with_the_entry_and_kept_as_long(services: Services) -> None:
    work = publish_with_gallery(services)
    stored = found(services)
    assert stored is not None
    assert stored.gallery == gallery_for(work, (20, 30))
    assert stored.sha256 == services.blobs.put(stored.gallery.to_bytes())
    with services.db.transaction() as session:
        assert is_referred_to(session, stored.sha256)


def test_entries_without_one_have_none(services: Services) -> None:
    published(services.db, services.blobs)
    assert found(services) is None
    assert found(services, "nobody") is None
    assert find_gallery(services.db, services.blobs, official_board("cifar10", "Linf"), "Method A") is None


def test_one_that_is_not_sound_is_dropped_and_the_run_goes_on(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    publish_with_gallery(services, content=b"{}")
    assert found(services) is None
    assert get_model(services.db, services.blobs, "digits", "Linf", "Method A").row.badge is Badge.EVALUATED
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "was dropped" in line


@pytest.fixture
def judged(on_sqlite: Database, blobs: LocalBlobs) -> tuple[Claim, list[Verdicts]]:
    """Work that was judged, with the verdicts: 0 to 59 hold, of which 0 to 9 are misclassified as they are."""
    work = publish_with_gallery(Services(on_sqlite, blobs, Rules(), 1_000))
    return work, [Verdicts.from_bytes(content) for content in verdicts_on(blobs, work)[0]]


def test_one_of_other_work_is_not_sound(judged: tuple[Claim, list[Verdicts]], caplog: pytest.LogCaptureFixture) -> None:
    work, verdicts = judged
    own: dict[str, object] = {"checkpoint_sha256": work.checkpoint_sha256}
    assert sound_gallery(work, gallery_of([20], **own).to_bytes(), verdicts) == gallery_of([20], **own)
    others: tuple[dict[str, object], ...] = (
        {"checkpoint_sha256": "0" * 64},
        {"checkpoint_sha256": None},
        own | {"epsilon": "3/5"},
        own | {"norm": "L2", "epsilon": "1"},
        own | {"dataset": "mnist"},
    )
    for changes in others:
        assert sound_gallery(work, gallery_of([20], **changes).to_bytes(), verdicts) is None, changes
    assert caplog.text.count("it is not one of this work") == len(others)
    assert sound_gallery(work, gallery_for(work, (20, 499)).to_bytes(), verdicts) is None
    assert "it shows points whose examples do not hold" in caplog.text


def test_what_it_says_is_not_repeated_in_the_log(
    judged: tuple[Claim, list[Verdicts]], caplog: pytest.LogCaptureFixture
) -> None:
    work, verdicts = judged
    said = b'{"norm": "evil\\u202e\\n2026 forged", "\\u001b[31mx": "secret", "epsilon": "many\\u001b[31m"}'
    assert sound_gallery(work, said, verdicts) is None
    assert "was dropped" in caplog.text
    assert not [word for word in ("evil", "\u202e", "secret", "\x1b") if word in caplog.text]


def test_one_that_is_gone_or_damaged_costs_only_itself(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    publish_with_gallery(services)
    stored = found(services)
    assert stored is not None
    path = services.blobs.path(stored.sha256)
    path.write_bytes(b"{}")
    assert found(services) is None
    path.unlink()
    assert found(services) is None
    assert caplog.text.count("is gone or damaged") == 2


def test_another_evaluation_brings_its_own(services: Services, maintainer: Actor) -> None:
    work = publish_with_gallery(services)
    evaluate_again(services.db, services.blobs, work.submission_id, maintainer)
    finish_check(services.db, must_claim(services.db), [check()], shard_points=512)
    shard = must_claim(services.db)
    finish_shard(services.db, services.blobs, shard, shard_report(shard).to_bytes())
    judging = must_claim(services.db)
    assert judging.purpose is Purpose.AGAIN
    before = found(services)
    assert before is not None
    verdicts = verdicts_on(services.blobs, judging)
    new = gallery_for(judging, (40,)).to_bytes()
    assert finish_judge(services.db, services.blobs, judging, *verdicts, gallery=new) is State.PUBLISHED
    after = found(services)
    assert after is not None
    assert (before.gallery.index, after.gallery.index) == ((20, 30), (40,))


def test_a_closer_look_has_none(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    """It is about an entry that may have its own, and its examples are another evaluation's."""
    doubt(services, "Method A")
    look = must_claim(services.db)
    report = shard_report(look, misclassified=0, broken=3)
    finish_shard(services.db, services.blobs, look, report.to_bytes())
    judging = must_claim(services.db)
    left = gallery_for(judging, sorted(look.indices)[:2]).to_bytes()
    finish_judge(services.db, services.blobs, judging, *verdicts_on(services.blobs, judging), gallery=left)
    assert "none is made of such a run" in caplog.text
    assert found(services) is None
    with services.db.snapshot() as session:
        assert set(session.scalars(select(RunRow.gallery_sha256))) == {None}
