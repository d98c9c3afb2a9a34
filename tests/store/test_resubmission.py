"""Submitting again without the file: whoever has sent it may, and a hash alone gives nobody another's file."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from benchmark.errors import InvalidSubmission, NotFound
from store.actors import ANYBODY, Actor, Scope
from store.checkpoint_deletion import delete_checkpoint
from store.intervention import fail_by_service
from store.quotas import count_upload
from store.resubmission import (
    as_new,
    earlier_submission,
    is_anothers,
    list_for,
    require_not_anothers,
    require_own_upload,
)
from store.services import Services
from store.submissions import ZOO, cancel, submit
from store.tables import SubmissionRow
from store.views import NewSubmission
from tests.store.deciders import evaluate, person, send
from tests.store.material import CHECKPOINT, Rules, new_submission

GUEST = "address-0123"


def uploaded(services: Services, who: Actor, name: str = "A", **fields: object) -> tuple[str, str]:
    """Upload a file of one's own and submit it; return the submission and the file."""
    sha256 = services.blobs.put(CHECKPOINT + (who.name + name).encode())
    count_upload(services.db, who.submitter, sha256, 100)
    new = new_submission(services.blobs, name=name, checkpoint_sha256=sha256, **fields)
    view = submit(services.db, services.blobs, new, Rules(), submitter=who.submitter, owner_id=who.account_id)
    return view.id, sha256


def test_whoever_sent_it_gets_every_field_and_the_file(services: Services, owner: Actor) -> None:
    fields: dict[str, object] = {
        "title": "A title",
        "notes": "one\ntwo",
        "claimed_robust_accuracy": 0.5,
        "private_checkpoint": False,
    }
    submission_id, sha256 = uploaded(services, owner, "A", **fields)
    new = earlier_submission(services.db, submission_id, owner, owner.submitter)
    assert isinstance(new, NewSubmission)
    assert {name: getattr(new, name) for name in fields} == fields
    assert (new.name, new.checkpoint_sha256) == ("A", sha256)
    require_own_upload(services.db, owner.submitter, sha256)


def test_nobody_else_gets_anything(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id, sha256 = uploaded(services, owner)
    evaluate(services)  # published: everybody may see it, and its hash
    other = person(services.db, "other")
    send(services, other, "B", checkpoint_sha256=sha256)  # having named the hash before is no proof of having the file
    reader = owner.model_copy(update={"scopes": frozenset({Scope.READ})})
    guest = Actor(open_house=True)
    for who, submitter in (
        (other, other.submitter),
        (maintainer, maintainer.submitter),
        (reader, owner.submitter),
        (ANYBODY, GUEST),
        (guest, GUEST),
        (guest, ""),
    ):
        with pytest.raises(NotFound):
            earlier_submission(services.db, submission_id, who, submitter)
    for submitter in (other.submitter, maintainer.submitter, GUEST, ""):
        with pytest.raises(InvalidSubmission) as refused:
            require_own_upload(services.db, submitter, sha256)
        with pytest.raises(InvalidSubmission) as unknown:
            require_own_upload(services.db, submitter, "0" * 64)
        assert str(refused.value).replace(sha256, "") == str(unknown.value).replace("0" * 64, "")


def test_a_private_file_is_no_other_s_to_submit(services: Services, owner: Actor) -> None:
    _, private = uploaded(services, owner)
    _, public = uploaded(services, owner, "B", private_checkpoint=False)
    other = person(services.db, "other")
    assert is_anothers(services.db, other.submitter, private)
    assert is_anothers(services.db, "", private)
    with pytest.raises(InvalidSubmission, match="the SHA-256 of an uploaded file"):
        require_not_anothers(services.db, other.submitter, private)
    require_not_anothers(services.db, owner.submitter, private)
    for sha256 in (public, "0" * 64):
        require_not_anothers(services.db, other.submitter, sha256)
    count_upload(services.db, other.submitter, private, 100)
    require_not_anothers(services.db, other.submitter, private)


def test_the_models_that_come_along_are_nobody_s(services: Services, owner: Actor) -> None:
    submit(services.db, services.blobs, new_submission(services.blobs), Rules(), submitter=ZOO)
    assert not is_anothers(services.db, owner.submitter, hashlib.sha256(CHECKPOINT).hexdigest())


def test_whoever_has_no_account_is_known_by_their_address(services: Services) -> None:
    sha256 = services.blobs.put(CHECKPOINT)
    count_upload(services.db, GUEST, sha256, 100)
    view = submit(services.db, services.blobs, new_submission(services.blobs), Rules(), submitter=GUEST)
    guest = Actor(open_house=True)
    assert earlier_submission(services.db, view.id, guest, GUEST).checkpoint_sha256 == sha256
    with pytest.raises(NotFound):
        earlier_submission(services.db, view.id, guest, "address-4567")
    with pytest.raises(NotFound):  # the house was closed meanwhile
        earlier_submission(services.db, view.id, ANYBODY, GUEST)


def test_a_file_that_was_deleted_is_to_be_sent_again(services: Services, owner: Actor) -> None:
    submission_id, sha256 = uploaded(services, owner)
    cancel(services.db, submission_id, owner)
    delete_checkpoint(services.db, services.blobs, submission_id, owner)
    assert earlier_submission(services.db, submission_id, owner, owner.submitter).checkpoint_sha256 == ""
    with pytest.raises(InvalidSubmission):
        require_own_upload(services.db, owner.submitter, sha256)


@pytest.mark.parametrize(
    ("anonymous", "days", "kept"), [(True, 3, True), (True, 0, False), (True, -3, False), (False, 3, False)]
)
def test_a_day_of_an_embargo_stays_only_where_it_is_ahead(
    services: Services, owner: Actor, anonymous: bool, days: int, kept: bool
) -> None:
    submission_id, _ = uploaded(services, owner)
    day = datetime.now(UTC).date() + timedelta(days=days)
    with services.db.transaction() as session:
        row = session.get_one(SubmissionRow, submission_id)
        row.anonymous = anonymous
        row.embargo_until_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
        assert as_new(row).embargo_until == (day if kept else None)


def test_the_list_says_what_may_be_done_about_each(services: Services, owner: Actor, maintainer: Actor) -> None:
    failed, _ = uploaded(services, owner, "A")
    fail_by_service(services.db, failed, "x")
    cancelled, _ = uploaded(services, owner, "B")
    cancel(services.db, cancelled, owner)
    published, _ = uploaded(services, owner, "C")
    evaluate(services)
    waiting, _ = uploaded(services, owner, "D")
    others, _ = uploaded(services, person(services.db, "other"), "E")
    listed = list_for(services.db, 10, owner, owner.submitter)
    assert [view.id for view in listed.submissions] == [waiting, published, cancelled, failed]
    assert (listed.cancellable, listed.repeatable) == (frozenset({waiting}), frozenset({failed, cancelled}))
    own = list_for(services.db, 10, owner, owner.submitter, own=True)
    assert (own.submissions, own.repeatable) == (listed.submissions, listed.repeatable)
    seen = list_for(services.db, 10, maintainer, maintainer.submitter)
    assert (seen.cancellable, seen.repeatable) == (frozenset({waiting, others}), frozenset())
    nobody = list_for(services.db, 10, ANYBODY, GUEST)
    assert [view.id for view in nobody.submissions] == [published]
    assert not nobody.cancellable | nobody.repeatable
    assert list_for(services.db, 10, maintainer, maintainer.submitter, own=True).submissions == ()
