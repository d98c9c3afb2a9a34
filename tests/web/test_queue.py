"""The page of the queue: what maintainers see there, do by its forms, and nobody else gets."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import update

from model_zoo.registry import bundled_checkpoint, card
from store.actors import Actor, Role
from store.audit import list_audit
from store.claims import Beat, beat
from store.intervention import fail_by_service
from store.queue import set_priority, view_queue
from store.queue_views import LONG_MS, SILENT_AFTER_MS, view_work_queue
from store.submissions import get_submission, submit
from store.tables import RunRow, ShardRow, WorkerRow
from store.views import State
from store.workers import announce, list_workers
from tests.running import Running
from tests.store.material import LEASE_MS, a_worker, must_claim, new_submission, running
from tests.store.people import person
from tests.web.html import PageReader, read_page
from tests.web.material import questions, take_in
from tests.web.signed_in import browser
from web.pages.queue import STILL_AFTER_MS, QueuePage, WaitingLine, WorkerLine, WorkPage, queue_page, work_page

CARD = card("Digits_Standard", "digits", "Linf")
HOSTILE = "w<b>/&\"'?#%2F é"


@pytest.fixture
def maintainer(service: Running) -> Actor:
    return person(service.services.db, "mona", Role.MAINTAINER)


@pytest.fixture
def judge(service: Running, maintainer: Actor) -> Iterator[httpx.Client]:
    with browser(service, maintainer) as client:
        yield client


def page(client: httpx.Client, address: str = "/queue") -> PageReader:
    response = client.get(address)
    assert response.status_code == 200, response.text
    return read_page(response.text)


def posted(client: httpx.Client, address: str, to: str, **fields: str) -> None:
    answer = client.post(address, data=fields)
    assert (answer.status_code, answer.headers.get("location")) == (303, to), answer.text


def test_what_the_page_is_made_of(service: Running, maintainer: Actor) -> None:
    services = service.services
    announce(services.db, a_worker("busy"))
    announce(services.db, a_worker("gone"))
    with services.db.transaction() as session:
        session.get_one(WorkerRow, "gone").seen_ms -= SILENT_AFTER_MS
    running(services.db, services.blobs, "A", shard_points=100)
    must_claim(services.db, "busy")
    other = take_in(services, "B")
    with services.db.transaction() as session:
        session.execute(update(RunRow).where(RunRow.submission_id == other.id).values(needs_cuda=True))
    found = queue_page(services, maintainer)
    view = found.view
    (held, check, *shards) = view.pieces
    assert len(shards) == 4
    assert found == QueuePage(
        title="The queue",
        refresh_s=15,
        view=view,
        still_after_ms=STILL_AFTER_MS,
        well=False,
        verdict=found.verdict,
        hanging="",
        at_work=(held,),
        waiting=(
            WaitingLine(first=check, pieces=1, last=500, fits=False),
            WaitingLine(first=shards[0], pieces=4, last=500, fits=True),
        ),
        left_out=0,
        workers=(
            WorkerLine(worker=view.workers[0], lost=False, holds=(held,)),
            WorkerLine(worker=view.workers[1], lost=True, holds=()),
        ),
        counts=((State.RECEIVED, 1), (State.RUNNING, 1)),
    )
    assert found.verdict.endswith("Some of it no worker can run that claims work now: 1 on digits/Linf.")


def test_the_page_says_what_is_the_matter(service: Running, judge: httpx.Client) -> None:
    empty = page(judge)
    for text in ("Nothing waits.", "Nobody works on anything.", "No worker has announced itself.", "Free for files"):
        assert text in empty.text
    assert empty.find("meta", http_equiv="refresh", content="15")
    (live,) = [found for tag, found in empty.elements if tag == "div" and "data-live" in found]
    assert live["data-live"] == "/api/v1/queue"
    take_in(service.services, "A")
    assert "No worker claims anything" in page(judge).text
    announce(service.services.db, a_worker("w"))
    assert "That is fine" in page(judge).text
    with service.services.db.transaction() as session:
        session.execute(update(ShardRow).values(queued_ms=ShardRow.queued_ms - LONG_MS - 1))
    late = page(judge)
    assert "The oldest has been waiting for 12\u202fh 0\u202fmin. That is too long" in late.text
    work = must_claim(service.services.db, "w")
    with service.services.db.transaction() as session:
        shard = session.get_one(ShardRow, work.shard_id)
        shard.progress_at, shard.lease_until = (shard.progress_at or 0) - STILL_AFTER_MS, 1
        session.get_one(WorkerRow, "w").seen_ms -= SILENT_AFTER_MS
    lost = page(judge)
    for text in (
        "stands still for 5\u202fmin",
        "run out",
        "not seen for long",
        "1 of them silent",
        "One piece of work that somebody holds may hang",
    ):
        assert text in lost.text


def test_work_is_taken_away_by_a_form(service: Running, maintainer: Actor, judge: httpx.Client) -> None:
    view = running(service.services.db, service.services.blobs)
    held = must_claim(service.services.db, "w")
    address = f"/queue/pieces/{held.shard_id}/requeue"
    for place in ("/queue", f"/queue/{view.id}"):
        assert page(judge, place).find("form", method="post", action=address)
    posted(judge, address, "/queue")
    assert beat(service.services.db, held, LEASE_MS) is Beat.LOST
    refused = judge.post(address)
    assert refused.status_code == 409
    assert "one that is queued" in read_page(refused.text).text
    for wrong in ("0", "-1", "x", "99999999999999999999", "2147483648"):
        assert judge.post(f"/queue/pieces/{wrong}/requeue").status_code == 422
    assert judge.post("/queue/pieces/2147483647/requeue").status_code == 404


def test_a_worker_of_any_name_is_drained_and_let_go_on(service: Running, judge: httpx.Client) -> None:
    announce(service.services.db, a_worker("host-cuda:0-9f2c1a"))
    for draining in (True, False):
        (form,) = page(judge).find("form", method="post")
        posted(judge, form["action"], "/queue")
        assert list_workers(service.services.db)[0].draining is draining
    assert judge.post("/queue/workers/nobody/drain").status_code == 404


def test_the_names_of_workers_are_only_shown(service: Running, judge: httpx.Client) -> None:
    announce(service.services.db, a_worker(HOSTILE, host="<script>alert(1)</script>"))
    assert HOSTILE in page(judge).text


def test_a_submission_is_put_in_front_cancelled_or_given_up(
    service: Running, maintainer: Actor, judge: httpx.Client
) -> None:
    db = service.services.db
    first, second = take_in(service.services, "A"), take_in(service.services, "B")
    here = f"/queue/{first.id}"
    found = work_page(service.services, first.id, maintainer)
    assert found == WorkPage(
        title="A · Step in",
        work=found.work,
        fallible=True,
        cancellable=True,
        repeatable=False,
        still_after_ms=STILL_AFTER_MS,
        longest_reason=500,
        most_priority=1_000,
    )
    shown = page(judge, here)
    assert {form["action"].rpartition("/")[2] for form in shown.find("form")} == {"priority", "cancel", "fail"}
    assert not shown.find("meta", http_equiv="refresh"), "nobody loses what they are writing"
    posted(judge, f"/submissions/{first.id}/priority", here, priority=" -7 ")
    assert [piece.priority for piece in view_queue(db)] == [0, -7]
    for wrong in ("", "high", "1.5", "1001", "-1001", "1_0", "٣", "9" * 30, "9" * 500):
        assert judge.post(f"/submissions/{first.id}/priority", data={"priority": wrong}).status_code in {413, 422}
    for reason in ("", "x" * 501):
        assert judge.post(f"/submissions/{first.id}/fail", data={"reason": reason}).status_code == 422
    posted(judge, f"/submissions/{first.id}/fail", here, reason="The <b>disk</b> broke")
    failed = page(judge, here)
    assert "The <b>disk</b> broke" in failed.text
    assert "Cause: the service" in failed.text
    assert "The <b>disk</b> broke" in page(judge).text
    posted(judge, f"/submissions/{second.id}/cancel", f"/submissions/{second.id}", reason="A double.")
    assert get_submission(db, second.id).reason == "cancelled by a maintainer: A double."
    assert judge.post(f"/submissions/{second.id}/send-again").status_code == 409
    done = [record.action for record in list_audit(db, maintainer)]
    assert done[:3] == ["cancel", "fail", "set_priority"]


def test_what_failed_through_the_service_is_sent_again(service: Running, judge: httpx.Client) -> None:
    services = service.services
    sha256 = services.blobs.put(bundled_checkpoint(CARD).read_bytes())
    new = new_submission(services.blobs, name="A", architecture=CARD.architecture, checkpoint_sha256=sha256)
    first = submit(services.db, services.blobs, new, services.admission).id
    fail_by_service(services.db, first, "No disk.")
    address = f"/submissions/{first}/send-again"
    for place in ("/queue", f"/queue/{first}"):
        assert page(judge, place).find("form", action=address)
    again = judge.post(address)
    assert again.status_code == 303
    sent = get_submission(services.db, again.headers["location"].rpartition("/")[2])
    assert (sent.state, sent.submission) == (State.RECEIVED, get_submission(services.db, first).submission)
    assert not page(judge).find("form", action=address)
    assert judge.post(address).status_code == 409


def test_nobody_else_sees_the_queue_or_steps_in(service: Running) -> None:
    owner = person(service.services.db, "owner")
    view = take_in(service.services, "A")  # nobody's: everybody may see it
    announce(service.services.db, a_worker("w"))
    held = must_claim(service.services.db, "w")
    posts = [f"/submissions/{view.id}/{act}" for act in ("fail", "priority", "send-again")]
    posts += [f"/queue/pieces/{held.shard_id}/requeue", "/queue/workers/w/drain", "/queue/workers/w/resume"]
    with browser(service, owner) as theirs:
        for place in ("/queue", f"/queue/{view.id}", "/queue/nothing"):
            assert service.http.get(place).headers["location"].startswith("/sign-in?")
            assert theirs.get(place).status_code == 403
        for place in posts:
            fields = {"reason": "x", "priority": "1"}
            assert service.http.post(place, data=fields).status_code == 401, place
            assert theirs.post(place, data=fields).status_code == 403, place
            crossed = theirs.post(place, data=fields, headers={"Sec-Fetch-Site": "cross-site"})
            assert "cross" in crossed.text.lower(), place
        assert "step-in" not in theirs.get(f"/submissions/{view.id}").text
    assert beat(service.services.db, held, LEASE_MS) is Beat.RENEWED


def test_the_way_there(service: Running, judge: httpx.Client) -> None:
    view = take_in(service.services, "A")
    assert page(judge, "/moderation").find("a", href="/queue")
    assert page(judge, f"/submissions/{view.id}").find("a", href=f"/queue/{view.id}")
    assert page(judge).find("a", href=f"/queue/{view.id}")


def test_the_page_asks_as_much_about_many_as_about_few(service: Running, maintainer: Actor) -> None:
    def asked() -> tuple[int, int]:
        with questions(service.services) as of_all:
            queue_page(service.services, maintainer)
        with questions(service.services) as of_one:
            work_page(service.services, first.id, maintainer)
        return len(of_all), len(of_one)

    first = take_in(service.services, "A")
    fail_by_service(service.services.db, take_in(service.services, "B").id, "x")
    before = asked()
    for number in range(3):
        announce(service.services.db, a_worker(f"w{number}"))
        take_in(service.services, f"C{number}")
        must_claim(service.services.db, f"w{number}")
        fail_by_service(service.services.db, take_in(service.services, f"D{number}").id, "x")
        set_priority(service.services.db, first.id, number)
    assert asked() == before
    assert view_work_queue(service.services.db, service.services.blobs, maintainer).running == 3
