"""Claims to reported entries: somebody says that one is theirs, or that it is wrong, and a maintainer answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, InvalidInput, NotFound
from store.actors import Actor, Scope, refusal, require_account, require_maintainer
from store.admission import cleaned_text
from store.audit import note
from store.best_known import remember
from store.database import Database, database_now_ms, new_id, take_turns
from store.entries import Place, find_entry, subject_of
from store.entry_edits import DISPUTE, note_columns
from store.errors import QueueFull
from store.notices import Event, entry_path, tell
from store.tables import AccountRow, ClaimRow, EntryHistoryRow, EntryRow
from store.views import Badge, Sent, View

MOST_OPEN_EACH = 20
"""Claims of one account that may wait for an answer."""
LONGEST_MESSAGE = 2_000
LONGEST_REMARK = 300
LONGEST_SOURCE = 200
MOST_LISTED = 200


class ClaimKind(StrEnum):
    """What somebody says of an entry."""

    CLAIM = "claim"
    """That it is theirs."""
    DISPUTE = "dispute"
    """That it is wrong."""


class ClaimState(StrEnum):
    """Where a claim stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"


class Correction(Sent):
    """A number that is right, and who says so."""

    robust_accuracy: float
    source: str
    """Such as "erratum of the paper, March 2026"."""


class Answer(Sent):
    """What a maintainer says to a claim."""

    reply: str
    """To whoever made it."""
    remark: str = ""
    """What everybody is to read at the entry; of a dispute that is accepted."""
    correction: Correction | None = None


class ClaimView(View):
    """A claim, as whoever made it and maintainers see it."""

    id: str
    dataset: str
    threat_model: str
    model_id: str
    account: str
    """Name of the account that made it."""
    kind: ClaimKind
    message: str
    state: ClaimState
    reply: str
    created_ms: int
    concluded_ms: int | None


def file_claim(db: Database, who: Actor, place: Place, kind: ClaimKind, message: str) -> ClaimView:
    """Say of a reported entry that it is one's own, or that it is wrong.

    Args:
        db: the database.
        who: who says so.
        place: of the entry.
        kind: what they say.
        message: how a maintainer can verify it.
    Raises:
        SignInNeeded: nobody is signed in.
        NotFound: there is no such board or entry.
        InvalidSubmission: the message is too long, or none.
        Conflict: the entry is no reported one or theirs already, or they have a claim to it that is open.
        QueueFull: too many of theirs are open.
    """
    account_id = require_account(who, Scope.SUBMIT)
    message = _text("message", message, LONGEST_MESSAGE, "how this can be verified")
    with db.transaction() as session:
        take_turns(session, f"claims {account_id}")
        entry = find_entry(session, place)
        if entry.badge != Badge.REPORTED:
            raise Conflict.because(
                "model", found=f"an entry with the badge {entry.badge}", expected="one with the badge reported",
                remedy="send adversarial examples to lower what was evaluated here, or write to a maintainer",
            )  # fmt: skip
        if not who.may_claim(entry):
            raise refusal(who, "somebody with an account")
        _require_room(session, entry, account_id, kind)
        now = database_now_ms(session)
        row = ClaimRow(
            id=new_id(now),
            entry_id=entry.id,
            account_id=account_id,
            kind=kind,
            message=message,
            state=ClaimState.OPEN,
            reply="",
            created_ms=now,
        )
        session.add(row)
        note(session, account_id, f"file_{kind}", subject_of(entry), claim=row.id)
        return _view(row, entry, who.name)


def list_claims(
    db: Database, who: Actor, state: ClaimState | None = None, limit: int = MOST_LISTED
) -> tuple[ClaimView, ...]:
    """Return the newest claims: one's own; to maintainers all. The newest come first.

    Raises:
        SignInNeeded: nobody is signed in.
    """
    account_id = require_account(who)
    wanted = _claims().order_by(ClaimRow.id.desc()).limit(limit)
    if not who.moderates:
        wanted = wanted.where(ClaimRow.account_id == account_id)
    if state is not None:
        wanted = wanted.where(ClaimRow.state == state)
    with db.snapshot() as session:
        return _views(session.execute(wanted).all())


def accept_claim(db: Database, who: Actor, claim_id: str, answer: Answer) -> ClaimView:
    """Agree to a claim: the entry is the account's from now on, or bears a remark and, where given, another number.

    Raises:
        SignInNeeded: nobody is signed in.
        Forbidden: they are no maintainer.
        NotFound: there is no such claim.
        Conflict: it is answered already.
        InvalidInput: the answer lacks something, or has too much.
    """
    actor = require_maintainer(who)
    reply = _text("reply", answer.reply, LONGEST_MESSAGE, "what you say to whoever made it")
    with db.transaction() as session:
        row, entry, name = _open_claim(session, claim_id)
        if row.kind == ClaimKind.DISPUTE:
            _mark_disputed(session, actor, row, entry, answer)
        else:
            _hand_over(session, actor, row, entry, answer)
        _conclude(session, row, entry, ClaimState.ACCEPTED, reply)
        return _view(row, entry, name)


def decline_claim(db: Database, who: Actor, claim_id: str, reply: str) -> ClaimView:
    """Turn a claim down; nothing changes but that it is answered.

    Raises:
        SignInNeeded: nobody is signed in.
        Forbidden: they are no maintainer.
        NotFound: there is no such claim.
        Conflict: it is answered already.
        InvalidInput: there is no reply.
    """
    actor = require_maintainer(who)
    reply = _text("reply", reply, LONGEST_MESSAGE, "why it is declined")
    with db.transaction() as session:
        row, entry, name = _open_claim(session, claim_id)
        note(session, actor, f"decline_{row.kind}", subject_of(entry), claim=row.id)
        _conclude(session, row, entry, ClaimState.DECLINED, reply)
        return _view(row, entry, name)


def _mark_disputed(session: Session, actor: str, row: ClaimRow, entry: EntryRow, answer: Answer) -> None:
    remark = _text("remark", answer.remark, LONGEST_REMARK, "what everybody is to read at the entry")
    entry.footnote = f"{entry.footnote} Disputed: {remark}".strip()
    columns = ["footnote"]
    if answer.correction is not None:
        columns += _correct(session, entry, answer.correction)
    note_columns(session, actor, DISPUTE, entry, *columns, claim=row.id, remark=remark)


def _correct(session: Session, entry: EntryRow, correction: Correction) -> tuple[str, ...]:
    source = _text("source", correction.source, LONGEST_SOURCE, "who says so")
    value, standard = correction.robust_accuracy, entry.standard_accuracy
    if not (math.isfinite(value) and 0 <= value <= (1 if standard is None else standard)):
        raise InvalidInput.because(
            "robust_accuracy", found=value, expected=f"a number from 0 to {1 if standard is None else standard}",
            remedy="give a fraction, at most the standard accuracy",
        )  # fmt: skip
    same = select(EntryHistoryRow.id).where(EntryHistoryRow.entry_id == entry.id, EntryHistoryRow.source == source)
    if session.scalar(same) is not None:
        raise Conflict.because(
            "source", found=repr(source), expected="one that the entry's history does not name yet",
            remedy="say more of it, such as its date",
        )  # fmt: skip
    best, before = entry.best_known_robust_accuracy, entry.robust_accuracy
    # What others have found below the reported number stays the best known, unless the right one is lower still.
    if best is None or best == before or value < best:
        entry.best_known_robust_accuracy, entry.best_known_source = value, source
    entry.robust_accuracy = value
    remember(session, entry, source, value)
    return "robust_accuracy", "best_known_robust_accuracy", "best_known_source"


def _hand_over(session: Session, actor: str, row: ClaimRow, entry: EntryRow, answer: Answer) -> None:
    if answer.remark or answer.correction is not None:
        raise InvalidInput.because(
            "remark", found="a remark or a correction", expected="neither, for nothing is disputed",
            remedy="leave both out; say what is to be said in the reply",
        )  # fmt: skip
    note(
        session, actor, "accept_claim", subject_of(entry), claim=row.id, before=entry.owner_id or "", now=row.account_id
    )
    entry.owner_id = row.account_id


def _conclude(session: Session, row: ClaimRow, entry: EntryRow, state: ClaimState, reply: str) -> None:
    row.state, row.reply, row.concluded_ms = state, reply, database_now_ms(session)
    what = "claim to" if row.kind == ClaimKind.CLAIM else "dispute of"
    message = f"Your {what} {entry.model_id} on {entry.dataset}/{entry.threat_model} was {state}: {reply}"
    path = entry_path(entry.dataset, entry.threat_model, entry.model_id)
    tell(session, row.account_id, Event.CLAIM_ANSWERED, message, path)


def _require_room(session: Session, entry: EntryRow, account_id: str, kind: ClaimKind) -> None:
    if kind is ClaimKind.CLAIM and entry.owner_id == account_id:
        raise Conflict.because(
            "model",
            found="an entry that is yours",
            expected="one that is not",
            remedy="edit it: nothing is to be claimed",
        )
    opened = select(func.count()).where(ClaimRow.account_id == account_id, ClaimRow.state == ClaimState.OPEN)
    if session.scalar(opened.where(ClaimRow.entry_id == entry.id)):
        raise Conflict.because(
            "claim", found="one of yours that is open", expected="one open claim to an entry at a time",
            remedy="wait until a maintainer has answered it",
        )  # fmt: skip
    if (session.scalar(opened) or 0) >= MOST_OPEN_EACH:
        raise QueueFull(f"{MOST_OPEN_EACH} of your claims wait for an answer already. Wait until some are answered.")


def _open_claim(session: Session, claim_id: str) -> tuple[ClaimRow, EntryRow, str]:
    row = session.get(ClaimRow, claim_id, with_for_update=True)
    if row is None:
        raise NotFound.because(
            "claim", found=repr(claim_id[:80]), expected="the id of a claim", remedy="look at the list of claims"
        )
    if row.state != ClaimState.OPEN:
        raise Conflict.because(
            "claim", found=f"one that is {row.state}", expected="one that is open", remedy="reload the list of claims"
        )
    entry = session.get_one(EntryRow, row.entry_id, with_for_update=True)
    if entry.badge != Badge.REPORTED:
        raise Conflict.because(
            "model", found=f"an entry with the badge {entry.badge}", expected="one with the badge reported",
            remedy="decline the claim",
        )  # fmt: skip
    return row, entry, session.get_one(AccountRow, row.account_id).name


def _claims() -> Select[ClaimRow, EntryRow, str]:
    return (
        select(ClaimRow, EntryRow, AccountRow.name)
        .join(EntryRow, EntryRow.id == ClaimRow.entry_id)
        .join(AccountRow, AccountRow.id == ClaimRow.account_id)
    )


def _views(rows: Sequence[Row[ClaimRow, EntryRow, str]]) -> tuple[ClaimView, ...]:
    return tuple(_view(row, entry, name) for row, entry, name in rows)


def _view(row: ClaimRow, entry: EntryRow, name: str) -> ClaimView:
    return ClaimView(
        id=row.id,
        dataset=entry.dataset,
        threat_model=entry.threat_model,
        model_id=entry.model_id,
        account=name,
        kind=ClaimKind(row.kind),
        message=row.message,
        state=ClaimState(row.state),
        reply=row.reply,
        created_ms=row.created_ms,
        concluded_ms=row.concluded_ms,
    )


def _text(field: str, text: str, longest: int, expected: str) -> str:
    text = cleaned_text(field, text, longest, keep="\n" if field in {"message", "reply"} else "")
    if not text:
        raise InvalidInput.because(field, found="nothing", expected=expected, remedy="write a sentence")
    return text
