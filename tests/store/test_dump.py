"""The dump costs a fixed number of queries, is of one moment, and is never in memory as a whole."""

from __future__ import annotations

import json
from collections.abc import Generator

from benchmark.threat_models import BOARDS
from store.blobs import LocalBlobs
from store.database import Database
from store.dump import AT_ONCE, dump
from tests.store.material import board_entry, fill_board, published
from tests.store.test_boards import counted


def test_the_number_of_queries_does_not_grow(db: Database, blobs: LocalBlobs) -> None:
    found = []
    for size in (1, 3):
        fill_board_anew = size == 1
        for number in range(size):
            published(db, blobs, f"m{size}{number}")
        if fill_board_anew:
            fill_board(db, AT_ONCE + 1)
        with counted(db) as statements:
            assert len(list(dump(db))) > AT_ONCE
        found.append(len([one for one in statements if one.lstrip().startswith("SELECT")]))
    assert found == [1 + 3 * len(BOARDS)] * 2


def test_the_dump_is_of_one_moment(db: Database) -> None:
    fill_board(db, 3)
    lines = dump(db)
    assert json.loads(next(lines))["kind"] == "dump"
    for line in lines:  # the snapshot begins with the first thing that is read
        if json.loads(line)["kind"] == "entry":
            break
    with db.transaction() as session:
        session.add(board_entry("too late", 0.01))
    rest = [json.loads(line) for line in lines]
    assert "too late" not in {line.get("model_id") for line in rest}
    assert rest[-1]["kind"] == "end"


def test_a_dump_that_is_given_up_lets_go_of_its_connection(db: Database) -> None:
    fill_board(db, 3)
    lines = dump(db)
    next(lines)
    assert isinstance(lines, Generator)
    lines.close()
    assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
