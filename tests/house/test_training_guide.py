"""The guide to training names every recipe that there is, with the paper that its card names."""

from __future__ import annotations

import re

import pytest

from model_zoo.recipe import RECIPE_PATTERN
from model_zoo.recipes.carding import source_of
from model_zoo.recipes.making import NAMES
from tests.house.layout import ROOT
from tests.model_zoo.trainings import recipe

GUIDE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([^`]+)` \| .* \| (\S*) ?\|$", GUIDE, flags=re.MULTILINE)


def test_the_table_names_the_recipes_in_their_order() -> None:
    assert [name.replace("pgd-10", "pgd-K").replace("free-8", "free-M") for name in NAMES] == [name for name, _ in ROWS]


@pytest.mark.parametrize(("row", "source"), ROWS, ids=[name for name, _ in ROWS])
def test_the_table_names_the_source_that_cards_name(row: str, source: str) -> None:
    name = row.replace("K", "10").replace("M", "8")
    assert re.fullmatch(RECIPE_PATTERN, name)
    undefended: dict[str, object] = {"norm": None, "epsilon": None} if name == "standard" else {}
    found = source_of(recipe(name, **undefended))
    assert (found.link.rpartition("/")[2] if found else "") == source.removeprefix("arXiv:")
