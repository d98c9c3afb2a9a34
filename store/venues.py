"""What a venue's name tells, as people write it: "ICLR 2020", "arXiv, Oct 2020", "NeurIPS 2019 Workshop"."""

from __future__ import annotations

import re
from enum import StrEnum

FIRST_YEAR = 1990
"""No venue of a network that is attacked here is older; an earlier number is a slip, or part of a name."""
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d{2}(?!\d)")
_WORKSHOP = re.compile(r"workshops?\b|\bws\b", re.IGNORECASE)


class VenueKind(StrEnum):
    """Where people publish: the conferences that most entries are of, and all other places."""

    NEURIPS = "NeurIPS"
    ICML = "ICML"
    ICLR = "ICLR"
    CVPR = "CVPR"
    ICCV = "ICCV"
    ECCV = "ECCV"
    AAAI = "AAAI"
    ARXIV = "arXiv"
    OTHER = "other"


_NAMES = {kind.lower(): kind for kind in VenueKind if kind is not VenueKind.OTHER} | {"nips": VenueKind.NEURIPS}
_NAME = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(_NAMES)})(?![^\W\d_])", re.IGNORECASE)


def kind_of_venue(venue: str) -> VenueKind:
    """Return the kind of a venue: of those it names the first, and of a workshop none but other."""
    found = _NAME.search(venue)
    if found is None or _WORKSHOP.search(venue):
        return VenueKind.OTHER
    return _NAMES[found[0].lower()]


def year_of_venue(venue: str, latest: int) -> int | None:
    """Return the year that a venue's name ends with; None where it has none that can be.

    Args:
        venue: its name.
        latest: the last year that can be.
    """
    year = last_year_in(venue)
    return year if year is not None and FIRST_YEAR <= year <= latest else None


def last_year_in(text: str) -> int | None:
    """Return the last number in a text that looks like a year; None where there is none."""
    years = _YEAR.findall(text)
    return int(years[-1]) if years else None
