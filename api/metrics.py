"""The service's figures in the form that Prometheus reads.

Labels hold our own words, states, kinds, templates of addresses, and names of workers, which come from their machines:
no submitter can make new time series.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import SecretStr
from sqlalchemy import exc

from store.figures import Figures, Space, read_figures, read_space
from store.services import Services
from store.workers import WorkerView

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
SPACE_LASTS_S = 300.0
"""Time after which the files are counted again."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
"""Headers of proxies: the client is then somebody else than who has connected."""

logger = logging.getLogger(__name__)


class Metrics:
    """All that is measured in this process, and what the database tells at every reading.

    Args:
        services: the store.
        version: of the program.
        token: what readers from elsewhere show; None lets only those on this machine read.
    """

    def __init__(self, services: Services, version: str, token: SecretStr | None = None) -> None:
        self._token = token
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "gauntlet_http_requests",
            "Requests answered; status 499 where the client went away before.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "gauntlet_http_request_seconds",
            "Seconds until an answer was complete.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self._registry,
        )
        Info("gauntlet", "The program.", registry=self._registry).info({"version": version})
        ProcessCollector(registry=self._registry)
        self._registry.register(_StoreCollector(services))

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def may_read(self, request: Request) -> bool:
        """Tell whether the metrics are for whoever asks: who knows the token; without one, who is on this machine."""
        if self._token is not None:
            kind, _, given = request.headers.get("authorization", "").partition(" ")
            expected = self._token.get_secret_value().encode()
            return kind.lower() == "bearer" and secrets.compare_digest(given.strip().encode(), expected)
        here = request.client is not None and request.client.host in LOOPBACK
        return here and not any(name in request.headers for name in FORWARDED)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _StoreCollector(Collector):
    """Reads the store once for every reading of the metrics."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._last: Figures | None = None
        self._points = self._forward = self._backward = 0.0
        self._space: Space | None = None
        self._space_until = 0.0

    def describe(self) -> Iterable[Metric]:
        """Name nothing, or the registry would read the store to find the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            figures = self._read()
            yield _gauge("database_up", "Whether the database answers.", 0 if figures is None else 1)
            if figures is not None:
                yield from _of_submissions(figures)
                yield from _of_work(figures)
                yield from _of_workers(figures.workers)
                yield from self._of_progress()
                yield from self._of_space()

    def _read(self) -> Figures | None:
        try:
            figures = read_figures(self._services.db)
        except (exc.DBAPIError, exc.TimeoutError) as error:
            logger.warning("the database does not answer: %s", error)
            return None
        if self._last is not None:
            # What is lost with an attempt is done again and counted again: it is work all the same.
            self._points += max(0.0, figures.points_done - self._last.points_done)
            self._forward += max(0.0, figures.forward_passes - self._last.forward_passes)
            self._backward += max(0.0, figures.backward_passes - self._last.backward_passes)
        self._last = figures
        return figures

    def _of_progress(self) -> Iterator[Metric]:
        yield _counter("points", "Points decided while this process was watching.", self._points)
        passes = CounterMetricFamily(
            "gauntlet_passes", "Images sent through models while this process was watching.", labels=("direction",)
        )
        passes.add_metric(("forward",), self._forward)
        passes.add_metric(("backward",), self._backward)
        yield passes

    def _of_space(self) -> Iterator[Metric]:
        if time.monotonic() >= self._space_until:
            try:
                self._space = read_space(self._services.blobs)
            except OSError:
                logger.exception("the space that blobs take cannot be read")
                self._space = None
            self._space_until = time.monotonic() + SPACE_LASTS_S
        if self._space is not None:
            yield _gauge("blob_bytes", "Bytes of all blobs, as of the last few minutes.", self._space.used_bytes)
            yield _gauge("blob_free_bytes", "Free bytes where the blobs lie.", self._space.free_bytes)


def _of_submissions(figures: Figures) -> Iterator[Metric]:
    submissions = GaugeMetricFamily("gauntlet_submissions", "Submissions by state.", labels=("state",))
    for state, count in figures.submissions.items():
        submissions.add_metric((state.value,), count)
    yield submissions
    failed = CounterMetricFamily("gauntlet_submissions_failed", "Submissions that failed.", labels=("fault",))
    for fault, count in figures.failed.items():
        failed.add_metric((fault,), count)
    yield failed
    entries = GaugeMetricFamily("gauntlet_entries", "Rows of the leaderboards.", labels=("badge",))
    for badge, count in figures.entries.items():
        entries.add_metric((badge.value,), count)
    yield entries


def _of_work(figures: Figures) -> Iterator[Metric]:
    shards = GaugeMetricFamily("gauntlet_shards", "Pieces of work.", labels=("kind", "state"))
    for found in figures.shards:
        shards.add_metric((found.kind, found.state), found.count)
    yield shards
    yield _counter("attempts_failed", "Attempts at pieces of work that came to nothing.", figures.failed_attempts)
    yield _gauge("leases_expired", "Pieces of work whose holder has fallen silent.", figures.expired_leases)
    ages = {
        "oldest_queued_seconds": ("Waiting time of the oldest waiting piece of work.", figures.oldest_queued_s),
        "oldest_beat_seconds": ("Greatest time since a sign of life from a worker at work.", figures.oldest_beat_s),
        "oldest_progress_seconds": ("Greatest time since work in hand went on.", figures.oldest_progress_s),
    }
    for name, (help_, age) in ages.items():
        yield _gauge(name, f"{help_} 0 where there is none.", age or 0)


def _of_workers(workers: Sequence[WorkerView]) -> Iterator[Metric]:
    states = [_state_of(worker) for worker in workers]
    counts = GaugeMetricFamily("gauntlet_workers", "Workers that have announced themselves.", labels=("state",))
    for state in ("idle", "working", "draining"):
        counts.add_metric((state,), states.count(state))
    yield counts
    silent = GaugeMetricFamily("gauntlet_worker_silent_seconds", "Time since a sign of life.", labels=("worker",))
    for worker in workers:
        silent.add_metric((worker.name,), worker.silent_ms / 1000)
    yield silent


def _state_of(worker: WorkerView) -> str:
    if worker.draining:
        return "draining"
    return "working" if worker.running else "idle"


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(f"gauntlet_{name}", help_, value=value)


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(f"gauntlet_{name}", help_, value=value)


def _metrics(request: Request) -> Metrics:
    metrics = request.app.state.metrics
    if not isinstance(metrics, Metrics):
        raise TypeError("the application was not made by gauntlet.app.create_app")
    return metrics


Measured = Annotated[Metrics, Depends(_metrics)]
