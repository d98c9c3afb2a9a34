from __future__ import annotations

from benchmark import EvaluationProgress
from gauntlet.cli.progress import standing_text
from store.views import Progress


def test_an_evaluation_tells_points_bound_interval_and_passes() -> None:
    progress = EvaluationProgress(
        attack="apgd-t",
        attacks_done=1,
        attacks=4,
        fraction=0.25,
        points=500,
        points_done=212,
        robust_accuracy_at_most=288 / 500,
        forward_passes=100_331,
        backward_passes=20_000,
    )
    assert standing_text(progress) == (
        "apgd-t · 212 of 500 points decided · robust accuracy at most 57.6 % (53.2-61.9) · 120,331 passes"
    )


def test_a_submission_tells_what_is_known() -> None:
    progress = Progress(points=500, points_done=0, attack="fab", attacks=2, forward_passes=7)
    assert standing_text(progress) == "fab · 0 of 500 points decided · 7 passes"
