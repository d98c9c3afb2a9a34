"""The plan's arithmetic, against cases with a known answer."""

from __future__ import annotations

import math

import pytest

from bench.capacity import MIX, hours_each, least_workers, waiting_hours


@pytest.mark.parametrize("load", [0.1, 0.5, 0.9])
def test_one_worker_waits_as_the_queue_of_one_server_does(load: float) -> None:
    """There the wait is load / (1 - load) times the duration."""
    assert waiting_hours(load / 3, 3, 1) == pytest.approx(3 * load / (1 - load))


def test_two_workers_wait_as_the_closed_form_says() -> None:
    load = 1.2
    delayed = load**2 / (2 + load)  # Erlang C for two servers
    assert waiting_hours(load, 1, 2) == pytest.approx(delayed / (2 - load))


def test_too_few_workers_never_catch_up() -> None:
    assert math.isinf(waiting_hours(2, 1, 2))


def test_the_least_number_of_workers_keeps_the_wait_and_one_less_does_not() -> None:
    arrivals, hours, wait = 5.0, 2.0, 0.5
    workers = least_workers(arrivals, hours, wait)
    assert waiting_hours(arrivals, hours, workers) <= wait < waiting_hours(arrivals, hours, workers - 1)


def test_the_shares_are_of_one_whole_and_a_faster_engine_takes_less() -> None:
    assert sum(kind.share for kind in MIX) == pytest.approx(1)
    assert hours_each(MIX, 2) == pytest.approx(hours_each(MIX, 1) / 2)
