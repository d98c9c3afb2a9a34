"""What the owner of an entry may change of it, and what of a reported one the packaged records no longer say."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.errors import InvalidInput, InvalidSubmission
from store.actors import Actor, require_editable
from store.admission import LONGEST, check_url, cleaned_text
from store.audit import note
from store.database import Database
from store.entries import Place, find_entry, subject_of
from store.tables import AuditRow, EntryRow, SubmissionRow
from store.views import Badge, View

EDIT = "edit_entry"
DISPUTE = "accept_dispute"
_OF_SUBMISSION: Mapping[str, str] = {"venue": "venue", "link": "paper_url"}
"""What the columns of an entry are called in its submission."""
_COLUMNS = "columns"
"""Under this name the log keeps which columns were set by hand."""


class EntryRights(View):
    """What somebody may do with an entry."""

    edit: bool = False
    remove: bool = False
    claim: bool = False
    moderate: bool = False


def edit_entry(db: Database, who: Actor, place: Place, *, venue: str | None = None, link: str | None = None) -> None:
    """Change what is given of where an entry's paper stands: its venue, and the address of the paper.

    Args:
        db: the database.
        who: the entry's owner, or a maintainer.
        place: of the entry.
        venue: where it was published.
        link: https; an empty one removes it, where no rule demands one.
    Raises:
        NotFound: there is no such board or entry.
        SignInNeeded: nobody is signed in.
        Forbidden: it is not theirs.
        InvalidInput: nothing is given, or it breaks a rule.
    """
    given: dict[str, str] = {}
    if venue is not None:
        given["venue"] = cleaned_text("venue", venue, LONGEST["venue"])
    if link is not None:
        given["link"] = cleaned_text("link", link, LONGEST["paper_url"])
        check_url(given["link"], "link")
    if not given:
        raise InvalidInput.because(
            "venue", found="nothing", expected="a venue, a link or both", remedy="send what is to be changed"
        )
    with db.transaction() as session:
        entry = find_entry(session, place, locked=True)
        account_id = require_editable(who, entry)
        if given.get("link") == "" and entry.badge == Badge.UNVERIFIED:
            raise InvalidSubmission.because(
                "link", found="nothing", expected="the paper's address", remedy="link the paper by https"
            )
        before = _present(session, entry)
        changed = {column: text for column, text in given.items() if before[column] != text}
        if not changed:
            return
        were = {f"{column}_before": before[column] for column in changed}
        note_columns(session, account_id, EDIT, entry, *sorted(changed), **changed, **were)
        submission = session.get(SubmissionRow, entry.submission_id) if entry.submission_id else None
        for column, text in changed.items():
            if not entry.anonymous:
                setattr(entry, column, text)
            if submission is not None:
                setattr(submission, _OF_SUBMISSION[column], text)


def editable_values(db: Database, who: Actor, place: Place) -> dict[str, str]:
    """Return what the owner of an entry may change of it, as it is now.

    Raises:
        NotFound: there is no such board or entry.
        SignInNeeded: nobody is signed in.
        Forbidden: it is not theirs.
    """
    with db.snapshot() as session:
        entry = find_entry(session, place)
        require_editable(who, entry)
        return _present(session, entry)


def rights_on(db: Database, who: Actor, place: Place) -> EntryRights:
    """Return what somebody may do with an entry; whoever is not signed in may do nothing, and nobody is asked.

    Raises:
        NotFound: there is no such board or entry.
    """
    if who.account_id is None:
        return EntryRights()
    with db.snapshot() as session:
        entry = find_entry(session, place)
        edit = who.may_edit(entry)
        return EntryRights(
            edit=edit,
            remove=edit and entry.badge == Badge.UNVERIFIED,
            claim=who.may_claim(entry),
            moderate=who.moderates,
        )


def note_columns(session: Session, actor: str, action: str, entry: EntryRow, *columns: str, **detail: str) -> None:
    """Write down that columns of an entry were set by hand, so that no import of packaged records sets them back."""
    note(session, actor, action, subject_of(entry), **{_COLUMNS: " ".join(columns)}, **detail)


def columns_set_by_hand(session: Session) -> Mapping[str, frozenset[str]]:
    """Return, by what the log calls an entry, which of its columns people have set here."""
    found: dict[str, frozenset[str]] = {}
    rows = session.execute(select(AuditRow.subject, AuditRow.detail).where(AuditRow.action.in_((EDIT, DISPUTE))))
    for subject, detail in rows:
        columns = json.loads(detail).get(_COLUMNS, "").split()
        found[subject] = found.get(subject, frozenset()) | frozenset(columns)
    return found


def _present(session: Session, entry: EntryRow) -> dict[str, str]:
    """Return what may be edited; of an anonymous entry that is in its submission alone, until it is revealed."""
    if entry.anonymous and entry.submission_id is not None:
        submission = session.get_one(SubmissionRow, entry.submission_id)
        return {column: getattr(submission, name) for column, name in _OF_SUBMISSION.items()}
    return {"venue": entry.venue, "link": entry.link}
