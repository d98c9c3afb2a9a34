"""How people and programs show who they are."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from benchmark.errors import Conflict, InvalidInput, NotFound
from store import sign_in as module
from store.accounts import change_password
from store.actors import Actor, Forbidden, Role, Scope
from store.administration import set_account
from store.database import Database
from store.passwords import is_password
from store.secret_texts import TOKEN_PREFIX, hash_of, is_token, new_token
from store.sign_in import (
    WrongPassword,
    begin_session,
    create_token,
    list_tokens,
    revoke_token,
    sign_in,
    sign_out,
    sign_out_everywhere,
    who_has_session,
    who_has_token,
)
from store.tables import SessionRow, TokenRow
from tests.quick_passwords import quick_passwords
from tests.store.test_accounts import OTHER, PASSWORD, actor, jane

__all__ = ["quick_passwords"]


def test_every_sign_in_is_a_session_of_its_own(db: Database) -> None:
    jane(db)
    first, second = sign_in(db, "Jane ", PASSWORD), sign_in(db, "jane", PASSWORD)
    assert first != second
    sign_out(db, first)
    assert who_has_session(db, first) is None
    found = who_has_session(db, second)
    assert found is not None
    assert (found.name, found.role, found.scopes) == ("jane", Role.SUBMITTER, frozenset(Scope))
    sign_out_everywhere(db, found)
    assert who_has_session(db, second) is None


def test_a_session_ends(db: Database) -> None:
    jane(db)
    secret = sign_in(db, "jane", PASSWORD)
    with db.transaction() as session:
        session.get_one(SessionRow, hash_of(secret)).expires_ms = 1
    assert who_has_session(db, secret) is None
    sign_in(db, "jane", PASSWORD)
    with db.snapshot() as session:
        assert session.get(SessionRow, hash_of(secret)) is None


def test_nobody_chooses_their_own_session(db: Database) -> None:
    jane(db)
    sign_in(db, "jane", PASSWORD)
    for text in ("", "x" * 43, "\0", "\ud800"):
        assert who_has_session(db, text) is None


@pytest.mark.parametrize("name", ["nobody", "jane\0", "\ud800", "x" * 10_000, ""])
def test_wrong_names_and_wrong_passwords_are_told_alike(db: Database, name: str) -> None:
    jane(db)
    with pytest.raises(WrongPassword) as unknown:
        sign_in(db, name, PASSWORD)
    with pytest.raises(WrongPassword) as wrong:
        sign_in(db, "jane", OTHER)
    assert unknown.value.as_json() == wrong.value.as_json()


def test_a_password_changed_meanwhile_lets_nobody_in(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    jane(db)
    who = actor(db)

    def changed_meanwhile(password: str, kept: str | None) -> bool:
        fits = is_password(password, kept)
        change_password(db, who, PASSWORD, OTHER)
        return fits

    monkeypatch.setattr(module, "is_password", changed_meanwhile)
    with pytest.raises(WrongPassword):
        sign_in(db, "jane", PASSWORD)


def test_an_account_that_is_shut_out_begins_no_session(db: Database) -> None:
    made = jane(db)
    set_account(db, None, "jane", disabled=True)
    with pytest.raises(WrongPassword):
        begin_session(db, made.id)


def test_a_token_has_a_prefix_and_a_checksum() -> None:
    token = new_token()
    assert token.startswith(TOKEN_PREFIX)
    assert is_token(token)
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    for text in (wrong, token[:-1], token + "0", "", TOKEN_PREFIX, token.replace(TOKEN_PREFIX, "xyz_"), f"{token}é"):
        assert not is_token(text)


def test_a_mistyped_token_asks_no_database(on_sqlite: Database) -> None:
    asked: list[str] = []
    event.listen(on_sqlite.engine, "before_cursor_execute", lambda *args: asked.append(str(args[2])))
    assert who_has_token(on_sqlite, new_token()[:-1] + "x") is None
    assert asked == []
    assert who_has_token(on_sqlite, new_token()) is None
    assert asked != []


def test_a_token_may_what_it_was_made_for_until_it_ends(db: Database) -> None:
    jane(db)
    who = actor(db)
    made, secret = create_token(db, who, "laptop", [Scope.READ], days=1)
    found = who_has_token(db, secret)
    assert found is not None
    assert found.scopes == {Scope.READ}
    assert not found.may_send
    assert list_tokens(db, who)[0].used_ms is not None
    with db.transaction() as session:
        session.get_one(TokenRow, made.id).expires_ms = 1
    assert who_has_token(db, secret) is None


def test_a_revoked_token_is_nobodys(db: Database) -> None:
    jane(db)
    jane(db, "other")
    who = actor(db)
    made, secret = create_token(db, who, "laptop", [Scope.READ], days=None)
    for somebody, token_id in ((actor(db, "other"), made.id), (who, "0" * 20), (who, "\0")):
        with pytest.raises(NotFound):
            revoke_token(db, somebody, token_id)
    assert who_has_token(db, secret) is not None
    assert revoke_token(db, who, made.id).revoked
    assert who_has_token(db, secret) is None
    assert revoke_token(db, who, made.id).revoked


def test_a_token_makes_no_token_unless_it_was_made_for_that(db: Database) -> None:
    jane(db)
    who = actor(db)
    for scopes, allowed in (([Scope.READ, Scope.SUBMIT], False), ([Scope.READ, Scope.ACCOUNT], True)):
        program = who_has_token(db, create_token(db, who, "one", scopes)[1])
        assert program is not None
        if not allowed:
            with pytest.raises(Forbidden):
                create_token(db, program, "two", [Scope.READ])
            continue
        assert create_token(db, program, "two", [Scope.READ])
        with pytest.raises(Forbidden):
            create_token(db, program, "three", [Scope.SUBMIT])


@pytest.mark.parametrize(
    ("name", "scopes", "days", "error"),
    [
        ("", [Scope.READ], 90, InvalidInput),
        ("one", [], 90, InvalidInput),
        ("one", [Scope.READ], 0, InvalidInput),
        ("one", [Scope.READ], 366, InvalidInput),
        ("one", [Scope.MODERATE], 90, Forbidden),
    ],
)
def test_impossible_tokens_are_refused(
    on_sqlite: Database, name: str, scopes: list[Scope], days: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        create_token(on_sqlite, Actor(account_id="0" * 20, role=Role.SUBMITTER), name, scopes, days)


def test_nobody_has_tokens_without_end(on_sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOKENS", 2)
    jane(on_sqlite)
    who = actor(on_sqlite)
    made = [create_token(on_sqlite, who, "one", [Scope.READ])[0] for _ in range(2)]
    with pytest.raises(Conflict):
        create_token(on_sqlite, who, "three", [Scope.READ])
    revoke_token(on_sqlite, who, made[0].id)
    create_token(on_sqlite, who, "three", [Scope.READ])
