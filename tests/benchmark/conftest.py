"""What several tests of the evaluation library share: one thread, and one trained network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.benchmark.models import Cnn, blobs, trained


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small tensors gain nothing from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def blob_model() -> Cnn:
    return trained()


@pytest.fixture(scope="session")
def blob_points() -> tuple[Tensor, Tensor]:
    return blobs(200, seed=2)
