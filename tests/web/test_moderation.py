"""The pages on which people decide: forms that work without scripts, for those who may, and tombstones for all."""

from __future__ import annotations

import httpx
import pytest

from store.actors import Actor, Role
from store.moderation import withdraw
from store.sign_in import begin_session
from tests.running import Running
from tests.store.deciders import evaluate, person, send
from tests.web.html import PageReader, read_page

HOSTILE = "<b>Gone</b>"


@pytest.fixture
def owner(service: Running) -> Actor:
    return person(service.services.db, "owner")


@pytest.fixture
def maintainer(service: Running) -> Actor:
    return person(service.services.db, "mona", Role.MAINTAINER)


def browser(service: Running, who: Actor | None) -> httpx.Client:
    """A browser in which somebody is signed in."""
    cookies = {"gauntlet_session": begin_session(service.services.db, who.account_id or "")} if who else {}
    return httpx.Client(base_url=service.url, cookies=cookies, timeout=10)


def page(client: httpx.Client, address: str) -> PageReader:
    response = client.get(address)
    assert response.status_code == 200, response.text
    return read_page(response.text)


def forms(found: PageReader) -> set[str]:
    return {form["action"].rpartition("/")[2] for form in found.find("form", method="post")}


def test_what_waits_is_approved_or_declined_by_forms(service: Running, owner: Actor, maintainer: Actor) -> None:
    one = send(service.services, owner, "A", approval=True, title="A title")
    evaluate(service.services)
    other = send(
        service.services, owner, "B", approval=True, checkpoint_sha256=service.services.blobs.put(b"weights 2")
    )
    evaluate(service.services)
    with browser(service, owner) as theirs, browser(service, maintainer) as judge:
        waiting = page(theirs, f"/submissions/{one}")
        assert "waits for a maintainer" in waiting.text
        assert forms(waiting) & {"approve", "decline"} == set()
        assert waiting.find("a", id="to-report")[0]["href"] == f"/api/v1/submissions/{one}/report"
        assert "http-equiv" not in theirs.get(f"/submissions/{one}").text
        assert {"approve", "decline"} <= forms(page(judge, f"/submissions/{one}"))
        seen = page(judge, "/moderation")
        assert seen.find("a", href="/moderation")
        assert "A title" in seen.text
        assert (
            judge.post(f"/submissions/{one}/approve", data={"back": "moderation"}).headers["location"] == "/moderation"
        )
        sent = judge.post(f"/submissions/{other}/decline", data={"reason": "No & no"})
        assert sent.headers["location"] == f"/submissions/{other}"
        assert "A maintainer declined to publish the result. No & no." in page(theirs, f"/submissions/{other}").text
        assert "Nothing waits." in page(judge, "/moderation").text
        log = page(judge, f"/audit?subject=submission {other}")
        assert "mona" in log.text
        assert "No & no" in log.text
        assert "mona" not in page(theirs, f"/submissions/{other}").text


def test_an_entry_is_withdrawn_and_says_so(service: Running, owner: Actor, maintainer: Actor) -> None:
    entry = send(service.services, owner, "A")
    evaluate(service.services)
    with browser(service, owner) as theirs, browser(service, None) as anybody, browser(service, maintainer) as judge:
        assert {"withdraw", "re-evaluate"} <= forms(page(theirs, f"/submissions/{entry}"))
        assert forms(page(anybody, f"/submissions/{entry}")) == set()
        assert anybody.post(f"/submissions/{entry}/withdraw", data={"reason": "x"}).status_code == 401
        assert theirs.post(f"/submissions/{entry}/withdraw", data={"reason": ""}).status_code == 422
        assert theirs.post(f"/submissions/{entry}/withdraw", data={"reason": "x" * 501}).status_code == 422
        assert theirs.post(f"/submissions/{entry}/withdraw", content=b"\xff").status_code == 422
        assert theirs.post(f"/submissions/{entry}/withdraw", data={"reason": HOSTILE}).status_code == 303
        model = page(anybody, "/models/digits/Linf/A")
        assert model.find("p", id="withdrawn")
        assert HOSTILE in model.text
        assert "88.00" in model.text
        assert not model.find("a", href="/models/digits/Linf/A/external")
        assert HOSTILE in page(judge, "/moderation").text
        assert judge.post(f"/submissions/{entry}/restore", data={"back": "moderation"}).status_code == 303
        assert not page(anybody, "/models/digits/Linf/A").find("p", id="withdrawn")
        assert judge.post(f"/submissions/{entry}/re-evaluate").status_code == 303
        assert "Evaluated again" in page(anybody, f"/submissions/{entry}").text


def test_others_are_sent_to_sign_in_or_refused(service: Running, owner: Actor) -> None:
    with browser(service, None) as anybody, browser(service, owner) as theirs:
        for address in ("/moderation", "/audit"):
            assert anybody.get(address).headers["location"].startswith("/sign-in?")
            assert theirs.get(address).status_code == 403
            assert "Moderation" not in theirs.get("/").text


def test_no_page_tells_who_made_what_is_anonymous(service: Running, owner: Actor, maintainer: Actor) -> None:
    entry = send(service.services, owner, "A", anonymous=True, title="Telling title", authors="Jane Doe", notes="Doe")
    evaluate(service.services)
    places = (
        "/",
        "/boards/digits/Linf",
        "/models/digits/Linf/A",
        "/submissions",
    )
    with browser(service, None) as anybody, browser(service, owner) as theirs:
        before = {}
        for place in (*places, f"/submissions/{entry}"):
            response = anybody.get(place)
            assert "Telling" not in response.text, place
            assert "Doe" not in response.text, place
            before[place] = response.headers["etag"]
        assert "No entry fits" in page(anybody, "/boards/digits/Linf?search=Jane Doe").text
        assert "Authors hidden for now" in page(anybody, "/models/digits/Linf/A").text
        assert "Jane Doe" in page(theirs, f"/submissions/{entry}").text
        # What the owner has in the browser is answered to nobody else as unchanged.
        own = theirs.get(f"/submissions/{entry}").headers["etag"]
        assert own != before[f"/submissions/{entry}"]
        assert anybody.get(f"/submissions/{entry}", headers={"If-None-Match": own}).status_code == 200
        assert theirs.post(f"/submissions/{entry}/reveal").status_code == 303
        assert "Jane Doe" in page(anybody, "/models/digits/Linf/A").text


def test_an_error_on_a_hidden_entry_s_page_tells_nothing(service: Running, owner: Actor) -> None:
    entry = send(service.services, owner, "A", anonymous=True, title="Telling title", authors="Jane Doe")
    evaluate(service.services)
    withdraw(service.services.db, entry, owner, "x")
    with browser(service, None) as anybody:
        for action in ("approve", "decline", "withdraw", "restore", "reveal", "re-evaluate"):
            refused = anybody.post(f"/submissions/{entry}/{action}", data={"reason": "x"})
            assert refused.status_code == 401
            assert "Jane" not in refused.text
            assert "owner," not in refused.text
