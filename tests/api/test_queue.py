"""The queue over HTTP: programs of maintainers look at it and step in; what they send wrongly is told by its field."""

from __future__ import annotations

from model_zoo.registry import bundled_checkpoint, card
from store.actors import Role, Scope
from store.claims import Beat, beat
from store.queue import view_queue
from store.submissions import submit
from store.workers import announce, list_workers
from tests.api.shape import assert_error
from tests.api.test_moderation import token_of
from tests.running import Running
from tests.store.deciders import person, send
from tests.store.material import LEASE_MS, a_worker, must_claim, new_submission

QUEUE = "/api/v1/queue"
ADDRESS = "/api/v1/submissions"
CARD = card("Digits_Standard", "digits", "Linf")


def test_a_program_looks_at_the_queue_and_steps_in(service: Running) -> None:
    owner, maintainer = person(service.services.db, "owner"), person(service.services.db, "mona", Role.MAINTAINER)
    decides = token_of(service, maintainer, Scope.READ, Scope.MODERATE)
    sha256 = service.services.blobs.put(bundled_checkpoint(CARD).read_bytes())
    new = new_submission(service.services.blobs, architecture=CARD.architecture, checkpoint_sha256=sha256)
    services = service.services
    submission_id = submit(services.db, services.blobs, new, services.admission, owner_id=owner.account_id).id
    announce(service.services.db, a_worker("gpu/1:é"))
    held = must_claim(service.services.db, "gpu/1:é")
    found = service.http.get(QUEUE, headers=decides).json()
    (piece,) = found["pieces"]
    assert (piece["submission_id"], piece["worker"], found["standing"]) == (submission_id, "gpu/1:é", "empty")
    again = service.http.post(f"{QUEUE}/pieces/{piece['shard_id']}/requeue", headers=decides)
    assert again.json() == {"pieces": [held.shard_id]}
    assert beat(service.services.db, held, LEASE_MS) is Beat.LOST
    waiting = service.http.post(f"{QUEUE}/pieces/{piece['shard_id']}/requeue", headers=decides)
    assert_error(waiting, 409, "conflict", "piece")
    address = f"{ADDRESS}/{submission_id}"
    assert service.http.post(f"{address}/priority", json={"priority": 9}, headers=decides).status_code == 204
    assert view_queue(service.services.db)[0].priority == 9
    view = service.http.post(f"{address}/fail", json={"reason": "No disk."}, headers=decides).json()
    assert (view["state"], view["fault"], view["reason"]) == ("failed", "service", "No disk.")
    sent = service.http.post(f"{address}/send-again", headers=decides)
    assert sent.status_code == 201
    assert sent.headers["location"] == f"{ADDRESS}/{sent.json()['id']}"
    theirs = token_of(service, owner, Scope.READ)
    assert service.http.get(sent.headers["location"], headers=theirs).json()["state"] == "received"
    cancelled = service.http.post(f"{sent.headers['location']}/cancel", json={"reason": "A copy."}, headers=decides)
    assert cancelled.json()["reason"] == "cancelled by a maintainer: A copy."


def test_a_worker_is_drained_by_its_name(service: Running) -> None:
    decides = token_of(service, person(service.services.db, "mona", Role.MAINTAINER))
    announce(service.services.db, a_worker("gpu-1-cuda:0-9f2c1a"))
    for act, draining in (("drain", True), ("drain", True), ("resume", False)):
        answer = service.http.post(f"{QUEUE}/workers/gpu-1-cuda:0-9f2c1a/{act}", headers=decides)
        assert answer.status_code == 204
        assert list_workers(service.services.db)[0].draining is draining
    assert_error(service.http.post(f"{QUEUE}/workers/nobody/drain", headers=decides), 404, "not_found", "worker")


def test_a_priority_that_is_none_changes_nothing(service: Running) -> None:
    decides = token_of(service, person(service.services.db, "mona", Role.MAINTAINER))
    submission_id = send(service.services, person(service.services.db, "owner"))
    bodies: list[dict[str, object]] = [{}, {"priority": 1, "a": 2}]
    bodies += [{"priority": value} for value in (1.5, "3", 1_001, True, None)]
    for wrong in bodies:
        answer = service.http.post(f"{ADDRESS}/{submission_id}/priority", json=wrong, headers=decides)
        assert answer.status_code == 422, wrong
    assert view_queue(service.services.db)[0].priority == 0


def test_numbers_of_pieces_that_cannot_be(service: Running) -> None:
    decides = token_of(service, person(service.services.db, "mona", Role.MAINTAINER))
    for number in ("0", "-1", "x", "9" * 30, "2147483648"):
        assert service.http.post(f"{QUEUE}/pieces/{number}/requeue", headers=decides).status_code == 422
    assert_error(service.http.post(f"{QUEUE}/pieces/2147483647/requeue", headers=decides), 404, "not_found", "piece")


def test_an_owner_cancels_without_a_reason_or_with_one(service: Running) -> None:
    owner = person(service.services.db, "owner")
    theirs = token_of(service, owner, Scope.READ, Scope.SUBMIT)
    for body, told in (
        (None, "cancelled by request"),
        ({"reason": "A mistake."}, "cancelled by its owner: A mistake."),
    ):
        submission_id = send(service.services, owner)
        answer = service.http.post(f"{ADDRESS}/{submission_id}/cancel", json=body, headers=theirs)
        assert answer.json()["reason"] == told
    submission_id = send(service.services, owner)
    too_long = service.http.post(f"{ADDRESS}/{submission_id}/cancel", json={"reason": "x" * 501}, headers=theirs)
    assert_error(too_long, 422, "invalid_submission", "reason")
