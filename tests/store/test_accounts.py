"""Accounts: made, changed, trusted, shut out, deleted; and the links that let somebody in once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from benchmark.errors import Conflict, GauntletError, InvalidInput, NotFound
from store.account_links import FIRST, account_of_link, choose_password_by_link, first_link, new_link
from store.account_rows import AccountView
from store.accounts import NewAccount, change_password, delete_account, edit_account, register
from store.actors import ANYBODY, Actor, Forbidden, Role, Scope, SignInNeeded
from store.administration import invite, list_accounts, set_account
from store.audit import list_audit
from store.blobs import LocalBlobs
from store.database import Database
from store.secret_texts import hash_of
from store.sign_in import WrongPassword, begin_session, create_token, sign_in, who_has_session, who_has_token
from store.submissions import get_submission, submit
from store.tables import AccountRow, LinkRow
from store.views import State
from tests.quick_passwords import quick_passwords
from tests.store.material import Rules, new_submission

__all__ = ["quick_passwords"]

PASSWORD = "the whale is white"
OTHER = "the sea is green"


def jane(db: Database, name: str = "jane", email: str = "") -> AccountView:
    return register(db, NewAccount(name=name, password=PASSWORD, email=email))


def actor(db: Database, name: str = "jane") -> Actor:
    found = who_has_session(db, sign_in(db, name, PASSWORD))
    assert found is not None
    return found


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Do them all at the same time; an error of ours is a result."""
    gate, results = threading.Barrier(len(acts)), []

    def run(act: Callable[[], object]) -> None:
        gate.wait()
        try:
            results.append(act())
        except GauntletError as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_name_is_kept_in_lower_case_and_taken_once(db: Database) -> None:
    made = jane(db, "Jane", "Jane@Example.org")
    assert (made.name, made.email, made.role) == ("jane", "jane@example.org", Role.SUBMITTER)
    with pytest.raises(Conflict, match="name"):
        jane(db, "JANE")
    with pytest.raises(Conflict, match="email"):
        jane(db, "janet", "jane@example.ORG")


@pytest.mark.parametrize("name", ["a", "-ab", "a b", "ab\0c", "é", "x" * 40, "deleted:x", "\ud800ab"])
def test_impossible_names_are_refused(on_sqlite: Database, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        jane(on_sqlite, name)
    assert refused.value.detail is not None
    assert refused.value.detail.field == "name"


def test_nobody_registers_as_the_administrator(on_sqlite: Database) -> None:
    with pytest.raises(Conflict, match="name"):
        jane(on_sqlite, "Admin")


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaa", "x" * 201, "jane-the-first"])
def test_easily_guessed_passwords_are_refused(on_sqlite: Database, password: str) -> None:
    with pytest.raises(InvalidInput, match="password"):
        register(on_sqlite, NewAccount(name="jane-the-first", password=password))


def test_of_two_who_register_one_name_at_once_one_gets_it(db: Database) -> None:
    results = at_once(lambda: jane(db, email="a@example.org"), lambda: jane(db, email="b@example.org"))
    errors = [result for result in results if isinstance(result, GauntletError)]
    assert len(errors) == 1
    assert errors[0].detail is not None
    assert (errors[0].code, errors[0].detail.field) == ("conflict", "name")


def test_the_first_link_is_there_until_an_administrator_has_a_password(db: Database) -> None:
    first, second = first_link(db), first_link(db)
    assert first is not None
    assert second is not None
    with pytest.raises(NotFound):
        account_of_link(db, first)
    assert choose_password_by_link(db, second, PASSWORD).name == FIRST
    assert first_link(db) is None
    assert [account.role for account in list_accounts(db, None)] == [Role.ADMIN]


def test_the_first_link_makes_no_account_after_account(db: Database) -> None:
    invite(db, None, FIRST, Role.SUBMITTER)
    for _ in range(3):
        assert first_link(db) is not None
    assert len(list_accounts(db, None)) == 2


def test_a_link_is_used_once_even_by_two_at_once(db: Database) -> None:
    link = first_link(db) or ""
    results = at_once(
        lambda: choose_password_by_link(db, link, PASSWORD), lambda: choose_password_by_link(db, link, OTHER)
    )
    assert sorted(isinstance(result, NotFound) for result in results) == [False, True]


def test_a_weak_password_does_not_use_a_link_up(on_sqlite: Database) -> None:
    link = first_link(on_sqlite) or ""
    with pytest.raises(InvalidInput, match="password"):
        choose_password_by_link(on_sqlite, link, "short")
    choose_password_by_link(on_sqlite, link, PASSWORD)


def test_a_link_ends(on_sqlite: Database) -> None:
    link = first_link(on_sqlite) or ""
    with on_sqlite.transaction() as session:
        session.get_one(LinkRow, hash_of(link)).expires_ms = 1
    with pytest.raises(NotFound):
        account_of_link(on_sqlite, link)


def test_a_link_ends_sessions_and_tokens(db: Database) -> None:
    made = jane(db)
    session = begin_session(db, made.id)
    _, token = create_token(db, actor(db), "laptop", [Scope.READ])
    choose_password_by_link(db, new_link(db, None, "jane"), OTHER)
    assert who_has_session(db, session) is None
    assert who_has_token(db, token) is None
    with pytest.raises(WrongPassword):
        sign_in(db, "jane", PASSWORD)


def test_a_changed_password_ends_sessions_and_links(db: Database) -> None:
    jane(db)
    who, link = actor(db), new_link(db, None, "jane")
    session = begin_session(db, who.account_id or "")
    with pytest.raises(InvalidInput, match="present_password"):
        change_password(db, who, "something else", OTHER)
    change_password(db, who, PASSWORD, OTHER)
    assert who_has_session(db, session) is None
    with pytest.raises(NotFound):
        account_of_link(db, link)
    assert sign_in(db, "jane", OTHER)


def test_administrators_alone_decide_about_accounts(db: Database) -> None:
    jane(db)
    for who, error in ((ANYBODY, SignInNeeded), (actor(db), Forbidden)):
        for act in (
            lambda who=who: invite(db, who, "bob", Role.ADMIN),
            lambda who=who: list_accounts(db, who),
            lambda who=who: set_account(db, who, "jane", role=Role.ADMIN),
            lambda who=who: new_link(db, who, "jane"),
        ):
            with pytest.raises(error):
                act()
    assert [account.role for account in list_accounts(db, None)] == [Role.SUBMITTER]


def test_another_role_signs_out_and_counts_at_once(db: Database) -> None:
    jane(db)
    session = sign_in(db, "jane", PASSWORD)
    set_account(db, None, "jane", role=Role.MAINTAINER)
    assert who_has_session(db, session) is None
    assert actor(db).moderates


def test_whoever_is_shut_out_is_out_at_once(db: Database) -> None:
    jane(db)
    who = actor(db)
    session, (_, token) = sign_in(db, "jane", PASSWORD), create_token(db, who, "laptop", [Scope.READ])
    link = new_link(db, None, "jane")
    set_account(db, None, "jane", disabled=True)
    assert who_has_session(db, session) is None
    assert who_has_token(db, token) is None
    with pytest.raises(WrongPassword):
        sign_in(db, "jane", PASSWORD)
    with pytest.raises(NotFound):
        account_of_link(db, link)
    set_account(db, None, "jane", disabled=False)
    assert who_has_session(db, session) is None
    with pytest.raises(NotFound):
        account_of_link(db, link)


def test_the_last_administrator_stays(db: Database) -> None:
    invite(db, None, "root-a", Role.ADMIN)
    for change in ({"role": Role.SUBMITTER}, {"disabled": True}):
        with pytest.raises(Conflict, match="last administrator"):
            set_account(db, None, "root-a", **change)
    invite(db, None, "root-b", Role.ADMIN)
    results = at_once(
        lambda: set_account(db, None, "root-a", disabled=True), lambda: set_account(db, None, "root-b", disabled=True)
    )
    assert sorted(isinstance(result, Conflict) for result in results) == [False, True]


def test_a_deleted_account_leaves_its_work_and_nothing_of_itself(db: Database, blobs: LocalBlobs) -> None:
    made = jane(db, email="jane@example.org")
    who = actor(db)
    waiting = submit(db, blobs, new_submission(blobs), Rules(), owner_id=made.id)
    with pytest.raises(InvalidInput, match="present_password"):
        delete_account(db, who, OTHER)
    delete_account(db, who, PASSWORD)
    assert get_submission(db, waiting.id).state is State.CANCELLED
    with db.snapshot() as session:
        row = session.get_one(AccountRow, made.id)
        assert (row.email, row.team, row.password_hash, row.disabled) == (None, "", None, True)
        assert session.scalar(select(func.count()).select_from(AccountRow).where(AccountRow.name == "jane")) == 0
    assert list_audit(db, None, subject=f"account {made.id}")[0].action == "delete"
    jane(db, email="jane@example.org")


def test_an_account_is_edited(db: Database) -> None:
    jane(db, "other", "taken@example.org")
    jane(db)
    who = actor(db)
    assert edit_account(db, who, email="New@example.org", team=" The\u202e team ").team == "The team"
    assert edit_account(db, who, email="").email is None
    with pytest.raises(Conflict, match="email"):
        edit_account(db, who, email="taken@example.org")
    with pytest.raises(InvalidInput, match="email"):
        edit_account(db, who, email="nobody at all")


def test_the_database_holds_no_secret(on_sqlite: Database) -> None:
    jane(on_sqlite)
    session = sign_in(on_sqlite, "jane", PASSWORD)
    _, token = create_token(on_sqlite, actor(on_sqlite), "laptop", [Scope.READ])
    link = new_link(on_sqlite, None, "jane")
    path = Path(on_sqlite.url.removeprefix("sqlite:///"))
    content = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    assert b"jane" in content
    assert [secret for secret in (PASSWORD, session, token, link) if secret.encode() in content] == []
