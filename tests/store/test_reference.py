"""The published boards: what the packaged files say, and nothing else, becomes reported rows."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from importlib.resources import files

import pytest
from sqlalchemy import func, select

from benchmark.threat_models import BOARDS
from store.blobs import LocalBlobs
from store.boards import get_board, get_model
from store.database import Database
from store.reference import ROBUSTBENCH, import_reference_boards, read_paper
from store.tables import EntryHistoryRow, EntryRow, MetaRow
from store.views import Badge, BoardRow, ExtraData, HistoryItem
from tests.store.interleaving import at_once

DATA = files("store") / "reference_data"


@pytest.fixture
def imported(db: Database) -> Database:
    assert import_reference_boards(db) == 236
    return db


def row(db: Database, dataset: str, threat_model: str, model_id: str) -> BoardRow:
    return next(row for row in get_board(db, dataset, threat_model).rows if row.model_id == model_id)


def history(db: Database, blobs: LocalBlobs, dataset: str, threat_model: str, model_id: str) -> tuple[HistoryItem, ...]:
    return get_model(db, blobs, dataset, threat_model, model_id).history


def contents(db: Database) -> list[tuple[object, ...]]:
    with db.snapshot() as session:
        tables = (EntryRow.__table__, EntryHistoryRow.__table__, MetaRow.__table__)
        return [
            tuple(found)
            for table in tables
            for found in session.execute(
                # Not how often a row was changed, only what is in it.
                select(*(column for column in table.columns if column.name != "revision")).order_by(*table.primary_key)
            )
        ]


def test_every_board_has_its_entries(imported: Database) -> None:
    sizes = {board.name: len(get_board(imported, board.dataset, board.threat_model).rows) for board in BOARDS}
    assert sizes == {
        "cifar10/Linf": 99,
        "cifar10/L2": 21,
        "cifar10/corruptions": 23,
        "cifar100/Linf": 38,
        "cifar100/corruptions": 13,
        "imagenet/Linf": 30,
        "imagenet/corruptions": 12,
        "digits/Linf": 0,
        "digits/L2": 0,
        "digits/corruptions": 0,
    }


def test_all_numbers_of_the_paper_are_history(imported: Database) -> None:
    with imported.snapshot() as session:
        sources = Counter(session.scalars(select(EntryHistoryRow.source)))
    assert sources.pop(ROBUSTBENCH) == 236
    assert sources == {
        "RobustBench paper, table 4.3": 63,
        "RobustBench paper, table 4.4": 18,
        "RobustBench paper, table 4.5": 15,
        "RobustBench paper, table 4.6": 14,
        "RobustBench paper, table 4.7": 4,
        "RobustBench paper, table 4.8": 6,
        "RobustBench paper, table 4.9": 7,
    }


def test_matches_are_the_rows_they_claim_to_be() -> None:
    """The paper's row and the entry agree in all that both print, but for one known misprint."""
    records = {
        (record["dataset"], record["threat_model"], record["id"]): record
        for record in map(json.loads, (DATA / "robustbench_entries.jsonl").read_text().splitlines())
    }
    table = (DATA / "paper_leaderboards.csv").read_text()
    matches = (DATA / "paper_matches.csv").read_text()
    differing = []
    without_id = [line for line in csv.DictReader(table.splitlines()) if not line["model_zoo_id"]]
    items = [item for item in read_paper(table, matches) if item.zoo_id is None]
    assert len(without_id) == len(items) == len(list(csv.DictReader(matches.splitlines()))) == 29
    for line, item in zip(without_id, items, strict=True):
        record = records[item.key]
        assert record["venue"] == line["venue"]
        assert record["standard_accuracy"] == float(line["standard_accuracy"])
        assert record["extra_data"] is (line["extra_data"] == "Y")
        long = line["architecture"].replace("WRN", "WideResNet")
        assert record["architecture"] == (long.replace("RN-", "ResNet-") if long.startswith("RN-") else long)
        robust = record.get("autoattack_robust_accuracy", record.get("corruption_accuracy"))
        if robust != float(line["robust_or_corruption_accuracy"]):
            differing.append(item.key[2])
    assert differing == ["Xiao2020Enhancing"]


def test_a_paper_row_without_id_is_history_of_its_entry(imported: Database, blobs: LocalBlobs) -> None:
    items = history(imported, blobs, "cifar10", "Linf", "Xiao2020Enhancing")
    assert [(item.source, item.robust_accuracy) for item in items] == [
        ("RobustBench paper, table 4.3", 0.0715),
        (ROBUSTBENCH, 0.185),
    ]
    found = row(imported, "cifar10", "Linf", "Xiao2020Enhancing")
    assert (found.robust_accuracy, found.best_known_robust_accuracy) == (0.185, 0.074)
    assert (found.best_known_source, found.potentially_unreliable) == ("external evaluation", True)
    assert (found.epsilon, found.footnote) == ("0.031", "Evaluated with epsilon 0.031, not 8/255.")


def test_corruption_rows_rank_by_their_own_accuracy(imported: Database) -> None:
    found = row(imported, "imagenet", "corruptions", "Standard_R50")
    assert found.baseline
    assert (found.standard_accuracy, found.robust_accuracy) == (0.7672, 0.3948)
    assert (found.best_known_robust_accuracy, found.best_known_source) == (0.3948, "15 corruptions × 5 severities")
    assert (found.mce, found.corruption_accuracy_3d, found.mce_3d) == (76.38, 0.4712, 73.16)
    assert (found.potentially_unreliable, found.epsilon, found.parameters) == (None, None, None)


def test_unknown_stays_unknown(imported: Database) -> None:
    rows = [entry for board in BOARDS for entry in get_board(imported, board.dataset, board.threat_model).rows]
    assert {entry.badge for entry in rows} == {Badge.REPORTED}
    assert {entry.extra_data for entry in rows} == {ExtraData.NONE, ExtraData.SOME}
    assert sum(entry.footnote != "" for entry in rows) == 6
    assert sum(entry.potentially_unreliable is None for entry in rows) == 48
    assert sum(entry.claimed_robust_accuracy is None for entry in rows) == 22
    assert {(entry.parameters, entry.published_ms, entry.standard_interval) for entry in rows} == {(None, None, None)}
    assert sum(entry.zoo_id is not None for entry in rows) == 98
    assert "N/A" not in {entry.venue for entry in rows}
    assert {entry.model_id for entry in rows if entry.baseline} == {"Standard", "Standard_R50"}
    assert all(entry.link == "" or entry.link.startswith("https://") for entry in rows)
    for entry in rows:
        numbers = (entry.standard_accuracy, entry.robust_accuracy, entry.best_known_robust_accuracy)
        assert all(number is not None and 0 <= number <= 1 for number in numbers)


def test_a_second_import_changes_nothing(imported: Database) -> None:
    before = contents(imported)
    assert import_reference_boards(imported) == 0
    assert contents(imported) == before


def test_services_that_start_at_once_import_once(db: Database) -> None:
    outcomes = at_once(*[lambda: import_reference_boards(db)] * 3)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert {outcome.result for outcome in outcomes} <= {0, 236}
    with db.snapshot() as session:
        assert session.scalar(select(func.count()).select_from(EntryRow)) == 236


def test_a_changed_file_is_taken_over_without_doubling(imported: Database) -> None:
    before = contents(imported)
    with imported.transaction() as session:
        session.get_one(MetaRow, "reference_import").value = "of an older program"
        session.scalars(select(EntryRow).where(EntryRow.model_id == "Wu2020Do")).one().title = "an older title"
    assert import_reference_boards(imported) == 236
    assert contents(imported) == before


def test_an_entry_evaluated_here_is_left_alone(db: Database) -> None:
    own = {"dataset": "cifar10", "threat_model": "Linf", "model_id": "Wu2020Do", "badge": Badge.EVALUATED}
    texts = dict.fromkeys(
        ("title", "authors", "venue", "link", "architecture", "extra_data", "footnote", "best_known_source"), "own"
    )
    with db.transaction() as session:
        session.add(EntryRow(**own, **texts, findings="[]", baseline=False, robust_accuracy=0.5))
    import_reference_boards(db)
    with db.snapshot() as session:
        found = session.scalars(select(EntryRow).where(EntryRow.model_id == "Wu2020Do")).one()
        assert (found.title, found.robust_accuracy) == ("own", 0.5)
        assert session.scalar(select(func.count()).select_from(EntryRow)) == 236


def test_importing_is_fast(db: Database) -> None:
    start = time.thread_time()
    import_reference_boards(db)
    assert time.thread_time() - start < 1.5
