"""The form in which the search runs a model answers as the model does, or is not used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark import ThreatModel, datasets, evaluate
from benchmark.input_convolution import InputConvolution
from benchmark.rewriting import Pooling
from benchmark.search_model import SearchModel, search_model
from model_zoo import load_model
from tests.benchmark.models import points

SHAPE = (3, 12, 10)


class Residual(nn.Module):
    """Convolutions with batch normalisation, a branch, and a normalisation of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second, self.second_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first_norm(self.first((x - 0.4) / 0.3)))
        x = functional.relu(x + self.second_norm(self.second(x)))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Pooled(Residual):
    """Pools twice, the second time with blocks that overlap."""

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.first_norm(self.first(x))), 2)
        x = functional.max_pool2d(functional.relu(self.second_norm(self.second(x))), 3, stride=2, padding=1)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Branching(Residual):
    """Cannot be traced: the way through it depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if bool(x.sum() > -1) else super().forward(-x)


class Particular(Residual):
    """Answers differently where its input lies in memory as convolutions like it."""

    def forward(self, x: Tensor) -> Tensor:
        scale = 2.0 if x.is_contiguous() else 1.0
        return scale * super().forward(x)


class Uncopyable(Residual):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("one of a kind")


class Shared(Residual):
    """One normalisation behind two convolutions, and one convolution whose answer is used twice."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = functional.relu(self.first_norm(x)) + x
        logits: Tensor = self.head(functional.relu(self.first_norm(self.second(x))).mean((2, 3)))
        return logits


def _trained(kind: type[nn.Module]) -> nn.Module:
    """Return a network whose batch normalisations do something."""
    torch.manual_seed(0)
    model = kind()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(torch.as_tensor(tensor), std=0.5)
            nn.init.uniform_(torch.as_tensor(module.running_var), 0.3, 3)
    return model.eval().requires_grad_(False)


def _search(model: nn.Module, precision: str = "float32") -> tuple[SearchModel, Tensor]:
    x, _ = points(16, SHAPE, 5)
    with torch.no_grad():
        return search_model(model, x, model(x), "mixed" if precision == "mixed" else "float32"), x


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        (Residual, "channels_last, folded"),
        (Pooled, "channels_last, folded, pooled first"),
        (Shared, "channels_last"),
        (Branching, "channels_last"),
        (Particular, "contiguous"),
        (Uncopyable, "contiguous"),
    ],
)
def test_form_is_the_fastest_that_answers_alike(kind: type[nn.Module], layout: str) -> None:
    model = _trained(kind)
    found, x = _search(model)
    assert (found.layout, found.precision) == (layout, "float32")
    images = x.clone(memory_format=found.memory_format)
    torch.testing.assert_close(found.model(images), model(x), rtol=1e-4, atol=1e-5)


def test_input_gradients_are_the_models() -> None:
    model = _trained(Residual)
    found, x = _search(model)
    assert [name for name, layer in found.model.named_modules() if isinstance(layer, InputConvolution)] == ["first"]
    gradients = []
    for network in (model, found.model):
        images = x.clone(memory_format=found.memory_format).requires_grad_()
        gradients.append(torch.autograd.grad(network(images).logsumexp(1).sum(), images)[0])
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_model_is_left_as_it_was() -> None:
    model = _trained(Residual)
    before = {name: (value.clone(), value.stride()) for name, value in model.state_dict().items()}
    _search(model)
    _search(model, "mixed")
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name][0])
        assert value.stride() == before[name][1]


def test_lower_precision_is_kept_to_the_inner_layers() -> None:
    model = _trained(Residual)
    found, x = _search(model, "mixed")
    assert (found.layout, found.precision) == ("channels_last, folded", "mixed")
    dtypes = {name: value.dtype for name, value in found.model.named_parameters() if name.endswith("weight")}
    assert dtypes == {"first.weight": torch.float32, "second.weight": torch.bfloat16, "head.weight": torch.float32}
    answers = found.model(x.clone(memory_format=found.memory_format))
    assert answers.dtype == torch.float32
    assert not torch.equal(answers, model(x))
    torch.testing.assert_close(answers, model(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("kind", [Residual, Pooled])
def test_gradients_in_lower_precision_point_the_same_way(kind: type[nn.Module]) -> None:
    model = _trained(kind)
    found, x = _search(model, "mixed")
    first = found.model.get_submodule("first")
    assert isinstance(first, InputConvolution)
    assert first.get_buffer("_blocks").dtype == torch.bfloat16

    def gradient(network: nn.Module) -> Tensor:
        images = x.clone(memory_format=found.memory_format).requires_grad_()
        return torch.autograd.grad(network(images).logsumexp(1).sum(), images)[0].flatten(1)

    assert gradient(found.model).dtype == torch.float32
    # Rounding moves the maxima of some images, and their gradients with them.
    assert float(functional.cosine_similarity(gradient(model), gradient(found.model)).median()) > 0.99


class PooledAtOnce(Pooled):
    """Pools the image itself as well."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.max_pool2d(x, 2))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Pooled, [torch.float32, torch.bfloat16] + 2 * [torch.bfloat16]),
        (PooledAtOnce, 2 * [torch.float32] + [torch.float32, torch.bfloat16] + 2 * [torch.bfloat16]),
    ],
)
def test_lower_precision_begins_behind_the_first_layer_and_its_pooling(
    kind: type[nn.Module], expected: list[torch.dtype]
) -> None:
    found, x = _search(_trained(kind), "mixed")
    seen: list[torch.dtype] = []
    for module in found.model.modules():
        if isinstance(module, Pooling):
            # Behind the hooks that lower the precision.
            module.register_forward_hook(lambda _module, inputs, output: seen.extend((inputs[0].dtype, output.dtype)))
    found.model(x.clone(memory_format=found.memory_format))
    assert found.precision == "mixed"
    assert seen == expected


def test_without_inner_layers_there_is_nothing_to_lower() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(360, 5)).eval().requires_grad_(False)
    found, _ = _search(model, "mixed")
    assert (found.model, found.precision, found.layout) == (model, "float32", "contiguous")


def test_model_that_forgets_its_answers_in_lower_precision_is_searched_in_float32() -> None:
    class Delicate(Residual):
        def forward(self, x: Tensor) -> Tensor:
            return 1e4 * (super().forward(x + 100) - super().forward(x + 100.001))

    assert _search(_trained(Delicate), "mixed")[0].precision == "float32"


@pytest.mark.parametrize("protocol", ["standard", "mixed"])
def test_search_form_stands_in_the_report(protocol: str) -> None:
    model = _trained(Residual)
    x, y = points(8, SHAPE, 5)
    budget = ThreatModel("Linf", "1/100", None)
    report = evaluate(model, x, y, budget, protocol=protocol, diagnostics=False).report
    assert report.provenance.layout == "channels_last, folded"
    assert report.provenance.precision == {"standard": "float32", "mixed": "mixed"}[protocol]
    assert report.protocol == f"{protocol}-1"


@pytest.mark.slow
def test_precise_search_and_preview_find_nearly_the_same() -> None:
    model = load_model("Digits_Standard", dataset="digits", threat_model="Linf")
    data = datasets.load("digits", "test", 24)
    budget = ThreatModel("Linf", "1/20", "digits")
    names = ("standard", "mixed")
    reports = [evaluate(model, data.x, data.y, budget, protocol=name, diagnostics=False).report for name in names]
    assert reports[1].provenance.precision == "mixed"
    assert 0.1 < reports[0].robust_accuracy < 0.9
    assert abs(reports[1].robust_accuracy - reports[0].robust_accuracy) <= 1 / 24
