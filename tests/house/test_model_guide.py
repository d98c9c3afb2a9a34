from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import model_zoo
from model_zoo import registry
from model_zoo.checking import check_published
from model_zoo.registry import read_published
from tests.house.layout import ROOT

GUIDE = (ROOT / "docs/adding-a-model.md").read_text(encoding="utf-8")
(CARD,) = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)
(CALL,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A zoo that has the guide's card alone."""
    path = tmp_path / "cards/cifar10/Linf/Doe2026Example.toml"
    path.parent.mkdir(parents=True)
    path.write_text(CARD, encoding="utf-8")
    monkeypatch.setattr(registry, "_ROOM", tmp_path)
    registry.cards.cache_clear()
    registry.published.cache_clear()
    yield path
    registry.cards.cache_clear()
    registry.published.cache_clear()


def test_the_card_in_the_guide_makes_a_model(room: Path) -> None:
    assert check_published(read_published(room)).keys == 155
    exec(compile(CALL, "docs/adding-a-model.md", "exec"), {})  # noqa: S102
    model = model_zoo.load_model("doe2026example", dataset="cifar10", threat_model="Linf", pretrained=False)
    again = model_zoo.load_model("doe2026example", dataset="cifar10", threat_model="Linf", pretrained=False)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(model(x), again(x))


def test_the_guide_names_every_field_of_a_card() -> None:
    told = set(re.findall(r"`([a-z_]+)`", GUIDE)) | set(re.findall(r"^([a-z_]+) = ", CARD, flags=re.MULTILINE))
    assert set(registry.PublishedCard.model_fields) - told == set()
