"""What the analyses find: one object, shown alike by the command line, the API and the pages.

Nothing here needs torch, so that whoever stores or shows it need not load it. How each number comes about stands in the
file of its analysis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from benchmark.report import Accuracy, ClassAccuracy, Count, Name, Part, Sha256, Text, canonical_json

SCHEMA_VERSION = 1
MAX_STUDY_BYTES = 8 * 1024 * 1024
"""Greatest size of what the analyses of one model come to; at most some hundred thousand numbers."""
_MOST = 10_000
"""Most rows of anything."""

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A number that is at least 0."""
Cosine = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Analysis(StrEnum):
    """What can be looked at of a model."""

    CALIBRATION = "calibration"
    OOD = "ood"
    FAIRNESS = "fairness"
    PRIVACY = "privacy"
    SMOOTHNESS = "smoothness"
    SHIFT = "shift"
    TRANSFER = "transfer"
    CURVE = "curve"
    DISTANCES = "distances"
    ALIGNMENT = "alignment"
    SHARPNESS = "sharpness"


TITLES: Mapping[Analysis, str] = {
    Analysis.CALIBRATION: "Calibration",
    Analysis.OOD: "Out-of-distribution detection",
    Analysis.FAIRNESS: "Fairness over the classes",
    Analysis.PRIVACY: "Membership inference",
    Analysis.SMOOTHNESS: "Smoothness",
    Analysis.SHIFT: "Distribution shifts",
    Analysis.TRANSFER: "Transferability",
    Analysis.CURVE: "Robust accuracy by budget",
    Analysis.DISTANCES: "Minimum-norm distances",
    Analysis.ALIGNMENT: "Gradient alignment",
    Analysis.SHARPNESS: "Adaptive sharpness",
}
"""Their names in the field."""


class Bin(Part):
    """The points of which a model is about as sure."""

    points: Count
    confidence: Accuracy
    """Their mean confidence; 0 where there are none."""
    accuracy: Accuracy


class Calibration(Part):
    """How far confidence and accuracy lie apart, before and after scaling the logits by one temperature."""

    points: Count
    ece: Accuracy
    """Expected calibration error of the logits as they are."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """The one that the logits are divided by for the least error; below 1 the model is underconfident."""
    ece_at_temperature: Accuracy
    on_border: bool
    """Whether that temperature is the first or last of the grid: then a better one may lie beyond it."""
    bins: Annotated[tuple[Bin, ...], Field(max_length=100)]
    """Of the logits as they are, from the least confidence to the greatest."""

    @property
    def underconfident(self) -> bool:
        """Whether the model is right more often than it says."""
        return self.temperature < 1


class ForeignSet(Part):
    """How sure a model is of data that it was never meant for."""

    name: Name
    points: Count
    auroc: Accuracy
    """The chance that it is surer of a point of its own data than of a foreign one; a draw counts as half."""
    mean_confidence: Accuracy
    histogram: Annotated[tuple[Count, ...], Field(max_length=100)]
    """Points by confidence, in bins of equal width from 0 to 1."""


class OutOfDistribution(Part):
    """Whether a model is surer of its own data than of foreign ones."""

    points: Count
    """Of its own data."""
    mean_confidence: Accuracy
    histogram: Annotated[tuple[Count, ...], Field(max_length=100)]
    sets: Annotated[tuple[ForeignSet, ...], Field(max_length=20)]


class Fairness(Part):
    """How evenly accuracies are spread over the classes."""

    classes: Annotated[tuple[ClassAccuracy, ...], Field(max_length=_MOST)]
    standard_spread: Amount | None
    """Relative standard deviation of the classes' standard accuracies; None where all of them are 0."""
    robust_spread: Amount | None
    worst_class: Count
    """Label of the class with the least robust accuracy; the first of several."""
    worst_robust_accuracy: Accuracy

    @property
    def robust_accuracy(self) -> float | None:
        """Over the points of all classes; None where there are none."""
        points = sum(part.points for part in self.classes)
        return sum(part.robust_accuracy * part.points for part in self.classes) / points if points else None


class Membership(Part):
    """How often somebody guesses right whether an image was trained on; one half is chance."""

    members: Count
    others: Count
    by_confidence: Accuracy
    """With the best threshold on the probability of the true class; that threshold is chosen with hindsight."""
    threshold: Accuracy
    """The least confidence that counts as trained on."""
    by_label: Accuracy
    """Guessing from nothing but whether the answer is right."""


class Privacy(Part):
    """How well membership in the training data can be inferred."""

    benign: Membership
    adversarial: Membership
    """On what the attack of `benchmark.analysis.fairness` makes of the same points; where it breaks nothing, on the
    points as they are."""


class Smoothness(Part):
    """Means of the greatest ratios found around the first points of the test split."""

    points: Count
    epsilon: Amount
    layer: Name | None = None
    """Whose output; None for the logits."""
    lipschitz: Amount
    angular_lipschitz: Amount
    """Of the output's direction alone."""


class ShiftedSet(Part):
    """What a model keeps on data of the same classes from another source."""

    name: Name
    points: Count
    standard_accuracy: Accuracy
    attacked: Count
    """How many of the points were attacked: the first so many."""
    robust_accuracy: Accuracy
    """Of the attacked points."""


class Shift(Part):
    """What a model keeps on data of the same classes from other sources, under the same threat model."""

    protocol: Name
    own: ShiftedSet
    """On its own test split, attacked likewise."""
    sets: Annotated[tuple[ShiftedSet, ...], Field(max_length=20)]


class Transferability(Part):
    """What every model keeps under the examples made on every model."""

    method: Name
    points: Count
    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50)]
    robust: tuple[tuple[Accuracy, ...], ...]
    """Row by row the source, column by column the target: the share of points that the target classifies correctly,
    clean and as examples. On the diagonal it is a model's own robust accuracy under this attack."""

    @model_validator(mode="after")
    def _square(self) -> Self:
        if [len(row) for row in self.robust] != [len(self.names)] * len(self.names):
            raise ValueError("the matrix needs a row and a column for each model")
        return self


class CurvePoint(Part):
    """What is left at a budget."""

    epsilon: Amount
    robust_accuracy: Accuracy


class Curve(Part):
    """Robust accuracy by budget, in one run from the least budget to the greatest."""

    protocol: Name
    points: Count
    at: Annotated[tuple[CurvePoint, ...], Field(min_length=1, max_length=200)]
    """In ascending order of the budget, the first at 0; what is broken at a budget counts at all greater ones."""


class Distances(Part):
    """How far the closest example of each point lies that FAB found: upper bounds of the true distances."""

    points: Count
    found: Count
    """Points with an example, the misclassified ones, whose distance is 0, among them."""
    median: Amount | None
    """Of all points, those without an example being farther than all others; None where it is one of these."""
    quantile_10: Amount | None
    quantile_90: Amount | None
    distances: Annotated[tuple[Amount | None, ...], Field(max_length=_MOST)]
    """Of every point, in the order of the points; None where no example was found."""


class Alignment(Part):
    """How alike the gradients at a point and around it are; near 0 no attack can follow them."""

    points: Count
    draws: Count
    """Random points around each."""
    mean: Cosine
    quantile_10: Cosine
    median: Cosine
    quantile_90: Cosine
    zero_gradients: Accuracy
    """Share of the points whose gradient is zero."""


class SharpnessAt(Part):
    """By how much the loss rises when every weight is moved in proportion to its size."""

    rho: Amount
    rise: Finite


class Sharpness(Part):
    """Elementwise adaptive sharpness: weights are moved in proportion to their size."""

    points: Count
    split: Name
    """Which split the loss is of."""
    loss: Amount
    """Without any move."""
    normalised: bool
    """Whether each point's logits were divided by their standard deviation first."""
    average: Annotated[tuple[SharpnessAt, ...], Field(max_length=20)]
    """Mean over Gaussian moves of standard deviation rho."""
    worst: Annotated[tuple[SharpnessAt, ...], Field(max_length=20)]
    """The most that Auto-PGD found among moves of at most rho."""


class Study(Part):
    """The analyses of one model; None for those that were not made."""

    schema_version: int = SCHEMA_VERSION
    dataset: Name | None
    norm: Name
    epsilon: Name
    points: Count
    """Of the test split, the first so many."""
    seed: int
    checkpoint_sha256: Sha256 | None = None
    standard_accuracy: Accuracy
    calibration: Calibration | None = None
    ood: OutOfDistribution | None = None
    fairness: Fairness | None = None
    privacy: Privacy | None = None
    smoothness: Smoothness | None = None
    shift: Shift | None = None
    transfer: Transferability | None = None
    curve: Curve | None = None
    distances: Distances | None = None
    alignment: Alignment | None = None
    sharpness: Sharpness | None = None
    left_out: dict[Analysis, Text] = Field(default_factory=dict)
    """Why an analysis was not made, such as for want of a data set."""
    seconds: dict[Analysis, Amount]
    """Wall time of each analysis."""

    @property
    def made(self) -> tuple[Analysis, ...]:
        """The analyses that there are results of, in the order of their table."""
        return tuple(analysis for analysis in Analysis if getattr(self, analysis) is not None)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, content: bytes) -> Study:
        """Read what `to_bytes` made, by whoever.

        Raises:
            ValueError: it is none, or too large.
        """
        if len(content) > MAX_STUDY_BYTES:
            raise ValueError(f"it has {len(content)} bytes, more than {MAX_STUDY_BYTES}")
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def merge_studies(studies: Sequence[Study]) -> Study:
    """Put analyses of one model on the same points together, each from the last study that has it.

    Raises:
        ValueError: there are none, or they are not of the same model, points and budget.
    """
    if not studies:
        raise ValueError("there is nothing to merge")
    of = [(one.dataset, one.norm, one.epsilon, one.points, one.seed, one.checkpoint_sha256) for one in studies]
    if len(set(of)) > 1:
        raise ValueError("the analyses are not of the same model, points and budget")
    made = {analysis.value: getattr(one, analysis) for one in studies for analysis in one.made}
    left_out = {analysis: why for one in studies for analysis, why in one.left_out.items() if analysis not in made}
    seconds = {analysis: taken for one in studies for analysis, taken in one.seconds.items()}
    return studies[-1].model_copy(update={**made, "left_out": left_out, "seconds": seconds})
