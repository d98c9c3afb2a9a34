"""The sender: what waits reaches mailboxes and webhooks, once where nothing goes wrong, and nobody waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from gauntlet.app import make_services
from gauntlet.messages import make_sender, ways_of
from gauntlet.settings import Settings
from store.actors import Actor
from store.deliveries import Delivery, list_notices
from store.notices import Channel, Event, tell
from store.services import Services
from store.sweeping import SENDER, elect, is_held
from store.tables import NoticeRow
from store.webhooks import add_webhook
from tests.running import quiet_settings
from tests.store.people import person
from tests.worker.receivers import HOST, mail_server, webhook_server
from worker.mail import Mailer
from worker.messaging import NotDelivered
from worker.sender import AT_ONCE, Sender
from worker.sweeper import Role
from worker.webhook_calls import WebhookCaller

HERE = "127.0.0.1"
LEASE_MS = 60_000


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = make_services(quiet_settings(tmp_path / "var"))
    yield services
    services.db.close()


@pytest.fixture
def jane(services: Services) -> Actor:
    return person(services.db, "jane", email="jane@example.org")


def say(services: Services, who: Actor, times: int = 1) -> None:
    for number in range(times):
        with services.db.transaction() as session:
            tell(session, who.account_id, Event.CLAIM_ANSWERED, f"Number {number}.", "/claims")


def due_now(services: Services) -> None:
    with services.db.transaction() as session:
        session.execute(update(NoticeRow).values(due_ms=0))


def states(services: Services, who: Actor) -> list[str]:
    return [notice.state for notice in reversed(list_notices(services.db, who))]


class Recorder:
    """A way of sending that keeps what it is given."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.sent: list[Delivery] = []
        self.failure = failure

    def __call__(self, delivery: Delivery) -> None:
        self.sent.append(delivery)
        if self.failure is not None:
            raise self.failure


def sender(services: Services, way: Recorder, name: str = "one") -> Sender:
    return Sender(services, Role(services, SENDER, name, LEASE_MS), {Channel.EMAIL: way})


def test_messages_reach_a_mailbox_and_a_webhook(services: Services, jane: Actor, tmp_path: Path) -> None:
    with mail_server() as box, webhook_server(tmp_path) as hooks:
        add_webhook(services.db, jane, f"https://{HOST}:{hooks.port}/in", offered=True)
        say(services, jane)
        ways = {
            Channel.EMAIL: Mailer.at(f"smtp://127.0.0.1:{box.port}", "gauntlet@example.org").send,
            Channel.WEBHOOK: WebhookCaller(
                "", 10.0, lambda host, port: (HERE,), lambda address: address == HERE, hooks.trust
            ).send,
        }
        running = Sender(services, Role(services, SENDER, "one", LEASE_MS), ways)
        running.start()
        deadline = time.monotonic() + 20
        while states(services, jane) != ["sent", "sent"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.stop()
        assert len(box.mails) == len(hooks.requests) == 1
        assert not is_held(services.db, SENDER)


def test_one_sends_at_a_time(services: Services, jane: Actor) -> None:
    say(services, jane)
    assert elect(services.db, SENDER, "other", LEASE_MS)
    way = Recorder()
    assert sender(services, way).turn() == 0
    assert way.sent == []


def test_a_turn_is_bounded(services: Services, jane: Actor) -> None:
    say(services, jane, AT_ONCE + 5)
    way = Recorder()
    one = sender(services, way)
    assert (one.turn(), one.turn(), one.turn()) == (AT_ONCE, 5, 0)
    assert [delivery.message for delivery in way.sent] == [f"Number {n}." for n in range(AT_ONCE + 5)]


def test_what_cannot_be_sent_is_kept_with_the_reason_and_tried_again(services: Services, jane: Actor) -> None:
    say(services, jane)
    way = Recorder(NotDelivered("it answers 500"))
    one = sender(services, way)
    one.turn()
    (notice,) = list_notices(services.db, jane)
    assert (notice.state, notice.attempts, notice.error) == ("due", 1, "it answers 500")
    way.failure = None
    due_now(services)
    one.turn()
    assert states(services, jane) == ["sent"]


def test_a_defect_of_ours_ends_no_turn(services: Services, jane: Actor) -> None:
    say(services, jane, 2)
    one = sender(services, Recorder(ZeroDivisionError("with a secret")))
    assert one.turn() == 2
    assert {notice.error for notice in list_notices(services.db, jane)} == {"the service could not send it"}


def test_a_server_that_is_out_of_order_is_left_alone(services: Services, jane: Actor) -> None:
    say(services, jane, 3)
    way = Recorder(NotDelivered("the mail server could not be used", everywhere=True))
    assert sender(services, way).turn() == 1
    assert len(way.sent) == 1, "the others have lost no attempt"


def test_a_slow_receiver_holds_up_nobody_but_the_sender(services: Services, jane: Actor) -> None:
    begun, end = threading.Event(), threading.Event()

    class Slow(Recorder):
        def __call__(self, delivery: Delivery) -> None:
            begun.set()
            end.wait(20)

    say(services, jane)
    one = sender(services, Slow())
    one.start()
    assert begun.wait(20)
    start = time.monotonic()
    say(services, jane)  # the sender holds no transaction meanwhile
    one.stop(patience_s=0.1)
    assert time.monotonic() - start < 5
    end.set()
    assert states(services, jane) == ["due", "due"]


def test_channels_that_are_not_set_up_send_nothing_and_keep_nothing(services: Services, jane: Actor) -> None:
    say(services, jane)
    one = Sender(services, Role(services, SENDER, "one", LEASE_MS), {})
    assert one.turn() == 0
    assert states(services, jane) == ["failed"]


def test_the_settings_say_how_messages_leave(tmp_path: Path, services: Services) -> None:
    assert ways_of(Settings(var_dir=tmp_path)) == {}
    assert ways_of(Settings(var_dir=tmp_path, webhooks="on")).keys() == {Channel.WEBHOOK}
    mail = Settings(var_dir=tmp_path, smtp_url="smtps://u:p@mail.example.org", mail_from="gauntlet@example.org")
    assert ways_of(mail).keys() == {Channel.EMAIL}
    assert make_sender(mail, services, "one").turn() == 0
