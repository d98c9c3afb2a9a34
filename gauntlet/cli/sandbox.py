"""``gauntlet sandbox``: what this machine can put around an evaluation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from benchmark.report import SandboxLevel
from gauntlet.cli.console import AsJson, ExitCode, print_json, print_table, table_of


def sandbox(
    minimum: Annotated[SandboxLevel, typer.Option(help="Fail where this level does not hold.")] = SandboxLevel.LIMITS,
    as_json: AsJson = False,
) -> None:
    """Try every level of the sandbox: a probe inside tries to reach what a model must not.

    The service takes the strongest that holds, and refuses to evaluate below the setting sandbox_minimum.
    """
    from worker.sandbox import try_all

    probes = try_all()
    if as_json:
        print_json([asdict(probe) for probe in probes])
    else:
        rows = [(probe.level.value, "holds" if probe.holds else "does not hold", probe.reason) for probe in probes]
        print_table(table_of(("level", "outcome", "why"), rows))
    if not any(probe.holds and probe.level.rank >= minimum.rank for probe in probes):
        raise typer.Exit(ExitCode.FAILED)
