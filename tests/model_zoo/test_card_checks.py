from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.errors import InvalidInput
from model_zoo.architectures import wide_resnet
from model_zoo.checking import CardCheck, check_published
from model_zoo.registry import PublishedCard

SMALL = PublishedCard(
    id="Doe2026Example",
    dataset="cifar10",
    threat_model="Linf",
    title="An Example of a Defence",
    module="wide_resnet",
    network="WideResNet",
    parameters=77_850,
    unused=("sub_block1.",),
    renamed={"backbone.": ""},
    arguments={"depth": 10, "width": 1, "normalization": "cifar10"},
)


class OverTheBatch(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3))
        return self.fc(means - means.mean(0))  # type: ignore[no-any-return]


class Logarithms(OverTheBatch):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(torch.zeros(len(x), 10))


def test_a_right_card_tells_what_its_network_is() -> None:
    assert check_published(SMALL) == CardCheck("WideResNet", 77_850, 46, 10)


@pytest.mark.parametrize(
    ("change", "field", "found", "expected"),
    [
        ({"parameters": 77_851}, "parameters", "77_851", "77_850, as WideResNet has"),
        ({"module": "nowhere"}, "network", "WideResNet in nowhere", "a class in a file"),
        ({"network": "NarrowResNet"}, "network", "NarrowResNet in wide_resnet", "a class in a file"),
        ({"arguments": {"depth": 10}}, "arguments", "missing 1 required positional argument: 'width'", "of WideResNet"),
        ({"arguments": {"normalization": "mnist"}}, "normalization", "'mnist'", "one of none, image"),
        ({"unused": ("fc.",)}, "unused", "fc.weight, fc.bias", "nothing uses"),
        ({"unused_endings": (".bn2.bias",)}, "unused", "block1.layer.0.bn2.bias", "nothing uses"),
        ({"renamed": {"head.": "classifier."}}, "renamed", "classifier.", "beginnings of the network's names"),
        ({"network": "Logarithms", "parameters": 40, "arguments": {}}, "answers", "0 values of them finite", "[2, 10]"),
        ({"network": "OverTheBatch", "parameters": 40, "arguments": {}}, "answers", "changes with the other", "alone"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_with_a_card_is_told(
    change: dict[str, Any], field: str, found: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for network in (OverTheBatch, Logarithms):
        monkeypatch.setattr(wide_resnet, network.__name__, network, raising=False)
    with pytest.raises(InvalidInput) as caught:
        check_published(SMALL.model_copy(update=change))
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
    assert found in caught.value.detail.found
    assert expected in caught.value.detail.expected
