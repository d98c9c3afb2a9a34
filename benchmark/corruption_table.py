"""What a model does on corrupted images: one number per type of corruption and severity. Nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmark.corruptions.names import CORRUPTIONS, SEVERITIES, VERSION

CELLS = tuple((corruption, severity) for corruption in CORRUPTIONS for severity in SEVERITIES)
"""Every type of corruption at every severity, in the order in which they are evaluated."""
GENERATED = f"generated-{VERSION}"
"""Name of the corrupted images that are made here."""
OFFICIAL: Mapping[str, str] = MappingProxyType(
    {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C", "imagenet": "ImageNet-C"}
)
"""Names of the corrupted images that the paper's authors publish, by data set; for all others they are made here."""
MOST_CELLS = 1_000

Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


def corrupted_name(dataset: str) -> str:
    """Return the name of the data set that holds the published corrupted images of another."""
    return f"{dataset}-c"


def source_for(dataset: str | None) -> str:
    """Return the name of the corrupted images that all models of a data set are asked about."""
    return OFFICIAL.get(dataset or "", GENERATED)


class CorruptionCell(BaseModel):
    """One type of corruption at one severity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corruption: Name
    """Its type, such as "gaussian_noise"."""
    severity: Annotated[int, Field(ge=1, le=5)]
    correct: Count
    """Points that are classified correctly in it."""


class CorruptionTable(BaseModel):
    """Every type at every severity, and where the corrupted images came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Name
    """Of the images, such as "generated-1": the generators and their version."""
    cells: Annotated[tuple[CorruptionCell, ...], Field(min_length=1, max_length=MOST_CELLS)]
    """Type by type, and within a type by severity."""
    forward_passes: Count
    """Images sent forward through the model."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        places = self.places
        if len(set(places)) < len(places):
            raise ValueError("cells: every type and severity occurs once")
        types = [corruption for corruption, _ in groupby(corruption for corruption, _ in places)]
        if len(set(types)) < len(types) or any(a[0] == b[0] and a[1] >= b[1] for a, b in pairwise(places)):
            raise ValueError("cells: the severities of a type follow each other, the slightest first")
        return self

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Type and severity of each cell."""
        return tuple((cell.corruption, cell.severity) for cell in self.cells)

    @property
    def correct(self) -> int:
        """Points that are classified correctly, summed over all cells."""
        return sum(cell.correct for cell in self.cells)

    def errors(self, points: int) -> dict[str, float]:
        """Return the mean error over the severities of each type, in [0, 1], in order.

        Args:
            points: of the evaluation; all of them are in every cell.
        """
        return {
            corruption: 1 - sum(cell.correct for cell in cells) / (points * len(cells))
            for corruption, cells in self.by_type().items()
        }

    def by_type(self) -> dict[str, tuple[CorruptionCell, ...]]:
        """Return the cells of each type, in order."""
        return {corruption: tuple(cells) for corruption, cells in groupby(self.cells, key=lambda cell: cell.corruption)}


def merge_tables(tables: Sequence[CorruptionTable]) -> CorruptionTable:
    """Add up what shards of one run found on disjoint points.

    Raises:
        ValueError: there is none, or they are not about the same cells of the same source.
    """
    if not tables:
        raise ValueError("at least one table is needed")
    first = tables[0]
    for table in tables:
        if (table.source, table.places) != (first.source, first.places):
            raise ValueError("the tables are not about the same corruptions")
    columns = zip(*(table.cells for table in tables), strict=True)
    return CorruptionTable(
        source=first.source,
        cells=tuple(cells[0].model_copy(update={"correct": sum(cell.correct for cell in cells)}) for cells in columns),
        forward_passes=sum(table.forward_passes for table in tables),
    )


def mean_corruption_error(table: CorruptionTable, points: int, baseline: CorruptionTable, of: int) -> float | None:
    """Return the mean corruption error (mCE) in percent: 100 is the baseline's, and lower is better.

    Args:
        table: of the model.
        points: of its evaluation.
        baseline: of the model that it is held against.
        of: points of that evaluation.
    Returns:
        The mean over the types of the model's error as a share of the baseline's, both summed over the severities; None
        where that is not defined: the types differ, or the baseline makes no error in one of them.
    Source:
        Hendrycks & Dietterich 2019, arXiv:1903.12261, section 4.1.
    """
    errors, reference = table.errors(points), baseline.errors(of)
    if errors.keys() != reference.keys() or any(error <= 0 for error in reference.values()):
        return None
    return 100 * math.fsum(errors[name] / reference[name] for name in errors) / len(errors)
