"""Pages of owners and maintainers: unverified entries, edits, claims and webhooks, without any script."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import httpx
import pytest

from store.actors import Actor, Role
from store.boards import get_board, get_model
from store.deliveries import list_notices
from store.entry_claims import ClaimKind, file_claim, list_claims
from store.unverified import add_unverified
from store.webhooks import list_webhooks
from tests.running import Running
from tests.store.people import person
from tests.store.test_unverified import new
from tests.web.html import PageReader, read_page
from tests.web.material import HOSTILE, questions
from tests.web.signed_in import browser
from web.pages.claims import claims_page
from web.pages.model import model_page
from web.rendering import as_html

REPORTED = ("cifar10", "Linf", "Wu2020Do")
PATH = "/models/cifar10/Linf/Wu2020Do"
SOUND = {
    "name": "Own Run",
    "title": "On our own",
    "authors": "Jane Doe",
    "paper_url": "https://example.org/paper",
    "venue": "",
    "architecture": "WideResNet-70-16",
    "extra_data": "synthetic",
    "standard_accuracy": "0.9",
    "robust_accuracy": "0.7",
    "how": "AutoAttack 0.1 on all points",
}


@pytest.fixture
def jane(service: Running) -> Actor:
    return person(service.services.db, "jane", email="jane@example.org")


@pytest.fixture
def keeper(service: Running) -> Actor:
    return person(service.services.db, "keeper", Role.MAINTAINER)


@pytest.fixture
def hers(service: Running, jane: Actor) -> Iterator[httpx.Client]:
    with browser(service, jane) as client:
        yield client


def sound(response: httpx.Response, status: int = 200) -> PageReader:
    assert response.status_code == status, response.text
    page = read_page(response.text)
    assert page.problems == []
    return page


def test_an_unverified_entry_is_entered_shown_and_removed(service: Running, hers: httpx.Client) -> None:
    board = sound(hers.get("/boards/cifar10/Linf"))
    assert board.find("a", href="/boards/cifar10/Linf/unverified")
    form = sound(hers.get("/boards/cifar10/Linf/unverified"))
    assert {one["name"] for one in [*form.find("input"), *form.find("select")]} == set(SOUND)
    answer = hers.post("/boards/cifar10/Linf/unverified", data=SOUND)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/models/cifar10/Linf/Own%20Run")
    shown = sound(hers.get(answer.headers["Location"]))
    for text in ("Unverified", "The authors say that their own run left 70.00", "has no rank", "Removed on"):
        assert text in shown.text
    others = sound(service.http.get(answer.headers["Location"]))
    assert not others.find("form", action="/models/cifar10/Linf/Own%20Run/remove")
    assert service.http.post("/models/cifar10/Linf/Own%20Run/remove").status_code == 401
    sound(hers.get("/boards/cifar10/Linf?badge=unverified"))
    answer = hers.post("/models/cifar10/Linf/Own%20Run/remove")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/boards/cifar10/Linf")
    assert hers.get("/models/cifar10/Linf/Own%20Run").status_code == 404


REFUSED = (
    ("name", "a/b"),
    ("title", ""),
    ("paper_url", "http://example.org"),
    ("standard_accuracy", "many"),
    ("robust_accuracy", "nan"),
    ("robust_accuracy", "0.95"),
    ("how", ""),
)


def test_a_refused_form_keeps_what_was_written(service: Running, hers: httpx.Client) -> None:
    for field, value in REFUSED:
        answer = hers.post("/boards/digits/Linf/unverified", data={**SOUND, "authors": HOSTILE, field: value})
        page = sound(answer, 422)
        assert page.find("input", id=field, aria_invalid="true"), field
        assert page.find("input", id=field)[0]["value"] == value
        assert page.find("input", id="authors")[0]["value"] == HOSTILE.replace("\u202e", "")
    assert get_board(service.services.db, "digits", "Linf").total == 0


def test_forms_are_for_people_with_accounts(service: Running) -> None:
    for path in ("/boards/digits/Linf/unverified", f"{PATH}/claim", f"{PATH}/edit", "/claims", "/account/webhooks"):
        answer = service.http.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["Location"].startswith("/sign-in?next=%2F"), path
    assert service.http.get("/boards/digits/corruptions/unverified").status_code == 409
    assert service.http.get("/boards/digits/L7/unverified").status_code == 404
    for path in (f"{PATH}/claim", f"{PATH}/edit", "/claims/x/accept", "/claims/x/decline", "/account/webhooks"):
        assert service.http.post(path, data={"message": "x", "reply": "x", "venue": "x"}).status_code == 401, path


def test_a_claim_goes_from_its_form_to_its_answer(
    service: Running, hers: httpx.Client, jane: Actor, keeper: Actor
) -> None:
    assert sound(service.http.get(PATH)).find("a", href=f"{PATH}/claim")
    sound(hers.get(f"{PATH}/claim"))
    page = sound(hers.post(f"{PATH}/claim", data={"kind": "dispute", "message": ""}), 422)
    assert "checked" in page.find("input", id="kind-dispute")[0]
    answer = hers.post(f"{PATH}/claim", data={"kind": "dispute", "message": f"wrong {HOSTILE}"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/claims")
    mine = sound(hers.get("/claims"))
    assert "open" in mine.text
    assert not mine.find("textarea")
    (claim,) = list_claims(service.services.db, jane)
    assert hers.post(f"/claims/{claim.id}/accept", data={"reply": "Yes."}).status_code == 403
    with browser(service, keeper) as theirs:
        assert sound(theirs.get("/claims")).find("textarea", name="reply")
        refused = {"reply": "Yes.", "remark": "see the erratum", "robust_accuracy": "2", "source": "erratum"}
        page = sound(theirs.post(f"/claims/{claim.id}/accept", data=refused), 422)
        assert page.find("input", name="remark")[0]["value"] == "see the erratum"
        assert theirs.post(f"/claims/{claim.id}/accept", data={**refused, "robust_accuracy": "0.3"}).status_code == 303
        again = theirs.post(f"/claims/{claim.id}/decline", data={"reply": "No."})
        sound(again, 409)
    assert "Disputed: see the erratum" in sound(service.http.get(PATH)).text
    assert "Yes." in sound(hers.get("/claims")).text


def test_a_claim_is_declined_by_the_other_button(
    service: Running, hers: httpx.Client, jane: Actor, keeper: Actor
) -> None:
    claim = file_claim(service.services.db, jane, REPORTED, ClaimKind.CLAIM, "mine")
    with browser(service, keeper) as theirs:
        assert sound(theirs.get("/claims")).find("button", formaction=f"/claims/{claim.id}/decline")
        assert theirs.post(f"/claims/{claim.id}/decline", data={"reply": "Not so."}).status_code == 303
    assert "declined" in sound(hers.get("/claims")).text


def test_an_owner_edits_venue_and_link(service: Running, hers: httpx.Client, jane: Actor) -> None:
    assert hers.get(f"{PATH}/edit").status_code == 403
    add_unverified(service.services.db, jane, ("cifar10", "Linf"), new(), days=1)
    own = "/models/cifar10/Linf/Own%20Run"
    assert sound(hers.get(own)).find("a", href=f"{own}/edit")
    assert sound(hers.get(f"{own}/edit")).find("input", id="link")[0]["value"] == "https://example.org/paper"
    page = sound(hers.post(f"{own}/edit", data={"venue": "ICLR", "link": "javascript:alert(1)"}), 422)
    assert page.find("input", id="venue")[0]["value"] == "ICLR"
    answer = hers.post(f"{own}/edit", data={"venue": HOSTILE, "link": "https://example.org/new"})
    assert (answer.status_code, answer.headers["Location"]) == (303, own)
    row = get_model(service.services.db, service.services.blobs, "cifar10", "Linf", "Own Run").row
    assert row.link == "https://example.org/new"
    sound(hers.get(own))


def test_the_page_of_messages(service: Running, hers: httpx.Client, jane: Actor) -> None:
    page = sound(hers.get("/account/webhooks"))
    assert "sends no webhooks" in page.text
    sound(hers.post("/account/webhooks", data={"url": "https://hooks.example.org"}), 409)
    app = service.app
    app.state.services = dataclasses.replace(app.state.services, webhooks=True)
    page = sound(hers.post("/account/webhooks", data={"url": "https://127.0.0.1/"}), 422)
    assert page.find("input", id="url")[0]["value"] == "https://127.0.0.1/"
    answer = hers.post("/account/webhooks", data={"url": "https://hooks.example.org/in"})
    assert answer.headers["Cache-Control"] == "no-store"
    assert "shown this once" in sound(answer).text
    (hook,) = list_webhooks(service.services.db, jane)
    assert "shown this once" not in sound(hers.get("/account/webhooks")).text
    assert hers.post(f"/account/webhooks/{hook.id}/ping").status_code == 303
    assert [notice.event for notice in list_notices(service.services.db, jane)] == ["ping"]
    assert "This webhook works." in sound(hers.get("/account/webhooks")).text
    with browser(service, person(service.services.db, "other")) as theirs:
        for action in ("ping", "remove"):
            assert theirs.post(f"/account/webhooks/{hook.id}/{action}").status_code == 404
    assert hers.post(f"/account/webhooks/{hook.id}/remove").status_code == 303
    assert list_webhooks(service.services.db, jane) == ()


def test_bodies_are_bounded_and_of_one_kind(hers: httpx.Client) -> None:
    assert hers.post(f"{PATH}/claim", data={"message": "x" * 70_000}).status_code == 413
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert hers.post(f"{PATH}/claim", content=b"&".join([b"a=1"] * 51), headers=form).status_code == 422
    assert hers.post(f"{PATH}/claim", json={"message": "x"}).status_code == 422
    assert hers.post(f"{PATH}/claim", content=b"\xff\xfe=%ff", headers=form).status_code == 422


def test_foreign_pages_send_no_forms(hers: httpx.Client) -> None:
    answer = hers.post(f"{PATH}/claim", data={"message": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


def test_pages_ask_a_fixed_number_of_questions(service: Running, jane: Actor, keeper: Actor) -> None:
    services = service.services
    counts = []
    for model_id in ("Wu2020Do", "Xiao2020Enhancing", "Standard"):
        file_claim(services.db, jane, ("cifar10", "Linf", model_id), ClaimKind.DISPUTE, HOSTILE)
        with questions(services) as asked:
            page = claims_page(services, keeper)
        counts.append(len(asked))
        assert read_page(as_html(page, keeper)).problems == []
    assert len(set(counts)) == 1
    with questions(services) as asked:
        model_page(services, *REPORTED)
    with questions(services) as asked_too:
        model_page(services, *REPORTED, jane)
    assert len(asked_too) == len(asked) + 1
