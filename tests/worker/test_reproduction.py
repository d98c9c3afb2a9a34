"""A published report, run again from itself: what the service's children found, without the service."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from sqlalchemy import delete, select

from benchmark.report import EvaluationReport
from benchmark.reproduction import compare_runs
from benchmark.rerun import rerun
from gauntlet.cli.models import load_reported
from store.boards import get_model
from store.queue import queue_work
from store.services import Services
from store.tables import RunRow, ShardRow
from store.views import State
from tests.worker.work import limits, must_claim, run, shard, submission, submitted

BLOCKS = ((0, 15), (15, 40))
PROTOCOL = "apgd-ce(steps=10)+fab-t(steps=4)+square(queries=100)-1"


def in_blocks(services: Services, run_id: int) -> None:
    """Cut the run's only shard into several."""
    with services.db.transaction() as session:
        session.execute(delete(ShardRow).where(ShardRow.run_id == run_id, ShardRow.kind == "shard"))
        queue_work(session, run_id, "shard", BLOCKS)


def cut_short(services: Services, submission_id: str) -> int:
    with services.db.transaction() as session:
        run_row = session.scalars(select(RunRow).where(RunRow.submission_id == submission_id)).one()
        run_row.points, run_row.protocol = BLOCKS[-1][1], PROTOCOL
        session.scalars(select(ShardRow).where(ShardRow.run_id == run_row.id)).one().last = BLOCKS[-1][1]
        return run_row.id


@pytest.mark.slow
def test_a_report_of_several_shards_is_reproduced_bit_for_bit(services: Services, tmp_path: Path) -> None:
    view = submitted(services, "Digits_PGD2")
    run_id = cut_short(services, view.id)
    how = limits(tmp_path, slot_width=16)
    run(services, must_claim(services), how)
    in_blocks(services, run_id)
    works = [must_claim(services) for _ in BLOCKS]
    for work in works:
        run(services, work, how)
    run(services, must_claim(services), how)  # which judges the examples again
    assert submission(services, works[0]).state is State.PUBLISHED

    published = get_model(services.db, services.blobs, "digits", "Linf", "Digits_PGD2").report
    assert published is not None
    report = EvaluationReport.model_validate_json(published.to_bytes())
    provenance = report.provenance
    assert (provenance.architecture, provenance.slot_width) == (view.submission.architecture, 16)
    assert provenance.shards is not None
    assert [block.points for block in provenance.shards] == [last - first for first, last in BLOCKS]
    for work, block in zip(works, provenance.shards, strict=True):
        stored = shard(services, work).x_adv_sha256
        assert stored is not None
        # A safetensors file of one tensor: the length of its header, the header, and nothing but the values.
        content = services.blobs.read(stored)
        values = content[8 + int.from_bytes(content[:8], "little") :]
        assert block.examples_sha256 == hashlib.sha256(values).hexdigest()

    found = compare_runs(report, rerun(report, load_reported(report, None, None)))
    assert found.bit_identical
    assert (found.environment, found.examples) == ((), "equal")
    assert found.found_results_sha256 == report.results_sha256()
    assert not torch.are_deterministic_algorithms_enabled()
