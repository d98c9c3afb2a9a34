from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.catalogue import CATALOGUE
from benchmark.protocols import PROTOCOLS
from benchmark.threat_models import official_board
from gauntlet.admission import ZooAdmission
from tests.house.layout import ROOT

DOCUMENTS = [ROOT / name for name in ("README.md", "CHANGELOG.md")] + sorted((ROOT / "docs").rglob("*.md"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith(("http:", "https:", "mailto:"))]
    assert [link for link in local if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_named_in_documents_exist(document: Path) -> None:
    named = re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(named) - TARGETS == set()


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_command_line_is_told_of_every_protocol_and_of_every_attack_with_its_options() -> None:
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    section = text.partition("\n## Protocols and attacks\n")[2].partition("\n## ")[0]
    tables = [re.findall(r"^\| (`.*) \|$", table, flags=re.MULTILINE) for table in section.split("| Attack |")]
    protocols, attacks = ([[re.findall(r"`([^`]+)`", cell) for cell in row.split(" | ")] for row in t] for t in tables)
    assert [row[0] for row in protocols] == [[protocol.name] for protocol in PROTOCOLS]
    told = {name: tuple(row[2]) for row in attacks for name in row[0]}
    assert told == {name: entry.options for name, entry in CATALOGUE.items()}


def test_the_readme_submits_to_a_board_that_exists_with_an_architecture_that_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^gauntlet submit .*$", readme, flags=re.MULTILINE)
    options = dict(re.findall(r"--([a-z-]+) (\S+)", command))
    assert official_board(options["dataset"], options["threat-model"]).evaluated_here
    assert options["architecture"] in ZooAdmission(1).architectures(options["dataset"])
    fields = dict(re.findall(r'\\"(\w+)\\": \\"([^"\\]+)\\"', readme))
    for option, value in options.items():
        assert fields[option.replace("-", "_")] == value
