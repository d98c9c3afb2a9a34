"""``gauntlet queue``: what waits, who works, and how a maintainer steps in, straight from the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from gauntlet.cli.console import EPILOG, AsJson, print_json, print_table, table_of
from gauntlet.cli.own_database import own_database

if TYPE_CHECKING:
    from store.services import Services
    from store.views import SubmissionView

app = typer.Typer(help="What waits for the workers, and who works.", epilog=EPILOG, invoke_without_command=True)

SubmissionId = Annotated[str, typer.Argument(help="Id of the submission.")]
Reason = Annotated[str, typer.Option(help="Why; its owner reads it.")]
WorkerName = Annotated[str, typer.Argument(help="Name that `gauntlet queue workers` shows.")]


@app.callback()
def front(context: typer.Context) -> None:
    """Show the help where no command is named."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("show", epilog=EPILOG)
def show(as_json: AsJson = False) -> None:
    """Show the work that is queued or running, in the order in which it is claimed."""
    from store.queue import view_queue

    with own_database() as db:
        pieces = view_queue(db)
    if as_json:
        print_json([piece.model_dump(mode="json") for piece in pieces])
        return
    about = ("piece", "submission", "board", "name", "kind", "points")
    columns = (*about, "state", "priority", "attempt", "waits for s", "worker")
    rows = [
        (
            piece.shard_id,
            piece.submission_id,
            f"{piece.dataset}/{piece.threat_model}",
            piece.name,
            piece.kind if piece.purpose == "ranking" else piece.purpose.value.replace("_", "-"),
            piece.analysis or f"{piece.first}–{piece.last - 1}",
            piece.state,
            piece.priority,
            piece.attempt,
            piece.waiting_ms // 1000 if piece.state == "queued" else None,
            piece.worker,
        )
        for piece in pieces
    ]
    print_table(table_of(columns, rows))


@app.command("workers", epilog=EPILOG)
def workers(as_json: AsJson = False) -> None:
    """Show the workers that have announced themselves."""
    from store.workers import list_workers

    with own_database() as db:
        known = list_workers(db)
    if as_json:
        print_json([worker.model_dump(mode="json") for worker in known])
        return
    columns = ("worker", "host", "devices", "data sets", "sandbox", "running", "draining", "silent for s")
    rows = [
        (
            worker.name,
            worker.host,
            ", ".join(worker.devices),
            ", ".join(worker.datasets),
            worker.sandbox,
            worker.running,
            "yes" if worker.draining else "no",
            worker.silent_ms // 1000,
        )
        for worker in known
    ]
    print_table(table_of(columns, rows))


@app.command("drain", epilog=EPILOG)
def drain(name: WorkerName, as_json: AsJson = False) -> None:
    """Let a worker finish what it has and claim nothing more, such as before its machine is serviced."""
    _set_draining(name, draining=True, as_json=as_json)


@app.command("resume", epilog=EPILOG)
def resume(name: WorkerName, as_json: AsJson = False) -> None:
    """Let a worker that was drained claim work again."""
    _set_draining(name, draining=False, as_json=as_json)


@app.command("priority", epilog=EPILOG, context_settings={"ignore_unknown_options": True})  # -7 is no option
def priority(
    submission_id: SubmissionId,
    value: Annotated[int, typer.Argument(min=-1000, max=1000, help="The greater is claimed first; 0 is normal.")],
    as_json: AsJson = False,
) -> None:
    """Give a submission's work another place in the queue."""
    from store.queue import set_priority

    with own_database() as db:
        set_priority(db, submission_id, value)
    if as_json:
        print_json({"submission": submission_id, "priority": value})
    else:
        print(f"submission {submission_id} has priority {value}")


@app.command("requeue", epilog=EPILOG)
def requeue(
    piece: Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="Number that `gauntlet queue show` shows.")],
    as_json: AsJson = False,
) -> None:
    """Take a piece of work away from the worker that holds it, so that another claims it; or let a failed one go on.

    The worker can write nothing more and drops it within seconds. Drain it first, or it may be the next to claim.
    """
    from store.intervention import requeue as queue_again

    with own_database() as db:
        pieces = queue_again(db, piece)
    if as_json:
        print_json({"pieces": pieces})
    else:
        print(f"anybody may claim {', '.join(f'piece {number}' for number in pieces)}")


@app.command("fail", epilog=EPILOG)
def fail(submission_id: SubmissionId, reason: Reason, as_json: AsJson = False) -> None:
    """Give a submission up through no fault of its model's; its owner reads the reason, and may send it again."""
    from store.intervention import fail_by_service

    with own_database() as db:
        _tell(fail_by_service(db, submission_id, reason), as_json=as_json)


@app.command("cancel", epilog=EPILOG)
def cancel(submission_id: SubmissionId, reason: Reason, as_json: AsJson = False) -> None:
    """Cancel a submission of anybody's that has no result yet; its owner reads the reason."""
    from store.submissions import cancel as cancel_submission

    with own_database() as db:
        _tell(cancel_submission(db, submission_id, reason=reason), as_json=as_json)


@app.command("send-again", epilog=EPILOG)
def send_again(submission_id: SubmissionId, as_json: AsJson = False) -> None:
    """Take a submission that failed through the service in anew, for whoever had sent it."""
    from store.intervention import send_again as take_in_again

    with _own_services() as services:
        view = take_in_again(services.db, services.blobs, services.admission, submission_id)
    _tell(view, as_json=as_json)


@app.command("analyse", epilog=EPILOG)
def analyse(submission_id: SubmissionId, as_json: AsJson = False) -> None:
    """Have the entry of a submission analysed beside its robustness, after everything else."""
    from store.analyses import analyse as have_analysed

    with _own_services() as services:
        view = have_analysed(services.db, services.blobs, submission_id)
    _tell(view, as_json=as_json)


@contextmanager
def _own_services() -> Iterator[Services]:
    """Open this machine's database and files, as the settings name them, without changing the tables."""
    from gauntlet.app import make_services
    from gauntlet.settings import read_settings

    services = make_services(read_settings(), upgrading=False)
    try:
        yield services
    finally:
        services.blobs.close()
        services.db.close()


def _tell(view: SubmissionView, *, as_json: bool) -> None:
    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        print(f"submission {view.id} is {view.state.value}{f': {view.reason}' if view.reason else ''}")


def _set_draining(name: str, *, draining: bool, as_json: bool) -> None:
    from store import workers as known

    with own_database() as db:
        known.drain(db, name, draining=draining)
    if as_json:
        print_json({"worker": name, "draining": draining})
    else:
        print(f"worker {name} {'claims nothing more' if draining else 'claims work again'}")
