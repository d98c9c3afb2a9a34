"""What may be done with a checkpoint: said when it is loaded, unless everything may."""

from __future__ import annotations

import warnings

from model_zoo.registry import Card, PublishedCard

PERMISSIVE = frozenset(("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "ISC", "MIT"))
"""Licences, by SPDX identifier, that allow any use, change and redistribution where the authors are named."""

_told: set[tuple[str, str]] = set()


class LicenceNotice(UserWarning):
    """A checkpoint may not be used for every purpose, or nobody says for which."""


def is_permissive(card: Card | PublishedCard) -> bool:
    """Tell whether a card's licence lets its checkpoint be used, and passed on, for any purpose."""
    return card.licence in PERMISSIVE


def tell_licence(card: Card | PublishedCard) -> None:
    """Warn of a licence that is not permissive, or not stated; once for each model, where the caller was called."""
    if is_permissive(card) or (card.dataset, card.id) in _told:
        return
    _told.add((card.dataset, card.id))
    licence = f"is licensed under {card.licence}" if card.licence else "comes without a stated licence"
    warnings.warn(
        f"The checkpoint {card.id} {licence}: read its terms before you use it for anything but research. "
        f"Its paper: {card.link or 'unknown'}",
        LicenceNotice,
        stacklevel=3,
    )
