"""Messages: written with what they tell of, taken one by one, and sent at least once."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select, update

from benchmark.errors import Conflict, InvalidInput, NotFound
from benchmark.report import CheckOutcome
from store.accounts import NewAccount, delete_account, register
from store.actors import ANYBODY, Actor, Forbidden, Role, Scope, SignInNeeded
from store.audit import list_audit
from store.blobs import LocalBlobs
from store.claims import fail_attempt
from store.database import DAY_MS, Database, database_now_ms
from store.deliveries import (
    MINUTE_MS,
    MOST_ATTEMPTS,
    Delivery,
    list_notices,
    note_failed,
    note_sent,
    take_notice,
    tidy_notices,
)
from store.endings import warn_of_ends
from store.errors import QueueFull
from store.notices import MOST_MAILS_A_DAY, MOST_WAITING, Channel, Event, tell
from store.outcomes import finish_check
from store.services import Services
from store.sign_in import create_token, revoke_token
from store.states import move
from store.submission_notices import tell_of_names
from store.submissions import cancel, submit
from store.tables import AccountRow, NoticeRow, SubmissionRow, TokenRow, WebhookRow
from store.views import State
from store.webhooks import MOST_WEBHOOKS, add_webhook, list_webhooks, ping_webhook, remove_webhook
from tests.store.interleaving import at_once
from tests.store.lowered import judge_examples, send_examples
from tests.store.material import Rules, check, must_claim, new_submission
from tests.store.people import person
from tests.store.test_unverified import evaluate

URL = "https://hooks.example.org/in"
BOTH = (Channel.EMAIL, Channel.WEBHOOK)


@pytest.fixture
def jane(db: Database) -> Actor:
    return person(db, "jane", email="jane@example.org")


def events(db: Database, who: Actor) -> list[str]:
    """What somebody was told, in order."""
    return [notice.event for notice in reversed(list_notices(db, who))]


def say(db: Database, who: Actor, message: str = "Something happened.") -> None:
    with db.transaction() as session:
        tell(session, who.account_id, Event.CLAIM_ANSWERED, message, "/")


def must_take(db: Database) -> Delivery:
    found = take_notice(db, BOTH)
    assert found is not None
    return found


def pass_time(db: Database, by_ms: int) -> None:
    """Let everything that is due later be due earlier."""
    with db.transaction() as session:
        session.execute(update(NoticeRow).values(due_ms=NoticeRow.due_ms - by_ms))


def test_the_owner_of_a_submission_is_told_how_it_fares(db: Database, blobs: LocalBlobs, jane: Actor) -> None:
    evaluate(db, blobs, jane, "Method A")
    assert events(db, jane) == ["submission.received", "submission.checked", "submission.published"]
    assert list_notices(db, jane)[0].message == "Your submission Method A to digits/Linf is published."
    submit(db, blobs, new_submission(blobs, name="Bad"), Rules(), owner_id=jane.account_id)
    finish_check(db, must_claim(db), [check("zero_gradient", CheckOutcome.REJECTED)])
    assert list_notices(db, jane)[0].message == "Your submission Bad to digits/Linf was rejected: zero_gradient."
    submit(db, blobs, new_submission(blobs, name="Unlucky"), Rules(), owner_id=jane.account_id)
    fail_attempt(db, must_claim(db), "it broke", "model")
    assert events(db, jane)[-1] == "submission.failed"
    first = must_take(db)
    assert (first.event, first.address, first.secret) == ("submission.received", "jane@example.org", "")


def test_nobody_is_told_what_they_did_themselves(db: Database, blobs: LocalBlobs, jane: Actor) -> None:
    keeper = person(db, "keeper", Role.MAINTAINER)
    for who, told in ((jane, 0), (keeper, 1)):
        view = submit(db, blobs, new_submission(blobs, name=who.name), Rules(), owner_id=jane.account_id)
        cancel(db, view.id, who)
        assert events(db, jane).count("submission.cancelled") == told


def test_a_maintainers_no_and_the_end_of_an_embargo_are_told(db: Database, blobs: LocalBlobs, jane: Actor) -> None:
    view = submit(db, blobs, new_submission(blobs), Rules(), owner_id=jane.account_id)
    with db.transaction() as session:
        row = session.get_one(SubmissionRow, view.id)
        row.state, row.approval = State.CHECKING, "declined"
        session.flush()
        move(session, view.id, State.REJECTED, reason="the paper is another's", fault="model")
        tell_of_names(session, row, jane.account_id)
        tell_of_names(session, row)
    assert events(db, jane) == ["submission.received", "submission.declined", "embargo.ended"]
    assert list_notices(db, jane)[1].message == (
        "Your submission Method A to digits/Linf was declined by a maintainer: the paper is another's."
    )


def test_what_is_rolled_back_is_not_told(db: Database, blobs: LocalBlobs, jane: Actor) -> None:
    view = submit(db, blobs, new_submission(blobs), Rules(), owner_id=jane.account_id)

    def break_off() -> None:
        with db.transaction() as session:
            move(session, view.id, State.CANCELLED)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    with pytest.raises(Conflict), db.transaction() as session:
        move(session, view.id, State.PUBLISHED)
    assert events(db, jane) == ["submission.received"]


def test_those_without_an_account_or_an_address_are_told_nothing(db: Database, blobs: LocalBlobs) -> None:
    evaluate(db, blobs, ANYBODY, "Method A")
    evaluate(db, blobs, person(db, "silent"), "Method B")
    with db.snapshot() as session:
        assert session.scalars(select(NoticeRow)).all() == []


def test_an_evaluation_by_others_of_ones_entry_is_told(services: Services, blobs: LocalBlobs, jane: Actor) -> None:
    evaluate(services.db, blobs, jane, "Method A")
    judge_examples(services, send_examples(services, "Method A"), [100])
    notice = list_notices(services.db, jane)[0]
    assert notice.event == "external_evaluation.judged"
    assert notice.message.startswith("An evaluation by others of your entry Method A on digits/Linf was judged and ")


def test_a_message_that_was_not_confirmed_is_sent_again_later(db: Database, jane: Actor) -> None:
    say(db, jane)
    first = must_take(db)
    assert take_notice(db, BOTH) is None, "nobody sends it twice while it is on its way"
    pass_time(db, MINUTE_MS)
    assert must_take(db) == first, "whoever took it first was killed"
    note_sent(db, first.id)
    pass_time(db, 100 * MINUTE_MS)
    assert take_notice(db, BOTH) is None
    assert [(one.state, one.attempts) for one in list_notices(db, jane)] == [("sent", 2)]


def test_senders_at_the_same_moment_take_different_messages(db: Database, jane: Actor) -> None:
    for _ in range(4):
        say(db, jane)
    outcomes = at_once(*[lambda: must_take(db).id] * 4)
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert len({outcome.result for outcome in outcomes}) == 4


def test_pauses_grow_and_attempts_end(db: Database, jane: Actor) -> None:
    say(db, jane)
    pauses = []
    for _ in range(MOST_ATTEMPTS):
        delivery = must_take(db)
        with db.snapshot() as session:
            pauses.append(round((session.query(NoticeRow.due_ms).scalar() - database_now_ms(session)) / MINUTE_MS))
        note_failed(db, delivery.id, "nobody there" * 100)
        pass_time(db, 12 * 60 * MINUTE_MS)
    assert pauses == [1, 4, 16, 64, 256, 720, 720, 720]
    assert take_notice(db, BOTH) is None
    (notice,) = list_notices(db, jane)
    assert (notice.state, notice.attempts, len(notice.error)) == ("failed", MOST_ATTEMPTS, 300)
    say(db, jane)
    note_failed(db, must_take(db).id, "it answers 410", lasting=True)
    assert list_notices(db, jane)[0].state == "failed"


def test_what_was_tried_in_vain_lets_others_go_first(db: Database, jane: Actor) -> None:
    slow, _ = add_webhook(db, jane, URL, offered=True)
    with db.transaction() as session:
        session.get_one(AccountRow, jane.account_id).email = None
    for _ in range(3):
        say(db, jane)
    note_failed(db, must_take(db).id, "too slow")
    assert take_notice(db, BOTH) is None, "the others of this webhook wait as long"
    other = person(db, "other", email="other@example.org")
    pass_time(db, 2 * MINUTE_MS)
    say(db, other)
    assert [must_take(db).address for _ in range(4)] == [slow.url, slow.url, "other@example.org", slow.url]


def test_too_many_messages_are_not_kept(db: Database, jane: Actor) -> None:
    say(db, jane)
    (first,) = list_notices(db, jane)
    with db.transaction() as session:
        row = session.get_one(NoticeRow, first.id)
        same = {key: getattr(row, key) for key in NoticeRow.__table__.columns.keys() if key != "id"}  # noqa: SIM118
        same |= {"channel": Channel.WEBHOOK, "target": "another"}
        session.add_all([NoticeRow(**same) for _ in range(MOST_WAITING - 2)])
    for _ in range(3):
        say(db, jane)
    with db.snapshot() as session:
        assert session.query(NoticeRow).count() == MOST_WAITING


def test_an_address_that_may_be_anybodys_gets_few_mails_a_day(db: Database, jane: Actor) -> None:
    add_webhook(db, jane, URL, offered=True)
    for _ in range(MOST_MAILS_A_DAY + 2):
        say(db, jane)
    with db.snapshot() as session:
        sent = session.scalars(select(NoticeRow.channel)).all()
    assert (sent.count("email"), sent.count("webhook")) == (MOST_MAILS_A_DAY, MOST_MAILS_A_DAY + 2)
    pass_time(db, DAY_MS)
    say(db, jane)
    assert list_notices(db, jane)[1].channel is Channel.EMAIL


def test_whoever_has_gone_gets_nothing(db: Database, blobs: LocalBlobs) -> None:
    view = register(db, NewAccount(name="jane", password="correct horse battery", email="jane@example.org"))
    jane = Actor(account_id=view.id, name="jane", role=Role.SUBMITTER)
    add_webhook(db, jane, URL, offered=True)
    submit(db, blobs, new_submission(blobs), Rules(), owner_id=view.id)
    delete_account(db, jane, "correct horse battery")
    assert take_notice(db, BOTH) is None
    assert {(one.event, one.state) for one in list_notices(db, jane)} == {("submission.received", "failed")}
    say(db, jane)
    assert len(list_notices(db, jane)) == 2


def test_the_end_of_a_token_is_told_once(db: Database, jane: Actor) -> None:
    ending, _ = create_token(db, jane, "ending", [Scope.READ], 30)
    create_token(db, jane, "short", [Scope.READ], 3)
    create_token(db, jane, "lasting", [Scope.READ], None)
    revoked, _ = create_token(db, jane, "revoked", [Scope.READ], 30)
    revoke_token(db, jane, revoked.id)
    warn_of_ends(db)
    assert events(db, jane) == []
    with db.transaction() as session:
        for row in session.scalars(select(TokenRow).where(TokenRow.name.in_(("ending", "revoked")))):
            row.created_ms -= 25 * DAY_MS
            row.expires_ms = (row.expires_ms or 0) - 25 * DAY_MS
    for _ in range(2):
        warn_of_ends(db)
    (notice,) = list_notices(db, jane)
    assert (notice.event, notice.message) == (
        "token.expiring",
        "Your token ending ends within 7 days. Make a new one before.",
    )
    assert list_audit(db, None, subject=f"token {ending.id}")[0].actor == ""


def test_old_messages_are_forgotten_and_those_of_a_closed_channel_given_up(db: Database, jane: Actor) -> None:
    add_webhook(db, jane, URL, offered=True)
    say(db, jane)
    tidy_notices(db, [Channel.EMAIL])
    assert {(one.channel, one.state) for one in list_notices(db, jane)} == {("email", "due"), ("webhook", "failed")}
    pass_time(db, 31 * DAY_MS)
    tidy_notices(db, BOTH)
    assert [(one.channel, one.state) for one in list_notices(db, jane)] == [("email", "due")]


def test_a_webhook_is_added_pinged_and_removed(db: Database, jane: Actor) -> None:
    hook, secret = add_webhook(db, jane, f" {URL} ", offered=True)
    assert (hook.url, len(secret)) == (URL, 43)
    assert list_webhooks(db, jane) == (hook,)
    for _ in range(2):
        assert ping_webhook(db, jane, hook.id, offered=True) == hook
    delivery = must_take(db)
    assert (delivery.event, delivery.address, delivery.secret) == ("ping", URL, secret)
    assert take_notice(db, BOTH) is None
    say(db, jane)
    remove_webhook(db, jane, hook.id)
    assert list_webhooks(db, jane) == ()
    assert must_take(db).channel is Channel.EMAIL
    assert take_notice(db, BOTH) is None
    assert [line.action for line in list_audit(db, None, subject=f"webhook {hook.id}")] == [
        "remove_webhook",
        "add_webhook",
    ]
    assert secret not in str(list_audit(db, None))


def test_webhooks_are_ones_own_and_few(db: Database, jane: Actor) -> None:
    hooks = [add_webhook(db, jane, URL, offered=True)[0] for _ in range(MOST_WEBHOOKS)]
    with pytest.raises(QueueFull):
        add_webhook(db, jane, URL, offered=True)
    other = person(db, "other", Role.ADMIN)
    assert list_webhooks(db, other) == ()
    for theirs in (lambda: remove_webhook(db, other, hooks[0].id), lambda: ping_webhook(db, other, "x", offered=True)):
        with pytest.raises(NotFound):
            theirs()
    with pytest.raises(SignInNeeded):
        add_webhook(db, ANYBODY, URL, offered=True)
    with pytest.raises(Forbidden):
        add_webhook(db, jane.model_copy(update={"scopes": frozenset({Scope.READ})}), URL, offered=True)
    with pytest.raises(Conflict):
        add_webhook(db, other, URL, offered=False)
    with pytest.raises(Conflict):
        ping_webhook(db, jane, hooks[0].id, offered=False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://hooks.example.org",
        "http://127.0.0.1",
        "https://",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://localhost/",
        "https://LOCALHOST:8443/",
        "https://a.localhost/",
        "https://metadata.google.internal/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://user:password@hooks.example.org/",
        "https://hooks.example.org:0/",
        "https://hooks.example.org:99999/",
        "https://hooks.example.org/#part",
        "https://hooks.example.org/\r\nX: 1",
        "https://hooks.example.org/ b",
        "https://hooks.example.org\\@127.0.0.1/",
        "https://h\u00f6oks.example.org/",
        "https://hooks.example.org/" + "x" * 500,
        "ftp://hooks.example.org/",
        "//hooks.example.org/",
    ],
)
def test_addresses_that_may_not_be_called_are_refused(on_sqlite: Database, url: str) -> None:
    jane = person(on_sqlite, "jane")
    with pytest.raises(InvalidInput) as caught:
        add_webhook(on_sqlite, jane, url, offered=True)
    assert caught.value.detail is not None
    assert caught.value.detail.field == "url"


def test_an_account_is_deleted_while_its_submission_moves_on(db: Database, blobs: LocalBlobs) -> None:
    """Both want the submission and the account, in another order."""
    view = register(db, NewAccount(name="jane", password="correct horse battery", email="jane@example.org"))
    jane = Actor(account_id=view.id, name="jane", role=Role.SUBMITTER)
    submissions = [
        submit(db, blobs, new_submission(blobs, name=f"Method {n}"), Rules(), owner_id=view.id).id for n in range(4)
    ]

    def move_on() -> None:
        for submission_id in submissions:
            with db.transaction() as session:
                move(session, submission_id, State.CHECKING)
                time.sleep(0.02)
                move(session, submission_id, State.QUEUED)

    moved, deleted = at_once(move_on, lambda: delete_account(db, jane, "correct horse battery"))
    assert deleted.error is None
    assert moved.error is None or isinstance(moved.error, Conflict)
    with db.snapshot() as session:
        assert session.scalars(select(WebhookRow)).all() == []
