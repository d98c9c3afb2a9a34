"""Metrics: for whom they are, and what Prometheus makes of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gauntlet.settings import Settings
from store.claims import beat
from store.submissions import submit
from store.tables import ShardRow
from store.views import Progress
from store.workers import announce, drain
from tests.api.shape import assert_error
from tests.running import Running, quiet_settings, running
from tests.store.material import LEASE_MS, Rules, a_worker, must_claim, new_submission, published
from tests.store.material import running as queued

TOKEN = "0123456789abcdef" * 2
Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def guarded(prepared: Path, tmp_path: Path) -> Iterator[Running]:
    """A service whose metrics need a token."""
    shutil.copytree(prepared, tmp_path / "var")
    settings = quiet_settings(tmp_path / "var").model_dump() | {"metrics_token": TOKEN}
    with running(Settings.model_validate(settings)) as service:
        yield service


def read(service: Running, **headers: str) -> Samples:
    answer = service.http.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"gauntlet_{name}", tuple(sorted(labels.items()))]


def test_everything_is_told(service: Running) -> None:
    db, blobs = service.services.db, service.services.blobs
    published(db, blobs)
    queued(db, blobs, "Method B", shard_points=100)
    must_claim(db)
    samples = read(service)
    assert value(samples, "database_up") == 1
    assert value(samples, "submissions", state="published") == 1
    assert value(samples, "submissions", state="withdrawn") == 0
    assert value(samples, "submissions_failed_total", fault="model") == 0
    assert value(samples, "shards", kind="shard", state="queued") == 4
    assert value(samples, "shards", kind="shard", state="running") == 1
    assert value(samples, "entries", badge="evaluated_here") == 1
    assert value(samples, "entries", badge="reported") > 200
    assert value(samples, "attempts_failed_total") == 0
    assert value(samples, "leases_expired") == 0
    assert 0 <= value(samples, "oldest_queued_seconds") < 60
    assert 0 <= value(samples, "oldest_beat_seconds") < 60
    assert 0 <= value(samples, "oldest_progress_seconds") < 60
    assert value(samples, "blob_bytes") == sum(
        path.stat().st_size for path in service.blobs.rglob("*") if path.is_file()
    )
    assert value(samples, "blob_free_bytes") > 0
    assert samples["process_resident_memory_bytes", ()] > 0


def test_requests_are_counted_by_template(service: Running) -> None:
    for number in range(3):
        service.http.get(f"/submissions/some-{number}")
    service.http.get("/nothing")
    samples = read(service)
    route = "/submissions/{submission_id}"
    assert value(samples, "http_requests_total", method="GET", route=route, status="404") == 3
    assert value(samples, "http_request_seconds_count", method="GET", route=route) == 3
    assert value(samples, "http_requests_total", method="GET", route="unmatched", status="404") == 1


def test_no_label_is_of_a_submitters_making(service: Running) -> None:
    name = "Xq7 evil"
    submit(service.services.db, service.services.blobs, new_submission(service.services.blobs, name=name), Rules())
    for path in ("/Xq7", "/submissions/Xq7", "/api/v1/leaderboards/Xq7/Xq7", "/api/v1/uploads/Xq7"):
        service.http.get(path, headers={"User-Agent": "Xq7", "Referer": "http://Xq7"})
    service.http.request("XQ7", "/", headers={"Host": "Xq7.example"})
    text = service.http.get("/metrics").text
    assert "xq7" not in text.lower()


def test_passes_grow_with_progress_and_never_fall(service: Running) -> None:
    db, blobs = service.services.db, service.services.blobs
    published(db, blobs)
    queued(db, blobs, "Method B")
    work = must_claim(db)
    assert value(read(service), "passes_total", direction="forward") == 0  # what was before is nobody's rate
    told = []
    for forward in (100, 250, 40, 90, 90):  # a new attempt goes on from the last snapshot, behind where the old one was
        beat(db, work, LEASE_MS, Progress(points=500, points_done=forward // 10, forward_passes=forward))
        samples = read(service)
        told.append((value(samples, "passes_total", direction="forward"), value(samples, "points_total")))
    assert told == [(100, 10), (250, 25), (250, 25), (300, 30), (300, 30)]


def test_a_database_that_is_down_is_told(service: Running) -> None:
    service.services.db.close()
    for path in service.blobs.parent.glob("gauntlet.sqlite*"):
        path.unlink()
    (service.blobs.parent / "gauntlet.sqlite").write_bytes(b"no database " * 1_000)
    samples = read(service)
    assert value(samples, "database_up") == 0
    assert not [name for name, _ in samples if name == "gauntlet_submissions"]


def test_workers_are_told_with_their_state(service: Running) -> None:
    db = service.services.db
    queued(db, service.services.blobs)
    for name in ("w", "x", "y"):
        announce(db, a_worker(name))
    must_claim(db, "w")
    drain(db, "x")
    samples = read(service)
    assert [value(samples, "workers", state=state) for state in ("idle", "working", "draining")] == [1, 1, 1]
    assert 0 <= value(samples, "worker_silent_seconds", worker="w") < 60


def test_leases_that_ran_out_are_told(service: Running) -> None:
    db = service.services.db
    queued(db, service.services.blobs)
    work = must_claim(db)
    with db.transaction() as session:
        session.get_one(ShardRow, work.shard_id).lease_until = 1
    assert value(read(service), "leases_expired") == 1


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"])
def test_what_a_proxy_forwards_is_not_from_this_machine(service: Running, name: str) -> None:
    assert_error(service.http.get("/metrics", headers={name: "127.0.0.1"}), 404, "not_found", "address")


def test_the_token_opens(guarded: Running) -> None:
    assert read(guarded, Authorization=f"Bearer {TOKEN}")
    assert read(guarded, Authorization=f"bearer  {TOKEN}", **{"X-Forwarded-For": "192.0.2.7"})


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}0",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN.upper()}",
        "Bearer é".encode("latin-1"),
    ],
)
def test_without_the_token_there_is_no_such_address(guarded: Running, given: str | bytes | None) -> None:
    headers = {} if given is None else {b"Authorization": given if isinstance(given, bytes) else given.encode()}
    refused = guarded.http.get("/metrics", headers=headers)
    missing = guarded.http.get("/metricz", headers=headers | {b"Accept": b"application/json"})
    assert_error(refused, 404, "not_found", "address")
    assert missing.status_code == 404
    assert TOKEN not in refused.text


def test_every_metric_is_documented(service: Running) -> None:
    announce(service.services.db, a_worker("w"))
    service.http.get("/healthz")
    document = (Path(__file__).parents[2] / "docs/operating.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(gauntlet_[a-z_]+)[{`]", document))
    told = {name for name, _ in read(service) if not name.endswith(("_created", "_bucket", "_count", "_sum"))}
    histograms = {name.removesuffix("_count") for name, _ in read(service) if name.endswith("_count")}
    assert documented == {name for name in told | histograms if not name.startswith("process_")}
