"""One e-mail over SMTP: plain text, whose header lines hold nothing that anybody has written."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Self
from urllib.parse import unquote, urlsplit

from store.deliveries import Delivery
from worker.messaging import NotDelivered

PORTS = {"smtp": 587, "smtps": 465}
_HERE = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True)
class Mailer:
    """A mail server, and whom mail comes from.

    Args:
        host: the server's name.
        port: of its.
        encrypted: whether the connection is encrypted from the start; otherwise it is as soon as the server offers it.
        user: name to sign in with; empty for a server that asks for none.
        password: the same.
        sender: address that mail comes from.
        base: address of this service, that links begin with; empty where nobody has said.
        timeout_s: time that the server may take for each answer.
    """

    host: str
    port: int
    encrypted: bool
    user: str
    password: str
    sender: str
    base: str = ""
    timeout_s: float = 15.0

    @classmethod
    def at(cls, url: str, sender: str, base: str = "") -> Self:
        """Read an address such as smtp://user:password@host:587 or smtps://host.

        Raises:
            ValueError: it is none, or the sender's is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("an address such as smtp://user:password@host:587 or smtps://host")
        if not is_address(sender):
            raise ValueError("an address such as gauntlet@example.org")
        return cls(
            host=parts.hostname,
            port=parts.port or PORTS[parts.scheme],
            encrypted=parts.scheme == "smtps",
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            sender=sender,
            base=base,
        )

    def send(self, delivery: Delivery) -> None:
        """Hand a message to the server.

        Raises:
            NotDelivered: it does not take it.
        """
        if not is_address(delivery.address):
            raise NotDelivered("the account's address cannot be written to", lasting=True)
        content = self._content(delivery)
        try:
            with self._connected() as server:
                server.sendmail(self.sender, [delivery.address], content)
        except smtplib.SMTPRecipientsRefused as error:
            code = next(iter(error.recipients.values()))[0]
            raise NotDelivered(f"the mail server refuses the address ({code})", lasting=code >= 500) from None
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            raise NotDelivered(f"the mail server refuses the message ({error.smtp_code})") from None
        except (OSError, smtplib.SMTPException) as error:  # its words may repeat what it was told
            raise NotDelivered(f"the mail server could not be used ({type(error).__name__})", everywhere=True) from None

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.encrypted:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_s, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
        try:
            server.ehlo_or_helo_if_needed()
            if not self.encrypted and self.host not in _HERE:
                if server.has_extn("starttls"):
                    server.starttls(context=context)
                elif self.user:
                    raise NotDelivered("the mail server offers no encryption, so it is not told the password")
            if self.user:
                server.login(self.user, self.password)
        except BaseException:
            server.close()
            raise
        return server

    def _content(self, delivery: Delivery) -> bytes:
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self.sender
        mail["To"] = delivery.address
        # Of fixed words: a name or a reply that somebody has chosen never becomes a part of the head.
        mail["Subject"] = f"Gauntlet: {delivery.event.replace('.', ' ').replace('_', ' ')}"
        mail["Date"] = formatdate(delivery.at_ms / 1000)
        # The same whenever it is sent again, so that programs for mail can show it once.
        mail["Message-ID"] = f"<notice-{delivery.id}-{delivery.at_ms}@{self.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        where = f"{self.base}{delivery.path}" if self.base else f"On this service's page {delivery.path}"
        mail.set_content(
            f"{delivery.message}\n\n{where}\n\n"
            "You get this because your account has this address. Without one it gets no e-mail.\n",
            cte="quoted-printable",
        )
        return mail.as_bytes()


def is_address(text: str) -> bool:
    """Tell whether a text is one plain address that a mail server can be told."""
    if not text.isascii() or not text.isprintable():
        return False
    try:
        return bool(Address(addr_spec=text).domain) and Address(addr_spec=text).addr_spec == text
    except (MessageError, ValueError, IndexError):
        return False
