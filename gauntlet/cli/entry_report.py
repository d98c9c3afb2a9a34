"""``gauntlet report`` and ``gauntlet log``: the evidence of an entry, and what happened to a submission."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gauntlet.cli.console import DEFAULT_SERVER, AsJson, Server, board_place, percent, print_json, print_table, table_of


def report(
    board: Annotated[str, typer.Argument(metavar="DATASET/THREAT_MODEL", help='Such as "digits/Linf".')],
    model: Annotated[str, typer.Argument(help="The entry's name on that board.")],
    output: Annotated[
        Path | None, typer.Option(help="Where to write the whole report, byte for byte as it was stored.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show the report of an entry that a service has evaluated."""
    from gauntlet.client import Client

    dataset, threat_model = board_place(board)
    with Client(server) as client:
        found = client.report(dataset, threat_model, model)
    content = found.to_bytes()
    if output is not None:
        output.write_bytes(content)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    rows: list[tuple[object, ...]] = [("clean", found.n_points, "–", percent(found.standard_accuracy))]
    rows += [
        (attack.name, attack.attacked, attack.broken, percent(attack.robust_accuracy_after)) for attack in found.attacks
    ]
    print_table(table_of(("Attack", "Attacked", "Broken", "Accuracy after it"), rows, title=f"{board}: {model}"))
    for check in found.findings:
        print(f"{check.code}: {check.outcome.value}: {check.message} {check.remedy}".rstrip())
    print(f"{found.protocol}, seed {found.provenance.seed}: robust accuracy {percent(found.robust_accuracy)}")
    if output is not None:
        print(f"{output}: {len(content)} bytes")


def log(
    submission_id: Annotated[str, typer.Argument(help="Id that `gauntlet submit` printed.")],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show what happened to a submission of yours, and how its work stands."""
    from gauntlet.client import Client

    with Client(server) as client:
        lines = client.log(submission_id)
    if as_json:
        print_json([line.model_dump(mode="json") for line in lines])
        return
    for line in lines:
        print(line.as_text())
