"""The page about the models of the digits boards says what its numbers say."""

from __future__ import annotations

from bench.analysis import BOARDS, NUMBERS, PAGE, UNDEFENDED, findings, page, read
from benchmark.threat_models import official_board


def test_the_page_is_that_of_its_numbers() -> None:
    boards = read(NUMBERS)
    assert {name: tuple(found.studies) for name, found in boards.items()} == dict(BOARDS)
    assert PAGE.read_text(encoding="utf-8") == page(boards)
    for name, found in boards.items():
        budget = official_board("digits", name).budget
        assert {(one.points, one.epsilon) for one in found.studies.values()} == {(500, str(budget.epsilon))}


def test_findings_follow_from_the_numbers() -> None:
    boards = read(NUMBERS)
    linf = boards["Linf"]
    assert "underconfident: the best temperature of each is below 1. Linf: **holds**" in " ".join(
        findings(boards).split()
    )
    assert "better aligned than those of the undefended one. Linf: **does not hold**" in " ".join(
        findings(boards).split()
    )
    plain = linf.studies[UNDEFENDED]
    rough = dict.fromkeys(linf.studies, plain)
    held = findings({"Linf": type(linf)(rough, linf.transfer, linf.seconds)})
    assert "smoother at their output than the undefended one. Linf: **does not hold**" in " ".join(held.split())
