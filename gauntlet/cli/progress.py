"""How far an evaluation is, in a line of text and a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from gauntlet.cli.console import percent, progress_bar

if TYPE_CHECKING:
    from benchmark import EvaluationProgress
    from benchmark.corrupted import CorruptionProgress
    from benchmark.report import Interval


class Standing(Protocol):
    """What an evaluation here and a submission to a service both tell."""

    @property
    def attack(self) -> str | None: ...
    @property
    def points(self) -> int: ...
    @property
    def points_done(self) -> int: ...
    @property
    def robust_accuracy_at_most(self) -> float | None: ...
    @property
    def robust_interval_at_most(self) -> Interval | None: ...
    @property
    def forward_passes(self) -> int: ...
    @property
    def backward_passes(self) -> int: ...


def standing_text(standing: Standing) -> str:
    """Say which attack runs, how many points are decided, how low the robust accuracy is already, and at what cost."""
    parts = [standing.attack] if standing.attack else []
    parts.append(f"{standing.points_done:,} of {standing.points:,} points decided")
    bound, interval = standing.robust_accuracy_at_most, standing.robust_interval_at_most
    if bound is not None and interval is not None:
        within = f"{100 * interval.low:.1f}-{100 * interval.high:.1f}"
        parts.append(f"robust accuracy at most {percent(bound, digits=1)} ({within})")
    parts.append(f"{standing.forward_passes + standing.backward_passes:,} passes")
    return " · ".join(parts)


@contextmanager
def evaluation_bar(*, silent: bool) -> Iterator[Callable[[EvaluationProgress | CorruptionProgress], None]]:
    """Show a bar over the attacks of an evaluation, with its standing."""
    with progress_bar(silent=silent) as bar:
        task = bar.add_task("Checking the model", total=None)

        def show(progress: EvaluationProgress | CorruptionProgress) -> None:
            done = progress.attacks_done + progress.fraction
            bar.update(task, description=standing_text(progress), completed=done, total=progress.attacks)

        yield show
