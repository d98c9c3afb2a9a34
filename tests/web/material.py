"""A service with something of everything on its boards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from benchmark.report import CheckOutcome
from benchmark.summing_up import wilson_interval
from store.claims import Claim, beat
from store.outcomes import finish_check
from store.services import Services
from store.submissions import submit
from store.views import NewSubmission, Progress, SubmissionView
from tests.running import Running
from tests.store.material import LEASE_MS, Rules, check, finish, must_claim, new_submission, shard_report
from tests.web.html import read_page

HOSTILE = "<script>alert(1)</script><b>&quot;'\u202egnp.exe"
"""A title with markup, quotes and a character that turns the reading direction."""
PROGRESS = Progress(
    points=500,
    points_done=122,
    attack="square",
    attacks_done=1,
    attacks=2,
    fraction=0.5,
    robust_accuracy_at_most=0.756,
    robust_interval_at_most=wilson_interval(378, 500),
    forward_passes=120_331,
    backward_passes=20_000,
)


def publish(services: Services, name: str, **fields: object) -> None:
    """Submit, and evaluate to the end: 10 of 500 points are misclassified, and APGD breaks 50 more."""
    take_in(services, name, **fields)
    finish_check(services.db, must_claim(services.db), [check()], parameters=1_234, shard_points=500)
    work = must_claim(services.db)
    finish(services.db, services.blobs, work, shard_report(work).to_bytes())


def take_in(services: Services, name: str, **fields: object) -> SubmissionView:
    new: NewSubmission = new_submission(services.blobs, name=name, **fields)
    return submit(services.db, services.blobs, new, Rules())


def attack(services: Services, name: str, **fields: object) -> tuple[SubmissionView, Claim]:
    """Submit, pass the check, and leave the attacks half way."""
    view = take_in(services, name, **fields)
    finish_check(services.db, must_claim(services.db), [check()], shard_points=500)
    work = must_claim(services.db)
    beat(services.db, work, LEASE_MS, PROGRESS)
    return view, work


def reject(services: Services, name: str) -> SubmissionView:
    """Submit, and fail the check."""
    view = take_in(services, name)
    finish_check(services.db, must_claim(services.db), [check("zero_gradient", CheckOutcome.REJECTED)])
    return view


def asked_by(service: Running, address: str) -> tuple[int, int]:
    """How often the database is asked for a page, and for the last image on it."""
    with questions(service.services) as of_page:
        images = read_page(service.http.get(address).text).find("img")
    with questions(service.services) as of_image:
        assert service.http.get(images[-1]["src"]).status_code == 200
    return len(of_page), len(of_image)


@contextmanager
def questions(services: Services) -> Iterator[list[str]]:
    """Whatever the database is asked until the end of the block."""
    asked: list[str] = []

    def note(*args: object) -> None:
        if str(args[2]).startswith("SELECT"):
            asked.append(str(args[2]))

    event.listen(services.db.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(services.db.engine, "before_cursor_execute", note)
