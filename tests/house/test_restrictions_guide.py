"""The guide for authors says what is checked: each rule in its words, with its remedy and its thresholds."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest

from benchmark.restrictions import POLICY, replay
from benchmark.restrictions.subject import Restriction
from tests.house.layout import ROOT

GUIDE = (ROOT / "docs" / "restrictions.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", re.DOTALL | re.MULTILINE)
SECTIONS = {code: " ".join(text.split()) for code, text in SECTION.findall(GUIDE)}


def module_of(restriction: Restriction) -> ModuleType:
    """The file of a rule."""
    look = restriction.on_model or restriction.on_graph
    return sys.modules[look.__module__] if look else replay


def test_it_has_the_rules_of_the_present_version_in_their_order() -> None:
    assert list(SECTIONS) == [restriction.code for restriction in POLICY.restrictions]
    assert f"version {POLICY.version} of the restrictions" in " ".join(GUIDE.split())


@pytest.mark.parametrize("restriction", POLICY.restrictions, ids=lambda restriction: restriction.code)
def test_it_tells_each_rule_as_it_is_checked(restriction: Restriction) -> None:
    section = SECTIONS[restriction.code]
    assert section.startswith(restriction.rule.sentence)
    assert ("**Model**" in section, "**Graph**" in section) == (restriction.rule.on_model, restriction.rule.on_graph)
    assert section.count("**Remedy**") == 1


@pytest.mark.parametrize("restriction", POLICY.restrictions, ids=lambda restriction: restriction.code)
def test_it_names_every_threshold_and_remedy(restriction: Restriction) -> None:
    module = module_of(restriction)
    of_the_file = " ".join(SECTIONS[one.code] for one in POLICY.restrictions if module_of(one) is module)
    named = re.compile(r"\w+_FROM|\w*THRESHOLD|TOLERANCE|_FEW_IMAGES|_REMEDY")
    for constant, value in vars(module).items():
        if named.fullmatch(constant):
            told = value if isinstance(value, str) else f"{value:.5f}".rstrip("0").rstrip(".")
            assert re.search(rf"(?<![\d.]){re.escape(told)}(?!\d)", of_the_file), (constant, told)
