"""Studies with every analysis in them, of made-up numbers that differ from seed to seed."""

from __future__ import annotations

from benchmark.analysis.results import (
    Alignment,
    Analysis,
    Bin,
    Calibration,
    Curve,
    CurvePoint,
    Distances,
    Fairness,
    ForeignSet,
    Membership,
    OutOfDistribution,
    Privacy,
    Sharpness,
    SharpnessAt,
    Shift,
    ShiftedSet,
    Smoothness,
    Study,
    Transferability,
)
from benchmark.report import ClassAccuracy, Part

POINTS = 200


def some(seed: int, number: int, low: float = 0.0, high: float = 1.0) -> float:
    """A number between two others."""
    return low + (high - low) * ((7919 * (seed + 1) * (number + 3) + 104_729 * number) % 1009) / 1009


def a_study(seed: int = 0, *, classes: int = 10, own: str = "This model", others: int = 3, **changes: object) -> Study:
    """A study that lacks nothing, unless it is changed."""
    epsilon = 0.2
    study = Study(
        dataset="digits",
        norm="Linf",
        epsilon="1/5",
        points=POINTS,
        seed=0,
        standard_accuracy=0.96,
        calibration=Calibration(
            points=POINTS, ece=0.022, temperature=0.56, ece_at_temperature=0.011, on_border=False, bins=_bins(seed)
        ),
        ood=OutOfDistribution(
            points=POINTS,
            mean_confidence=0.9,
            histogram=_histogram(seed, 4),
            sets=tuple(_foreign(seed, name) for name in ("SVHN", "CIFAR-100", "Describable Textures")),
        ),
        fairness=_fairness(seed, classes),
        privacy=Privacy(benign=_membership(seed), adversarial=_membership(seed + 1)),
        smoothness=Smoothness(
            points=POINTS, epsilon=8 / 255, lipschitz=some(seed, 1, 2, 60), angular_lipschitz=some(seed, 2, 0.2, 3)
        ),
        shift=Shift(
            protocol="standard-1",
            own=_shifted(seed, "digits"),
            sets=tuple(_shifted(seed + place, name) for place, name in enumerate(("MNIST", "USPS"), start=1)),
        ),
        transfer=_transfer(seed, own, others),
        curve=Curve(
            protocol="standard-1",
            points=POINTS,
            at=tuple(CurvePoint(epsilon=epsilon * n / 4, robust_accuracy=max(0.0, 0.96 - 0.1 * n)) for n in range(9)),
        ),
        distances=Distances(
            points=POINTS,
            found=POINTS - 10,
            median=0.21,
            quantile_10=0.02,
            quantile_90=0.38,
            distances=tuple(None if n < 10 else some(seed, n, 0, 2 * epsilon) for n in range(POINTS)),
        ),
        alignment=Alignment(
            points=POINTS, draws=4, mean=some(seed, 3, 0.3, 0.8), quantile_10=0.1, median=0.6, quantile_90=0.9,
            zero_gradients=0.0,
        ),
        sharpness=Sharpness(
            points=POINTS,
            split="train",
            loss=0.3,
            normalised=True,
            average=tuple(SharpnessAt(rho=rho, rise=2 * rho * some(seed, 4, 0.5)) for rho in (0.05, 0.1, 0.2, 0.4)),
            worst=tuple(SharpnessAt(rho=rho, rise=150 * rho) for rho in (0.001, 0.002, 0.004, 0.008)),
        ),
        seconds={},
    )  # fmt: skip
    return study.model_copy(update=changes)


def with_part(analysis: Analysis, part: Part | None) -> Study:
    """A study in which this stands for what an analysis found."""
    return a_study().model_copy(update={analysis.value: part})


def _bins(seed: int) -> tuple[Bin, ...]:
    empty = Bin(points=0, confidence=0, accuracy=0)
    middles = [(place + 0.5) / 15 for place in range(15)]
    sure = [
        Bin(points=10, confidence=middle, accuracy=min(1.0, middle + some(seed, place, 0, 0.2)))
        for place, middle in enumerate(middles[2:])
    ]
    return (empty, empty, *sure)


def _histogram(seed: int, bend: int) -> tuple[int, ...]:
    return tuple(round(100 * (place / 20) ** bend + some(seed, place, 0, 9)) for place in range(20))


def _foreign(seed: int, name: str) -> ForeignSet:
    return ForeignSet(
        name=name, points=100, auroc=some(seed, len(name), 0.5, 0.95), mean_confidence=0.4,
        histogram=_histogram(seed + len(name), 1),
    )  # fmt: skip


def _fairness(seed: int, classes: int) -> Fairness:
    parts = tuple(
        ClassAccuracy(
            label=label, points=20, standard_accuracy=some(seed, label, 0.85, 1),
            robust_accuracy=some(seed, label + classes, 0.3, 0.8),
        )
        for label in range(classes)
    )  # fmt: skip
    worst = min(parts, key=lambda part: part.robust_accuracy)
    return Fairness(
        classes=parts, standard_spread=0.04, robust_spread=0.31, worst_class=worst.label,
        worst_robust_accuracy=worst.robust_accuracy,
    )  # fmt: skip


def _membership(seed: int) -> Membership:
    return Membership(
        members=POINTS, others=POINTS, by_confidence=some(seed, 5, 0.5, 0.62), threshold=0.7,
        by_label=some(seed, 6, 0.49, 0.55),
    )  # fmt: skip


def _shifted(seed: int, name: str) -> ShiftedSet:
    return ShiftedSet(
        name=name, points=POINTS, standard_accuracy=some(seed, 8, 0.6, 0.95), attacked=100,
        robust_accuracy=some(seed, 9, 0.2, 0.5),
    )  # fmt: skip


def _transfer(seed: int, own: str, others: int) -> Transferability:
    names = (own, *(f"Digits_{number}" for number in range(others)))
    return Transferability(
        method="pgd-10",
        points=POINTS,
        names=names,
        robust=tuple(tuple(some(seed, 20 * row + column) for column in range(len(names))) for row in range(len(names))),
    )
