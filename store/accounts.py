"""Accounts in their owners' hands: made, changed, deleted."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from benchmark.errors import InvalidInput
from store.account_rows import (
    RESERVED,
    AccountView,
    checked_email,
    checked_name,
    checked_team,
    email_taken,
    end_all,
    end_links,
    end_sessions,
    insert_account,
    name_taken,
    require_another_admin,
    view_account,
)
from store.actors import Actor, Role, Scope, require_account
from store.audit import note
from store.database import Database, database_now_ms, take_turns
from store.passwords import check_password, hash_password, is_password
from store.states import UNDER_WAY, move
from store.submissions import close_shards
from store.tables import AccountRow, SubmissionRow, WebhookRow
from store.views import State, View


class NewAccount(View):
    """What somebody registers with."""

    name: str
    password: str
    email: str = ""
    team: str = ""


def register(db: Database, new: NewAccount) -> AccountView:
    """Make an account for a submitter.

    Raises:
        InvalidInput: a field breaks a rule.
        Conflict: the name or the address is taken.
    """
    name, email, team = checked_name(new.name), checked_email(new.email), checked_team(new.team)
    if name in RESERVED:
        raise name_taken(name)
    check_password(new.password, name, email)
    kept = hash_password(new.password)
    with db.transaction() as session:
        row = insert_account(session, name, Role.SUBMITTER, email=email, team=team, password_hash=kept)
        note(session, row.id, "register", f"account {row.id}")
        return view_account(row)


def change_password(db: Database, who: Actor, present: str, password: str) -> None:
    """Give an account another password; every session and link ends, tokens stay.

    Raises:
        InvalidInput: the present one is not right, or the new one is easily guessed.
    """
    account_id = require_account(who, Scope.ACCOUNT)
    shown = _shown_password(db, account_id, present)
    check_password(password, shown.name, shown.email)
    kept = hash_password(password)
    with db.transaction() as session:
        row = _unchanged(session, shown)
        row.password_hash = kept
        end_sessions(session, account_id)
        end_links(session, account_id)
        note(session, account_id, "choose_password", f"account {account_id}")


def get_account(db: Database, who: Actor) -> AccountView:
    """Return the account that asks."""
    account_id = require_account(who)
    with db.snapshot() as session:
        return view_account(session.get_one(AccountRow, account_id))


def edit_account(db: Database, who: Actor, *, email: str | None = None, team: str | None = None) -> AccountView:
    """Change what is given: the address, where an empty one removes it, and the team.

    Raises:
        InvalidInput: a field breaks a rule.
        Conflict: the address is taken.
    """
    account_id = require_account(who, Scope.ACCOUNT)
    try:
        with db.transaction() as session:
            row = session.get_one(AccountRow, account_id, with_for_update=True)
            if email is not None:
                row.email = checked_email(email)
            if team is not None:
                row.team = checked_team(team)
            session.flush()
            note(session, account_id, "edit", f"account {account_id}")
            return view_account(row)
    except IntegrityError:
        raise email_taken() from None


def delete_account(db: Database, who: Actor, password: str) -> None:
    """Delete the account that asks: its name, address, password, sessions, tokens and webhooks.

    What it has submitted and is published stays, as do the records of what was done; what waits for a worker is
    cancelled, and of what waits for a maintainer one decides.

    Raises:
        InvalidInput: the password is not right.
        Conflict: it is the last administrator's.
    """
    account_id = require_account(who, Scope.ACCOUNT)
    shown = _shown_password(db, account_id, password)
    with db.transaction() as session:
        take_turns(session, "administrators")
        row = _unchanged(session, shown)
        require_another_admin(session, row)
        waiting = select(SubmissionRow.id).where(
            SubmissionRow.owner_id == account_id, SubmissionRow.state.in_(UNDER_WAY)
        )
        for submission_id in session.scalars(waiting).all():
            move(session, submission_id, State.CANCELLED, reason="its owner's account was deleted", by=account_id)
            close_shards(session, submission_id, "cancelled")
        end_all(session, account_id)
        session.execute(delete(WebhookRow).where(WebhookRow.account_id == account_id))
        # Nobody can choose a name with a colon, so nobody can stand in the way of this one.
        row.name, row.email, row.team, row.password_hash = f"deleted:{account_id}", None, "", None
        row.disabled, row.deleted_ms = True, database_now_ms(session)
        note(session, account_id, "delete", f"account {account_id}")


def _shown_password(db: Database, account_id: str, password: str) -> AccountRow:
    """Return the account as it was when its password was shown, compared outside of any transaction: it takes long."""
    with db.snapshot() as session:
        row = session.get_one(AccountRow, account_id)
    if not is_password(password, row.password_hash):
        raise InvalidInput.because(
            "present_password", found="another one", expected="the account's present password", remedy="try again"
        )
    return row


def _unchanged(session: Session, shown: AccountRow) -> AccountRow:
    """Return the account, locked; whoever has meanwhile chosen another password or shut it out goes first."""
    # Not wholly: whoever moves one of its submissions just now holds that, and writes a message to the account.
    row = session.get_one(AccountRow, shown.id, with_for_update={"key_share": True})
    if row.disabled or row.password_hash != shown.password_hash:
        raise InvalidInput.because(
            "present_password", found="one that was changed meanwhile", expected="the account's present password",
            remedy="sign in again",
        )  # fmt: skip
    return row
