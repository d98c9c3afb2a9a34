from __future__ import annotations

from bench import zoo_page
from bench.zoo_table import described, merged, place, read_table
from model_zoo.registry import published

CARDS = {place(card): card for card in published()}
WITHOUT_PEER = {"cifar10/Linf/Pang2020Bag", "cifar10/Linf/ZhangWang2019Defense"}


def test_every_entry_of_the_boards_has_a_card_or_a_reason() -> None:
    without = [model for absence in zoo_page.absences() for model in absence.models]
    assert len(without) == len(set(without))
    assert set(without).isdisjoint(CARDS)
    assert set(zoo_page.entries()) - set(CARDS) == set(without)


def test_the_networks_of_the_boards_models_were_compared_as_they_are_and_agree() -> None:
    results = {result.model: result for result in read_table().results}
    current = {model for model, result in results.items() if described(CARDS[model]) == result.network}
    assert set(CARDS).intersection(zoo_page.entries()) - current == WITHOUT_PEER
    assert [result.model for result in results.values() if not result.agrees] == []
    assert [result.model for result in results.values() if result.difference > 0.01 * result.spread] == []


def test_the_page_is_the_one_that_the_numbers_make() -> None:
    assert zoo_page.PAGE.read_text(encoding="utf-8") == zoo_page.page(), "run python -m bench.zoo_page"


def test_newer_results_take_the_place_of_older_ones() -> None:
    first, second, *_ = read_table().results
    changed = type(first)(**{**vars(first), "difference": 1.0})
    assert merged([second, first], [changed]) == (changed, second)
