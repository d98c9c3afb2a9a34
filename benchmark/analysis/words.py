"""What the numbers of an analysis mean for one model, in a sentence or two."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmark.analysis.results import Analysis, Study
from benchmark.analysis.tables import require

_EVEN = 0.05
"""AUROC and shares of right guesses that are no farther than this from one half are told as chance."""


def in_words(analysis: Analysis, study: Study) -> str:
    """Return what was found of a model.

    Raises:
        NotAnalysed: it was not made.
    """
    require(analysis, {"the model": study})
    return _WORDS[analysis](study)


def share(fraction: float) -> str:
    """Write a fraction of 1 in percent."""
    return f"{100 * fraction:.1f}\u202f%"


def number(value: float) -> str:
    """Write a number with three digits that count, or with all that stand before its point."""
    if 100 <= abs(value) < 1e5:
        return f"{value:.0f}"
    return f"{value:.3g}" if value == 0 or 1e-4 <= abs(value) < 1e5 else f"{value:.2e}"


def _calibration(study: Study) -> str:
    one = study.calibration
    if one is None:
        return ""
    if one.temperature == 1:
        kind = "As sure as it is right"
    else:
        kind = "Underconfident" if one.underconfident else "Overconfident"
    text = (
        f"{kind}: the best temperature is {number(one.temperature)}. The expected calibration error is "
        f"{share(one.ece)}, and {share(one.ece_at_temperature)} at that temperature."
    )
    return f"{text} A better temperature may lie beyond the grid." if one.on_border else text


def _ood(study: Study) -> str:
    one = study.ood
    if one is None or not one.sets:
        return "It was shown no foreign data."
    best, worst = (pick(one.sets, key=lambda each: each.auroc) for pick in (max, min))
    text = f"Confidence tells its own data from {best.name} with an AUROC of {best.auroc:.3f}"
    if len(one.sets) > 1:
        text += f", and worst from {worst.name}, with {worst.auroc:.3f}"
    if worst.auroc < 0.5 - _EVEN:
        return f"{text}. Of {worst.name} it is surer than of its own data."
    return f"{text}; 0.5 is chance." if worst.auroc <= 0.5 + _EVEN else f"{text}."


def _fairness(study: Study) -> str:
    one = study.fairness
    if one is None or not one.classes:
        return "There are no classes to compare."
    best = max(one.classes, key=lambda part: part.robust_accuracy)
    if one.robust_spread is None:
        return "No class keeps any robust accuracy, so nothing can be said of its spread."
    text = (
        f"Robust accuracy goes from {share(one.worst_robust_accuracy)} in class {one.worst_class} to "
        f"{share(best.robust_accuracy)} in class {best.label}. Its relative standard deviation over the classes is "
        f"{share(one.robust_spread)}"
    )
    return text + (
        f", that of standard accuracy {share(one.standard_spread)}." if one.standard_spread is not None else "."
    )


def _privacy(study: Study) -> str:
    one = study.privacy
    if one is None:
        return ""
    most = max(one.benign.by_confidence, one.adversarial.by_confidence)
    text = (
        f"By its confidence one guesses right in {share(one.benign.by_confidence)} of the cases whether an image was "
        f"trained on, and in {share(one.adversarial.by_confidence)} on adversarial images; "
        f"{share(0.5)} is chance."
    )
    return f"{text} That is little." if most <= 0.5 + _EVEN else text


def _smoothness(study: Study) -> str:
    one = study.smoothness
    if one is None:
        return ""
    of = f"the output of {one.layer}" if one.layer else "the logits"
    return (
        f"Within {number(one.epsilon)} of an image, {of} change by up to {number(one.lipschitz)} times as much as "
        f"the image, and by {number(one.angular_lipschitz)} times in their direction alone, on average over "
        f"{one.points} points. The less, the smoother."
    )


def _shift(study: Study) -> str:
    one = study.shift
    if one is None or not one.sets:
        return "It was shown no other data."
    hardest = min(one.sets, key=lambda part: part.robust_accuracy)
    return (
        f"On its own test images it keeps {share(one.own.standard_accuracy)} standard and "
        f"{share(one.own.robust_accuracy)} robust accuracy; on {hardest.name}, the hardest under attack, "
        f"{share(hardest.standard_accuracy)} and {share(hardest.robust_accuracy)}."
    )


def _transfer(study: Study) -> str:
    one = study.transfer
    if one is None:
        return ""
    own = one.robust[0][0]
    if len(one.names) == 1:
        return f"Examples made on the model itself leave it {share(own)}."
    source = min(range(1, len(one.names)), key=lambda place: one.robust[place][0])
    left = sum(one.robust[0][1:]) / (len(one.names) - 1)
    return (
        f"Examples made on {one.names[0]} itself leave it {share(own)}; of the others’, those of {one.names[source]} "
        f"leave it least, {share(one.robust[source][0])}. Its own examples leave the others {share(left)} on average."
    )


def _curve(study: Study) -> str:
    one = study.curve
    if one is None:
        return ""
    first, last = one.at[0], one.at[-1]
    half = next((part for part in one.at if part.robust_accuracy < first.robust_accuracy / 2), None)
    text = (
        f"Robust accuracy falls from {share(first.robust_accuracy)} at {number(first.epsilon)} to "
        f"{share(last.robust_accuracy)} at {number(last.epsilon)}."
    )
    return f"{text} Less than half of it is left at {number(half.epsilon)}." if half else text


def _distances(study: Study) -> str:
    one = study.distances
    if one is None:
        return ""
    text = f"FAB found an example for {one.found} of {one.points} points."
    if one.median is None:
        return f"{text} Half of the points or more are farther from every example than it could reach."
    return (
        f"{text} Half of the points have one within {number(one.median)}; the budget of the board is {study.epsilon}."
    )


def _alignment(study: Study) -> str:
    one = study.alignment
    if one is None:
        return ""
    text = (
        f"Gradients at a point and around it have a cosine of {one.mean:.2f} on average; for eight points in ten it "
        f"is between {one.quantile_10:.2f} and {one.quantile_90:.2f}."
    )
    return f"{text} {share(one.zero_gradients)} of the points have no gradient." if one.zero_gradients else text


def _sharpness(study: Study) -> str:
    one = study.sharpness
    if one is None or not (one.average or one.worst):
        return "No weights were moved."
    text = f"Without a move of its weights the loss on the {one.split} split is {number(one.loss)}."
    if one.average:
        last = one.average[-1]
        text += f" Random moves by {number(last.rho)} of each weight raise it by {number(last.rise)} on average."
    if one.worst:
        last = one.worst[-1]
        text += f" The worst move found within {number(last.rho)} of each raises it by {number(last.rise)}."
    return text


_WORDS: Mapping[Analysis, Callable[[Study], str]] = {
    Analysis.CALIBRATION: _calibration,
    Analysis.OOD: _ood,
    Analysis.FAIRNESS: _fairness,
    Analysis.PRIVACY: _privacy,
    Analysis.SMOOTHNESS: _smoothness,
    Analysis.SHIFT: _shift,
    Analysis.TRANSFER: _transfer,
    Analysis.CURVE: _curve,
    Analysis.DISTANCES: _distances,
    Analysis.ALIGNMENT: _alignment,
    Analysis.SHARPNESS: _sharpness,
}
