"""What of the code for CUDA does not need a device: the precision's settings, widths, and what to do without one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark import ThreatModel, cuda, evaluate
from benchmark.errors import EvaluationFailed, InvalidInput
from tests.benchmark.models import points


def _precisions() -> tuple[str, str]:
    return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision  # type: ignore[attr-defined]


def test_search_rounds_as_the_reference_and_the_judge_does_not() -> None:
    before = _precisions()
    with cuda.precision_of(torch.device("cuda"), search=True):
        assert _precisions() == ("tf32", "ieee")
        with cuda.precision_of(torch.device("cuda"), search=False):
            assert _precisions() == ("ieee", "ieee")
        assert _precisions() == ("tf32", "ieee")
    assert _precisions() == before


def test_nothing_is_set_on_a_cpu() -> None:
    before = _precisions()
    with cuda.precision_of(torch.device("cpu"), search=True):
        assert _precisions() == before


@pytest.mark.parametrize(("full", "sizes"), [(512, (64, 128, 256, 512)), (8, (8,)), (100, (12, 25, 50, 100))])
def test_few_batch_sizes_are_recorded(full: int, sizes: tuple[int, ...]) -> None:
    assert cuda.widths_below(full, 8) == sizes


@pytest.mark.parametrize(("fits", "expected"), [(10_000, 512), (300, 256), (8, 8), (9, 8)])
def test_width_is_halved_until_it_fits(fits: int, expected: int) -> None:
    tried: list[int] = []

    def trial(rows: int) -> None:
        tried.append(rows)
        if rows > fits:
            raise torch.OutOfMemoryError("out of memory")

    assert cuda.fitting_width(trial, least=8) == expected
    assert tried == [width for width in (512, 256, 128, 64, 32, 16, 8) if width >= expected]


def test_model_that_never_fits_fails_the_run() -> None:
    def trial(rows: int) -> None:
        raise torch.OutOfMemoryError(f"no room for {rows}")

    with pytest.raises(EvaluationFailed, match="even with 8 images"):
        cuda.fitting_width(trial, least=8)


def test_errors_that_are_no_want_of_memory_are_not_swallowed() -> None:
    def trial(rows: int) -> None:
        raise RuntimeError(f"broken at {rows}")

    with pytest.raises(RuntimeError, match="broken at 512"):
        cuda.fitting_width(trial, least=8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_device_cuda_is_refused() -> None:
    x, y = points(2, (1, 4, 4), 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(InvalidInput, match="device"):
        evaluate(model, x, y, ThreatModel("Linf", "1/10", None), device="cuda")
