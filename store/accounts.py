"""Accounts: made, changed, deleted; who may sign in, and by which link for the first time."""

from __future__ import annotations

import re
import secrets

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, InvalidInput, NotFound
from store.actors import Actor, Role, Scope, require_account, require_admin
from store.admission import cleaned_text
from store.audit import note
from store.database import Database, database_now_ms, take_turns
from store.passwords import check_password, hash_password, is_password
from store.secret_texts import hash_of, new_secret
from store.states import OPEN, move
from store.submissions import close_shards
from store.tables import AccountRow, LinkRow, SessionRow, SubmissionRow, TokenRow, WebhookRow
from store.views import State, View

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{1,38}")
_EMAIL = re.compile(r"[^\s@<>\"']{1,64}@[^\s@<>\"']{1,180}\.[^\s@<>\"'.]{2,}")
LONGEST_TEAM = 100
LINK_MS = 24 * 3600 * 1000
"""How long a link lets somebody in."""
FIRST = "admin"
"""Name of the account that a new service makes."""


class NewAccount(View):
    """What somebody registers with."""

    name: str
    password: str
    email: str = ""
    team: str = ""


class AccountView(View):
    """An account, as its owner and administrators see it."""

    id: str
    name: str
    email: str | None
    team: str
    role: Role
    disabled: bool
    has_password: bool
    created_ms: int


def register(db: Database, new: NewAccount) -> AccountView:
    """Make an account for a submitter.

    Raises:
        InvalidInput: a field breaks a rule.
        Conflict: the name or the address is taken.
    """
    name, email, team = new.name.strip().lower(), _checked_email(new.email), _checked_team(new.team)
    _check_name(name)
    check_password(new.password, name, email)
    kept = hash_password(new.password)
    with db.transaction() as session:
        row = _insert(session, name, Role.SUBMITTER, email=email, team=team, password_hash=kept)
        note(session, row.id, "register", f"account {row.id}")
        return _view(row)


def invite(db: Database, who: Actor | None, name: str, role: Role) -> tuple[AccountView, str]:
    """Make an account without a password, and return the link's secret that lets its owner choose one.

    Args:
        db: the database.
        who: an administrator; None for the operator, who has the database anyway.
        name: of the account.
        role: what it is trusted with.
    Raises:
        Forbidden: they are no administrator.
        InvalidInput: the name breaks a rule.
        Conflict: it is taken.
    """
    actor = require_admin(who) if who is not None else None
    name = name.strip().lower()
    _check_name(name)
    with db.transaction() as session:
        row = _insert(session, name, role)
        note(session, actor, "invite", f"account {row.id}", role=role)
        return _view(row), _new_link(session, row)


def first_link(db: Database) -> str | None:
    """Make the first administrator where there is none, and return the secret of a link that lets them in.

    Returns:
        None once some administrator has a password. Until then each call makes a new link, and the older ones end.
    """
    with db.transaction() as session:
        take_turns(session, "first account")
        admins = session.scalars(
            select(AccountRow).where(AccountRow.role == Role.ADMIN, AccountRow.deleted_ms.is_(None))
        ).all()
        if any(row.password_hash and not row.disabled for row in admins):
            return None
        row = next((row for row in admins if row.name == FIRST), None)
        row = row or _insert(
            session, FIRST if not _taken(session, FIRST) else f"{FIRST}-{secrets.token_hex(3)}", Role.ADMIN
        )
        row.disabled = False
        return _new_link(session, row)


def new_link(db: Database, who: Actor | None, name: str) -> str:
    """Return the secret of a link by which the owner of an account chooses a new password; older links end.

    Raises:
        Forbidden: `who` is no administrator.
        NotFound: there is no such account.
    """
    actor = require_admin(who) if who is not None else None
    with db.transaction() as session:
        row = _by_name(session, name)
        note(session, actor, "make_link", f"account {row.id}")
        return _new_link(session, row)


def account_of_link(db: Database, secret: str) -> AccountView:
    """Return whose link it is, without using it up.

    Raises:
        NotFound: it was used, has ended, or never was.
    """
    with db.snapshot() as session:
        return _view(_linked(session, secret))


def choose_password_by_link(db: Database, secret: str, password: str) -> AccountView:
    """Use a link up: its owner gets this password, and every session and token that there was ends.

    Raises:
        NotFound: it was used, has ended, or never was.
        InvalidInput: the password is easily guessed; the link still holds.
    """
    found = account_of_link(db, secret)
    check_password(password, found.name, found.email)
    kept = hash_password(password)
    with db.transaction() as session:
        row = _linked(session, secret, locked=True)
        row.password_hash = kept
        _end_all(session, row.id)
        note(session, row.id, "choose_password", f"account {row.id}")
        return _view(row)


def change_password(db: Database, who: Actor, present: str, password: str) -> None:
    """Give an account another password; every session and link ends, tokens stay.

    Raises:
        InvalidInput: the present one is not right, or the new one is easily guessed.
    """
    account_id = require_account(who)
    with db.snapshot() as session:
        row = session.get_one(AccountRow, account_id)
    _require_password(row, present)
    check_password(password, row.name, row.email)
    kept = hash_password(password)
    with db.transaction() as session:
        row = session.get_one(AccountRow, account_id, with_for_update=True)
        row.password_hash = kept
        session.execute(delete(SessionRow).where(SessionRow.account_id == account_id))
        session.execute(delete(LinkRow).where(LinkRow.account_id == account_id))
        note(session, account_id, "choose_password", f"account {account_id}")


def get_account(db: Database, who: Actor) -> AccountView:
    """Return the account that asks."""
    account_id = require_account(who)
    with db.snapshot() as session:
        return _view(session.get_one(AccountRow, account_id))


def edit_account(db: Database, who: Actor, *, email: str | None = None, team: str | None = None) -> AccountView:
    """Change what is given: the address, where an empty one removes it, and the team.

    Raises:
        InvalidInput: a field breaks a rule.
        Conflict: the address is taken.
    """
    account_id = require_account(who, Scope.SUBMIT)
    try:
        with db.transaction() as session:
            row = session.get_one(AccountRow, account_id, with_for_update=True)
            if email is not None:
                row.email = _checked_email(email)
            if team is not None:
                row.team = _checked_team(team)
            session.flush()
            note(session, account_id, "edit", f"account {account_id}")
            return _view(row)
    except IntegrityError:
        raise _email_taken() from None


def delete_account(db: Database, who: Actor, password: str) -> None:
    """Delete the account that asks: its name, address, password, sessions, tokens and webhooks.

    What it has submitted and is published stays, as do the records of what was done; what waits for a worker is
    cancelled, and of what waits for a maintainer one decides.

    Raises:
        InvalidInput: the password is not right.
        Conflict: it is the last administrator's.
    """
    account_id = require_account(who)
    with db.snapshot() as session:
        _require_password(session.get_one(AccountRow, account_id), password)
    with db.transaction() as session:
        take_turns(session, "administrators")
        row = session.get_one(AccountRow, account_id, with_for_update=True)
        _require_another_admin(session, row)
        waiting = select(SubmissionRow.id).where(
            SubmissionRow.owner_id == account_id,
            SubmissionRow.state.in_(OPEN),
            SubmissionRow.state != State.EVALUATED,
        )
        for submission_id in session.scalars(waiting).all():
            move(session, submission_id, State.CANCELLED, reason="its owner's account was deleted")
            close_shards(session, submission_id, "cancelled")
        _end_all(session, account_id)
        session.execute(delete(WebhookRow).where(WebhookRow.account_id == account_id))
        row.name, row.email, row.team, row.password_hash = f"deleted-{account_id}", None, "", None
        row.disabled, row.deleted_ms = True, database_now_ms(session)
        note(session, account_id, "delete", f"account {account_id}")


def list_accounts(db: Database, who: Actor | None) -> tuple[AccountView, ...]:
    """Return all accounts that are not deleted, the oldest first.

    Raises:
        Forbidden: `who` is no administrator.
    """
    if who is not None:
        require_admin(who)
    with db.snapshot() as session:
        rows = session.scalars(select(AccountRow).where(AccountRow.deleted_ms.is_(None)).order_by(AccountRow.id))
        return tuple(_view(row) for row in rows)


def set_account(
    db: Database, who: Actor | None, name: str, *, role: Role | None = None, disabled: bool | None = None
) -> AccountView:
    """Change what an account is trusted with, or shut it out; whoever is shut out is signed out at once.

    Raises:
        Forbidden: `who` is no administrator.
        NotFound: there is no such account.
        Conflict: it is the last administrator's.
    """
    actor = require_admin(who) if who is not None else None
    with db.transaction() as session:
        take_turns(session, "administrators")
        row = _by_name(session, name)
        if (role not in {None, Role.ADMIN}) or disabled:
            _require_another_admin(session, row)
        if role is not None and role != row.role:
            note(session, actor, "set_role", f"account {row.id}", role=role)
            row.role = role
        if disabled is not None and disabled != row.disabled:
            note(session, actor, "disable" if disabled else "enable", f"account {row.id}")
            row.disabled = disabled
            if disabled:
                session.execute(delete(SessionRow).where(SessionRow.account_id == row.id))
        return _view(row)


def _insert(
    session: Session,
    name: str,
    role: Role,
    *,
    email: str | None = None,
    team: str = "",
    password_hash: str | None = None,
) -> AccountRow:
    now = database_now_ms(session)
    if _taken(session, name):
        raise Conflict.because(
            "name", found=repr(name), expected="a name that is not taken", remedy="choose another name, or sign in"
        )
    row = AccountRow(
        id=f"{now:012x}{secrets.token_hex(4)}",
        name=name,
        email=email,
        team=team,
        password_hash=password_hash,
        role=role,
        disabled=False,
        created_ms=now,
        deleted_ms=None,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise (
            _email_taken()
            if email
            else Conflict.because(
                "name", found=repr(name), expected="a name that is not taken", remedy="choose another name"
            )
        ) from None
    return row


def _taken(session: Session, name: str) -> bool:
    return session.scalar(select(AccountRow.id).where(AccountRow.name == name)) is not None


def _email_taken() -> Conflict:
    return Conflict.because(
        "email", found="an address that another account has", expected="an address of your own",
        remedy="sign in to that account, or leave the address out",
    )  # fmt: skip


def _by_name(session: Session, name: str) -> AccountRow:
    row = session.scalar(
        select(AccountRow)
        .where(AccountRow.name == name.strip().lower(), AccountRow.deleted_ms.is_(None))
        .with_for_update()
    )
    if row is None:
        raise NotFound.because(
            "account", found=repr(name[:80]), expected="the name of an account", remedy="look it up in the list"
        )
    return row


def _linked(session: Session, secret: str, *, locked: bool = False) -> AccountRow:
    wanted = (
        select(AccountRow)
        .join(LinkRow, LinkRow.account_id == AccountRow.id)
        .where(
            LinkRow.sha256 == hash_of(secret),
            LinkRow.expires_ms > database_now_ms(session),
            AccountRow.disabled.is_(False),
        )
    )
    row = session.scalar(wanted.with_for_update() if locked else wanted)
    if row is None:
        raise NotFound.because(
            "link", found="one that has ended or was used", expected="a link that was never used",
            remedy="ask for a new one: `gauntlet account link NAME` on the machine of the service",
        )  # fmt: skip
    return row


def _new_link(session: Session, row: AccountRow) -> str:
    secret = new_secret()
    session.execute(delete(LinkRow).where(LinkRow.account_id == row.id))
    session.add(LinkRow(sha256=hash_of(secret), account_id=row.id, expires_ms=database_now_ms(session) + LINK_MS))
    return secret


def _end_all(session: Session, account_id: str) -> None:
    """End every session, link and token of an account."""
    session.execute(delete(SessionRow).where(SessionRow.account_id == account_id))
    session.execute(delete(LinkRow).where(LinkRow.account_id == account_id))
    session.execute(
        update(TokenRow)
        .where(TokenRow.account_id == account_id, TokenRow.revoked_ms.is_(None))
        .values(revoked_ms=database_now_ms(session))
    )


def _require_another_admin(session: Session, row: AccountRow) -> None:
    others = select(func.count()).where(
        AccountRow.role == Role.ADMIN, AccountRow.disabled.is_(False), AccountRow.id != row.id
    )
    if row.role == Role.ADMIN and not session.scalar(others):
        raise Conflict.because(
            "account", found="the last administrator", expected="another administrator to remain",
            remedy="make somebody else an administrator first",
        )  # fmt: skip


def _require_password(row: AccountRow, password: str) -> None:
    if not is_password(password, row.password_hash):
        raise InvalidInput.because(
            "present_password", found="another one", expected="the account's present password", remedy="try again"
        )


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidInput.because(
            "name", found=ascii(name[:80]), expected="2 to 39 of a-z, 0-9, _ . -, first a letter or digit",
            remedy="choose another name",
        )  # fmt: skip


def _checked_email(email: str) -> str | None:
    email = email.strip().lower()
    if email and not (len(email) <= 254 and email.isprintable() and _EMAIL.fullmatch(email)):
        raise InvalidInput.because(
            "email", found=ascii(email[:80]), expected="an address such as you@example.org",
            remedy="correct it, or leave it out",
        )  # fmt: skip
    return email or None


def _checked_team(team: str) -> str:
    return cleaned_text("team", team, LONGEST_TEAM)


def _view(row: AccountRow) -> AccountView:
    return AccountView(
        id=row.id,
        name=row.name,
        email=row.email,
        team=row.team,
        role=Role(row.role),
        disabled=row.disabled,
        has_password=row.password_hash is not None,
        created_ms=row.created_ms,
    )
