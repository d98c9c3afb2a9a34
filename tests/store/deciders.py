"""People with accounts, and submissions of theirs at the stages where somebody decides."""

from __future__ import annotations

import secrets

from store.actors import Actor, Role
from store.database import Database, database_now_ms
from store.outcomes import finish_check
from store.services import Services
from store.submissions import submit
from store.tables import AccountRow
from store.views import State
from tests.store.material import Rules, check, finish, must_claim, new_submission, shard_report


def person(db: Database, name: str, role: Role = Role.SUBMITTER) -> Actor:
    """Make an account, and return its owner as somebody who asks."""
    with db.transaction() as session:
        now = database_now_ms(session)
        account = AccountRow(
            id=f"{now:012x}{secrets.token_hex(4)}", name=name, email=None, team="", role=role, disabled=False,
            created_ms=now,
        )  # fmt: skip
        session.add(account)
        session.flush()
        return Actor(account_id=account.id, name=name, role=role, submitter=f"account-{account.id}")


def send(services: Services, who: Actor, name: str = "Method A", *, approval: bool = False, **fields: object) -> str:
    """Submit for somebody, and return the submission's id."""
    new = new_submission(services.blobs, name=name, **fields)
    return submit(
        services.db, services.blobs, new, Rules(),
        submitter=who.submitter, owner_id=who.account_id, needs_approval=approval,
    ).id  # fmt: skip


def evaluate(services: Services, *, broken: int = 50, by_square: int = 0) -> State:
    """Evaluate what waits next to the end, in one shard."""
    finish_check(services.db, must_claim(services.db), [check()], parameters=1_234, shard_points=512)
    work = must_claim(services.db)
    report = shard_report(work, broken=broken, by_square=by_square)
    return finish(services.db, services.blobs, work, report.to_bytes())
