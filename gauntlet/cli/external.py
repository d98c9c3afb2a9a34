"""``gauntlet external``: adversarial examples for an entry of a service."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InvalidInput
from gauntlet.cli.console import DEFAULT_SERVER, AsJson, ExitCode, Server, percent, print_json, progress_bar

if TYPE_CHECKING:
    from gauntlet.client import Client
    from store.views import ExternalView


def external(
    file: Annotated[Path, typer.Argument(help="The examples: .npy or safetensors, one image for each point.")],
    dataset: Annotated[str, typer.Option(help='Data set, such as "digits".')],
    threat_model: Annotated[str, typer.Option(help='Such as "Linf".')],
    model: Annotated[str, typer.Option(help="Name of the entry on that board.")],
    points: Annotated[
        str, typer.Option(help='Positions in the test set, such as "1,5,10-19"; all of the board\'s by default.')
    ] = "",
    points_file: Annotated[Path | None, typer.Option(help="A text file with the positions.")] = None,
    attack: Annotated[str, typer.Option(help="How they were found; this or --title is required.")] = "",
    title: Annotated[str, typer.Option(help="Title of the paper.")] = "",
    authors: Annotated[str, typer.Option(help="Who is to be named beside the number.")] = "",
    paper_url: Annotated[str, typer.Option(help="Address of the paper; https only.")] = "",
    claimed: Annotated[
        float | None, typer.Option(min=0, max=1, help="Robust accuracy that these examples alone leave, from 0 to 1.")
    ] = None,
    follow: Annotated[bool, typer.Option("--watch", help="Wait until they are judged.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Send adversarial examples for an entry to the service, which judges each of them."""
    from gauntlet.client import Client, sha256_of
    from store.views import NewExternal

    named = _positions(points, points_file)
    if not file.is_file():
        raise InvalidInput.because(
            "file", found=f"no file at {str(file)!r}", expected="a file of examples", remedy="check the path"
        )
    new = NewExternal(
        examples_sha256=sha256_of(file),
        points=named,
        title=title,
        authors=authors,
        paper_url=paper_url,
        attack=attack,
        claimed_robust_accuracy=claimed,
    )
    with Client(server) as client:
        with progress_bar(silent=as_json, as_bytes=True) as bar:
            task = bar.add_task("Uploading", total=file.stat().st_size)
            notice = None if as_json else partial(bar.console.out, highlight=False)
            client.upload(file, lambda done, total: bar.update(task, completed=done, total=total), notice)
        view = client.submit_external(dataset, threat_model, model, new)
        if not as_json:
            print(f"Sent as {view.id}: {client.base_url}/external-evaluations/{view.id}")
        if follow:
            view = _follow(client, view.id, silent=as_json)
    _conclude(view, as_json=as_json, followed=follow)


def _positions(points: str, points_file: Path | None) -> tuple[int, ...] | None:
    """Return the points that are named; None where none are."""
    from store.positions import read_positions

    if points and points_file is not None:
        raise InvalidInput.because(
            "points", found="both --points and --points-file", expected="one of them", remedy="leave one out"
        )
    if points_file is None:
        return read_positions(points) if points.strip() else None
    try:
        return read_positions(points_file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InvalidInput.because(
            "points_file", found="bytes that are no UTF-8", expected="a text file with positions",
            remedy='write them as in "0, 3, 10-19"',
        ) from None  # fmt: skip


def _follow(client: Client, external_id: str, *, silent: bool) -> ExternalView:
    with progress_bar(silent=silent) as bar:
        task = bar.add_task("queued", total=None)
        for view in client.watch_external(external_id):
            bar.update(task, description=view.state.value)
        return view


def _conclude(view: ExternalView, *, as_json: bool, followed: bool) -> None:
    from store.views import ExternalState

    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        print(f"State: {view.state.value}")
        for verdict, count in view.counts.items():
            print(f"  {verdict.value.replace('_', ' ')}: {count}")
        if view.robust_accuracy is not None:
            print(f"  alone they leave: {percent(view.robust_accuracy)}, newly broken: {view.newly_broken}")
        if view.reason:
            print(view.reason)
    if followed and view.state is not ExternalState.VERIFIED:
        raise typer.Exit(ExitCode.FAILED)
