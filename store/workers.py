"""Who works: processes that announce what they can run, show signs of life, and can be told to stop claiming."""

from __future__ import annotations

import json

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from benchmark.errors import NotFound
from benchmark.report import SandboxLevel
from store.actors import Actor, require_maintainer_or_operator
from store.audit import note
from store.database import DAY_MS, Database, database_now_ms, ring_after_commit, upsert
from store.tables import ShardRow, WorkerRow
from store.views import View

FORGOTTEN_AFTER_MS = DAY_MS
"""Time without a sign of life after which a worker is no longer listed."""


class Worker(View):
    """A process that claims work.

    Args:
        name: of its own; no other process claims under it.
        host: the machine.
        devices: where its evaluations run, "cpu" or CUDA devices.
        datasets: the data sets that it has.
        sandbox: what it puts around evaluations.
    """

    name: str
    host: str = ""
    devices: tuple[str, ...] = ("cpu",)
    datasets: tuple[str, ...]
    sandbox: SandboxLevel | None = None

    @property
    def has_cuda(self) -> bool:
        """Whether it can run what needs a CUDA device."""
        return any(device.startswith("cuda") for device in self.devices)


class WorkerView(Worker):
    """A worker as others see it."""

    draining: bool
    running: int
    """Pieces of work that it holds."""
    started_ms: int
    seen_ms: int
    silent_ms: int
    """Time since its last sign of life, by the database's clock."""


def announce(db: Database, worker: Worker) -> None:
    """Make a worker known; one that is known already starts afresh, no longer draining."""
    with db.transaction() as session:
        now = database_now_ms(session)
        values = {
            "host": worker.host,
            "devices": json.dumps(worker.devices),
            "datasets": json.dumps(worker.datasets),
            "sandbox": worker.sandbox,
            "draining": False,
            "started_ms": now,
            "seen_ms": now,
        }
        upsert(session, WorkerRow, {"name": worker.name}, values)
        session.execute(delete(WorkerRow).where(WorkerRow.seen_ms < now - FORGOTTEN_AFTER_MS))


def show_life(db: Database, name: str) -> bool:
    """Note that a worker is alive; tell whether it is still known, or must announce itself again."""
    with db.transaction() as session:
        now = database_now_ms(session)
        known = session.execute(
            update(WorkerRow).where(WorkerRow.name == name).values(seen_ms=now).returning(WorkerRow.name)
        )
        return known.first() is not None


def leave(db: Database, name: str) -> None:
    """Forget a worker that has ended in an orderly way."""
    with db.transaction() as session:
        session.execute(delete(WorkerRow).where(WorkerRow.name == name))


def drain(db: Database, name: str, who: Actor | None = None, *, draining: bool = True) -> None:
    """Let a worker claim nothing more, or claim again; what it holds it finishes either way.

    Args:
        db: the database.
        name: the worker's.
        who: a maintainer; None for the operator, who has the database anyway.
        draining: whether it is to claim nothing more.
    Raises:
        SignInNeeded: they must say who they are.
        Forbidden: they are no maintainer.
        NotFound: no such worker is known.
    """
    actor = require_maintainer_or_operator(who)
    with db.transaction() as session:
        found = session.execute(
            update(WorkerRow).where(WorkerRow.name == name).values(draining=draining).returning(WorkerRow.name)
        )
        if found.first() is None:
            known = session.scalars(select(WorkerRow.name).order_by(WorkerRow.name)).all()
            raise NotFound.because(
                "worker",
                found=repr(name[:80]),
                expected=f"one of {', '.join(known)}" if known else "a worker, of which none has announced itself",
                remedy="look the name up with gauntlet queue workers",
            )
        note(session, actor, "drain" if draining else "resume", f"worker {name}")
        if not draining:  # a bell that it heard meanwhile came to nothing
            for shard_id in session.scalars(select(ShardRow.id).where(ShardRow.state == "queued").limit(1)):
                ring_after_commit(session, shard_id)


def list_workers(db: Database) -> tuple[WorkerView, ...]:
    """Return all known workers by name."""
    with db.snapshot() as session:
        return view_workers(session)


def view_workers(session: Session) -> tuple[WorkerView, ...]:
    """Return all known workers by name, as one moment of the database has them."""
    now = database_now_ms(session)
    held = select(ShardRow.worker, func.count()).where(ShardRow.state == "running").group_by(ShardRow.worker)
    running = dict(session.execute(held).all())
    return tuple(
        WorkerView(
            name=row.name,
            host=row.host,
            devices=tuple(json.loads(row.devices)),
            datasets=tuple(json.loads(row.datasets)),
            sandbox=SandboxLevel(row.sandbox) if row.sandbox else None,
            draining=row.draining,
            running=running.get(row.name, 0),
            started_ms=row.started_ms,
            seen_ms=row.seen_ms,
            silent_ms=max(now - row.seen_ms, 0),
        )
        for row in session.scalars(select(WorkerRow).order_by(WorkerRow.name))
    )
