"""The measurements of the speed benchmark as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.cases import BARE, CASES, OURS
from bench.contenders import Measurement
from bench.passes import PassTimes
from bench.verdicts import WIDTH

_HEADER = (
    "| | runs | wall s | CPU s | wall ÷ ours | CPU ÷ ours | robust % | other verdicts than ours | forward / point "
    "| backward / point | peak MiB |"
)


def markdown(results: Sequence[Measurement], threads: int) -> str:
    """Return a table for each case, with medians over the runs."""
    lines: list[str] = []
    for name in dict.fromkeys(result.case for result in results):
        lines += _case([result for result in results if result.case == name], threads)
    return "\n".join(lines)


def _case(results: Sequence[Measurement], threads: int) -> list[str]:
    case = CASES[results[0].case]
    sides = {side: [r for r in results if r.contender == side] for side in dict.fromkeys(r.contender for r in results)}
    bare = sides.pop(BARE, [])
    ours = sides[OURS]
    points = len(ours[0].robust)
    title = (
        f"### {case.name}: {case.network}, {case.threat_model}, {case.protocol}, {points} points, {threads} thread(s)"
    )
    rows = [_row(side, runs, ours) for side, runs in sides.items()]
    memory = [_memory(ours, bare[0])] if bare else []
    return [title, "", _HEADER, "|---" * 11 + "|", *rows, "", _efficiency(ours), *memory, ""]


def _row(side: str, runs: Sequence[Measurement], ours: Sequence[Measurement]) -> str:
    points = len(runs[0].robust)
    wall, cpu = median(run.wall for run in runs), median(run.cpu for run in runs)
    # The first run of every side has the same seed.
    other = sum(mine != theirs for mine, theirs in zip(ours[0].robust, runs[0].robust, strict=True))
    cells = (
        side,
        str(len(runs)),
        f"{wall:.2f}",
        f"{cpu:.2f}",
        f"{wall / median(run.wall for run in ours):.2f}",
        f"{cpu / median(run.cpu for run in ours):.2f}",
        f"{100 * median(sum(run.robust) for run in runs) / points:.1f}",
        str(other),
        f"{median(run.forward for run in runs) / points:.0f}",
        f"{median(run.backward for run in runs) / points:.0f}",
        f"{max(run.peak for run in runs) / 2**20:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _efficiency(ours: Sequence[Measurement]) -> str:
    measured = [(run, run.bare) for run in ours if run.bare]
    alone = [(run, times.of(run.forward, run.backward)) for run, times in measured]
    wall = 100 * median(seconds / run.wall for run, seconds in alone)
    cpu = 100 * median(seconds / run.cpu for run, seconds in alone)
    times: PassTimes = measured[0][1]
    return (
        f"Efficiency: the passes alone, at full width, would take {wall:.0f} % of our wall time ({cpu:.0f} % of our "
        f"CPU time). A bare row takes {1000 * times.forward:.3f} ms forward, {1000 * times.gradient:.3f} ms forward "
        f"and backward at width {WIDTH}, {times.precision}, {times.layout}."
    )


def _memory(ours: Sequence[Measurement], bare: Measurement) -> str:
    grown, peak = (max(getattr(run, name) for run in ours) for name in ("grown", "peak"))
    return (
        f"\nMemory: the process of our evaluation peaks at {peak / 2**20:.0f} MiB, one that only makes forward and "
        f"backward passes of width {WIDTH} at {bare.peak / 2**20:.0f} MiB: {peak / bare.peak:.2f} times as much. Above "
        f"what is resident with model and points loaded, these are {grown / 2**20:.1f} and {bare.grown / 2**20:.1f} "
        f"MiB: {grown / bare.grown:.2f} times as much."
    )
