"""One of everything that the service keeps, and new ones of whatever a request uses up."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from urllib.parse import quote

import numpy as np
from sqlalchemy import update

from benchmark.analysis.results import Analysis
from benchmark.threat_models import official_board
from model_zoo.registry import bundled_checkpoint, card
from store.account_links import new_link
from store.actors import Actor, Role, Scope
from store.administration import invite
from store.analyses import find_study
from store.boards import get_model
from store.entry_claims import ClaimKind, file_claim
from store.galleries import find_gallery
from store.intervention import fail_by_service
from store.moderation import withdraw
from store.services import Services
from store.sign_in import begin_session, create_token, who_has_session
from store.submissions import cancel, submit
from store.tables import ShardRow, SubmissionRow
from store.unverified import NewUnverified, add_unverified
from store.webhooks import add_webhook, list_webhooks, remove_webhook
from store.workers import announce
from tests.api.callers import Caller, Person, a_person
from tests.store.analysed import publish_analysed
from tests.store.deciders import evaluate, send
from tests.store.lowered import doubt, look_closer, send_examples
from tests.store.material import CHECKPOINT, Rules, a_worker, must_claim, new_submission
from tests.store.pictures import publish_with_gallery
from web.analyses import having, version

BOARD = {"dataset": "digits", "threat_model": "Linf"}
CARD = card("Digits_Standard", "digits", "Linf")
REPORTED = {"dataset": "cifar10", "threat_model": "Linf", "model_id": "Wu2020Do"}
HOOK = "https://hooks.example.org/here"
OWN_RUN: dict[str, object] = {
    "title": "On our own",
    "authors": "Jane Doe",
    "paper_url": "https://example.org/paper",
    "architecture": "WideResNet-70-16",
    "standard_accuracy": 0.9,
    "robust_accuracy": 0.7,
    "how": "AutoAttack 0.1 on all points",
}
ENTRY = "Evaluated"
"""An entry evaluated here, with a closer look that is done and an evaluation by others that waits."""


@dataclass(frozen=True)
class Request:
    """What is sent.

    Args:
        places: what stands in the address for its parameters.
        query: what follows the question mark.
        json: a body of JSON; None for none.
        form: the fields of a form; None for none.
        content: any other body.
        headers: besides those of whoever asks.
    """

    places: dict[str, str] = field(default_factory=dict)
    query: Mapping[str, str | list[str]] = field(default_factory=dict)
    json: dict[str, object] | None = None
    form: dict[str, str] | None = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def address(self, template: str) -> str:
        """Fill the template of an address in."""
        return template.format_map({name: quote(value, safe="") for name, value in self.places.items()})


class Objects:
    """Makes what requests ask for.

    Args:
        services: where to make it.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self._numbers = count()
        services.blobs.put(bundled_checkpoint(CARD).read_bytes())

    @cached_property
    def somebody(self) -> Person:
        """Whose everything is that nobody who asks has made."""
        return a_person(self.services.db, Caller.OWNER)

    @cached_property
    def entry(self) -> dict[str, str]:
        """The entry that is only read."""
        self._empty_queue()
        doubt(self.services, ENTRY)
        look_closer(self.services, broken=3)
        with self.services.db.transaction() as session:
            session.query(SubmissionRow).filter_by(name=ENTRY).one().private_checkpoint = False
        return {**BOARD, "model_id": ENTRY}

    @cached_property
    def picture(self) -> dict[str, str]:
        """An image of an entry's gallery."""
        self._empty_queue()
        publish_with_gallery(self.services, "Pictured", index=(23,))
        stored = find_gallery(self.services.db, self.services.blobs, official_board(*BOARD.values()), "Pictured")
        assert stored is not None
        return {**BOARD, "model_id": "Pictured", "version": stored.sha256, "point": "23", "image": "original.png"}

    @cached_property
    def look(self) -> dict[str, str]:
        """The closer look at that entry."""
        number = get_model(self.services.db, self.services.blobs, *self.entry.values()).looks[0].number
        return {**self.entry, "number": str(number)}

    @cached_property
    def analysed(self) -> dict[str, str]:
        """An entry that was analysed, but not in every way yet."""
        self._empty_queue()
        publish_analysed(self.services, self.actor(self.somebody), "Analysed", without=[Analysis.OOD], most=9)
        return {**BOARD, "model_id": "Analysed"}

    @cached_property
    def compared(self) -> list[str]:
        """Two entries that were analysed."""
        first = self.analysed["model_id"]
        self._empty_queue()
        publish_analysed(self.services, self.actor(self.somebody), "Analysed too", seed=1)
        return [first, "Analysed too"]

    def plot(self, names: list[str]) -> dict[str, str]:
        """Where a plot of these entries is."""
        board = official_board(*BOARD.values())
        found = {name: find_study(self.services.db, self.services.blobs, board, name) for name in names}
        studies, places = having(Analysis.CALIBRATION, found)
        return {"version": version(Analysis.CALIBRATION, studies, places), "file": "calibration.svg"}

    @cached_property
    def external(self) -> dict[str, str]:
        """An evaluation of that entry by others."""
        return {"external_id": send_examples(self.services, self.entry["model_id"], points=(1, 2, 3)).id}

    def new_name(self, beginning: str) -> str:
        """A name that nothing has."""
        return f"{beginning}-{next(self._numbers)}"

    def waiting(self, owner: Person) -> str:
        """A submission that waits for its check."""
        new = new_submission(self.services.blobs, name=self.new_name("Waiting"))
        services = self.services
        return submit(services.db, services.blobs, new, Rules(), owner_id=owner.account_id or None).id

    def cancelled(self, owner: Person) -> str:
        """A submission that was cancelled."""
        submission_id = self.waiting(owner)
        cancel(self.services.db, submission_id)
        return submission_id

    def failed(self, owner: Person) -> str:
        """A submission that has failed through the service."""
        services = self.services
        new = new_submission(
            services.blobs,
            name=self.new_name("Failed"),
            architecture=CARD.architecture,
            checkpoint_sha256=CARD.sha256,
            private_checkpoint=False,
        )
        owner_id = owner.account_id or None
        submission_id = submit(services.db, services.blobs, new, services.admission, owner_id=owner_id).id
        fail_by_service(self.services.db, submission_id, "The disk was full.")
        return submission_id

    def held(self, owner: Person) -> str:
        """The number of a piece of work that somebody holds."""
        self._empty_queue()
        self.waiting(owner)
        return str(must_claim(self.services.db).shard_id)

    def worker(self) -> str:
        """The name of a worker."""
        name = self.new_name("worker")
        announce(self.services.db, a_worker(name))
        return name

    def undecided(self, owner: Person) -> str:
        """A submission that is evaluated and waits for a maintainer."""
        self._empty_queue()
        name = self.new_name("Undecided")
        # A file of its own: one that was declined is not taken again.
        sha256 = self.services.blobs.put(CHECKPOINT + name.encode())
        submission_id = send(self.services, self.actor(owner), name, approval=True, checkpoint_sha256=sha256)
        evaluate(self.services)
        return submission_id

    def published(self, owner: Person, *, anonymous: bool = False) -> SubmissionRow:
        """A submission whose entry is on the board."""
        self._empty_queue()
        submission_id = send(self.services, self.actor(owner), self.new_name("Published"), anonymous=anonymous)
        evaluate(self.services)
        with self.services.db.snapshot() as session:
            return session.get_one(SubmissionRow, submission_id)

    def withdrawn(self, owner: Person) -> str:
        """A submission whose entry was taken off the board."""
        submission_id = self.published(owner).id
        withdraw(self.services.db, submission_id, self.actor(owner), "A copy.")
        return submission_id

    def unverified(self, owner: Person) -> str:
        """The name of an unverified entry."""
        new = NewUnverified.model_validate({**OWN_RUN, "name": self.new_name("Unverified")})
        return add_unverified(
            self.services.db, self.actor(owner), (BOARD["dataset"], BOARD["threat_model"]), new, days=30
        )[2]

    def claim(self) -> str:
        """A claim of somebody to a reported entry, which waits for an answer."""
        who = self.actor(a_person(self.services.db, Caller.OTHER))
        place = (REPORTED["dataset"], REPORTED["threat_model"], REPORTED["model_id"])
        return file_claim(self.services.db, who, place, ClaimKind.CLAIM, "It is mine.").id

    def webhook(self, owner: Person) -> str:
        """A webhook, the only one of its owner."""
        for view in list_webhooks(self.services.db, self.actor(owner)):
            remove_webhook(self.services.db, self.actor(owner), view.id)
        return add_webhook(self.services.db, self.actor(owner), HOOK, offered=True)[0].id

    def upload(self) -> bytes:
        """A file that nobody has sent, which may be stored: images of noise."""
        buffer = io.BytesIO()
        np.save(buffer, np.random.default_rng(next(self._numbers)).random((3, 1, 8, 8), np.float32))
        return buffer.getvalue()

    def stored(self) -> str:
        """The hash of such a file that is there."""
        return self.services.blobs.put(self.upload())

    def account(self, role: Role = Role.SUBMITTER) -> str:
        """The name of an account."""
        return invite(self.services.db, None, self.new_name("account"), role)[0].name

    def link(self) -> str:
        """The secret of a link that lets the owner of an account in."""
        return new_link(self.services.db, None, self.account())

    def token(self, owner: Person) -> str:
        """The id of a token."""
        return create_token(self.services.db, self.actor(owner), "another", [Scope.READ])[0].id

    def actor(self, person: Person) -> Actor:
        """Somebody as they ask for things in a browser."""
        who = who_has_session(self.services.db, begin_session(self.services.db, person.account_id))
        assert who is not None
        return who

    def _empty_queue(self) -> None:
        """Take away whatever waits, or it would be evaluated instead of what is made next."""
        with self.services.db.transaction() as session:
            session.execute(update(ShardRow).where(ShardRow.state == "queued").values(state="cancelled"))


def sha256_of(content: bytes) -> str:
    """The hash under which a file is sent."""
    return hashlib.sha256(content).hexdigest()
