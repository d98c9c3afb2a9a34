"""Show how the service behaves when much is stored: how long its queries take with little and with a lot of it.

    python -m bench.scale --json scale.json

Everything runs on real servers: PostgreSQL and, for the embedded service, SQLite. Small is a service that has just
begun, with a page's worth of entries on each board; large holds 1,000 queued submissions, 10,000 entries and 1,000,000
rows of history. Each query is timed on both in turns, and the table shows medians and their ratio.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median

from sqlalchemy import insert, text

from benchmark.threat_models import BOARDS
from store import claims
from store.blobs import LocalBlobs
from store.board_filters import BoardFilters
from store.boards import get_board, get_model, list_boards, list_points
from store.database import Database, database_now_ms
from store.migrate import upgrade
from store.submissions import get_submission, list_submissions
from store.sweeping import sweep
from store.tables import EntryHistoryRow, EntryRow, RunRow, ShardRow, SubmissionRow, TransitionRow
from store.views import Badge, State
from store.workers import Worker
from tests.servers import Databases, PostgresServer

SIZES = {"small": (10, 500, 1_000), "large": (1_000, 10_000, 1_000_000)}
"""Queued submissions, entries and rows of history."""
CHUNK = 10_000
ROWS = 50
"""Rows of a board's page."""
WORKER = Worker(name="bench", datasets=("digits",))


def fill(db: Database, queued: int, entries: int, history: int) -> None:
    """Store that much, as the service would have, only faster."""
    with db.transaction() as session:
        now = database_now_ms(session)
        submissions, transitions, runs, shards = [], [], [], []
        for number in range(queued):
            submission_id = f"{number:020x}"
            submissions.append(
                {
                    "id": submission_id, "name": f"Queued {number}", "dataset": "digits", "threat_model": "Linf",
                    "architecture": "digits_cnn", "checkpoint_sha256": f"{number:064x}", "title": "", "authors": "",
                    "paper_url": "", "venue": "", "extra_data": "unknown", "licence": "", "notes": "",
                    "baseline": False, "submitter": f"address-{number % 100}", "state": State.QUEUED, "reason": "",
                    "created_ms": now, "updated_ms": now,
                }
            )  # fmt: skip
            transitions.append({"submission_id": submission_id, "state": State.QUEUED, "reason": "", "at_ms": now})
            runs.append(
                {
                    "id": number + 1, "submission_id": submission_id, "protocol": "standard-1", "seed": 0,
                    "norm": "Linf", "epsilon": "1/5", "points": 500, "checks": "[]", "purpose": "ranking",
                    "priority": 0, "needs_cuda": False, "created_ms": now,
                }
            )  # fmt: skip
            shards += [
                {
                    "run_id": number + 1, "kind": "shard", "first": first, "last": first + 250, "state": "queued",
                    "queued_ms": now, "attempt": 0, "cancel_requested": False,
                }
                for first in (0, 250)
            ]  # fmt: skip
        for table, rows in (
            (SubmissionRow, submissions), (TransitionRow, transitions), (RunRow, runs), (ShardRow, shards)
        ):  # fmt: skip
            session.execute(insert(table), rows)
        first_entry = 1 + (session.scalar(text("SELECT coalesce(max(id), 0) FROM entry")) or 0)
        session.execute(insert(EntryRow), [_entry(first_entry + number, number) for number in range(entries)])
    per_entry = history // entries
    for begin in range(0, history, CHUNK):
        with db.transaction() as session:
            session.execute(
                insert(EntryHistoryRow),
                [
                    {
                        "entry_id": first_entry + number // per_entry, "source": f"run {number % per_entry}",
                        "standard_accuracy": 0.9, "robust_accuracy": 0.5, "recorded_ms": number,
                    }
                    for number in range(begin, min(begin + CHUNK, history))
                ],
            )  # fmt: skip
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # What the service's own database does by itself after a while.
        connection.execute(text("VACUUM ANALYZE" if db.engine.dialect.name == "postgresql" else "ANALYZE"))


def _entry(entry_id: int, number: int) -> dict[str, object]:
    board = BOARDS[number % len(BOARDS)]
    return {
        "id": entry_id, "dataset": board.dataset, "threat_model": board.threat_model, "model_id": f"Model {number}",
        "badge": Badge.REPORTED, "title": f"Method {number}", "authors": "A. Author, B. Author", "venue": "",
        "link": "", "architecture": "WideResNet-28-10", "extra_data": "unknown", "footnote": "", "findings": "[]",
        "standard_accuracy": 0.9, "robust_accuracy": (number * 7919 % 10_000) / 20_000,
        "best_known_robust_accuracy": (number * 7919 % 10_000) / 20_000, "best_known_source": "a paper",
        "baseline": False,
    }  # fmt: skip


def queries(blobs: LocalBlobs) -> Mapping[str, Callable[[Database], object]]:
    """Return what is timed, by name."""
    return {
        "claim and release": _claim_and_release,
        "sweep": lambda db: sweep(db, blobs),
        "list of boards": list_boards,
        "one board, first page": lambda db: get_board(db, "digits", "Linf", limit=ROWS),
        "one board, last page": lambda db: get_board(db, "digits", "Linf", limit=ROWS, offset=_entries(db) - ROWS),
        "one board, a search": lambda db: get_board(db, "digits", "Linf", BoardFilters(search="Method 7"), limit=ROWS),
        "one board, its plot": lambda db: list_points(db, "digits", "Linf"),
        "one entry with its history": lambda db: get_model(db, blobs, "digits", "Linf", "Model 7"),
        "list of submissions": list_submissions,
        "one submission": lambda db: get_submission(db, f"{5:020x}"),
    }


@cache
def _entries(db: Database) -> int:
    return get_board(db, "digits", "Linf", limit=1).total


def _claim_and_release(db: Database) -> None:
    claim = claims.claim(db, WORKER, 60_000)
    if claim is None:
        raise RuntimeError("there was nothing to claim")
    claims.release(db, claim)


@contextmanager
def databases(dialect: str) -> Iterator[dict[str, Database]]:
    """Yield the filled databases by size."""
    with tempfile.TemporaryDirectory() as directory:
        if dialect == "sqlite":
            yield _filled({size: f"sqlite:///{directory}/{size}.sqlite" for size in SIZES})
            return
        with PostgresServer() as server:
            on_server = Databases(server.url)
            with on_server.database() as small, on_server.database() as large:
                opened = _filled({"small": small, "large": large})
                yield opened
                for db in opened.values():
                    db.close()
            on_server.close()


def _filled(urls: Mapping[str, str]) -> dict[str, Database]:
    opened = {}
    for size, url in urls.items():
        upgrade(url)
        opened[size] = Database(url)
        fill(opened[size], *SIZES[size])
        print(f"{opened[size].engine.dialect.name}, {size}: filled", file=sys.stderr, flush=True)
    return opened


def measure(dialect: str, repeats: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of every query by size."""
    with tempfile.TemporaryDirectory() as directory, databases(dialect) as by_size:
        blobs = LocalBlobs(Path(directory), free_floor_bytes=0)
        results: dict[str, dict[str, float]] = {}
        for name, query in queries(blobs).items():
            times: dict[str, list[float]] = {size: [] for size in by_size}
            for _ in range(repeats + 1):
                for size, db in by_size.items():
                    began = time.perf_counter()
                    query(db)
                    times[size].append(1000 * (time.perf_counter() - began))
            results[name] = {size: median(values[1:]) for size, values in times.items()}
        return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialects", nargs="+", default=["postgresql", "sqlite"], choices=["postgresql", "sqlite"])
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    chosen = parser.parse_args()
    results = {dialect: measure(dialect, chosen.repeats) for dialect in chosen.dialects}
    print("| database | query | small, ms | large, ms | ratio |", "|---|---|---|---|---|", sep="\n")
    for dialect, found in results.items():
        for name, times in found.items():
            small, large = times["small"], times["large"]
            print(f"| {dialect} | {name} | {small:.1f} | {large:.1f} | {large / small:.1f} |")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
