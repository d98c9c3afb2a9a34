"""The page about catastrophic overfitting: it says what was measured."""

from __future__ import annotations

import re
from pathlib import Path

from bench.overfitting import SETTING, cells
from bench.overfitting_page import EPSILONS, FIGURE, LARGE, NUMBERS, PAGE, RECIPES, SEEDS, draw, page, read


def test_every_cell_was_measured_with_todays_setting() -> None:
    found = read(NUMBERS)
    measured = [(one.recipe, one.epsilon, one.seed) for one in found.outcomes]
    wanted = [(cell.recipe, cell.epsilon, cell.seed) for cell in cells() if cell.seed in found.seeds]
    assert sorted(measured) == sorted(wanted)
    assert len(wanted) >= len(RECIPES) * len(EPSILONS)
    assert found.setting == SETTING


def test_the_page_is_made_from_the_numbers() -> None:
    found, text = read(NUMBERS), PAGE.read_text(encoding="utf-8")
    assert text == page(found)
    rows = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| ([\d.]+)% .*$", text, re.MULTILINE)
    shown = {(recipe, epsilon): float(share) for recipe, epsilon, share in rows}
    assert len(shown) == len(RECIPES) * len(EPSILONS)
    for (recipe, epsilon), share in shown.items():
        seeds = [one.standard_accuracy for one in found.outcomes if (one.recipe, one.epsilon) == (recipe, epsilon)]
        assert abs(100 * sum(seeds) / len(seeds) - share) <= 0.051


def test_the_numbers_show_what_the_page_is_about() -> None:
    """FGSM's networks resist one step and fall to PGD where GradAlign's and PGD-10's do not, with every seed."""
    found = read(NUMBERS)
    fgsm, pgd, aligned = (found.of(recipe, LARGE) for recipe in ("fgsm", "pgd-10", "grad-align"))
    assert found.seeds == SEEDS
    assert max(one.robust_accuracy for one in fgsm) < 0.1
    assert min(one.one_step_accuracy for one in fgsm) > 0.8
    assert min(one.robust_accuracy for one in aligned) > 0.4
    assert min(one.robust_accuracy for one in pgd) > 0.6
    assert all(one.overfitted_in is not None for one in found.of("fgsm", EPSILONS[-1]))
    for recipe in ("pgd-10", "grad-align"):
        assert [one for epsilon in EPSILONS for one in found.of(recipe, epsilon) if one.overfitted_in] == []
    assert len(found.example.epochs) == found.setting.epochs


def test_the_figure_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    drawn = []
    for attempt in range(2):
        draw(read(NUMBERS), tmp_path / f"{attempt}.svg")
        drawn.append((tmp_path / f"{attempt}.svg").read_bytes())
    assert drawn[0] == drawn[1]
    assert FIGURE.read_bytes().startswith(b"<?xml")
