"""Decisions over HTTP: by tokens of accounts, refused to everybody else, on record for maintainers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_zoo.registry import bundled_checkpoint, card
from store.actors import Actor, Role, Scope
from store.sign_in import create_token
from tests.api.shape import assert_error
from tests.running import Running, quiet_settings, running
from tests.store.deciders import evaluate, person, send

ADDRESS = "/api/v1/submissions"
CARD = card("Digits_Standard", "digits", "Linf")


@pytest.fixture
def strict(prepared: Path, tmp_path: Path) -> Iterator[Running]:
    """A service on which maintainers must agree to everything."""
    shutil.copytree(prepared, tmp_path / "var")
    with running(quiet_settings(tmp_path / "var").model_copy(update={"approval": "on"})) as service:
        yield service


def token_of(service: Running, who: Actor, *scopes: Scope) -> dict[str, str]:
    """The header by which a program of theirs says who asks."""
    _, secret = create_token(service.services.db, who, "test", scopes or tuple(Scope))
    return {"Authorization": f"Bearer {secret}"}


def test_a_result_waits_for_a_maintainer_and_is_approved(strict: Running) -> None:
    owner, maintainer = person(strict.services.db, "owner"), person(strict.services.db, "mona", Role.MAINTAINER)
    theirs = token_of(strict, owner, Scope.READ, Scope.SUBMIT)
    decides = token_of(strict, maintainer)
    assert strict.put(bundled_checkpoint(CARD).read_bytes()).status_code in {200, 201}
    sent = {
        "name": "My model",
        "dataset": "digits",
        "threat_model": "Linf",
        "architecture": CARD.architecture,
        "checkpoint_sha256": CARD.sha256,
        "authors": "Jane Doe",
        "anonymous": True,
        "embargo_until": None,
    }
    assert_error(strict.http.post(ADDRESS, json=sent), 422, "invalid_submission", "anonymous")
    view = strict.http.post(ADDRESS, json=sent, headers=theirs).json()
    assert (view["approval"], view["submission"]["authors"]) == ("pending", "Jane Doe")
    evaluate(strict.services)
    address = f"{ADDRESS}/{view['id']}"
    assert strict.http.get(address, headers=theirs).json()["state"] == "evaluated"
    assert strict.http.get(f"{address}/report", headers=theirs).json()["protocol"] == "standard-1"
    assert_error(strict.http.get(f"{address}/report"), 404, "not_found", "submission")
    assert_error(strict.http.post(f"{address}/approve"), 404, "not_found", "submission")
    assert_error(strict.http.post(f"{address}/approve", headers=theirs), 403, "forbidden", "account")
    response = strict.http.post(f"{address}/approve", headers=decides)
    assert (response.status_code, response.json()["state"]) == (200, "published")
    assert_error(strict.http.post(f"{address}/approve", headers=decides), 409, "conflict", "state")
    for place in (address, "/api/v1/models/digits/Linf/My model", "/api/v1/leaderboards/digits/Linf", ADDRESS):
        assert "Jane" not in strict.http.get(place).text
    assert_error(strict.http.post(f"{address}/reveal", headers=decides), 403, "forbidden", "account")
    assert strict.http.post(f"{address}/reveal", headers=theirs).json()["submission"]["authors"] == "Jane Doe"
    assert "Jane" in strict.http.get("/api/v1/leaderboards/digits/Linf").text


def test_a_maintainer_s_own_work_and_the_zoo_s_wait_for_nobody(strict: Running) -> None:
    maintainer = person(strict.services.db, "mona", Role.MAINTAINER)
    assert strict.put(bundled_checkpoint(CARD).read_bytes()).status_code in {200, 201}
    fields = {"dataset": "digits", "threat_model": "Linf", "architecture": CARD.architecture}
    sent = fields | {"name": "A", "checkpoint_sha256": CARD.sha256}
    view = strict.http.post(ADDRESS, json=sent, headers=token_of(strict, maintainer)).json()
    assert view["approval"] == "none"
    # A token that may only submit is no maintainer's.
    sent["name"] = "B"
    only = token_of(strict, maintainer, Scope.SUBMIT, Scope.READ)
    assert strict.http.post(ADDRESS, json=sent, headers=only).json()["approval"] == "pending"
    sent["name"] = "C"  # nobody is signed in, on a service for its own machine
    assert strict.http.post(ADDRESS, json=sent).json()["approval"] == "pending"


def test_declined_withdrawn_restored_and_evaluated_again(service: Running) -> None:
    owner, maintainer = person(service.services.db, "owner"), person(service.services.db, "mona", Role.MAINTAINER)
    theirs, decides = token_of(service, owner, Scope.READ, Scope.SUBMIT), token_of(service, maintainer)
    waiting = send(service.services, owner, "A", approval=True)
    evaluate(service.services)
    for wrong in ({}, {"reason": 1}, {"reason": "a", "more": "b"}):
        assert service.http.post(f"{ADDRESS}/{waiting}/decline", json=wrong, headers=decides).status_code == 422
    reason = {"reason": "A copy of another."}
    empty = service.http.post(f"{ADDRESS}/{waiting}/decline", json={"reason": " "}, headers=decides)
    assert_error(empty, 422, "invalid_submission", "reason")
    assert service.http.post(f"{ADDRESS}/{waiting}/decline", json=reason, headers=decides).status_code == 200
    told = service.http.get(f"{ADDRESS}/{waiting}", headers=theirs)
    assert (told.json()["state"], told.json()["reason"]) == ("rejected", "A copy of another.")
    assert "mona" not in told.text
    entry = send(service.services, owner, "B")
    evaluate(service.services)
    assert_error(service.http.post(f"{ADDRESS}/{entry}/withdraw", json=reason), 401, "unauthorized", "account")
    assert service.http.post(f"{ADDRESS}/{entry}/withdraw", json=reason, headers=theirs).status_code == 200
    row = service.http.get("/api/v1/models/digits/Linf/B").json()["row"]
    assert (row["rank"], row["withdrawn_reason"]) == (None, "A copy of another.")
    assert_error(service.http.post(f"{ADDRESS}/{entry}/restore", headers=theirs), 403, "forbidden", "account")
    assert service.http.post(f"{ADDRESS}/{entry}/restore", headers=decides).json()["state"] == "published"
    again = service.http.post(f"{ADDRESS}/{entry}/re-evaluate", headers=theirs)
    assert again.json()["again"]["state"] == "queued"
    assert_error(service.http.post(f"{ADDRESS}/{entry}/re-evaluate", headers=decides), 409, "conflict", "submission")


def test_the_log_is_for_maintainers_and_comes_in_pages(service: Running) -> None:
    owner, maintainer = person(service.services.db, "owner"), person(service.services.db, "mona", Role.MAINTAINER)
    decides = token_of(service, maintainer)
    assert_error(service.http.get("/api/v1/audit"), 401, "unauthorized", "account")
    refused = service.http.get("/api/v1/audit", headers=token_of(service, owner, Scope.READ))
    assert_error(refused, 403, "forbidden", "account")
    everything = service.http.get("/api/v1/audit", headers=decides).json()["records"]
    assert {record["action"] for record in everything} == {"create_token"}
    assert {record["name"] for record in everything} == {"owner", "mona"}
    first = service.http.get("/api/v1/audit?limit=1", headers=decides).json()["records"]
    rest = service.http.get(f"/api/v1/audit?before={first[0]['id']}", headers=decides).json()["records"]
    assert first + rest == everything
    subject = {"subject": everything[0]["subject"]}
    assert service.http.get("/api/v1/audit", params=subject, headers=decides).json()["records"] == everything[:1]
    assert "secret" not in json.dumps(everything)
