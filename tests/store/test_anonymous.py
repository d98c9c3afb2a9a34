"""Who made an anonymous submission: known to its owner and maintainers alone, everywhere, until it is revealed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from benchmark.errors import Conflict, InvalidSubmission, NotFound
from store.actors import ANYBODY, Actor, Forbidden
from store.audit import list_audit
from store.board_filters import BoardFilters
from store.boards import get_board, get_model, list_boards
from store.moderation import reveal, withdraw
from store.moderation_views import get_submission_report
from store.services import Services
from store.submissions import get_submission, list_submissions, submit
from store.sweeping import sweep
from store.tables import EntryRow, SubmissionRow
from store.unverified import NewUnverified, add_unverified
from store.views import Sort, State
from tests.store.deciders import evaluate, person, send
from tests.store.material import Rules, new_submission

NAMES: dict[str, object] = {
    "title": "Telling title",
    "authors": "Jane Doe",
    "paper_url": "https://example.org/janes-paper",
    "venue": "Conference of Jane 2027",
    "licence": "Licensed by Jane",
    "notes": "Ask Jane.",
}
TELLING = ("Telling", "Jane", "janes")
TODAY = datetime.now(UTC).date()
"""When the tests were collected; midnight may have come since, so nothing here lies at the edge of a day."""


@pytest.fixture
def owner(services: Services) -> Actor:
    return person(services.db, "jane")


def hide(services: Services, owner: Actor, name: str = "Method A", **fields: object) -> str:
    """Publish an anonymous entry."""
    found = send(services, owner, name, **{"anonymous": True} | NAMES | fields)  # type: ignore[arg-type]  # its fields
    assert evaluate(services) is State.PUBLISHED
    return found


def everything(services: Services, submission_id: str, who: Actor) -> str:
    """All that somebody is shown of an entry, wherever."""
    shown = [
        get_model(services.db, services.blobs, "digits", "Linf", "Method A").model_dump_json(),
        get_board(services.db, "digits", "Linf").model_dump_json(),
        *(board.model_dump_json() for board in list_boards(services.db)),
        get_submission(services.db, submission_id, who).model_dump_json(),
        *(view.model_dump_json() for view in list_submissions(services.db, who=who)),
        get_submission_report(services.db, services.blobs, submission_id, who).model_dump_json(),
    ]
    return "\n".join(shown)


def tells(text: str, owner: Actor) -> list[str]:
    return [word for word in (*TELLING, str(owner.account_id)) if word in text]


def test_nobody_else_learns_who_made_it(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = hide(services, owner, embargo_until=TODAY + timedelta(days=30))
    for who in (ANYBODY, person(services.db, "other"), owner.model_copy(update={"scopes": frozenset()})):
        assert tells(everything(services, submission_id, who), owner) == []
        assert get_submission(services.db, submission_id, who).submission.embargo_until is None
    for who in (owner, maintainer):
        view = get_submission(services.db, submission_id, who)
        assert {name: getattr(view.submission, name) for name in NAMES} == NAMES
        assert view.submission.embargo_until == TODAY + timedelta(days=30)
    row = get_model(services.db, services.blobs, "digits", "Linf", "Method A").row
    assert (row.anonymous, row.title, row.rank) == (True, "Method A", 1)


def test_no_column_of_the_entry_holds_it(services: Services, owner: Actor) -> None:
    """So whatever else reads entries, a search or an export, cannot tell it."""
    hide(services, owner)
    with services.db.snapshot() as session:
        entry = session.scalars(select(EntryRow)).one()
        values = [getattr(entry, column.name) for column in EntryRow.__table__.columns]
    assert tells(str(values), owner) == []
    for words in TELLING:
        assert get_board(services.db, "digits", "Linf", BoardFilters(search=words)).matching == 0
    assert get_board(services.db, "digits", "Linf", BoardFilters(search="Method A")).matching == 1


def test_the_order_by_title_does_not_tell_the_title(services: Services, owner: Actor) -> None:
    hide(services, owner)
    send(services, owner, "B", title="Nearer to the beginning than Telling, and after Method")
    evaluate(services)
    rows = get_board(services.db, "digits", "Linf", sort=Sort.NAME).rows
    assert [row.model_id for row in rows] == ["Method A", "B"]


def test_only_the_owner_reveals_it_and_once(services: Services, owner: Actor, maintainer: Actor) -> None:
    submission_id = hide(services, owner)
    for who in (maintainer, person(services.db, "other")):
        with pytest.raises(Forbidden):
            reveal(services.db, submission_id, who)
    with pytest.raises(NotFound):
        reveal(services.db, "nothing", owner)
    reveal(services.db, submission_id, owner)
    row = get_model(services.db, services.blobs, "digits", "Linf", "Method A").row
    assert (row.anonymous, row.model_id) == (False, "Method A")
    assert (row.title, row.authors, row.venue, row.link) == tuple(
        NAMES[name] for name in ("title", "authors", "venue", "paper_url")
    )
    assert get_board(services.db, "digits", "Linf", BoardFilters(search="Jane Doe")).matching == 1
    assert get_submission(services.db, submission_id, ANYBODY).submission.notes == NAMES["notes"]
    with services.db.snapshot() as session:
        assert session.scalars(select(EntryRow.owner_id)).one() == owner.account_id
    with pytest.raises(Conflict):
        reveal(services.db, submission_id, owner)


def test_what_is_revealed_before_its_publication_is_published_with_its_names(services: Services, owner: Actor) -> None:
    submission_id = send(services, owner, **{"anonymous": True} | NAMES)  # type: ignore[arg-type]  # its fields
    reveal(services.db, submission_id, owner)
    evaluate(services)
    assert get_model(services.db, services.blobs, "digits", "Linf", "Method A").row.authors == "Jane Doe"


def test_the_sweeper_reveals_it_when_its_day_has_come(services: Services, owner: Actor, maintainer: Actor) -> None:
    due = hide(services, owner, "A", embargo_until=TODAY + timedelta(days=2))
    withdrawn = hide(services, owner, "B", embargo_until=TODAY + timedelta(days=2))
    hide(services, owner, "C")
    withdraw(services.db, withdrawn, owner, "the paper was refused")
    assert sweep(services.db, services.blobs).revealed == ()
    with services.db.transaction() as session:
        for row in session.scalars(select(SubmissionRow).where(SubmissionRow.embargo_until_ms.is_not(None))):
            row.embargo_until_ms = 1
    assert sweep(services.db, services.blobs).revealed == (due,)
    assert sweep(services.db, services.blobs).revealed == ()
    hidden = {row.model_id: row.anonymous for row in get_board(services.db, "digits", "Linf").rows}
    assert {name: anonymous for name, anonymous in hidden.items() if name != "B"} == {"A": False, "C": True}
    assert get_submission(services.db, withdrawn, ANYBODY).submission.authors == ""
    (record,) = list_audit(services.db, maintainer, subject=f"submission {due}")
    assert (record.action, record.actor, record.name) == ("reveal", "", "")


def test_an_owner_without_an_account_any_more_is_not_anybody(services: Services, owner: Actor) -> None:
    """Whoever is not signed in has no account, and neither has such a submission: they are not the same."""
    submission_id = hide(services, owner)
    with services.db.transaction() as session:
        session.get_one(SubmissionRow, submission_id).owner_id = None
    assert tells(everything(services, submission_id, ANYBODY), owner) == []


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "a day without anonymity": ({"embargo_until": TODAY + timedelta(days=1)}, "embargo_until"),
    "today": ({"anonymous": True, "embargo_until": TODAY}, "embargo_until"),
    "years ahead": ({"anonymous": True, "embargo_until": TODAY + timedelta(days=370)}, "embargo_until"),
    "the last day": ({"anonymous": True, "embargo_until": date.max}, "embargo_until"),
    "a file for everybody": ({"anonymous": True, "private_checkpoint": False}, "private_checkpoint"),
    "the zoo with a private file": ({"zoo_consent": True}, "zoo_consent"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wishes_that_contradict_each_other_are_refused(services: Services, owner: Actor, case: str) -> None:
    fields, field = REFUSED[case]
    with pytest.raises(InvalidSubmission) as refused:
        send(services, owner, **fields)  # type: ignore[arg-type]  # fields of the submission
    assert refused.value.detail is not None
    assert refused.value.detail.field == field


def test_without_an_account_nobody_is_anonymous(services: Services) -> None:
    with pytest.raises(InvalidSubmission):
        submit(services.db, services.blobs, new_submission(services.blobs, anonymous=True), Rules())


def test_the_name_of_one_s_own_unverified_entry_would_tell_everything(services: Services, owner: Actor) -> None:
    """Only its owner may take that name, and its authors are public beside it."""
    own_run = NewUnverified(
        name="Method A", title="A title", authors="Jane Doe", paper_url="https://example.org/a",
        architecture="a", how="by the protocol",
        standard_accuracy=0.9, robust_accuracy=0.8,
    )  # fmt: skip
    add_unverified(services.db, owner, ("digits", "Linf"), own_run, days=90)
    with pytest.raises(InvalidSubmission, match="anonymous"):
        send(services, owner, anonymous=True)
    send(services, owner, "Another name", anonymous=True)
    send(services, owner)


def test_wishes_are_kept(services: Services, owner: Actor) -> None:
    day = TODAY + timedelta(days=366)
    kept = send(services, owner, "A", anonymous=True, embargo_until=day)
    given = send(services, owner, "B", private_checkpoint=False, zoo_consent=True)
    plain = send(services, owner, "C")
    found = [get_submission(services.db, one, owner).submission for one in (kept, given, plain)]
    assert [(one.private_checkpoint, one.zoo_consent, one.anonymous, one.embargo_until) for one in found] == [
        (True, False, True, day),
        (False, True, False, None),
        (True, False, False, None),
    ]
