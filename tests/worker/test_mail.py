"""E-mail, to a real server: one plain mail to one receiver, whatever anybody has written into it."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable, Iterator

import pytest

from store.deliveries import Delivery
from store.notices import Channel
from tests.worker.receivers import Mailbox, mail_server
from worker.mail import Mailer, is_address
from worker.messaging import NotDelivered

SENDER = "gauntlet@example.org"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


def delivery(**changes: object) -> Delivery:
    fields: dict[str, object] = {
        "id": 7,
        "channel": Channel.EMAIL,
        "event": "claim.answered",
        "message": "Your claim to M was accepted: Sch\u00f6n.",
        "path": "/models/digits/Linf/M",
        "at_ms": 1_000,
        "address": "jane@example.org",
        "secret": "",
    }
    return Delivery.model_validate(fields | changes)


def mailer(box: Mailbox, user: str = "", base: str = "https://gauntlet.example") -> Mailer:
    return Mailer.at(f"smtp://{user}127.0.0.1:{box.port}", SENDER, base)


def refusal(call: Callable[[], None]) -> NotDelivered:
    with pytest.raises(NotDelivered) as caught:
        call()
    return caught.value


def test_a_mail_is_plain_text_with_a_link(box: Mailbox) -> None:
    mailer(box).send(delivery())
    mailer(box).send(delivery())  # sent again: programs for mail know it by its id
    first, second = [email.message_from_bytes(content, policy=email.policy.SMTP) for _, _, content in box.mails]
    assert box.mails[0][:2] == (SENDER, ["jane@example.org"])
    assert first.get_content_type() == "text/plain"
    assert (first["From"], first["To"], first["Subject"]) == (SENDER, "jane@example.org", "Gauntlet: claim answered")
    assert first["Message-ID"] == second["Message-ID"] == "<notice-7-1000@example.org>"
    assert first["Auto-Submitted"] == "auto-generated"
    text = first.get_content()
    assert text.startswith(
        "Your claim to M was accepted: Sch\u00f6n.\r\n\r\nhttps://gauntlet.example/models/digits/Linf/M"
    )


def test_without_an_address_of_its_own_the_service_names_the_page(box: Mailbox) -> None:
    mailer(box, base="").send(delivery())
    content = email.message_from_bytes(box.mails[0][2], policy=email.policy.SMTP).get_content()
    assert "On this service's page /models/digits/Linf/M" in content


HOSTILE = "x\r\nBcc: victim@example.org\r\n.\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.org>\n.\nDATA"


def test_whatever_a_message_says_it_is_one_mail_to_one_receiver(box: Mailbox) -> None:
    mailer(box).send(delivery(message=HOSTILE, path=HOSTILE))
    assert [receivers for _, receivers, _ in box.mails] == [["jane@example.org"]]
    mail = email.message_from_bytes(box.mails[0][2], policy=email.policy.SMTP)
    assert mail["Bcc"] is None
    assert not mail.defects
    assert "victim@example.org" in mail.get_content()
    assert sum(line.upper().startswith(("MAIL", "RCPT")) for line in box.commands) == 2


@pytest.mark.parametrize(
    "address",
    [
        "a@example.org\r\nBcc: b@example.org",
        "a@example.org\nX: y",
        "a,b@example.org",
        "a@example.org,b@example.org",
        "<a@example.org>",
        "A <a@example.org>",
        "a@example.org>",
        "a b@example.org",
        "(x)a@example.org",
        "j\u00e4ne@example.org",
        "a",
        "",
    ],
)
def test_what_is_no_plain_address_is_written_to_nobody(box: Mailbox, address: str) -> None:
    assert not is_address(address)
    assert refusal(lambda: mailer(box).send(delivery(address=address))).lasting
    assert box.commands == []


def test_a_refused_receiver_is_given_up_and_a_busy_one_is_not(box: Mailbox) -> None:
    box.refusals["jane@example.org"] = "550 nobody here"
    error = refusal(lambda: mailer(box).send(delivery()))
    assert (error.reason, error.lasting, error.everywhere) == ("the mail server refuses the address (550)", True, False)
    box.refusals["jane@example.org"] = "450 later"
    error = refusal(lambda: mailer(box).send(delivery()))
    assert (error.reason, error.lasting) == ("the mail server refuses the address (450)", False)


def test_a_server_that_is_not_there_is_told_from_an_address_that_is_wrong() -> None:
    with mail_server() as gone:
        pass
    error = refusal(lambda: mailer(gone).send(delivery()))
    assert (error.lasting, error.everywhere) == (False, True)


def test_a_password_goes_only_to_this_machine_or_over_an_encrypted_connection() -> None:
    with mail_server("AUTH PLAIN") as box:
        mailer(box, "user:p%40ss@").send(delivery())
        assert any(line.startswith("AUTH PLAIN") for line in box.commands)
        box.commands.clear()
        elsewhere = Mailer("127.0.0.2", box.port, False, "user", "p@ss", SENDER)
        with pytest.raises(NotDelivered):
            elsewhere.send(delivery())
        assert not any(line.startswith("AUTH") for line in box.commands)


@pytest.mark.parametrize("url", ["http://host", "smtp://", "smtp://host/path", "smtp://host:99999", "host:25"])
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Mailer.at(url, SENDER)
    assert "host" in str(caught.value) or "ort" in str(caught.value)


def test_addresses_of_servers() -> None:
    found = Mailer.at("smtps://us%3Aer:p%40ss@mail.example.org", SENDER)
    assert (found.host, found.port, found.encrypted, found.user, found.password) == (
        "mail.example.org",
        465,
        True,
        "us:er",
        "p@ss",
    )
    assert Mailer.at("smtp://mail.example.org", SENDER).port == 587
