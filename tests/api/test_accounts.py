"""Accounts by REST: one's own, its tokens, and those of others for administrators."""

from __future__ import annotations

import logging

import httpx
import pytest

from store.account_links import choose_password_by_link, first_link
from store.actors import Scope
from store.quotas import Quotas
from store.sign_in import begin_session, create_token, who_has_session
from tests.api.shape import assert_error
from tests.quick_passwords import quick_passwords
from tests.running import Running, safetensors
from tests.store.test_accounts import OTHER, PASSWORD, jane

__all__ = ["quick_passwords"]

BASE = "/api/v1"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def token_of(service: Running, account_id: str, scopes: list[Scope] | None = None) -> dict[str, str]:
    db = service.services.db
    who = who_has_session(db, begin_session(db, account_id))
    assert who is not None
    wanted = scopes or [Scope.READ, Scope.SUBMIT, Scope.ACCOUNT, *([Scope.MODERATE] if who.moderates else [])]
    return bearer(create_token(db, who, "test", wanted)[1])


def admin_of(service: Running) -> dict[str, str]:
    db = service.services.db
    return token_of(service, choose_password_by_link(db, first_link(db) or "", PASSWORD).id)


def test_an_account_is_made_read_changed_and_deleted(service: Running) -> None:
    made = service.http.post(f"{BASE}/accounts", json={"name": "Jane", "password": PASSWORD, "team": "Whalers"})
    assert made.status_code == 201
    account = made.json()["account"]
    assert (account["name"], account["role"], made.json()["link"]) == ("jane", "submitter", None)
    mine = token_of(service, account["id"])
    answer = service.http.get(f"{BASE}/account", headers=mine)
    assert answer.json() == account
    assert answer.headers["cache-control"] == "private, no-store"
    changed = service.http.patch(f"{BASE}/account", headers=mine, json={"email": "jane@example.org"})
    assert (changed.json()["email"], changed.json()["team"]) == ("jane@example.org", "Whalers")
    wrong = {"present_password": OTHER, "password": "another one of them"}
    assert_error(
        service.http.post(f"{BASE}/account/password", headers=mine, json=wrong),
        422,
        "invalid_input",
        "present_password",
    )
    right = {"present_password": PASSWORD, "password": OTHER}
    assert service.http.post(f"{BASE}/account/password", headers=mine, json=right).status_code == 204
    gone = service.http.request("DELETE", f"{BASE}/account", headers=mine, json={"password": OTHER})
    assert gone.status_code == 204
    assert_error(service.http.get(f"{BASE}/account", headers=mine), 401, "unauthorized", "Authorization")


def test_tokens_are_made_listed_and_revoked(service: Running) -> None:
    mine = token_of(service, jane(service.services.db).id)
    made = service.http.post(f"{BASE}/account/tokens", headers=mine, json={"name": "laptop", "days": 30})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    secret, token = made.json()["secret"], made.json()["token"]
    assert service.http.get(f"{BASE}/account", headers=bearer(secret)).status_code == 200
    listed = service.http.get(f"{BASE}/account/tokens", headers=mine)
    assert [one["name"] for one in listed.json()["tokens"]] == ["laptop", "test"]
    assert secret not in listed.text
    refused = service.http.post(f"{BASE}/account/tokens", headers=bearer(secret), json={"name": "more"})
    assert_error(refused, 403, "forbidden", "account")
    assert service.http.delete(f"{BASE}/account/tokens/{token['id']}", headers=mine).json()["revoked"] is True
    assert_error(service.http.get(f"{BASE}/account", headers=bearer(secret)), 401, "unauthorized", "Authorization")
    assert_error(service.http.delete(f"{BASE}/account/tokens/nothing", headers=mine), 404, "not_found", "token")


def test_administrators_invite_list_change_and_link(service: Running) -> None:
    admin = admin_of(service)
    invited = service.http.post(f"{BASE}/accounts", headers=admin, json={"name": "john", "role": "maintainer"})
    assert invited.status_code == 201
    link = invited.json()["link"]
    assert link.startswith(f"{service.url}/welcome?link=")
    assert service.http.get(link).status_code == 200
    names = [one["name"] for one in service.http.get(f"{BASE}/accounts", headers=admin).json()["accounts"]]
    assert names == ["admin", "john"]
    newer = service.http.post(f"{BASE}/accounts/john/link", headers=admin).json()["link"]
    assert (service.http.get(link).status_code, service.http.get(newer).status_code) == (404, 200)
    changed = service.http.patch(f"{BASE}/accounts/john", headers=admin, json={"disabled": True})
    assert changed.json()["disabled"] is True
    last = service.http.patch(f"{BASE}/accounts/admin", headers=admin, json={"role": "submitter"})
    assert_error(last, 409, "conflict", "account")
    assert_error(service.http.post(f"{BASE}/accounts/nobody/link", headers=admin), 404, "not_found", "account")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/accounts", None),
        ("PATCH", "/accounts/jane", {"role": "admin"}),
        ("POST", "/accounts/jane/link", None),
        ("POST", "/accounts", {"name": "john", "role": "admin"}),
    ],
)
def test_nobody_else_does(service: Running, method: str, path: str, body: dict[str, str] | None) -> None:
    mine = token_of(service, jane(service.services.db).id)
    assert_error(service.http.request(method, BASE + path, json=body), 401, "unauthorized", "account")
    assert_error(service.http.request(method, BASE + path, json=body, headers=mine), 403, "forbidden", "account")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/password"), ("POST", "/tokens")]
)
def test_an_own_account_needs_one(service: Running, method: str, path: str) -> None:
    body = {"password": PASSWORD} if method == "DELETE" else {}
    if path == "/password":
        body = {"present_password": PASSWORD, "password": OTHER}
    if path == "/tokens":
        body = {"name": "laptop"}
    answer = service.http.request(method, f"{BASE}/account{path}", json=body if method != "GET" else None)
    assert_error(answer, 401, "unauthorized", "account")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "jane", "pasword": "%s"}',
        '{"name": "jane", "password": ["%s"]}',
        '["%s"]',
        '{"name": "jane", "password": "%s", "role": "king"}',
        '{"name": "jane", "password": "%s',
    ],
)
def test_no_error_shows_a_password_again(service: Running, body: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"Content-Type": "application/json"}
    answer = service.http.post(f"{BASE}/accounts", content=body % PASSWORD, headers=headers)
    assert answer.status_code in {400, 422}
    assert PASSWORD not in answer.text
    assert PASSWORD not in caplog.text


def test_registrations_are_limited_by_address(service: Running) -> None:
    answers = [
        service.http.post(f"{BASE}/accounts", json={"name": f"jane-{number}", "password": PASSWORD})
        for number in range(11)
    ]
    assert [answer.status_code for answer in answers] == [201] * 10 + [429]
    assert_error(answers[-1], 429, "rate_limited")
    assert int(answers[-1].headers["retry-after"]) > 0


def test_an_upload_over_quota_is_refused_before_it_is_read(service: Running) -> None:
    content = safetensors()
    services = service.services
    object.__setattr__(services, "quotas", Quotas(bytes_a_day=len(content) + 10, bytes_kept=10 * len(content)))
    mine = token_of(service, jane(services.db).id)
    service.http.headers.update(mine)
    broken = service.http.put(f"{BASE}/uploads/{'0' * 64}", content=content)
    assert broken.status_code == 422  # of another hash: not kept, not counted
    assert service.put(content).status_code == 201
    with httpx.Client(base_url=service.url) as other:
        request = other.build_request("PUT", f"{BASE}/uploads/{'1' * 64}", headers=mine, content=b"x" * 100)
        answer = other.send(request)
    assert_error(answer, 429, "rate_limited")
    assert int(answer.headers["retry-after"]) > 3600


def test_the_description_tells_how_to_show_who_one_is(service: Running) -> None:
    document = service.http.get(f"{BASE}/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert (schemes["token"]["scheme"], schemes["session"]["in"]) == ("bearer", "cookie")
    assert document["paths"][f"{BASE}/account"]["get"]["security"] == [{"token": []}, {"session": []}]
    assert {} in document["paths"][f"{BASE}/submissions/{{submission_id}}"]["get"]["security"]
    for name in ("AccountEdit", "AccountDeletion", "PasswordChange", "TokenRequest", "AccountRequest", "AccountChange"):
        assert document["components"]["schemas"][name]["examples"]
