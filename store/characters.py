"""Text that TeX prints as it stands."""

from __future__ import annotations

import re
import unicodedata

_WRITTEN = {
    "\\": r"\textbackslash{}",
    # Not \{ and \}: BibTeX counts braces, whatever stands before them.
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
} | {character: f"\\{character}" for character in "$&%#_"}


def as_tex(text: str) -> str:
    """Return a text in which nothing is a command, on one line."""
    return "".join(_WRITTEN.get(character, character) for character in on_one_line(text))


def as_comment(text: str) -> str:
    """Return a text for a comment, in TeX and in BibTeX, which looks for an @ even there."""
    return on_one_line(text).replace("@", "(at)")


def on_one_line(text: str) -> str:
    """Return a text without line breaks, control and formatting characters, and with single spaces."""
    printable = (" " if unicodedata.category(character)[0] in "CZ" else character for character in text)
    return re.sub(" +", " ", "".join(printable)).strip()
