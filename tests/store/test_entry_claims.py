"""Claims to reported entries: theirs, or wrong; answered by maintainers, and never undone by an import."""

from __future__ import annotations

import pytest

from benchmark.errors import Conflict, InvalidInput, InvalidSubmission, NotFound
from store.actors import ANYBODY, Actor, Forbidden, Role, Scope, SignInNeeded
from store.audit import list_audit
from store.blobs import LocalBlobs
from store.boards import get_model
from store.database import Database
from store.deliveries import list_notices
from store.entry_claims import (
    MOST_OPEN_EACH,
    Answer,
    ClaimKind,
    ClaimState,
    Correction,
    accept_claim,
    decline_claim,
    file_claim,
    list_claims,
)
from store.entry_edits import EntryRights, edit_entry, editable_values, rights_on
from store.errors import QueueFull
from store.reference import import_reference_boards
from store.tables import EntryRow, MetaRow, SubmissionRow
from store.unverified import add_unverified
from store.views import ModelView, TeamWork
from tests.store.interleaving import at_once
from tests.store.material import board_entry, published
from tests.store.people import person
from tests.store.test_unverified import evaluate, new

PLACE = ("digits", "L2", "Reported")
PACKAGED = ("cifar10", "Linf", "Wu2020Do")
CLAIM, DISPUTE = ClaimKind.CLAIM, ClaimKind.DISPUTE


@pytest.fixture
def jane(db: Database) -> Actor:
    """Somebody with an account and an address, and a reported entry to speak of."""
    with db.transaction() as session:
        session.add(board_entry("Reported", 0.5, robust=0.6))
    return person(db, "jane", email="jane@example.org")


@pytest.fixture
def keeper(db: Database) -> Actor:
    return person(db, "keeper", Role.MAINTAINER)


def model(db: Database, blobs: LocalBlobs, place: tuple[str, str, str] = PLACE) -> ModelView:
    return get_model(db, blobs, *place)


def test_an_accepted_claim_makes_the_account_the_owner(
    db: Database, blobs: LocalBlobs, jane: Actor, keeper: Actor
) -> None:
    with pytest.raises(Forbidden):
        edit_entry(db, jane, PLACE, venue="ICLR 2026")
    claim = file_claim(db, jane, PLACE, CLAIM, "see the repository")
    assert (claim.state, claim.account, claim.model_id) == (ClaimState.OPEN, "jane", "Reported")
    answered = accept_claim(db, keeper, claim.id, Answer(reply="It is so."))
    assert (answered.state, answered.reply) == (ClaimState.ACCEPTED, "It is so.")
    edit_entry(db, jane, PLACE, venue="ICLR 2026", link="https://example.org/new")
    row = model(db, blobs).row
    assert (row.venue, row.link) == ("ICLR 2026", "https://example.org/new")
    with pytest.raises(Conflict, match="yours"):
        file_claim(db, jane, PLACE, CLAIM, "again")
    (notice,) = list_notices(db, jane)
    assert (notice.event, notice.message) == (
        "claim.answered",
        "Your claim to Reported on digits/L2 was accepted: It is so.",
    )
    assert [line.action for line in list_audit(db, None, subject="entry digits/L2/Reported")] == [
        "edit_entry",
        "accept_claim",
        "file_claim",
    ]


def test_an_accepted_dispute_is_seen_by_everybody(db: Database, blobs: LocalBlobs, jane: Actor, keeper: Actor) -> None:
    first = file_claim(db, jane, PLACE, DISPUTE, "the number is of another epsilon")
    accept_claim(db, keeper, first.id, Answer(reply="Noted.", remark="another epsilon was used."))
    shown = model(db, blobs)
    assert shown.row.footnote == "Disputed: another epsilon was used."
    assert (shown.row.robust_accuracy, shown.history) == (0.6, ())
    second = file_claim(db, jane, PLACE, DISPUTE, "there is an erratum")
    correction = Correction(robust_accuracy=0.41, source="erratum, March 2026")
    accept_claim(db, keeper, second.id, Answer(reply="Yes.", remark="see the erratum.", correction=correction))
    shown = model(db, blobs)
    assert shown.row.footnote.endswith("Disputed: see the erratum.")
    assert (shown.row.robust_accuracy, shown.row.best_known_robust_accuracy) == (0.41, 0.41)
    assert shown.row.best_known_source == "erratum, March 2026"
    assert [(item.source, item.robust_accuracy) for item in shown.history] == [("erratum, March 2026", 0.41)]
    with db.snapshot() as session:
        assert session.query(EntryRow.owner_id).scalar() is None


def test_a_corrected_number_does_not_raise_what_others_have_found(
    db: Database, blobs: LocalBlobs, jane: Actor, keeper: Actor
) -> None:
    claim = file_claim(db, jane, PLACE, DISPUTE, "it should be 0.55")
    correction = Correction(robust_accuracy=0.55, source="erratum")
    accept_claim(db, keeper, claim.id, Answer(reply="Yes.", remark="corrected.", correction=correction))
    row = model(db, blobs).row
    assert (row.robust_accuracy, row.best_known_robust_accuracy) == (0.55, 0.5)


def test_impossible_corrections_change_nothing(db: Database, blobs: LocalBlobs, jane: Actor, keeper: Actor) -> None:
    before = model(db, blobs)
    claim = file_claim(db, jane, PLACE, DISPUTE, "wrong")
    answers = [
        *(
            Answer(reply="Yes.", remark="x", correction=Correction(robust_accuracy=value, source="erratum"))
            for value in (0.91, -0.1, float("nan"))
        ),
        Answer(reply="Yes.", remark="x", correction=Correction(robust_accuracy=0.4, source=" ")),
        Answer(reply="Yes."),
        Answer(reply="", remark="x"),
    ]
    for answer in answers:
        with pytest.raises(InvalidInput):
            accept_claim(db, keeper, claim.id, answer)
    assert model(db, blobs) == before
    assert list_claims(db, keeper)[0].state is ClaimState.OPEN


def test_a_claim_that_is_no_dispute_takes_no_remark(db: Database, jane: Actor, keeper: Actor) -> None:
    claim = file_claim(db, jane, PLACE, CLAIM, "mine")
    with pytest.raises(InvalidInput):
        accept_claim(db, keeper, claim.id, Answer(reply="Yes.", remark="theirs"))


def test_a_declined_claim_changes_nothing_and_may_be_made_again(
    db: Database, blobs: LocalBlobs, jane: Actor, keeper: Actor
) -> None:
    before = model(db, blobs)
    claim = file_claim(db, jane, PLACE, DISPUTE, "wrong")
    with pytest.raises(Conflict, match="open"):
        file_claim(db, jane, PLACE, CLAIM, "mine")
    declined = decline_claim(db, keeper, claim.id, "It is right.")
    assert declined.state is ClaimState.DECLINED
    assert model(db, blobs) == before
    with pytest.raises(Conflict):
        decline_claim(db, keeper, claim.id, "No.")
    with pytest.raises(Conflict):
        accept_claim(db, keeper, claim.id, Answer(reply="Yes.", remark="x"))
    file_claim(db, jane, PLACE, CLAIM, "mine")


def test_who_may_do_what(db: Database, blobs: LocalBlobs, jane: Actor, keeper: Actor) -> None:
    reader = jane.model_copy(update={"scopes": frozenset({Scope.READ})})
    other = person(db, "other")
    for nobody, error in ((ANYBODY, SignInNeeded), (reader, Forbidden)):
        with pytest.raises(error):
            file_claim(db, nobody, PLACE, CLAIM, "mine")
    claim = file_claim(db, jane, PLACE, CLAIM, "mine")
    for nobody, error in ((ANYBODY, SignInNeeded), (other, Forbidden), (jane, Forbidden)):
        with pytest.raises(error):
            accept_claim(db, nobody, claim.id, Answer(reply="Yes."))
        with pytest.raises(error):
            decline_claim(db, nobody, claim.id, "No.")
    assert list_claims(db, other) == ()
    assert [one.id for one in list_claims(db, jane)] == [one.id for one in list_claims(db, keeper)] == [claim.id]
    assert list_claims(db, keeper, ClaimState.ACCEPTED) == ()
    with pytest.raises(SignInNeeded):
        list_claims(db, ANYBODY)
    with pytest.raises(NotFound):
        accept_claim(db, keeper, "nobody's", Answer(reply="Yes."))
    assert rights_on(db, ANYBODY, PLACE) == EntryRights()
    assert rights_on(db, jane, PLACE) == EntryRights(claim=True)
    assert rights_on(db, keeper, PLACE) == EntryRights(claim=True, edit=True, moderate=True)


def test_only_reported_entries_are_claimed(db: Database, blobs: LocalBlobs, jane: Actor) -> None:
    published(db, blobs)
    unverified = add_unverified(db, jane, ("digits", "Linf"), new(), days=1)
    for place in (("digits", "Linf", "Method A"), unverified):
        with pytest.raises(Conflict):
            file_claim(db, jane, place, DISPUTE, "wrong")
    with pytest.raises(NotFound):
        file_claim(db, jane, ("digits", "L2", "nobody"), CLAIM, "mine")
    with pytest.raises(InvalidSubmission):
        file_claim(db, jane, PLACE, CLAIM, "x" * 2_001)
    with pytest.raises(InvalidInput):
        file_claim(db, jane, PLACE, CLAIM, " \u200b ")


def test_nobody_floods_the_maintainers(db: Database, jane: Actor) -> None:
    with db.transaction() as session:
        session.add_all([board_entry(f"Entry {number}", 0.5) for number in range(MOST_OPEN_EACH)])
    for number in range(MOST_OPEN_EACH):
        file_claim(db, jane, ("digits", "L2", f"Entry {number}"), DISPUTE, "wrong")
    with pytest.raises(QueueFull):
        file_claim(db, jane, PLACE, DISPUTE, "wrong")


def test_claims_at_the_same_moment_are_one(db: Database, jane: Actor) -> None:
    outcomes = at_once(*[lambda: file_claim(db, jane, PLACE, CLAIM, "mine")] * 4)
    assert sum(outcome.error is None for outcome in outcomes) == 1
    assert len(list_claims(db, jane)) == 1


def test_answers_at_the_same_moment_are_one(db: Database, jane: Actor, keeper: Actor) -> None:
    claim = file_claim(db, jane, PLACE, CLAIM, "mine")
    outcomes = at_once(*[lambda: accept_claim(db, keeper, claim.id, Answer(reply="Yes."))] * 3)
    assert sum(outcome.error is None for outcome in outcomes) == 1
    assert len(list_notices(db, jane)) == 1


def test_an_import_undoes_nothing_that_was_edited_or_disputed(db: Database, blobs: LocalBlobs) -> None:
    import_reference_boards(db)
    jane, keeper = person(db, "jane"), person(db, "keeper", Role.MAINTAINER)
    before = model(db, blobs, PACKAGED).row
    accept_claim(db, keeper, file_claim(db, jane, PACKAGED, CLAIM, "mine").id, Answer(reply="Yes."))
    edit_entry(db, jane, PACKAGED, venue="JMLR 2026", link="https://example.org/own")
    edit_entry(db, jane, PACKAGED, venue="JMLR 2027")
    correction = Correction(robust_accuracy=0.3, source="erratum")
    dispute = file_claim(db, jane, PACKAGED, DISPUTE, "wrong")
    accept_claim(db, keeper, dispute.id, Answer(reply="Yes.", remark="corrected.", correction=correction))
    edited = model(db, blobs, PACKAGED)
    with db.transaction() as session:
        session.get_one(MetaRow, "reference_import").value = "of an older program"
        entry = session.query(EntryRow).filter_by(model_id="Wu2020Do").one()
        entry.title = "an older title"
    assert import_reference_boards(db) == 236
    after = model(db, blobs, PACKAGED)
    assert after == edited
    assert (after.row.venue, after.row.link) == ("JMLR 2027", "https://example.org/own")
    assert (after.row.title, after.row.best_known_robust_accuracy) == (before.title, 0.3)
    assert rights_on(db, jane, PACKAGED).edit


def test_a_published_record_takes_the_place_of_an_unverified_one(db: Database, blobs: LocalBlobs) -> None:
    jane = person(db, "jane")
    add_unverified(db, jane, PACKAGED[:2], new(name=PACKAGED[2]), days=1)
    import_reference_boards(db)
    shown = model(db, blobs, PACKAGED).row
    assert (shown.badge, shown.expires_ms, shown.published_ms) == ("reported", None, None)
    assert not rights_on(db, jane, PACKAGED).edit


def test_links_are_https(db: Database, jane: Actor, keeper: Actor) -> None:
    for link in ("http://example.org", "ftp://example.org", "https://a b", "https://u@example.org"):
        with pytest.raises(InvalidInput) as caught:
            edit_entry(db, keeper, PLACE, link=link)
        assert caught.value.detail is not None
        assert caught.value.detail.field == "link"


def test_edits_need_something_and_the_paper_of_an_unverified_entry_stays(db: Database, jane: Actor) -> None:
    place = add_unverified(db, jane, ("digits", "Linf"), new(), days=1)
    with pytest.raises(InvalidInput):
        edit_entry(db, jane, place)
    with pytest.raises(InvalidSubmission):
        edit_entry(db, jane, place, link="")
    edit_entry(db, jane, place, venue="")


def test_an_edit_reaches_the_submission_and_is_on_record(db: Database, blobs: LocalBlobs) -> None:
    jane = person(db, "jane", team="The A-Team")
    evaluate(db, blobs, jane, "Method A")
    place = ("digits", "Linf", "Method A")
    edit_entry(db, jane, place, venue="ICLR 2026", link="https://example.org/p")
    edit_entry(db, jane, place, venue="ICLR 2026")  # changes nothing, so nothing is on record
    with db.snapshot() as session:
        row = session.query(SubmissionRow).one()
        assert (row.venue, row.paper_url) == ("ICLR 2026", "https://example.org/p")
    (line,) = list_audit(db, None, subject="entry digits/Linf/Method A")
    assert line.detail == {
        "columns": "link venue",
        "link": "https://example.org/p",
        "link_before": "",
        "venue": "ICLR 2026",
        "venue_before": "",
    }


def test_an_edit_of_an_anonymous_entry_shows_nothing_of_it(db: Database, blobs: LocalBlobs) -> None:
    jane, place = person(db, "jane"), ("digits", "Linf", "Method A")
    evaluate(db, blobs, jane, "Method A")
    with db.transaction() as session:
        session.query(EntryRow).one().anonymous = True
        session.query(SubmissionRow).one().venue = "ICLR 2026"
    assert editable_values(db, jane, place) == {"venue": "ICLR 2026", "link": ""}
    edit_entry(db, jane, place, venue="ICLR 2027", link="https://example.org/secret")
    assert (model(db, blobs, place).row.venue, model(db, blobs, place).row.link) == ("", "")
    assert editable_values(db, jane, place) == {"venue": "ICLR 2027", "link": "https://example.org/secret"}
    with pytest.raises(Forbidden):
        editable_values(db, person(db, "other"), place)


def test_the_work_of_a_team_is_counted_without_what_is_anonymous(db: Database, blobs: LocalBlobs) -> None:
    jane, joe = person(db, "jane", team="Team"), person(db, "joe", team="TEAM")
    alone = person(db, "alone")
    for who, name in ((jane, "One"), (jane, "Two"), (joe, "Three"), (alone, "Four"), (joe, "Hidden")):
        evaluate(db, blobs, who, name)
    with db.transaction() as session:
        session.query(SubmissionRow).filter_by(name="Two").one().state = "withdrawn"
        session.query(SubmissionRow).filter_by(name="Hidden").one().anonymous = True
        session.query(EntryRow).filter_by(model_id="Hidden").one().anonymous = True
    counted = {name: model(db, blobs, ("digits", "Linf", name)).team for name in ("One", "Three", "Four", "Hidden")}
    assert counted == {
        "One": TeamWork(team="Team", submissions=3, published=2),
        "Three": TeamWork(team="TEAM", submissions=3, published=2),
        "Four": TeamWork(team="", submissions=1, published=1),
        "Hidden": None,
    }
