"""Evidence of gradient masking: small tests that reveal gradients which mislead the attacks, one per file.

They are published beside the robust accuracy and reject nobody. Each looks at the first points that the model
classifies correctly, 64 at most, and the judge decides what is broken there.

The thresholds were set on samples of 64 points: of the bundled digits models at their boards' budgets, of convolutional
and residual networks, perceptrons, linear classifiers and a vision transformer trained on the digits as they are and
against PGD, in Linf, L2 and L1; and of the same behind masks. Each test says what it measured there.

Cost of a point that nothing breaks, in forward passes with a backward pass counted as two: about 1,600 for iterative
attacks at four budgets, 500 for Square, 320 for rescaled logits in two precisions, 100 for noise, 30 for alignment and
40 for all else: some 2,600, a quarter of what the standard ensemble takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.classifier import check_points, frozen
from benchmark.diagnostics.alignment import gradient_alignment
from benchmark.diagnostics.black_box import black_box_beats_white_box
from benchmark.diagnostics.budget import larger_budget_does_not_help
from benchmark.diagnostics.noise import noise_helps
from benchmark.diagnostics.one_step import one_step_beats_iterative
from benchmark.diagnostics.overfitting import catastrophic_overfitting
from benchmark.diagnostics.reading import Diagnostic, not_assessed
from benchmark.diagnostics.rescaled import rescaled_logits_help
from benchmark.diagnostics.sample import Sample
from benchmark.diagnostics.unbounded import unbounded_attack_fails
from benchmark.report import Evidence
from benchmark.threat_models import ThreatModel

LEAST_POINTS = 8
"""Correctly classified points below which nothing is assessed."""

DIAGNOSTICS: Mapping[str, Diagnostic] = {
    "one_step_beats_iterative": one_step_beats_iterative,
    "black_box_beats_white_box": black_box_beats_white_box,
    "unbounded_attack_fails": unbounded_attack_fails,
    "larger_budget_does_not_help": larger_budget_does_not_help,
    "noise_helps": noise_helps,
    "gradient_alignment": gradient_alignment,
    "catastrophic_overfitting": catastrophic_overfitting,
    "rescaled_logits_help": rescaled_logits_help,
}
"""The tests by code, in the order of the evidence."""


@dataclass(frozen=True)
class DiagnosticsProgress:
    """How far the tests are.

    Args:
        test: code of the test that runs, or of the last once all are done.
        tests_done: tests before it.
        tests: tests in all.
    """

    test: str
    tests_done: int
    tests: int


def run_diagnostics(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    index: Sequence[int],
    threat_model: ThreatModel,
    *,
    seed: int,
    width: int,
    device: torch.device,
    progress: Callable[[DiagnosticsProgress], None] | None = None,
) -> tuple[Evidence, ...]:
    """Run every test and return the evidence, in the order of `DIAGNOSTICS`.

    A test that fails is not assessed, and says why. At equal arguments the evidence is the same.

    Args:
        model: from images in [0, 1] to logits, on the device; left as it was found.
        x: clean points, (n, c, h, w), float32 in [0, 1]; the first that are classified correctly are used.
        y: labels, (n,), int64.
        index: their positions in the data set, increasing.
        threat_model: what the attacker may do.
        seed: of all random draws; every draw belongs to a point.
        width: rows of a full batch.
        device: where the model is.
        progress: called before each test and after the last; what it raises ends the run.
    Raises:
        InvalidInput: the points cannot be used.
    """
    check_points(x, y)
    # A model that draws at random must not move the caller's generators.
    with frozen(model), torch.random.fork_rng():
        try:
            sample = Sample.of(model, x, y, index, threat_model, seed=seed, width=width, device=device)
        except Exception as error:  # noqa: BLE001 - whatever a model raises is the reason, never the caller's trouble
            return _none_assessed(_reason(error))
        if len(sample) < LEAST_POINTS:
            return _none_assessed(f"too few points, {len(sample)} classified correctly where {LEAST_POINTS} are needed")
        evidence: list[Evidence] = []
        for code, test in DIAGNOSTICS.items():
            if progress is not None:
                progress(DiagnosticsProgress(code, len(evidence), len(DIAGNOSTICS)))
            evidence.append(_run(code, test, sample))
        if progress is not None:
            progress(DiagnosticsProgress(evidence[-1].code, len(evidence), len(DIAGNOSTICS)))
        return tuple(evidence)


def _run(code: str, test: Diagnostic, sample: Sample) -> Evidence:
    try:
        return test(sample)
    except Exception as error:  # noqa: BLE001 - a test that fails has found nothing, neither for nor against the model
        return not_assessed(code, _reason(error))


def _reason(error: Exception) -> str:
    return f"the test failed with {type(error).__name__}: {str(error)[:300].rstrip('.')}"


def _none_assessed(why: str) -> tuple[Evidence, ...]:
    return tuple(not_assessed(code, why) for code in DIAGNOSTICS)
