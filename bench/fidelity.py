"""Compare verdicts with a public implementation of AutoAttack, attack by attack and for the whole ensemble.

    python -m bench.fidelity --points digits=500 --models Digits_FGSM --seeds 0 1 2 --json fidelity.json

The peer is the package pyautoattack, the reference's code, in its versions "standard" and "plus". Every case is a
network under one norm: by default three networks, on the digits, MNIST and CIFAR-10, each under every norm for which
there is a budget. The peer's examples are judged by our own judge, so that both sides answer to the same rule. The
peer's Square never places a window in the last row or column and shares one window among all points; on 8×8 images the
first costs it several points. So there Square, and the ensembles with it, are also compared with the peer's whose
windows may lie everywhere.

The table shows means over the seeds, and how many verdicts differ each way: a single seed moves an attack on a network
with masked gradients by points, and a network trained in Linf and attacked in L2 or L1 is such a network. Where points
are missed about as often as found, the difference is chance. Where an attack alone leaves more than a point and a half
more than the peer's, more seeds are therefore added, and the table has the means over all of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from bench.networks import NETWORKS, Points
from bench.verdicts import WIDTH, survivors
from benchmark import ThreatModel, datasets
from benchmark.allocator import keep_freed_memory
from benchmark.ensemble import Run
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
DEFAULT_MODELS = ("Digits_PGD10", "mnist_linf", "cifar_linf")
LIMIT = 1.5
"""Percentage points that an attack alone may leave above the peer's."""
POINTS = {"digits": 500, "mnist": 80, "cifar10": 48}
"""By default, for each data set."""
BUDGETS: dict[str, dict[str, ThreatModel]] = {
    "digits": {norm: official_board("digits", norm).budget for norm in ("Linf", "L2")}
    # There is no L1 board; this budget leaves the best bundled model about half of its points.
    | {"L1": ThreatModel("L1", 1, "digits")},
    # Those that leave a fifth to four fifths of the points.
    "mnist": {
        "Linf": ThreatModel("Linf", "33/100", "mnist"),
        "L2": ThreatModel("L2", "13/10", "mnist"),
        "L1": ThreatModel("L1", 3, "mnist"),
    },
    "cifar10": {"Linf": ThreatModel("Linf", "4/255", "cifar10"), "L2": ThreatModel("L2", "1/4", "cifar10")},
}


@dataclass(frozen=True)
class Comparison:
    """Verdicts on one model under one norm and one attack or ensemble.

    Args:
        model, norm, attack, seed: what was compared.
        ours, reference: robust accuracies, in [0, 1].
        missed: points that the reference alone broke.
        found: points that ours alone broke.
    """

    model: str
    norm: str
    attack: str
    seed: int
    ours: float
    reference: float
    missed: int
    found: int

    @classmethod
    def of(cls, model: str, norm: str, attack: str, seed: int, ours: Tensor, reference: Tensor) -> Comparison:
        """Compare which points each side left robust, both (n,)."""
        return cls(
            model, norm, attack, seed,
            ours=ours.float().mean().item(),
            reference=reference.float().mean().item(),
            missed=int((ours & ~reference).sum()),
            found=int((reference & ~ours).sum()),
        )  # fmt: skip

    @property
    def excess(self) -> float:
        """How much more robust the model looks to us, in percentage points."""
        return 100 * (self.ours - self.reference)


def our_survivors(model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel, case: str, seed: int) -> Tensor:
    """Return which points ours leaves robust, (n,)."""
    protocol, attacks = CASES[case]
    chosen = Protocol("chosen", 1, lambda setting: tuple(a for a in protocol.attacks(setting) if a.name in attacks))
    run = Run(threat_model, chosen, seed, WIDTH, torch.device("cpu"))
    return torch.tensor(evaluate_points(model, x, y, range(len(x)), run).report.points.robust)


def reference_survivors(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat_model: ThreatModel,
    case: str,
    seed: int,
    *,
    all_windows: bool = False,
) -> Tensor:
    """Return which points the peer leaves robust by our judge, (n,)."""
    norm, radius = threat_model.norm, threat_model.radius
    protocol, attacks = CASES[case]
    # Not its version "custom", which leaves five restarts to every attack.
    peer = AutoAttack(model, norm=norm, eps=radius, version=protocol.name, device="cpu", seed=seed)
    peer.attacks_to_run = list(attacks)
    if all_windows:
        peer.square.random_int = _inclusive
    # The peer draws from the global generator and sets its seed itself.
    x_adv = peer.run_standard_evaluation(x.contiguous(), y.contiguous(), batch_size=len(x))[0]
    return survivors(model, x, y, x_adv, threat_model)


def _inclusive(low: int = 0, high: int = 1, shape: Sequence[int] = (1,)) -> Tensor:
    return (low + (high + 1 - low) * torch.rand(list(shape))).long()


def dataset_of(name: str) -> str:
    """Return the data set on which a network is compared."""
    points = NETWORKS[name].points if name in NETWORKS else ""
    return {"mnist_points": "mnist", "cifar_points": "cifar10"}.get(points, "digits")


def load(name: str, points: int) -> tuple[nn.Module, Points]:
    """Return a network with frozen parameters and the first points of its data set."""
    if name in NETWORKS:
        return NETWORKS[name].load(), NETWORKS[name].load_points(points)
    model = load_model(name, dataset="digits", threat_model="L2" if name.endswith("_L2") else "Linf")
    data = datasets.load("digits", "test", points)
    return model.requires_grad_(False), Points(data.x, data.y)


@dataclass(frozen=True)
class Task:
    """What one process compares at a time: a network under one norm and seed.

    Args:
        name: of the network.
        norm: of the budget.
        points: how many.
        seed: of both sides.
        attacks: the cases.
    """

    name: str
    norm: str
    points: int
    seed: int
    attacks: Sequence[str]


def compare(task: Task) -> list[Comparison]:
    """Compare one model under one norm by each of the chosen cases."""
    name, norm, seed = task.name, task.norm, task.seed
    model, data = load(name, task.points)
    budget = BUDGETS[dataset_of(name)][norm]
    results = []
    for case in task.attacks:
        ours = our_survivors(model, data.x, data.y, budget, case, seed)
        reference = reference_survivors(model, data.x, data.y, budget, case, seed)
        results.append(Comparison.of(name, norm, case, seed, ours, reference))
        if "square" in CASES[case][1] and dataset_of(name) == "digits":
            reference = reference_survivors(model, data.x, data.y, budget, case, seed, all_windows=True)
            results.append(Comparison.of(name, norm, f"{case}, all windows", seed, ours, reference))
    return results


def table(results: Sequence[Comparison]) -> str:
    """Return the comparisons as Markdown: a row for each case, then the spread of the cases for each attack."""
    cases: dict[tuple[str, str, str], list[Comparison]] = {}
    for result in results:
        cases.setdefault((result.attack, result.norm, result.model), []).append(result)
    excess: dict[str, list[float]] = {}
    lines = [
        "| attack | norm | model | seeds | ours % | reference % | difference | missed | found |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (attack, norm, model), seeds in cases.items():
        ours = 100 * mean(result.ours for result in seeds)
        reference = 100 * mean(result.reference for result in seeds)
        excess.setdefault(attack, []).append(ours - reference)
        lines.append(
            f"| {attack} | {norm} | {model} | {len(seeds)} | {ours:.1f} | {reference:.1f} | {ours - reference:+.1f} "
            f"| {sum(result.missed for result in seeds)} | {sum(result.found for result in seeds)} |"
        )
    lines += ["", "| attack | cases | mean difference | lowest | highest |", "|---|---|---|---|---|"]
    for attack, values in excess.items():
        lines.append(f"| {attack} | {len(values)} | {mean(values):+.2f} | {min(values):+.1f} | {max(values):+.1f} |")
    return "\n".join(lines)


def summary(results: Sequence[Comparison]) -> str:
    """Return what the whole comes to: the ensembles' excess over all cases, and the worst attack alone."""
    cases = _by_case(results)
    ensembles = [mean(excess) for case, excess in cases.items() if case[0] == "ensemble"]
    alone = {case: mean(excess) for case, excess in cases.items() if case[0] in ATTACKS}
    lines = ["| measure, means over seeds | percentage points |", "|---|---|"]
    if ensembles:
        lines.append(f"| mean excess of the ensemble, {len(ensembles)} cases | {mean(ensembles):+.2f} |")
        lines.append(f"| maximum excess of the ensemble | {max(ensembles):+.1f} |")
    if alone:
        worst = max(alone, key=lambda case: alone[case])
        lines.append(f"| worst attack alone: {', '.join(worst)} | {alone[worst]:+.1f} |")
    return "\n".join(lines)


def _prepare_process() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)


def run(tasks: Sequence[Task], jobs: int, closer: int) -> list[Comparison]:
    """Compare all that is asked for, several tasks at a time.

    Args:
        tasks: the results are in their order.
        jobs: processes.
        closer: seeds that are added where an attack alone leaves more than the limit.
    """
    order = list(dict.fromkeys((task.name, task.norm) for task in tasks))
    # The slowest first, so that no process is left with one of them at the end.
    tasks = sorted(tasks, key=lambda task: list(POINTS).index(dataset_of(task.name)), reverse=True)
    # Not forked: a fork of a process in which torch has run threads may hang.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare_process) as pool:
        results = _run(pool, tasks)
        results += _run(pool, _closer(tasks, results, closer))
    return sorted(results, key=lambda result: (order.index((result.model, result.norm)), result.seed))


def _closer(tasks: Sequence[Task], results: Sequence[Comparison], seeds: int) -> list[Task]:
    """Return the cases in which an attack alone leaves too much, under that many further seeds."""
    first = 1 + max((task.seed for task in tasks), default=-1)
    a_task = {(task.name, task.norm): task for task in tasks}
    return [
        replace(a_task[name, norm], seed=seed, attacks=(attack,))
        for (attack, norm, name), excess in _by_case(results).items()
        if attack in ATTACKS and mean(excess) > LIMIT
        for seed in range(first, first + seeds)
    ]


def _run(pool: ProcessPoolExecutor, tasks: Sequence[Task]) -> list[Comparison]:
    results: list[Comparison] = []
    waiting = {pool.submit(compare, task): task for task in tasks}
    for done in as_completed(waiting):
        results += done.result()
        task = waiting[done]
        print(f"{task.name} {task.norm} {' '.join(task.attacks)} seed {task.seed}: done", file=sys.stderr, flush=True)
    return results


def _by_case(results: Sequence[Comparison]) -> dict[tuple[str, str, str], list[float]]:
    """Return the excess under every seed by attack, norm and model."""
    cases: dict[tuple[str, str, str], list[float]] = {}
    for result in results:
        cases.setdefault((result.attack, result.norm, result.model), []).append(result.excess)
    return cases


def _points(text: str) -> tuple[str, int]:
    dataset, _, count = text.partition("=")
    if dataset not in POINTS:
        raise argparse.ArgumentTypeError(f"{text}: write {'=N, '.join(POINTS)}=N")
    return dataset, int(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=_points, nargs="+", default=[], metavar="DATASET=N", help=f"else {POINTS}")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--norms", nargs="+", default=["Linf", "L2", "L1"])
    parser.add_argument("--models", nargs="+", default=list(DEFAULT_MODELS))
    parser.add_argument("--attacks", nargs="+", default=["ensemble", *ATTACKS], choices=CASES)
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with one thread")
    parser.add_argument("--json", type=Path, help="also write the comparisons to this file")
    parser.add_argument("--add", type=Path, nargs="+", default=[], help="files of comparisons to add to the table")
    parser.add_argument("--closer", type=int, default=8, metavar="N", help="seeds to add to doubtful cases")
    chosen = parser.parse_args()
    results = [Comparison(**entry) for path in chosen.add for entry in json.loads(path.read_text())]
    points = POINTS | dict(chosen.points)
    tasks = [
        Task(name, norm, points[dataset_of(name)], seed, tuple(chosen.attacks))
        for name in chosen.models
        for norm in chosen.norms
        if norm in BUDGETS[dataset_of(name)]
        for seed in chosen.seeds
    ]
    results += run(tasks, chosen.jobs, chosen.closer)
    print(table(results), summary(results), sep="\n\n")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
