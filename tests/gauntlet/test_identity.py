"""Who asks: by token, by cookie, by both, by neither."""

from __future__ import annotations

import pytest

from store.accounts import NewAccount, register
from store.actors import Scope
from store.administration import set_account
from store.sign_in import begin_session, create_token, who_has_session
from tests.quick_passwords import quick_passwords
from tests.running import Running
from tests.store.test_accounts import PASSWORD, jane

__all__ = ["quick_passwords"]


def test_a_token_goes_before_a_cookie_and_leaves_its_session_alone(service: Running) -> None:
    db = service.services.db
    session = begin_session(db, jane(db).id)
    john = register(db, NewAccount(name="john", password=PASSWORD))
    who = who_has_session(db, begin_session(db, john.id))
    assert who is not None
    bearer = {"Authorization": f"Bearer {create_token(db, who, 'one', list(Scope)[:1])[1]}"}
    service.http.cookies.set("gauntlet_session", session)
    assert service.http.get("/api/v1/account").json()["name"] == "jane"
    assert service.http.get("/api/v1/account", headers=bearer).json()["name"] == "john"
    service.http.post("/sign-out", headers=bearer)
    assert who_has_session(db, session) is not None


def test_whoever_is_shut_out_is_told_to_sign_in(service: Running) -> None:
    db = service.services.db
    service.http.cookies.set("gauntlet_session", begin_session(db, jane(db).id))
    assert service.http.get("/account").status_code == 200
    set_account(db, None, "jane", disabled=True)
    answer = service.http.get("/account")
    assert (answer.status_code, "Max-Age=0" in answer.headers["set-cookie"]) == (303, True)


@pytest.mark.parametrize("value", ["Bearer gnt_qqqq", "bearer gnt_" + "0" * 72, "Bearer  gnt_é"])
def test_a_token_that_is_none_lets_nobody_look_at_anything(service: Running, value: str) -> None:
    answer = service.http.get("/api/v1/leaderboards", headers={b"Authorization": value.encode()})
    assert answer.status_code == 401
    assert value.partition("gnt_")[2] not in answer.text


def test_what_an_account_sees_is_kept_by_no_cache(service: Running) -> None:
    db = service.services.db
    assert "cache-control" not in service.http.get("/api/v1/submissions").headers
    service.http.cookies.set("gauntlet_session", begin_session(db, jane(db).id))
    assert service.http.get("/api/v1/submissions").headers["cache-control"] == "private, no-store"
