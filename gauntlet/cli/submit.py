"""``gauntlet submit``, ``watch`` and ``cancel``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from gauntlet.cli.console import DEFAULT_SERVER, EXPORTED, AsJson, ExitCode, Server, print_json, progress_bar
from gauntlet.cli.progress import standing_text

if TYPE_CHECKING:
    from gauntlet.client import Client
    from store.views import NewSubmission, SubmissionView

SubmissionId = Annotated[str, typer.Argument(help="Id that `gauntlet submit` printed.")]


def submit(
    file: Annotated[Path, typer.Argument(help="What is submitted: safetensors, .pt2 or a state dict.")],
    name: Annotated[str, typer.Option(help="Name of the method: the entry's id on its board.")],
    dataset: Annotated[str, typer.Option(help='Data set, such as "digits".')],
    threat_model: Annotated[str, typer.Option(help='Such as "Linf".')],
    architecture: Annotated[
        str, typer.Option(help="Registered architecture (`gauntlet zoo list`), where FILE holds parameters alone.")
    ] = EXPORTED,
    title: Annotated[str, typer.Option(help="Title of the paper.")] = "",
    authors: Annotated[str, typer.Option(help="Its authors.")] = "",
    paper_url: Annotated[str, typer.Option(help="Its address; https only.")] = "",
    venue: Annotated[str, typer.Option(help="Where it was published.")] = "",
    extra_data: Annotated[str, typer.Option(help="none, real, synthetic, some or unknown.")] = "unknown",
    licence: Annotated[str, typer.Option(help="Licence of the checkpoint.")] = "",
    notes: Annotated[str, typer.Option(help="Anything else.")] = "",
    public_checkpoint: Annotated[bool, typer.Option(help="The file may be given to others.")] = False,
    zoo_consent: Annotated[bool, typer.Option(help="The model may be listed in the zoo.")] = False,
    analyse: Annotated[bool, typer.Option(help="Analyse the model too once it is published.")] = False,
    anonymous: Annotated[bool, typer.Option(help="Hide title, authors, paper, venue, licence and notes.")] = False,
    embargo_until: Annotated[
        str, typer.Option(help="Day on which they are revealed by themselves, such as 2027-03-01.")
    ] = "",
    follow: Annotated[bool, typer.Option("--watch", help="Wait for the result.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Upload a checkpoint and submit it to a leaderboard."""
    from gauntlet.client import Client, sha256_of

    if not file.is_file():
        raise InvalidInput.because(
            "file", found=f"no file at {str(file)!r}", expected="a safetensors file", remedy="check the path"
        )
    submission = _submission(
        {
            "name": name,
            "dataset": dataset,
            "threat_model": threat_model,
            "architecture": architecture,
            "checkpoint_sha256": sha256_of(file),
            "title": title,
            "authors": authors,
            "paper_url": paper_url,
            "venue": venue,
            "extra_data": extra_data,
            "licence": licence,
            "notes": notes,
            "private_checkpoint": not public_checkpoint,
            "zoo_consent": zoo_consent,
            "analyse": analyse,
            "anonymous": anonymous,
            "embargo_until": embargo_until or None,
        }
    )
    with Client(server) as client:
        with progress_bar(silent=as_json, as_bytes=True) as bar:
            task = bar.add_task("Uploading", total=file.stat().st_size)
            notice = None if as_json else partial(bar.console.out, highlight=False)
            client.upload(file, lambda done, total: bar.update(task, completed=done, total=total), notice)
        view = client.submit(submission)
        if not as_json:
            print(f"Submitted as {view.id}: {client.base_url}/submissions/{view.id}")
        if follow:
            view = _follow(client, view.id, silent=as_json)
    _conclude(view, as_json=as_json, followed=follow)


def watch(submission_id: SubmissionId, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Wait for a submission's result, showing how far it is."""
    from gauntlet.client import Client

    with Client(server) as client:
        view = _follow(client, submission_id, silent=as_json)
    _conclude(view, as_json=as_json, followed=True)


def cancel(
    submission_id: SubmissionId,
    server: Server = DEFAULT_SERVER,
    reason: Annotated[str, typer.Option(help="Why; its owner reads it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Cancel a submission that has no result yet."""
    from gauntlet.client import Client

    with Client(server) as client:
        view = client.cancel(submission_id, reason)
    _conclude(view, as_json=as_json, followed=False)


def _submission(fields: dict[str, str | bool | None]) -> NewSubmission:
    from pydantic import ValidationError

    from api.validation import invalid_input
    from store.views import NewSubmission

    try:
        return NewSubmission.model_validate(fields)
    except ValidationError as error:
        raise invalid_input(error.errors(include_url=False), remedy="correct the option") from None


def _follow(client: Client, submission_id: str, *, silent: bool) -> SubmissionView:
    with progress_bar(silent=silent) as bar:
        task = bar.add_task("received", total=None)
        for view in client.watch(submission_id):
            progress = view.progress
            parts = [view.state.value]
            if view.queue_position:
                parts.append(f"{view.queue_position} in the queue")
            if progress.attack:
                parts.append(standing_text(progress))
            done = progress.attacks_done + progress.fraction
            bar.update(task, description=" · ".join(parts), completed=done, total=progress.attacks or None)
        return view


def _conclude(view: SubmissionView, *, as_json: bool, followed: bool) -> None:
    from store.views import State

    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        print(f"State: {view.state.value}{f' ({view.reason})' if view.reason else ''}")
        for check in view.checks:
            if check.outcome.value != "passed":
                print(f"  {check.code}: {check.outcome.value}: {check.message} {check.remedy}".rstrip())
    if followed and view.state not in (State.EVALUATED, State.PUBLISHED):
        raise typer.Exit(ExitCode.FAILED)
