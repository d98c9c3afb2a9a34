"""The pages of accounts: registering, signing in and out, tokens, links, and what no other site can do with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from store.account_links import first_link
from store.audit import list_audit
from store.sign_in import begin_session, who_has_session
from tests.quick_passwords import quick_passwords
from tests.running import Running, quiet_settings, running
from tests.store.test_accounts import OTHER, PASSWORD, jane
from tests.web.html import PageReader, read_page
from web.forms import place_on_site

__all__ = ["quick_passwords"]

COOKIE = "gauntlet_session"


def register(service: Running, **fields: str) -> httpx.Response:
    sent = {"name": "jane", "email": "", "team": "", "password": PASSWORD, "again": PASSWORD} | fields
    return service.http.post("/register", data=sent)


def sign_in(service: Running, **fields: str) -> httpx.Response:
    return service.http.post("/sign-in", data={"name": "jane", "password": PASSWORD, "next": "/"} | fields)


def read(service: Running, path: str) -> PageReader:
    answer = service.http.get(path)
    assert answer.status_code == 200
    return read_page(answer.text)


def test_registering_signs_in(service: Running) -> None:
    assert "Sign in" in read(service, "/").text
    read(service, "/register")
    answer = register(service, team="Whalers")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Path=/"))
    page = read(service, "/account")
    assert page.find("input", id="team")[0]["value"] == "Whalers"
    assert "jane, your account" in read(service, "/").text
    assert service.http.get("/").headers["cache-control"] == "private, no-cache"
    assert service.http.get("/register").headers["location"] == "/account"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "?"}, "name"),
        ({"email": "nobody"}, "email"),
        ({"password": "short", "again": "short"}, "password"),
        ({"again": OTHER}, "again"),
    ],
)
def test_what_is_wrong_stands_at_its_field(service: Running, fields: dict[str, str], field: str) -> None:
    answer = register(service, **({"team": "Whalers"} | fields))
    assert answer.status_code == 422
    page = read_page(answer.text)
    assert page.find("p", id=f"problem-{field}")
    assert page.find("input", id="team")[0]["value"] == "Whalers"
    assert all("value" not in found for found in page.find("input", type="password"))
    assert PASSWORD not in answer.text
    assert "set-cookie" not in answer.headers


def test_a_taken_name_is_told(service: Running) -> None:
    jane(service.services.db)
    answer = register(service)
    assert answer.status_code == 409
    assert read_page(answer.text).find("p", id="problem-name")


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Running]:
    with running(quiet_settings(tmp_path / "closed").model_copy(update={"registration": "closed"})) as service:
        yield service


def test_where_registration_is_closed_nobody_registers(closed: Running) -> None:
    assert closed.http.get("/register").status_code == 404
    assert register(closed).status_code == 404
    body = {"name": "jane", "password": PASSWORD}
    assert closed.http.post("/api/v1/accounts", json=body).status_code == 403
    assert "/register" not in closed.http.get("/sign-in").text


def test_signing_in_begins_another_session_and_ends_the_one_before(service: Running) -> None:
    db = service.services.db
    before = begin_session(db, jane(db).id)
    service.http.cookies.set(COOKIE, before)
    answer = sign_in(service, next="/submit?board=digits/Linf")
    assert (answer.status_code, answer.headers["location"]) == (303, "/submit?board=digits/Linf")
    after = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert after != before
    assert who_has_session(db, before) is None
    assert who_has_session(db, after) is not None


def test_a_session_that_somebody_else_has_chosen_is_never_begun(service: Running) -> None:
    jane(service.services.db)
    chosen = "x" * 43
    answer = service.http.get("/", headers={"Cookie": f"{COOKIE}={chosen}"})
    assert "Max-Age=0" in answer.headers["set-cookie"]
    answer = service.http.post(
        "/sign-in", data={"name": "jane", "password": PASSWORD, "next": "/"}, headers={"Cookie": f"{COOKIE}={chosen}"}
    )
    assert answer.status_code == 303
    assert who_has_session(service.services.db, chosen) is None


def test_a_wrong_password_and_a_wrong_name_look_alike(service: Running) -> None:
    jane(service.services.db)
    answers = [sign_in(service, name=name, password=OTHER) for name in ("jane", "nobody")]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[0].text.replace("jane", "nobody") == answers[1].text
    assert read_page(answers[0].text).find("input", id="name")[0]["value"] == "jane"
    assert OTHER not in answers[0].text


def test_too_many_attempts_are_refused_even_with_the_right_password(service: Running) -> None:
    jane(service.services.db)
    assert [sign_in(service, password=OTHER).status_code for _ in range(10)] == [422] * 10
    answer = sign_in(service)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    read_page(answer.text)


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "evil",
        "javascript:alert(1)", "/a\\b", "http:/x", "/" + "x" * 500, "", "///evil.example", "/\x00", "/é", "//[",
    ],
)  # fmt: skip
def test_signing_in_leads_to_no_other_site(service: Running, target: str) -> None:
    assert place_on_site(target) == "/"
    jane(service.services.db)
    assert sign_in(service, next=target).headers["location"] == "/"


def test_signing_out_ends_the_session(service: Running) -> None:
    register(service)
    secret = service.http.cookies[COOKIE]
    answer = service.http.post("/sign-out")
    assert (answer.status_code, "Max-Age=0" in answer.headers["set-cookie"]) == (303, True)
    assert who_has_session(service.services.db, secret) is None
    assert service.http.get("/account").headers["location"] == "/sign-in?next=%2Faccount"


def test_over_https_only_the_cookie_counts_that_nobody_else_can_set(service: Running) -> None:
    db = service.services.db
    secret = begin_session(db, jane(db).id)
    https = {"X-Forwarded-Proto": "https"}  # uvicorn believes it from this machine
    plain = service.http.get("/account", headers=https | {"Cookie": f"{COOKIE}={secret}"})
    assert plain.status_code == 303
    locked = service.http.get("/account", headers=https | {"Cookie": f"__Host-{COOKIE}={secret}"})
    assert locked.status_code == 200
    assert service.http.get("/account", headers={"Cookie": f"__Host-{COOKIE}={secret}"}).status_code == 303
    begun = service.http.post(
        "/sign-in", data={"name": "jane", "password": PASSWORD, "next": "/"}, headers=https
    ).headers["set-cookie"]
    assert begun.startswith(f"__Host-{COOKIE}=")
    assert "; Secure" in begun
    assert "Domain" not in begun


def test_an_account_is_changed_and_deleted_on_its_page(service: Running) -> None:
    register(service)
    assert service.http.post("/account", data={"email": "j@example.org", "team": "T"}).status_code == 303
    wrong = service.http.post("/account", data={"email": "nobody", "team": "U"})
    assert (wrong.status_code, read_page(wrong.text).find("input", id="team")[0]["value"]) == (422, "U")
    before = service.http.cookies[COOKIE]
    change = {"present_password": PASSWORD, "password": OTHER, "again": OTHER}
    assert service.http.post("/account/password", data=change | {"present_password": "x"}).status_code == 422
    assert service.http.post("/account/password", data=change).status_code == 303
    assert service.http.cookies[COOKIE] != before
    read(service, "/account")
    assert service.http.post("/account/delete", data={"deletion_password": PASSWORD}).status_code == 422
    assert service.http.post("/account/delete", data={"deletion_password": OTHER}).status_code == 303
    assert sign_in(service, password=OTHER).status_code == 422


def test_a_token_is_shown_once(service: Running) -> None:
    register(service)
    read(service, "/account/tokens")
    made = service.http.post("/account/tokens", data={"name": "laptop", "days": "30", "read": "on"})
    assert made.headers["cache-control"] == "no-store"
    page = read_page(made.text)
    found = re.search(r"gnt_[0-9a-f]{72}", page.text)
    assert found is not None
    bearer = {"Authorization": f"Bearer {found.group()}", "Cookie": ""}
    assert service.http.get("/api/v1/account", headers=bearer).json()["name"] == "jane"
    again = read(service, "/account/tokens")
    assert found.group() not in again.text
    revoke = next(form["action"] for form in again.find("form") if form["action"].endswith("/revoke"))
    assert service.http.post(revoke).status_code == 303
    assert service.http.get("/api/v1/account", headers=bearer).status_code == 401
    for wrong in ({"name": ""}, {"days": "x"}, {"days": "999"}, {"read": ""}):
        sent = {"name": "laptop", "days": "30", "read": "on"} | wrong
        answer = service.http.post("/account/tokens", data=sent)
        assert answer.status_code == 422
        assert read_page(answer.text).find("p", class_="problem")


def test_a_link_is_used_up_by_the_password_and_by_nothing_else(service: Running) -> None:
    link = first_link(service.services.db) or ""
    for _ in range(2):
        seen = service.http.get("/welcome", params={"link": link})
        assert (seen.headers["referrer-policy"], seen.headers["cache-control"]) == ("strict-origin", "no-store")
        read_page(seen.text)
    short = service.http.post("/welcome", data={"link": link, "password": "short", "again": "short"})
    assert (short.status_code, bool(read_page(short.text).find("p", id="problem-password"))) == (422, True)
    chosen = {"link": link, "password": PASSWORD, "again": PASSWORD}
    assert service.http.post("/welcome", data=chosen).headers["location"] == "/account"
    assert "All accounts" in read(service, "/account").text
    assert service.http.post("/welcome", data=chosen).status_code == 404
    assert service.http.get("/welcome", params={"link": link}).status_code == 404


def test_administrators_invite_and_shut_out(service: Running) -> None:
    link = first_link(service.services.db) or ""
    service.http.post("/welcome", data={"link": link, "password": PASSWORD, "again": PASSWORD})
    read(service, "/accounts")
    invited = service.http.post("/accounts", data={"name": "john", "role": "maintainer"})
    assert invited.headers["cache-control"] == "no-store"
    address = re.search(r"http://\S+/welcome\?link=[\w-]{43}", read_page(invited.text).text)
    assert address is not None
    assert "john" in read_page(service.http.get(address.group()).text).text
    assert "link=" not in read(service, "/accounts").text
    for wrong, status in (({"name": "john"}, 409), ({"role": "king"}, 422), ({"name": "?"}, 422)):
        answer = service.http.post("/accounts", data={"name": "jim", "role": "admin"} | wrong)
        assert answer.status_code == status
        read_page(answer.text)
    assert service.http.post("/accounts/john/role", data={"role": "submitter"}).status_code == 303
    assert service.http.post("/accounts/john/disable").status_code == 303
    assert "shut out" in read(service, "/accounts").text
    assert service.http.post("/accounts/john/enable").status_code == 303
    assert "/welcome?link=" in service.http.post("/accounts/john/link").text
    assert service.http.post("/accounts/admin/disable").status_code == 409
    actions = [record.action for record in list_audit(service.services.db, None)]
    assert {"invite", "set_role", "disable", "enable", "make_link"} <= set(actions)


def test_nobody_else_sees_the_accounts(service: Running) -> None:
    assert service.http.get("/accounts").headers["location"] == "/sign-in?next=%2Faccounts"
    register(service)
    assert service.http.get("/accounts").status_code == 403
    assert service.http.post("/accounts", data={"name": "john", "role": "admin"}).status_code == 403
    assert service.http.post("/accounts/jane/role", data={"role": "admin"}).status_code == 403


def test_forms_hold_only_their_fields_each_once(service: Running) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in ("name=a&name=b", "other=1", "name=%ff", "&".join(["name=a"] * 500)):
        assert service.http.post("/sign-in", content=body, headers=headers).status_code == 422
    assert service.http.post("/sign-in", json={"name": "jane"}).status_code == 422
