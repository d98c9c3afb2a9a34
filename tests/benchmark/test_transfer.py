"""Examples made on other models, tried on this one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmark.attacks.base import Setting, Source
from benchmark.attacks.momentum import Momentum
from benchmark.attacks.transfer import Transfer
from benchmark.classifier import MIN_ROWS
from benchmark.engine import Findings
from benchmark.ensemble import Run, Snapshot
from benchmark.errors import EvaluationFailed, InvalidInput
from benchmark.norms import norm_named
from benchmark.pipeline import evaluate_points
from tests.benchmark.models import Cnn, Robust, Shape, answers, trained
from tests.benchmark.runs import attacked, engine_of, protocol_of, settings

SHAPE: Shape = (1, 8, 8)
EPSILONS = {"Linf": 0.12, "L2": 0.7, "L1": 3.5}


def _sources(*models: nn.Module) -> tuple[Source, ...]:
    return tuple(Source(f"model {number}", model.eval()) for number, model in enumerate(models))


def _transfer(*models: nn.Module, norm: str = "Linf", iterations: int = 10, classes: int = 4) -> Transfer:
    return Transfer(
        norm_named(norm), EPSILONS[norm], SHAPE, sources=_sources(*models), classes=classes, iterations=iterations
    )


def _make(setting: Setting) -> Transfer:
    return Transfer(
        setting.norm, setting.epsilon, setting.image_shape,
        sources=setting.sources, classes=setting.classes, iterations=8,
    )  # fmt: skip


def _run(sources: tuple[Source, ...], width: int = 64) -> Run:
    return replace(settings("Linf", EPSILONS["Linf"], protocol_of(_make), width=width), sources=sources)


@pytest.fixture(scope="module")
def other_model() -> Cnn:
    """A network of fewer lessons, so that not all that breaks it breaks the other."""
    return trained(steps=25)


class Masked(nn.Module):
    """The logits of a network in coarse steps: the same answers, nearly, and no gradient at all."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.inner(x)).mul(20).round().div(20)


class Watched(nn.Module):
    """Notes how often it is asked, with how many rows, and in which state."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.rows: list[int] = []
        self.states: set[tuple[bool, bool]] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        self.states.add((self.training, any(parameter.requires_grad for parameter in self.parameters())))
        return torch.as_tensor(self.inner(x))


def _equal(one: Findings, other: Findings) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("order", "step", "distance", "x_adv"))


@pytest.mark.parametrize("norm", EPSILONS)
def test_from_a_copy_of_the_model_it_finds_what_the_momentum_method_finds(
    blob_model: Cnn, blob_points: tuple[Tensor, Tensor], norm: str
) -> None:
    x, y = blob_points
    white_box = Momentum(norm_named(norm), EPSILONS[norm], SHAPE, iterations=10)
    expected = engine_of(white_box, blob_model, x, y, width=32).run()
    assert 0.02 < float(expected.broken.double().mean()) < 0.98
    assert _equal(engine_of(_transfer(blob_model, norm=norm), blob_model, x, y, width=32).run(), expected)


def test_masked_gradients_do_not_help_against_it(blob_model: Cnn, blob_points: tuple[Tensor, Tensor]) -> None:
    x, model = blob_points[0], Masked(blob_model)
    y = answers(model, x)
    white_box = Momentum(norm_named("Linf"), EPSILONS["Linf"], SHAPE, iterations=10)
    assert not bool(engine_of(white_box, model, x, y).run().broken.any())
    assert float(engine_of(_transfer(blob_model), model, x, y).run().broken.double().mean()) > 0.3


@pytest.mark.parametrize("width", [8, 24, 64])
def test_each_source_is_an_attack_of_its_own_whatever_shares_the_batch(
    blob_model: Cnn, other_model: Cnn, blob_points: tuple[Tensor, Tensor], width: int
) -> None:
    """A point falls to the first source that breaks it alone, at the same step and with the same example."""
    x, y = blob_points[0][:50], blob_points[1][:50]
    alone = [engine_of(_transfer(model), blob_model, x, y).run() for model in (other_model, blob_model)]
    watched = [Watched(model).eval() for model in (other_model, blob_model)]
    both = engine_of(_transfer(*watched), blob_model, x, y, width=width).run()
    assert bool(alone[0].broken.any())
    assert bool((alone[1].broken & ~alone[0].broken).any())
    order = torch.where(alone[0].broken, 0, torch.where(alone[1].broken, 1, both.order.max()))
    assert both.order.tolist() == order.tolist()
    for number, findings in enumerate(alone):
        rows = both.order == number
        assert both.step[rows].tolist() == findings.step[rows].tolist()
        torch.testing.assert_close(both.x_adv[rows], findings.x_adv[rows])
    sizes = {size for model in watched for size in model.rows}
    assert min(sizes) >= MIN_ROWS
    # There was a batch that both shared: one took less than the whole of it.
    assert width == MIN_ROWS or len(sizes) > 1


def test_the_models_forward_passes_are_counted_and_nothing_else(
    blob_model: Cnn, blob_points: tuple[Tensor, Tensor]
) -> None:
    x = blob_points[0][:9]
    model, watched = Robust(SHAPE, 4).eval(), Watched(blob_model).eval()
    engine = engine_of(_transfer(watched, blob_model), model, x, torch.zeros(9, dtype=torch.int64))
    assert not bool(engine.run().broken.any())
    assert (engine._classifier.forward_passes, engine._classifier.backward_passes) == (9 * 2 * 11, 0)
    assert sum(watched.rows) >= 9 * 11


def test_going_on_from_anywhere_gives_the_same_bytes(
    blob_model: Cnn, other_model: Cnn, blob_points: tuple[Tensor, Tensor]
) -> None:
    x, y = blob_points[0][:20], blob_points[1][:20]
    run = _run(_sources(other_model, blob_model), width=16)
    kept: list[Snapshot] = []
    calls = itertools.count()

    def save(snapshot: Callable[[], Snapshot]) -> None:
        if next(calls) % 5 == 2:
            kept.append(snapshot())

    whole = evaluate_points(blob_model, x, y, range(20), run, save=save)
    mixed = [snapshot for snapshot in kept if len(snapshot["engine.slot.restart"].unique()) == 2]
    assert mixed
    assert 0 < sum(whole.report.points.robust) < 20
    for snapshot in kept:
        resumed = evaluate_points(blob_model, x, y, range(20), run, resume=snapshot)
        assert resumed.report.results_sha256() == whole.report.results_sha256()
        assert torch.equal(resumed.x_adv, whole.x_adv)


def test_sources_are_frozen_during_a_run_and_left_as_they_were(
    blob_model: Cnn, blob_points: tuple[Tensor, Tensor]
) -> None:
    x, y = blob_points[0][:12], blob_points[1][:12]
    source = Watched(trained(steps=5)).train()
    source.inner.get_submodule("norm").eval()
    source.inner.get_parameter("linear.bias").requires_grad_(False)
    before = {name: value.clone() for name, value in source.state_dict().items()}
    report = attacked(blob_model, x, y, _run((Source("apprentice", source),))).report
    assert source.states == {(False, False)}
    assert [module.training for module in source.modules()] == [True, True, True, False, True]
    assert [name for name, value in source.named_parameters() if not value.requires_grad] == ["inner.linear.bias"]
    assert all(parameter.grad is None for parameter in source.parameters())
    assert all(torch.equal(before[name], value) for name, value in source.state_dict().items())
    assert report.attacks[0].parameters["source 1"] == "apprentice"
    assert report.attacks[0].backward_passes == 0


def test_the_model_may_be_its_own_source(blob_model: Cnn, blob_points: tuple[Tensor, Tensor]) -> None:
    x, y = blob_points[0][:12], blob_points[1][:12]
    model = trained(steps=60).train()
    report = attacked(model, x, y, _run((Source("itself", model),))).report
    assert report.attacks[0].broken > 0
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


class _Raising(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError(f"no answer to {len(x)} images")


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [(_Raising(), "RuntimeError: no answer to 16 images"), (Cnn(SHAPE, 3), r"with \(16, 3\), not with \(16, 4\)")],
    ids=["raising", "other classes"],
)
def test_a_source_that_fails_is_named(
    blob_model: Cnn, blob_points: tuple[Tensor, Tensor], broken: nn.Module, complaint: str
) -> None:
    x, y = blob_points[0][:10], blob_points[1][:10]
    sources = (Source("sound", Robust(SHAPE, 4)), Source("the broken one", broken))
    with pytest.raises(EvaluationFailed, match=f'source "the broken one" failed .* not the model.*{complaint}'):
        attacked(blob_model, x, y, _run(sources, width=16))


def test_a_model_that_fails_is_not_taken_for_its_source(blob_model: Cnn, blob_points: tuple[Tensor, Tensor]) -> None:
    class Failing(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            if bool((x != x.round(decimals=1)).any()):
                raise ValueError("these are not my images")
            return super().forward(x)

    x = blob_points[0][:10].round(decimals=1)
    model = Failing(SHAPE, 4).eval()
    with pytest.raises(EvaluationFailed, match=r"^The model's forward pass raised ValueError"):
        engine_of(_transfer(blob_model), model, x, answers(model, x)).run()


def test_without_sources_there_is_no_attack() -> None:
    with pytest.raises(InvalidInput) as caught:
        _transfer()
    assert caught.value.detail is not None
    assert caught.value.detail.field == "sources"


def test_parameters_name_the_sources_in_order(blob_model: Cnn, other_model: Cnn) -> None:
    parameters = _transfer(other_model, blob_model).parameters
    assert (parameters["source 1"], parameters["source 2"], parameters["restarts"]) == ("model 0", "model 1", 2)
