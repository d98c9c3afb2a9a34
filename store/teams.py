"""How much a team has sent to a board."""

from __future__ import annotations

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from store.tables import AccountRow, EntryRow, SubmissionRow
from store.views import State, TeamWork


def team_work(session: Session, entry: EntryRow) -> TeamWork | None:
    """Count what the team of an entry has sent to its board: whoever gives the same team, or the account alone.

    What is anonymous is neither told of nor counted with the rest, or it could be seen whose it is.
    """
    if entry.owner_id is None or entry.submission_id is None or entry.anonymous:
        return None
    owner = session.get_one(AccountRow, entry.owner_id)
    mates = select(AccountRow.id).where(func.lower(AccountRow.team) == owner.team.lower())
    theirs = SubmissionRow.owner_id.in_(mates) if owner.team else SubmissionRow.owner_id == owner.id
    published = func.sum(case((SubmissionRow.state == State.PUBLISHED, 1), else_=0))
    sent, shown = session.execute(
        select(func.count(), published).where(
            theirs,
            SubmissionRow.anonymous.is_(False),
            SubmissionRow.dataset == entry.dataset,
            SubmissionRow.threat_model == entry.threat_model,
        )
    ).one()
    return TeamWork(team=owner.team, submissions=sent, published=shown or 0)
