"""The evaluation report: one versioned object, shown alike by the command line, the API and the pages.

Nothing here needs torch, so that whoever stores or shows reports need not load it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmark.corruption_table import CorruptionTable
from benchmark.threat_models import CORRUPTIONS

SCHEMA_VERSION = 2
MAX_POINTS = 1_000_000
PREDICTED_COST = "predicted_cost"
"""Code of the check that predicts how many seconds the whole evaluation takes one worker at most."""
TIMED_CHECKS = frozenset({PREDICTED_COST})
"""Checks whose value is a measured time."""
MAX_POINTS_BYTES = 200 * MAX_POINTS
"""Greatest size of the points once uncompressed: a few bytes of gzip can ask for any amount of memory."""

Text = Annotated[str, Field(max_length=2_000)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Count = Annotated[int, Field(ge=0)]
Accuracy = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A frozen, strict piece of the report."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class CheckOutcome(StrEnum):
    """What a check concluded. *Not assessed* is not *passed*."""

    PASSED = "passed"
    FLAGGED = "flagged"
    REJECTED = "rejected"
    NOT_ASSESSED = "not_assessed"


class SandboxLevel(StrEnum):
    """What was around the process that ran a model; each level has what the ones before it have."""

    LIMITS = "limits"
    """An empty environment, a scratch directory, limits on memory, files and time, no way to more rights."""
    LANDLOCK = "landlock"
    """Of the machine's files only the program's, no network, no new processes: Landlock and a filter of system
    calls."""
    NAMESPACES = "namespaces"
    """Namespaces of its own: it cannot so much as name other files, processes or networks."""

    @property
    def rank(self) -> int:
        """Its place among the levels, 0 for the weakest."""
        return list(SandboxLevel).index(self)

    @property
    def meaning(self) -> str:
        """What it means, in a few words."""
        return _MEANINGS[self]


_MEANINGS = {
    SandboxLevel.LIMITS: "an empty environment and limits on memory, files and time",
    SandboxLevel.LANDLOCK: "it may use no files but the program's, no network and no new processes",
    SandboxLevel.NAMESPACES: "it sees no files but the program's, no network and no other process",
}


class Check(Part):
    """One check of a model, with the evidence for its outcome."""

    code: Name
    """The symptom it looks for, such as ``zero_gradient``."""
    outcome: CheckOutcome
    value: Finite | None = None
    """The measured value."""
    threshold: Finite | None = None
    """The value from which on the check is no longer passed."""
    message: Text
    """What was measured, in one sentence."""
    remedy: Text = ""
    """What the author can do about it; empty where the check is passed."""


class Evidence(Check):
    """One test for gradients that mislead, run on a sample of the points: its numbers, and what they mean.

    Its value and threshold are derived from the numbers; evidence never rejects a model.
    """

    numbers: dict[Name, Finite] = {}
    """Everything that was measured, such as accuracies after each of several budgets."""
    meaning: Text = ""
    """What the outcome says of the robust accuracy, in a sentence or two."""


class Interval(Part):
    """A 95 % Wilson score interval of an accuracy."""

    low: Accuracy
    high: Accuracy


class AttackOutcome(Part):
    """What one attack of the ensemble did to the points that the attacks before it had left."""

    name: Name
    parameters: dict[Name, int | float | str | bool]
    seed: int
    attacked: Count
    """Points it was run on."""
    broken: Count
    """Points it broke, as judged."""
    over_budget: Count
    """Examples it proposed that the judge refused for their distance, range or value."""
    robust_accuracy_after: Accuracy
    """Robust accuracy over all points once this attack is done."""
    forward_passes: Count
    """Images sent forward through the model by the attack's live points."""
    backward_passes: Count
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ClassAccuracy(Part):
    """Accuracies on the points of one class."""

    label: Count
    points: Count
    standard_accuracy: Accuracy
    robust_accuracy: Accuracy


class Points(Part):
    """The verdict on every point, column by column."""

    index: tuple[Count, ...]
    """Position in the data set."""
    label: tuple[Count, ...]
    robust: tuple[bool, ...]
    """False where the clean image is misclassified."""
    broken_by: tuple[str | None, ...]
    """Name of the attack or of the evaluation that broke it, "clean", or None where the point is robust."""
    step: tuple[Count | None, ...]
    """Step of the attack at which the point broke; None where it is robust or misclassified clean, or where nothing but
    the image is known of what broke it."""
    distance: tuple[Finite | None, ...]
    """Distance of the adversarial example in the threat model's norm; 0 for "clean"; None where robust, and where a
    corruption broke it."""
    kept: tuple[Count, ...] | None = None
    """Of an evaluation on corrupted images: in how many cells the point is classified correctly; else None."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = (self.label, self.robust, self.broken_by, self.step, self.distance, self.kept or self.index)
        if len(self.index) > MAX_POINTS or any(len(column) != len(self.index) for column in columns):
            raise ValueError("points: every column must have one value per point")
        if any(a >= b for a, b in zip(self.index, self.index[1:], strict=False)):
            raise ValueError("points.index: must increase strictly")
        if any(robust != (by is None) for robust, by in zip(self.robust, self.broken_by, strict=True)):
            raise ValueError("points: a point is robust exactly where nothing broke it")
        return self

    def to_bytes(self) -> bytes:
        """Return the points as compact bytes, equal for equal points."""
        # Without the column that other evaluations lack, so that the bytes of older points stay as they were.
        return gzip.compress(canonical_json(self.model_dump(mode="json", exclude_none=True)), mtime=0)

    @classmethod
    def from_bytes(cls, data: bytes) -> Points:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: the points are inconsistent or too large.
        """
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(MAX_POINTS_BYTES + 1)
        if len(content) > MAX_POINTS_BYTES:
            raise ValueError(f"points: more than {MAX_POINTS_BYTES} bytes once uncompressed")
        return cls.model_validate_json(content)


class SecondAttack(Part):
    """An attack of a family that nobody knew beforehand, on a sample of the points that the ensemble left robust.

    It moves no number of the report; what it breaks counts towards the best known robust accuracy.
    """

    protocol: Name
    """Label of a protocol of one attack."""
    outcome: AttackOutcome
    """Its robust accuracy is over the sample."""
    index: tuple[Count, ...]
    """Position in the data set of each point that it was run on."""
    broken: tuple[bool, ...]
    distance: tuple[Finite | None, ...]
    """Distance of the example in the threat model's norm; None where the point is not broken."""
    examples_sha256: Sha256 | None = None
    """Hash of the examples, as the report's own."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(len(column) != len(self.index) for column in (self.broken, self.distance)):
            raise ValueError("second_attack: every column must have one value per point")
        if any(a >= b for a, b in zip(self.index, self.index[1:], strict=False)):
            raise ValueError("second_attack.index: must increase strictly")
        if any(broken != (distance is not None) for broken, distance in zip(self.broken, self.distance, strict=True)):
            raise ValueError("second_attack: an example has a distance exactly where it breaks its point")
        if (self.outcome.attacked, self.outcome.broken) != (len(self.index), sum(self.broken)):
            raise ValueError("second_attack: the attack's counts are not those of its points")
        return self


class Shard(Part):
    """A block of a run's points that one process attacked, and where that was.

    The blocks follow each other in the order of the points. Which points share a batch can move the number of passes.
    """

    points: Annotated[int, Field(gt=0, le=MAX_POINTS)]
    examples_sha256: Sha256 | None = None
    threads: Count
    layout: Name
    device: Name
    hardware: Text
    versions: dict[Name, Text]
    sandbox: SandboxLevel | None = None


class Provenance(Part):
    """Everything that can move a number, recorded with it."""

    checkpoint_sha256: Sha256 | None = None
    architecture: Name | None = None
    """Registered architecture that the checkpoint was loaded into; None where the model was not loaded from a file."""
    zoo_id: Name | None = None
    """The model's id in the zoo; None where it is not one of the zoo's."""
    shards: tuple[Shard, ...] | None = None
    """The blocks in which a service ran it; None for an evaluation in one piece."""
    seed: int
    slot_width: Count
    """Rows of a full batch."""
    threads: Count
    layout: Name
    precision: Name
    device: Name
    hardware: Text
    versions: dict[Name, Text]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Wall time of the evaluation; of all shards together where there were several."""
    sandbox: SandboxLevel | None = None
    """What was around the process that ran the model, the weakest of all shards'; None where it was the caller's."""
    preprocessing: Name | None = None
    """What was done to the images first, such as "Res256Crop224"; None where they are taken as they are, or the data
    set's own way was."""


class EvaluationReport(Part):
    """A complete evaluation of one model under one threat model and protocol."""

    schema_version: int = SCHEMA_VERSION
    norm: Name
    epsilon: Name
    """The budget as an exact fraction, such as "8/255"."""
    dataset: Name | None
    protocol: Name
    n_points: Annotated[int, Field(gt=0, le=MAX_POINTS)]
    standard_accuracy: Accuracy
    standard_interval: Interval
    robust_accuracy: Accuracy
    robust_interval: Interval
    attacks: tuple[AttackOutcome, ...]
    policy: Count | None = None
    """Version of the restrictions that the checks are of; None in reports that are older, or of bare points."""
    checks: tuple[Check, ...]
    evidence: tuple[Evidence, ...] = ()
    """Tests for gradients that mislead; empty in reports that are older, or where none was asked for."""
    classwise: tuple[ClassAccuracy, ...]
    provenance: Provenance
    points: Points
    second_attack: SecondAttack | None = None
    """None in reports that are older, or where none was run or no point was left."""
    corruptions: CorruptionTable | None = None
    """Of an evaluation on corrupted images, where nobody attacks: its robust accuracy is the mean over all cells, and a
    point counts as robust where it is classified correctly in every one of them. None where there is an attacker."""
    examples_sha256: Sha256 | None = None
    """Hash of the examples of all points in their order: of their float32 values as little-endian bytes for one piece,
    of the shards' hashes one after the other where there were several. None in reports that are older."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        expected = scores_of(self.points, self.corruptions)
        if (self.n_points, self.standard_accuracy, self.robust_accuracy) != expected:
            raise ValueError("the accuracies do not follow from the points")
        broken: Counter[str | None] = Counter()
        for attack in self.attacks:
            broken[attack.name] += attack.broken
        if (self.norm == CORRUPTIONS) != (self.corruptions is not None):
            raise ValueError(f'norm: is "{CORRUPTIONS}" exactly where there are corruptions')
        if self.corruptions is not None:
            _check_cells(self.points, self.corruptions, attacked=bool(self.attacks) or self.second_attack is not None)
        elif +broken != Counter(by for by in self.points.broken_by if by not in (None, "clean")):
            raise ValueError("the attacks' counts are not those of the points they broke")
        if self.second_attack is not None and not set(self.second_attack.index) <= set(_robust(self.points)):
            raise ValueError("second_attack: it is run on points that are robust")
        shards = self.provenance.shards
        if shards is not None and sum(shard.points for shard in shards) != self.n_points:
            raise ValueError("provenance.shards: they must hold all points")
        return self

    @property
    def findings(self) -> tuple[Check, ...]:
        """The checks that are not passed, and the evidence that speaks against the number."""
        return tuple(check for check in (*self.checks, *self.evidence) if check.outcome is not CheckOutcome.PASSED)

    def summary_bytes(self) -> bytes:
        """Return canonical JSON of everything but the points, with their hash in their place."""
        content = self.model_dump(mode="json", exclude={"points"})
        content["points_sha256"] = hashlib.sha256(self.points.to_bytes()).hexdigest()
        return canonical_json(content)

    def to_bytes(self) -> bytes:
        """Return canonical JSON of the whole report, the points included."""
        return canonical_json(self.model_dump(mode="json"))

    def results_sha256(self) -> str:
        """Hash of all that must be equal when the same evaluation runs again: all but times and hardware.

        What reports have borne only since later is left out where it is missing, or names settings that the rest
        shows anyway; so the hashes of older reports stay as they were.
        """
        content = self.model_dump(mode="json")
        for name in ("examples_sha256", "policy", "evidence", "second_attack", "corruptions"):
            if not content[name]:
                del content[name]
        if self.points.kept is None:
            del content["points"]["kept"]
        if self.second_attack is not None:
            del content["second_attack"]["outcome"]["seconds"]
        content["checks"] = [check for check in content["checks"] if check["code"] not in TIMED_CHECKS]
        for attack in content["attacks"]:
            del attack["seconds"]
        for name in ("seconds", "hardware", "architecture", "zoo_id", "shards", "sandbox"):
            del content["provenance"][name]
        if self.provenance.preprocessing is None:
            del content["provenance"]["preprocessing"]
        return hashlib.sha256(canonical_json(content)).hexdigest()


def canonical_json(content: object) -> bytes:
    """Serialise to the one form with sorted keys, no spaces and no NaN.

    Raises:
        ValueError: the content holds NaN or an infinity.
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _robust(points: Points) -> tuple[int, ...]:
    return tuple(index for index, robust in zip(points.index, points.robust, strict=True) if robust)


def scores_of(points: Points, corruptions: CorruptionTable | None) -> tuple[int, float, float]:
    """Return the number of points, standard accuracy and robust accuracy, which follow from the verdicts.

    Raises:
        ValueError: there is no point.
    """
    n_points = len(points.index)
    if n_points == 0:
        raise ValueError("points: at least one is needed")
    correct = sum(by != "clean" for by in points.broken_by)
    kept, of = kept_of(points, corruptions)
    return n_points, correct / n_points, sum(kept) / (n_points * of)


def kept_of(points: Points, corruptions: CorruptionTable | None) -> tuple[Sequence[int], int]:
    """Return how often each point is kept, and out of how many times: once, or once in every cell."""
    if (corruptions is None) != (points.kept is None):
        raise ValueError("points.kept: is given exactly where there are corruptions")
    if corruptions is None or points.kept is None:
        return points.robust, 1
    return points.kept, len(corruptions.cells)


def _check_cells(points: Points, corruptions: CorruptionTable, *, attacked: bool) -> None:
    kept, cells = points.kept or (), len(corruptions.cells)
    if attacked:
        raise ValueError("corruptions: where images are corrupted, nobody attacks")
    if max(kept) > cells or sum(kept) != corruptions.correct:
        raise ValueError("corruptions: the cells' counts are not those of the points")
    rows = zip(points.robust, points.broken_by, kept, strict=True)
    if any(robust != (by != "clean" and right == cells) for robust, by, right in rows):
        raise ValueError("points: one is robust exactly where its clean image and every cell are right")
