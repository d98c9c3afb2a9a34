"""The papers behind a leaderboard, as BibTeX."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote

from store.characters import as_comment, as_tex, on_one_line
from store.venues import last_year_in
from store.views import BoardRow, BoardView

_ARXIV = re.compile(r"https?://arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})(?:v\d+)?(?:\.pdf)?/?")
_URL_CHARACTERS = "!#$&'()*+,/:;=?@[]~%"
_SMALL_WORDS = frozenset({"a", "an", "the", "on", "of", "in", "for", "to", "and", "with"})


def as_bibtex(board: BoardView) -> str:
    """Return one BibTeX entry for each paper of a board's rows, in their order; entries without one are named."""
    papers: dict[str, list[BoardRow]] = {}
    for row in board.rows:
        if row.link:
            papers.setdefault(row.link, []).append(row)
    lines = [f"% {as_comment(board.title)}: {len(papers)} papers behind {len(board.rows)} entries.", ""]
    without = (as_comment(row.model_id) for row in board.rows if not row.link)
    lines += [f"% Left out, since no paper is known of it: {name}" for name in without]
    return "\n".join([*lines, *(_entry(link, rows) for link, rows in papers.items())]) + "\n"


def as_citation(row: BoardRow, place: str, address: str) -> str:
    """Return one BibTeX entry for one model: for its paper, or where none is known for its entry here.

    Args:
        row: the entry.
        place: where the entry is, and since which year.
        address: of its page.
    """
    if not row.link:
        row = row.model_copy(update={"link": address, "venue": place})
    return _entry(row.link, [row]).strip()


def citation_key(row: BoardRow) -> str:
    """Return the key of an entry's paper: it follows from the paper alone, so it is the same on every board.

    Surname, year and first word are for people; the digits behind them keep any two papers apart.
    """
    surname = _plain((_authors(row.authors) or ["anonymous"])[0].rpartition(" ")[2]) or "anonymous"
    words = [word for word in map(_plain, on_one_line(row.title).split()) if word and word not in _SMALL_WORDS]
    digits = hashlib.sha256(row.link.encode()).hexdigest()[:8]
    return f"{surname}{_year(row)}{words[0] if words else ''}-{digits}"


def _entry(link: str, rows: Sequence[BoardRow]) -> str:
    row = rows[0]
    paper = _ARXIV.fullmatch(link)
    fields = {
        "title": f"{{{as_tex(row.title or row.model_id)}}}",
        "author": " and ".join(_author(name) for name in _authors(row.authors)),
        "year": _year(row),
        "howpublished": as_tex(row.venue),
        "eprint": paper[1] if paper else "",
        "archivePrefix": "arXiv" if paper else "",
        "url": quote(link, safe=_URL_CHARACTERS),
        "note": "Models: " + ", ".join(as_tex(one.model_id) for one in rows),
    }
    written = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"\n@misc{{{citation_key(row)},\n{written}\n}}"


def _authors(authors: str) -> list[str]:
    names = re.split(r",\s*(?:and\s+)?|\s+and\s+|;\s*", on_one_line(authors))
    return [name.strip() for name in names if name.strip()]


def _author(name: str) -> str:
    alone, together = as_tex(name), name.casefold().rstrip(".") in {"et al", "others"}
    return "others" if together else alone


def _year(row: BoardRow) -> str:
    year = last_year_in(row.venue)
    paper = _ARXIV.fullmatch(row.link)
    if year is not None:
        return str(year)
    return f"20{paper[1][:2]}" if paper else ""


def _plain(word: str) -> str:
    """Return a word in small letters and digits that every BibTeX takes in a key."""
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", word).casefold())
