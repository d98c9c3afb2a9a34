"""What a submission must fulfil before it is a row: everything that needs neither torch nor the database."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from benchmark.errors import InvalidInput, InvalidSubmission, NotFound, TooLarge
from benchmark.threat_models import Board, official_board
from store.blobs import Blobs
from store.views import NewSubmission

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,79}")
LONGEST_REASON = 500
"""Most characters of why somebody decides something."""
LONGEST = {"title": 300, "authors": 500, "paper_url": 500, "venue": 100, "licence": 100, "notes": 4_000}
# Control, format (which holds the bidirectional marks), surrogate and line-separating characters.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
LONGEST_EMBARGO = timedelta(days=366)


class Admission(Protocol):
    """What the store must know of the model zoo; the composition root supplies it."""

    @property
    def max_checkpoint_bytes(self) -> int:
        """Size above which a checkpoint is refused."""

    def architectures(self, dataset: str) -> tuple[str, ...]:
        """Names of the registered architectures that fit the data set."""

    def check_file(self, path: Path) -> None:
        """Raise InvalidCheckpoint where the file is no sound checkpoint."""

    def check_fits(self, path: Path, architecture: str) -> None:
        """Raise InvalidCheckpoint where the file is no sound checkpoint for that architecture."""

    def check_upload(self, path: Path) -> None:
        """Raise InvalidCheckpoint or InvalidExamples where the file is a sound one of neither kind."""

    def check_examples(self, path: Path, dataset: str, count: int) -> None:
        """Raise InvalidExamples where the file does not hold one image for each of so many points of the data set."""


def admit(new: NewSubmission, blobs: Blobs, admission: Admission) -> tuple[NewSubmission, Board]:
    """Clean a submission and check all its fields and its file's header.

    Raises:
        NotFound: there is no such board.
        InvalidSubmission: a field breaks a rule.
        TooLarge: the checkpoint exceeds the limit.
        InvalidCheckpoint: the file is not a sound checkpoint.
    """
    new, board = admit_fields(new, admission)
    _check_checkpoint(new, blobs, admission)
    return new, board


def admit_fields(new: NewSubmission, admission: Admission) -> tuple[NewSubmission, Board]:
    """Clean a submission and check all its fields but the checkpoint.

    Raises:
        NotFound: there is no such board.
        InvalidSubmission: a field breaks a rule.
    """
    board = official_board(new.dataset, new.threat_model)
    if not board.evaluated_here:
        raise _invalid("threat_model", board.name, "a board that is evaluated here", "choose such a board")
    new = _cleaned(new)
    check_name(new.name)
    architectures = admission.architectures(new.dataset)
    if new.architecture not in architectures:
        raise _invalid(
            "architecture", repr(new.architecture[:80]), f"one of {', '.join(architectures)}", "choose one of these"
        )
    check_url(new.paper_url)
    for field in ("claimed_standard_accuracy", "claimed_robust_accuracy"):
        value: float | None = getattr(new, field)
        if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
            raise _invalid(field, str(value), "a number from 0 to 1", "give a fraction, or leave it out")
    if new.analyse and not board.attacked:
        raise _invalid(
            "analyse", f"a wish to be analysed on {board.name}", "a board with an attacker for that", "leave it out"
        )
    _check_privacy(new)
    return new, board


def _check_privacy(new: NewSubmission) -> None:
    """Refuse wishes about the file and the names that contradict each other."""
    if new.zoo_consent and new.private_checkpoint:
        raise _invalid(
            "zoo_consent", "consent, and a private checkpoint", "a checkpoint that may be given to others",
            "say that the checkpoint is not private, or do not consent",
        )  # fmt: skip
    if new.anonymous and not new.private_checkpoint:
        raise _invalid(
            "private_checkpoint", "a file for everybody, of somebody who is not to be known",
            "a private checkpoint with an anonymous submission", "keep the file private: it may tell who made it",
        )  # fmt: skip
    if new.embargo_until is None:
        return
    today = datetime.now(UTC).date()
    if not new.anonymous:
        raise _invalid(
            "embargo_until", new.embargo_until.isoformat(), "no such day where nothing is hidden",
            "make the submission anonymous, or leave the day out",
        )  # fmt: skip
    if not today < new.embargo_until <= today + LONGEST_EMBARGO:
        raise _invalid(
            "embargo_until", new.embargo_until.isoformat(), "a day after today and at most a year ahead",
            "choose such a day, or leave it out and reveal the names yourself",
        )  # fmt: skip


def _cleaned(new: NewSubmission) -> NewSubmission:
    cleaned = {"name": _without_hidden(new.name)}
    for field, longest in LONGEST.items():
        cleaned[field] = cleaned_text(field, getattr(new, field), longest, keep="\n" if field == "notes" else "")
    return new.model_copy(update=cleaned)


def cleaned_text(field: str, text: str, longest: int, keep: str = "") -> str:
    """Return a text without what cannot be seen, and without blanks around it.

    Args:
        field: what to call it.
        text: what was sent.
        longest: most characters.
        keep: characters that stay, though they cannot be seen.
    Raises:
        InvalidSubmission: it is too long.
    """
    text = _without_hidden(text, keep)
    if len(text) > longest:
        raise _invalid(field, f"{len(text)} characters", f"at most {longest}", "shorten the text")
    return text


def _without_hidden(text: str, keep: str = "") -> str:
    text = unicodedata.normalize("NFC", text)
    # A tab or line break separates words, so it becomes a space; what is invisible anyway just goes.
    text = "".join(" " if char in "\t\n\r" and char not in keep else char for char in text)
    return "".join(char for char in text if char in keep or unicodedata.category(char) not in _HIDDEN).strip()


def check_name(name: str) -> None:
    """Refuse a name that no entry may bear.

    Raises:
        InvalidSubmission: it is one.
    """
    if not NAME.fullmatch(name):
        expected = "1 to 80 letters, digits, spaces or . _ + -, the first a letter or digit"
        raise _invalid("name", repr(name[:100]), expected, "choose another name")


def check_url(url: str, field: str = "paper_url") -> None:
    """Refuse an address of a paper that is none, or not https.

    Args:
        url: the address; an empty one is none, and no error.
        field: what to call it.
    Raises:
        InvalidSubmission: it is.
    """
    if not url:
        return
    try:
        parts = urlsplit(url)
        sound = (
            parts.scheme == "https" and bool(parts.hostname) and parts.username is None and not re.search(r"\s", url)
        )
    except ValueError:
        sound = False
    if not sound:
        raise _invalid(field, repr(url[:100]), "an address that begins with https://", "link the paper by https")


def _check_checkpoint(new: NewSubmission, blobs: Blobs, admission: Admission) -> None:
    sha256 = new.checkpoint_sha256
    try:
        size, limit = blobs.size(sha256), admission.max_checkpoint_bytes
    except NotFound:
        raise checkpoint_missing(sha256) from None
    if size > limit:
        raise TooLarge.because(
            "checkpoint", found=f"{size} bytes", expected=f"at most {limit} bytes", remedy="submit a smaller model"
        )
    admission.check_fits(blobs.path(sha256), new.architecture)


def checkpoint_missing(sha256: str) -> InvalidInput:
    """Return the error about a checkpoint that is not here."""
    return _invalid(
        "checkpoint_sha256", repr(sha256[:80]), "the SHA-256 of an uploaded file", "upload the checkpoint first"
    )


def _invalid(field: str, found: str, expected: str, remedy: str) -> InvalidInput:
    return InvalidSubmission.because(field, found=found, expected=expected, remedy=remedy)
