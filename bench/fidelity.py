"""Compare verdicts with a public implementation of AutoAttack, attack by attack and for the whole ensemble.

    python bench/fidelity.py --points 500 --seeds 0 1 2 --json fidelity.json

The peer is the package pyautoattack, the reference's code, in its versions "standard" and "plus". Every case is a
bundled model under one norm; the peer's examples are judged by our own judge, so that both sides answer to the same
rule. The peer's Square never places a window in the last row or column and shares one window among all points; on 8×8
images the first costs it several points. So Square, and the ensembles with it, are also compared with the peer's whose
windows may lie everywhere.

The table shows means over the seeds: a single seed moves an attack on a network with masked gradients by points.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from benchmark import ThreatModel, datasets
from benchmark.classifier import Classifier
from benchmark.ensemble import Run
from benchmark.judging import judge, misclassified
from benchmark.norms import norm_named
from benchmark.pipeline import evaluate_points
from benchmark.protocols import PLUS, STANDARD, Protocol
from benchmark.threat_models import official_board
from model_zoo import load_model

MODELS = ("Digits_Standard", "Digits_FGSM", "Digits_FGSM_RS", "Digits_PGD2", "Digits_PGD10")
ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
PLUS_ATTACKS = ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t")
CASES: dict[str, tuple[Protocol, tuple[str, ...]]] = {
    "ensemble": (STANDARD, ATTACKS),
    **{name: (STANDARD, (name,)) for name in ATTACKS},
    "plus": (PLUS, PLUS_ATTACKS),
    "apgd-ce, plus": (PLUS, ("apgd-ce",)),
    "apgd-dlr, plus": (PLUS, ("apgd-dlr",)),
    "fab, plus": (PLUS, ("fab",)),
}
"""What can be compared: the protocol, and which of its attacks run."""
L1_BUDGET = ThreatModel("L1", 1, "digits")
"""The digits have no L1 board; this budget leaves the best bundled model about half of its points."""


@dataclass(frozen=True)
class Comparison:
    """Robust accuracies of one model under one norm and one attack or ensemble, in [0, 1]."""

    model: str
    norm: str
    attack: str
    seed: int
    ours: float
    reference: float

    @property
    def excess(self) -> float:
        """How much more robust the model looks to us, in percentage points."""
        return 100 * (self.ours - self.reference)


def robust_accuracy(model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel, case: str, seed: int) -> float:
    """Return ours."""
    protocol, attacks = CASES[case]
    chosen = Protocol("chosen", 1, lambda setting: tuple(a for a in protocol.attacks(setting) if a.name in attacks))
    run = Run(threat_model, chosen, seed, 64, torch.device("cpu"))
    return evaluate_points(model, x, y, range(len(x)), run).report.robust_accuracy


def reference_robust_accuracy(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat_model: ThreatModel,
    case: str,
    seed: int,
    *,
    all_windows: bool = False,
) -> float:
    """Return the peer's, by our judge."""
    norm, radius = threat_model.norm, threat_model.radius
    protocol, attacks = CASES[case]
    # Not its version "custom", which leaves five restarts to every attack.
    peer = AutoAttack(model, norm=norm, eps=radius, version=protocol.name, device="cpu", seed=seed)
    peer.attacks_to_run = list(attacks)
    if all_windows:
        peer.square.random_int = _inclusive
    # The peer draws from the global generator and sets its seed itself.
    x_adv = peer.run_standard_evaluation(x.contiguous(), y.contiguous(), batch_size=len(x))[0]
    shape = (x.shape[1], x.shape[2], x.shape[3])
    classifier = Classifier(model, shape, 64)
    verdict = judge(classifier, x.flatten(1), y, x_adv.flatten(1), norm_named(norm), radius)
    wrong = misclassified(classifier.logits_of_all(x.flatten(1)), y)
    return 1 - (verdict.broken | wrong).float().mean().item()


def _inclusive(low: int = 0, high: int = 1, shape: Sequence[int] = (1,)) -> Tensor:
    return (low + (high + 1 - low) * torch.rand(list(shape))).long()


def compare(name: str, norm: str, points: int, seed: int, chosen: Sequence[str]) -> list[Comparison]:
    """Compare one model under one norm by each of the chosen cases."""
    model = load_model(name, dataset="digits", threat_model="L2" if name.endswith("_L2") else "Linf")
    model.requires_grad_(False)
    data = datasets.load("digits", "test", points)
    budget = L1_BUDGET if norm == "L1" else official_board("digits", norm).budget
    results = []
    for case in chosen:
        ours = robust_accuracy(model, data.x, data.y, budget, case, seed)
        reference = reference_robust_accuracy(model, data.x, data.y, budget, case, seed)
        results.append(Comparison(name, norm, case, seed, ours, reference))
        if "square" in CASES[case][1]:
            reference = reference_robust_accuracy(model, data.x, data.y, budget, case, seed, all_windows=True)
            results.append(Comparison(name, norm, f"{case}, all windows", seed, ours, reference))
    return results


def table(results: Sequence[Comparison]) -> str:
    """Return the comparisons as Markdown: a row for each case, then the spread of the cases for each attack."""
    cases: dict[tuple[str, str, str], list[Comparison]] = {}
    for result in results:
        cases.setdefault((result.attack, result.norm, result.model), []).append(result)
    excess: dict[str, list[float]] = {}
    lines = ["| attack | norm | model | seeds | ours % | reference % | difference |", "|---|---|---|---|---|---|---|"]
    for (attack, norm, model), seeds in cases.items():
        ours = 100 * mean(result.ours for result in seeds)
        reference = 100 * mean(result.reference for result in seeds)
        excess.setdefault(attack, []).append(ours - reference)
        lines.append(
            f"| {attack} | {norm} | {model} | {len(seeds)} | {ours:.1f} | {reference:.1f} | {ours - reference:+.1f} |"
        )
    lines += ["", "| attack | cases | mean difference | lowest | highest |", "|---|---|---|---|---|"]
    for attack, values in excess.items():
        lines.append(f"| {attack} | {len(values)} | {mean(values):+.2f} | {min(values):+.1f} | {max(values):+.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--norms", nargs="+", default=["Linf", "L2"])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--attacks", nargs="+", default=["ensemble", *ATTACKS], choices=CASES)
    parser.add_argument("--json", type=Path, help="also write the comparisons to this file")
    parser.add_argument("--add", type=Path, nargs="+", default=[], help="files of comparisons to add to the table")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    results = [Comparison(**entry) for path in chosen.add for entry in json.loads(path.read_text())]
    for seed in chosen.seeds:
        for name in chosen.models:
            for norm in chosen.norms:
                results += compare(name, norm, chosen.points, seed, chosen.attacks)
                print(f"{name} {norm} seed {seed}: done", file=sys.stderr, flush=True)
    print(table(results))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
