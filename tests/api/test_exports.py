"""Boards as CSV, BibTeX and LaTeX: nothing in them is a formula or a command that an author has written."""

from __future__ import annotations

import csv
import io
import re

import pytest

from api.exports.formats import Format, wanted
from api.exports.latex import as_latex
from api.exports.table import COLUMNS, as_csv
from benchmark.threat_models import BOARDS
from store.bibtex import as_bibtex, citation_key
from store.board_filters import BoardFilters
from store.boards import get_board
from store.characters import as_tex
from store.views import Badge, BoardRow, BoardView, ExtraData
from tests.api.shape import assert_error
from tests.running import Running
from tests.store.material import board_entry, fill_board

NASTY = [
    "\\input{/etc/passwd}",
    '100% & $5 #1 a_b {x} } { ~ ^ < > | "q"',
    "@article{evil,",
    "a\r\nb\tc\u2028d\u202e",
    "\\",
]
ADDRESS = "/api/v1/leaderboards/cifar10/Linf"


def a_row(**changes: object) -> BoardRow:
    fields = dict.fromkeys(BoardRow.model_fields) | {
        "model_id": "Method",
        "badge": Badge.REPORTED,
        "title": "A Title",
        "authors": "Jane Doe, Ada Été",
        "venue": "ICLR 2021",
        "link": "https://arxiv.org/abs/2003.01690",
        "architecture": "",
        "extra_data": ExtraData.NONE,
        "best_known_source": "AutoAttack",
        "baseline": False,
        "footnote": "",
        "findings": (),
        "anonymous": False,
        "withdrawn_reason": "",
        "old_protocol": False,
    }
    return BoardRow.model_validate(fields | changes)


def a_board(*rows: BoardRow, epsilon: str | None = "8/255") -> BoardView:
    return BoardView(
        dataset="cifar10",
        threat_model="Linf",
        title="CIFAR-10",
        epsilon=epsilon,
        points=10,
        evaluated_here=False,
        total=len(rows),
        matching=len(rows),
        rows=rows,
    )


def depth_is_sound(text: str) -> bool:
    """Tell whether braces balance as BibTeX counts them: whatever stands before them."""
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0


def without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("%")]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_csv_is_a_formula(start: str) -> None:
    evil = f'{start}HYPERLINK("http://x"),\n\'a'
    board = a_board(a_row(model_id=evil, title=evil, authors=evil, venue=evil, footnote=evil, best_known_source=evil))
    text = as_csv(board)
    header, row = csv.reader(io.StringIO(text, newline=""))
    assert tuple(header) == COLUMNS
    assert [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    assert dict(zip(header, row, strict=True))["title"] == f"'{evil}"


def test_the_columns_of_a_csv_are_all_that_a_row_says(service: Running) -> None:
    intervals = {"standard_interval", "robust_interval"}
    assert set(COLUMNS) >= set(BoardRow.model_fields) - intervals
    board = get_board(service.services.db, "cifar10", "Linf")
    rows = list(csv.DictReader(io.StringIO(as_csv(board))))
    assert [row["model_id"] for row in rows] == [row.model_id for row in board.rows]
    for written, row in zip(rows, board.rows, strict=True):
        assert float(written["best_known_robust_accuracy"]) == row.best_known_robust_accuracy
        assert written["baseline"] == ("true" if row.baseline else "false")
        assert written["mce"] == ""


@pytest.mark.parametrize("text", NASTY)
def test_tex_prints_what_authors_write(text: str) -> None:
    written = as_tex(text)
    words = ("backslash", "braceleft", "braceright", "asciitilde", "asciicircum", "less", "greater", "bar")
    commands = rf"\\(?:text(?:{'|'.join(words)})|char34)\{{\}}"
    left = re.sub(commands + r"|\\[$&%#_]", "", written)
    assert not set(left) & set('\\{}~^<>|"$&%#_\n\r\t\u2028\u202e')
    assert depth_is_sound(written)


def test_bibtex_has_one_sound_entry_a_paper_and_names_what_has_none() -> None:
    rows = [a_row(model_id=f"m{i} {text}", title=text, authors=text, venue=text) for i, text in enumerate(NASTY)]
    rows += [a_row(model_id=f"other {i}", link=f"https://example.org/{{{i}}}?a=%20&b=}}") for i in range(2)]
    rows += [a_row(model_id="none @misc{x,\n@article{y", link="")]
    text = as_bibtex(a_board(*rows))
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert sum("Left out" in line for line in comments) == 1
    assert "@" not in "".join(comments)
    body = "\n".join(without_comments(text))
    assert depth_is_sound(body)
    entries = re.findall(r"^@misc\{([^,]+),$", body, flags=re.MULTILINE)
    assert len(entries) == len(set(entries)) == 3
    assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in entries)
    for line in body.splitlines():
        assert line in {"", "}"} or line.startswith("@misc{") or (line.startswith("  ") and depth_is_sound(line))
    assert "eprint = {2003.01690}" in body


def test_a_citation_key_follows_from_the_paper_alone(service: Running) -> None:
    assert (
        citation_key(a_row())
        == citation_key(a_row(model_id="Another", rank=7))
        == "doe2021title-a2d43fbb"[:13] + (citation_key(a_row())[13:])
    )
    assert citation_key(a_row()) == citation_key(a_row(model_id="Another", rank=7))
    assert re.fullmatch("doe2021title-[0-9a-f]{8}", citation_key(a_row()))
    assert citation_key(a_row()) != citation_key(a_row(link="https://arxiv.org/abs/2003.01691"))
    assert citation_key(a_row(authors="", title="…", venue="", link="https://x.org")).startswith("anonymous-")
    for board in BOARDS:
        view = get_board(service.services.db, board.dataset, board.threat_model)
        papers = {row.link for row in view.rows if row.link}
        keys = re.findall(r"^@misc\{([^,]+),$", as_bibtex(view), flags=re.MULTILINE)
        assert len(keys) == len(set(keys)) == len(papers)


def test_latex_is_a_balanced_table_of_six_columns(service: Running) -> None:
    nasty = a_board(*(a_row(model_id=text, best_known_source=text) for text in NASTY))
    boards = [get_board(service.services.db, board.dataset, board.threat_model) for board in BOARDS]
    for board in [nasty, *boards]:
        lines = without_comments(as_latex(board))
        assert lines[:2] == [r"\begin{tabular}{rlrrrl}", r"\toprule"]
        assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
        assert lines[3] == r"\midrule"
        rows = [lines[2], *lines[4:-2]]
        assert len(rows) == 1 + len(board.rows)
        for row in rows:
            assert row.endswith(r" \\")
            assert len(re.findall(r"(?<!\\)&", row)) == 5
            assert not re.search(r"(?<!\\)[%$#_]", row)
            assert depth_is_sound(row)


@pytest.mark.parametrize(
    ("asked", "accept", "expected"),
    [
        (None, "", Format.JSON),
        (None, "*/*", Format.JSON),
        (None, "text/csv", Format.CSV),
        (None, "TEXT/CSV; q=0.5, application/json;q=0.9", Format.JSON),
        (None, "text/html, text/csv;q=0.1", Format.CSV),
        (None, "text/csv;q=0", Format.JSON),
        (None, "text/csv;q=many,;;,", Format.JSON),
        (Format.JSON, "text/csv", Format.JSON),
        (Format.LATEX, "text/csv", Format.LATEX),
    ],
)
def test_the_format_is_the_one_that_is_named_or_accepted(asked: Format | None, accept: str, expected: Format) -> None:
    assert wanted(asked, accept) is expected


def test_a_board_is_sent_in_every_format(service: Running) -> None:
    types = {"csv": "text/csv", "bibtex": "application/x-bibtex", "latex": "application/x-latex"}
    for name, media in types.items():
        answer = service.http.get(ADDRESS, params={"format": name, "search": "carmon"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media)
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["vary"].startswith("Accept")
        assert answer.headers["x-content-type-options"] == "nosniff"
    accepted = service.http.get(ADDRESS, headers={"Accept": "text/csv"})
    assert accepted.text == as_csv(get_board(service.services.db, "cifar10", "Linf"))
    assert_error(service.http.get(ADDRESS, params={"format": "xlsx"}), 422, "invalid_input", "format")


def test_a_reader_follows_the_links_through_the_whole_board(service: Running) -> None:
    fill_board(service.services.db, 23)
    address = "/api/v1/leaderboards/digits/L2?search=method 0&limit=10&sort=name"
    seen: list[str] = []
    while address:
        answer = service.http.get(address)
        assert answer.headers["x-total-count"] == "23"
        assert ("prev" in answer.links) == bool(seen)
        assert all(link["url"].startswith("/api/v1/") for link in answer.links.values())
        seen += [row["model_id"] for row in answer.json()["rows"]]
        address = answer.links.get("next", {}).get("url", "")
    assert seen == [f"Method {i:05d}" for i in range(23)]
    beyond = service.http.get("/api/v1/leaderboards/digits/L2?offset=1000&limit=10")
    assert service.http.get(beyond.links["prev"]["url"]).json()["rows"][-1]["model_id"] == "Method 00022"


def test_filters_and_moments_are_asked_for_by_name(service: Running) -> None:
    db = service.services.db
    with db.transaction() as session:
        session.add(board_entry("A", 0.5))
        session.add(board_entry("B", 0.2, published_ms=1))
    address = "/api/v1/leaderboards/digits/L2"
    part = service.http.get(address, params={"minimum_robust_accuracy": 0.3, "flagged": "no", "order": "asc"}).json()
    assert part == get_board(db, "digits", "L2", BoardFilters(minimum_robust_accuracy=0.3)).model_dump(mode="json")
    then = service.http.get(address, params={"as_of": "1970-01-01"}).json()
    assert ([row["model_id"] for row in then["rows"]], then["as_of_ms"]) == (["B"], 86_399_999)


def test_refuses_filters_that_there_cannot_be(service: Running) -> None:
    for name, value in (
        ("as_of", "yesterday"),
        ("as_of", "2026-01-01T00:00:00 02:00"),
        ("flagged", "perhaps"),
        ("order", "up"),
        ("minimum_robust_accuracy", "nan"),
        ("minimum_standard_accuracy", "60"),
        ("maximum_parameters", str(2**80)),
        ("extra_data", "much"),
        ("venue", "x" * 201),
    ):
        assert_error(service.http.get(ADDRESS, params={name: value}), 422, "invalid_input", name)
