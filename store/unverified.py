"""Unverified entries: what authors say of a run of their own. Shown for a while, never ranked, gone in time."""

from __future__ import annotations

import math
import secrets

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from benchmark.errors import Conflict, InvalidSubmission
from benchmark.threat_models import Board, official_board
from store.actors import Actor, Scope, require_account, require_editable
from store.admission import LONGEST, check_name, check_url, cleaned_text
from store.audit import note
from store.best_known import remember
from store.database import DAY_MS, Database, database_now_ms, take_turns
from store.entries import Place, entry_of_name, find_entry, same_name, subject_of
from store.errors import QueueFull
from store.notices import Event, tell
from store.states import OPEN
from store.tables import EntryHistoryRow, EntryRow, SubmissionRow
from store.views import Badge, ExtraData, Sent

MOST_EACH = 20
"""Unverified entries that an account may have at a time."""
LONGEST_TEXTS = {field: LONGEST[field] for field in ("title", "authors", "paper_url", "venue")} | {
    "architecture": 100,
    "how": 300,
}
SOURCE = "The authors’ own run, not verified"
_REQUIRED = ("title", "authors", "paper_url", "architecture", "how")
_AT_ONCE = 200


class NewUnverified(Sent):
    """The numbers of somebody's own run of AutoAttack."""

    name: str
    """The method's name: the entry's id on its board."""
    title: str
    authors: str
    paper_url: str
    architecture: str
    standard_accuracy: float
    robust_accuracy: float
    how: str
    """How it was run: which version of AutoAttack, on which points."""
    venue: str = ""
    extra_data: ExtraData = ExtraData.UNKNOWN


def add_unverified(db: Database, who: Actor, board: tuple[str, str], new: NewUnverified, *, days: int) -> Place:
    """Put an unverified entry on a board, whether that is evaluated here or not.

    Args:
        db: the database.
        who: whose it is.
        board: data set and threat model.
        new: what they say.
        days: after which it ends.
    Returns:
        Where it is.
    Raises:
        SignInNeeded: nobody is signed in.
        NotFound: there is no such board.
        InvalidSubmission: a field breaks a rule.
        Conflict: the name is taken on the board, or nobody attacks there.
        QueueFull: the account has as many as it may.
    """
    account_id = require_account(who, Scope.SUBMIT)
    official = official_board(*board)
    _require_attacked(official)
    new = _checked(new)
    try:
        with db.transaction() as session:
            take_turns(session, "submit")  # as those do that want a name for a submission
            _require_free(session, official, new.name)
            _require_room(session, account_id)
            entry = _insert(session, official, new, account_id, days)
            note(session, account_id, "add_unverified", subject_of(entry))
            return official.dataset, official.threat_model, new.name
    except IntegrityError:
        raise _taken(official, new.name) from None


def remove_unverified(db: Database, who: Actor, place: Place) -> None:
    """Take an unverified entry off its board; its name is free again.

    Raises:
        NotFound: there is no such board or entry.
        SignInNeeded: nobody is signed in.
        Forbidden: it is not theirs.
        Conflict: the entry is none of these.
    """
    with db.transaction() as session:
        entry = find_entry(session, place, locked=True)
        account_id = require_editable(who, entry)
        if entry.badge != Badge.UNVERIFIED:
            raise Conflict.because(
                "model", found=f"an entry with the badge {entry.badge}", expected="an unverified one",
                remedy="ask a maintainer: what was evaluated or published is withdrawn, never removed",
            )  # fmt: skip
        note(session, account_id, "remove_unverified", subject_of(entry))
        if entry.owner_id != account_id:
            message = f"Your unverified entry {entry.model_id} on {_board_of(entry)} was removed by a maintainer."
            tell(session, entry.owner_id, Event.ENTRY_REMOVED, message, _board_path(entry))
        _delete(session, entry)


def remove_expired(db: Database) -> tuple[str, ...]:
    """Take unverified entries off their boards that have ended; their names are free again.

    Returns:
        What the log calls them.
    """
    with db.transaction() as session:
        ended = session.scalars(
            select(EntryRow)
            .where(EntryRow.badge == Badge.UNVERIFIED, EntryRow.expires_ms <= database_now_ms(session))
            .order_by(EntryRow.id)
            .limit(_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        for entry in ended:
            note(session, None, "expire_unverified", subject_of(entry))
            message = f"Your unverified entry {entry.model_id} on {_board_of(entry)} has ended and was removed."
            tell(session, entry.owner_id, Event.ENTRY_REMOVED, message, _board_path(entry))
            _delete(session, entry)
        return tuple(subject_of(entry) for entry in ended)


def make_way(session: Session, submission: SubmissionRow) -> None:
    """Take an unverified entry away that the evaluation of a submission of its name is about to replace."""
    entry = session.scalar(
        entry_of_name(submission.dataset, submission.threat_model, submission.name).with_for_update()
    )
    if entry is not None and entry.badge == Badge.UNVERIFIED:
        note(session, None, "replace_unverified", subject_of(entry), submission=submission.id)
        _delete(session, entry)


def is_replaceable(entry: EntryRow, owner_id: str | None) -> bool:
    """Tell whether a submission of an entry's name may replace it: its owner's may, while it is unverified."""
    return entry.badge == Badge.UNVERIFIED and owner_id is not None and entry.owner_id == owner_id


def _checked(new: NewUnverified) -> NewUnverified:
    fields = {field: cleaned_text(field, getattr(new, field), most) for field, most in LONGEST_TEXTS.items()}
    fields["name"] = cleaned_text("name", new.name, 80)
    check_name(fields["name"])
    for field in _REQUIRED:
        if not fields[field]:
            raise InvalidSubmission.because(field, found="nothing", expected="a text", remedy="fill it in")
    check_url(fields["paper_url"])
    for field in ("standard_accuracy", "robust_accuracy"):
        value: float = getattr(new, field)
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise InvalidSubmission.because(
                field, found=value, expected="a number from 0 to 1", remedy="give a fraction such as 0.62"
            )
    if new.robust_accuracy > new.standard_accuracy:
        raise InvalidSubmission.because(
            "robust_accuracy", found=new.robust_accuracy, expected=f"at most {new.standard_accuracy}",
            remedy="count a point as robust only where it is classified correctly without an attack too",
        )  # fmt: skip
    return new.model_copy(update=fields)


def _require_attacked(board: Board) -> None:
    if not board.attacked:
        raise Conflict.because(
            "threat_model", found=board.name, expected="a board with an attacker",
            remedy="choose such a board: AutoAttack says nothing of this one",
        )  # fmt: skip


def _require_free(session: Session, board: Board, name: str) -> None:
    submission = select(SubmissionRow.id).where(
        SubmissionRow.dataset == board.dataset,
        SubmissionRow.threat_model == board.threat_model,
        same_name(SubmissionRow.name, name),
        SubmissionRow.state.in_(OPEN),
    )
    if session.scalar(entry_of_name(board.dataset, board.threat_model, name)) is not None or session.scalar(submission):
        raise _taken(board, name)


def _require_room(session: Session, account_id: str) -> None:
    own = select(func.count()).where(EntryRow.owner_id == account_id, EntryRow.badge == Badge.UNVERIFIED)
    if (session.scalar(own) or 0) >= MOST_EACH:
        raise QueueFull(f"You have {MOST_EACH} unverified entries already. Remove one, or submit its checkpoint.")


def _taken(board: Board, name: str) -> Conflict:
    return Conflict.because(
        "name", found=repr(name), expected=f"a name that is not taken on {board.name}", remedy="choose another name"
    )


def _insert(session: Session, board: Board, new: NewUnverified, account_id: str, days: int) -> EntryRow:
    now = database_now_ms(session)
    entry = EntryRow(
        dataset=board.dataset,
        threat_model=board.threat_model,
        model_id=new.name,
        badge=Badge.UNVERIFIED,
        title=new.title,
        authors=new.authors,
        venue=new.venue,
        link=new.paper_url,
        architecture=new.architecture,
        extra_data=new.extra_data,
        epsilon=board.epsilon_text,
        footnote=f"How it was run: {new.how}",
        standard_accuracy=new.standard_accuracy,
        robust_accuracy=new.robust_accuracy,
        # Boards rank by this number, and nobody here knows any.
        best_known_robust_accuracy=None,
        best_known_source="",
        findings="[]",
        baseline=False,
        published_ms=now,
        owner_id=account_id,
        expires_ms=now + days * DAY_MS,
        # SQLite gives the number of a row that has gone to the next one; by this the two are told apart all the same.
        revision=secrets.randbelow(2**24),
    )
    session.add(entry)
    session.flush()
    remember(session, entry, SOURCE, new.robust_accuracy)
    return entry


def _delete(session: Session, entry: EntryRow) -> None:
    session.execute(delete(EntryHistoryRow).where(EntryHistoryRow.entry_id == entry.id))
    session.execute(delete(EntryRow).where(EntryRow.id == entry.id))


def _board_of(entry: EntryRow) -> str:
    return f"{entry.dataset}/{entry.threat_model}"


def _board_path(entry: EntryRow) -> str:
    return f"/boards/{_board_of(entry)}"
