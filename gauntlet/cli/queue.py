"""``gauntlet queue``: what waits, who works, and how a maintainer steps in, straight from the database."""

from __future__ import annotations

from typing import Annotated

import typer

from gauntlet.cli.console import EPILOG, AsJson, print_json, print_table, table_of
from gauntlet.cli.own_database import own_database

app = typer.Typer(help="What waits for the workers, and who works.", epilog=EPILOG, invoke_without_command=True)

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
    columns = ("submission", "board", "name", "kind", "points", "state", "priority", "attempt", "waits for s", "worker")
    rows = [
        (
            piece.submission_id,
            f"{piece.dataset}/{piece.threat_model}",
            piece.name,
            piece.kind if piece.purpose == "ranking" else piece.purpose.value.replace("_", "-"),
            f"{piece.first}–{piece.last - 1}",
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
    submission_id: Annotated[str, typer.Argument(help="Id of the submission.")],
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


def _set_draining(name: str, *, draining: bool, as_json: bool) -> None:
    from store import workers as known

    with own_database() as db:
        known.drain(db, name, draining=draining)
    if as_json:
        print_json({"worker": name, "draining": draining})
    else:
        print(f"worker {name} {'claims nothing more' if draining else 'claims work again'}")
