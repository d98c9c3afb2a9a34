"""REST of owners and maintainers: unverified entries, edits, claims, webhooks; and who may not."""

from __future__ import annotations

import dataclasses

import pytest

from store.actors import Actor, Role, Scope
from tests.running import Running
from tests.store.people import person
from tests.store.test_unverified import evaluate
from tests.web.signed_in import program

ENTRY = "/api/v1/models/cifar10/Linf/Wu2020Do"
UNVERIFIED = "/api/v1/leaderboards/cifar10/Linf/unverified"
SOUND: dict[str, object] = {
    "name": "Own Run",
    "title": "On our own",
    "authors": "Jane Doe",
    "paper_url": "https://example.org/paper",
    "architecture": "WideResNet-70-16",
    "standard_accuracy": 0.9,
    "robust_accuracy": 0.7,
    "how": "AutoAttack 0.1 on all points",
}


@pytest.fixture
def jane(service: Running) -> Actor:
    return person(service.services.db, "jane")


@pytest.fixture
def keeper(service: Running) -> Actor:
    return person(service.services.db, "keeper", Role.MAINTAINER)


def test_an_unverified_entry(service: Running, jane: Actor) -> None:
    with program(service, jane) as hers, program(service, person(service.services.db, "other")) as others:
        made = hers.post(UNVERIFIED, json=SOUND)
        assert (made.status_code, made.headers["Location"]) == (201, "/api/v1/models/cifar10/Linf/Own%20Run")
        row = made.json()["row"]
        assert (row["badge"], row["rank"], row["best_known_robust_accuracy"]) == ("unverified", None, None)
        assert row["expires_ms"] > row["published_ms"]
        assert "owner_id" not in row
        assert hers.post(UNVERIFIED, json=SOUND).status_code == 409
        assert hers.post(UNVERIFIED, json=SOUND | {"name": "B", "robust_accuracy": 0.95}).status_code == 422
        assert hers.post(UNVERIFIED, json=SOUND | {"name": "B", "rank": 1}).status_code == 422
        assert hers.post("/api/v1/leaderboards/cifar10/corruptions/unverified", json=SOUND).status_code == 409
        assert others.delete(f"{UNVERIFIED}/Own%20Run").status_code == 403
        assert service.http.delete(f"{UNVERIFIED}/Own%20Run").status_code == 401
        assert hers.delete(f"{UNVERIFIED}/Own%20Run").status_code == 204
        assert hers.delete(f"{UNVERIFIED}/Own%20Run").status_code == 404


def test_claims_and_edits(service: Running, jane: Actor, keeper: Actor) -> None:
    moderate = (Scope.READ, Scope.SUBMIT, Scope.MODERATE)
    with program(service, jane) as hers, program(service, keeper, *moderate) as theirs:
        assert hers.patch(ENTRY, json={"venue": "ICLR 2026"}).status_code == 403
        claim = hers.post(f"{ENTRY}/claims", json={"kind": "claim", "message": "see the repository"})
        assert (claim.status_code, claim.json()["state"]) == (201, "open")
        assert hers.post(f"{ENTRY}/claims", json={"kind": "claim", "message": "again"}).status_code == 409
        assert hers.post(f"{ENTRY}/claims", json={"kind": "theft", "message": "x"}).status_code == 422
        address = f"/api/v1/claims/{claim.json()['id']}"
        assert hers.post(f"{address}/accept", json={"reply": "Yes."}).status_code == 403
        assert [one["id"] for one in theirs.get("/api/v1/claims?state=open").json()["claims"]] == [claim.json()["id"]]
        assert theirs.post(f"{address}/accept", json={"reply": "Yes."}).json()["state"] == "accepted"
        assert theirs.post(f"{address}/decline", json={"reply": "No."}).status_code == 409
        edited = hers.patch(ENTRY, json={"venue": "ICLR 2026", "link": "https://example.org/p"})
        assert (edited.json()["row"]["venue"], edited.json()["row"]["link"]) == ("ICLR 2026", "https://example.org/p")
        assert hers.patch(ENTRY, json={"link": "http://example.org"}).json()["error"]["detail"]["field"] == "link"
        assert hers.patch(ENTRY, json={}).status_code == 422
        assert hers.patch(ENTRY, json={"title": "x"}).status_code == 422
        dispute = hers.post(f"{ENTRY}/claims", json={"kind": "dispute", "message": "an erratum"}).json()
        correction = {"robust_accuracy": 0.3, "source": "erratum"}
        body = {"reply": "Yes.", "remark": "see the erratum", "correction": correction}
        assert theirs.post(f"/api/v1/claims/{dispute['id']}/accept", json=body).status_code == 200
        shown = service.http.get(ENTRY).json()
        assert shown["row"]["footnote"].endswith("Disputed: see the erratum")
        assert shown["history"][-1]["source"] == "erratum"


def test_a_maintainers_token_without_that_scope_answers_no_claim(service: Running, jane: Actor, keeper: Actor) -> None:
    with program(service, jane) as hers, program(service, keeper) as theirs:
        claim = hers.post(f"{ENTRY}/claims", json={"kind": "claim", "message": "mine"}).json()
        assert theirs.post(f"/api/v1/claims/{claim['id']}/accept", json={"reply": "Yes."}).status_code == 403
        assert theirs.get("/api/v1/claims").json()["claims"] == []


def test_webhooks(service: Running, jane: Actor) -> None:
    hooks = "/api/v1/account/webhooks"
    with program(service, jane) as hers, program(service, person(service.services.db, "other")) as others:
        assert hers.post(hooks, json={"url": "https://hooks.example.org"}).status_code == 409
        app = service.app
        app.state.services = dataclasses.replace(app.state.services, webhooks=True)
        assert hers.post(hooks, json={"url": "http://hooks.example.org"}).status_code == 422
        made = hers.post(hooks, json={"url": "https://hooks.example.org"})
        assert (made.status_code, len(made.json()["secret"])) == (201, 43)
        (listed,) = hers.get(hooks).json()["webhooks"]
        assert listed == {name: made.json()[name] for name in ("id", "url", "created_ms")}
        one = f"{hooks}/{listed['id']}"
        assert (others.delete(one).status_code, others.post(f"{one}/ping").status_code) == (404, 404)
        assert hers.post(f"{one}/ping").status_code == 202
        (notice,) = hers.get("/api/v1/account/notices").json()["notices"]
        assert (notice["event"], notice["state"], notice["webhook"]) == ("ping", "due", listed["id"])
        assert others.get("/api/v1/account/notices").json()["notices"] == []
        assert hers.delete(one).status_code == 204
        assert hers.get(hooks).json()["webhooks"] == []
    for method, path in (("GET", hooks), ("POST", hooks), ("DELETE", one), ("POST", f"{one}/ping")):
        answer = service.http.request(method, path, json={"url": "https://hooks.example.org"})
        assert answer.status_code == 401, (method, path)


def test_the_work_of_a_team_is_in_the_json(service: Running) -> None:
    jane = person(service.services.db, "jane", team="The team")
    evaluate(service.services.db, service.services.blobs, jane, "Method A")
    shown = service.http.get("/api/v1/models/digits/Linf/Method A").json()
    assert shown["team"] == {"team": "The team", "submissions": 1, "published": 1}
    page = service.http.get("/models/digits/Linf/Method%20A").text
    assert "Submissions by this team on this board" in page
    assert "1, 1 published" in page
