"""A board that was rendered before is given again for exactly as long as nothing on it has changed."""

from __future__ import annotations

import gzip

import pytest
from sqlalchemy import delete, update

from store.database import Database
from store.rendered import KEEPING_BYTES, Answer, Rendered, Standing, answer_of, standing_of
from store.tables import EntryRow
from tests.store.interleaving import at_once
from tests.store.material import board_entry

STANDING = Standing(entries=1, changes=0, latest=1, under_way=0)


def put(db: Database, *names: str, threat_model: str = "L2") -> None:
    with db.transaction() as session:
        for name in names:
            entry = board_entry(name, 0.5)
            entry.threat_model = threat_model
            session.add(entry)


def test_every_change_of_a_board_shows(db: Database) -> None:
    put(db, "a", "b")
    seen = [standing_of(db, "digits", "L2")]

    def changed() -> bool:
        seen.append(standing_of(db, "digits", "L2"))
        return seen[-1] not in seen[:-1]

    with db.transaction() as session:
        session.query(EntryRow).filter_by(model_id="a").one().venue = "ICLR 2026"
    assert changed()
    with db.transaction() as session:
        session.execute(update(EntryRow).where(EntryRow.model_id == "b").values(venue="ICML 2026"))
    assert changed()
    put(db, "c")
    assert changed()
    with db.transaction() as session:
        session.execute(delete(EntryRow).where(EntryRow.model_id == "b"))
        session.add(board_entry("d", 0.5))
    assert changed()


def test_other_boards_and_what_is_rolled_back_do_not_show(db: Database) -> None:
    put(db, "a")
    before = standing_of(db, "digits", "L2")
    put(db, "a", threat_model="Linf")
    with db.transaction() as session:
        nested = session.begin_nested()
        session.query(EntryRow).filter_by(model_id="a", threat_model="L2").one().venue = "nowhere"
        session.flush()
        nested.rollback()
    assert standing_of(db, "digits", "L2") == before


def test_two_changes_at_once_count_twice(db: Database) -> None:
    put(db, "a")
    before = standing_of(db, "digits", "L2").changes

    def change() -> None:
        with db.transaction() as session:
            session.query(EntryRow).one().footnote += "."

    assert [outcome.error for outcome in at_once(*[change] * 4)] == [None] * 4
    assert standing_of(db, "digits", "L2").changes == before + 4


def test_an_answer_is_made_once_for_each_standing() -> None:
    rendered, made = Rendered(), [0]

    def make() -> bytes:
        made[0] += 1
        return f"answer {made[0]}".encode()

    assert rendered.get("key", STANDING, make).plain == b"answer 1"
    assert rendered.get("key", STANDING, make).plain == b"answer 1"
    later = Standing(entries=1, changes=1, latest=1, under_way=0)
    answer = rendered.get("key", later, make)
    assert (answer.plain, gzip.decompress(answer.packed)) == (b"answer 2", b"answer 2")
    assert rendered.get("other", later, make).plain == b"answer 3"


def test_what_was_asked_for_longest_ago_makes_room() -> None:
    size = len(answer_of(b"0" * 1_000).packed) + 1_000 + KEEPING_BYTES
    rendered, made = Rendered(most_bytes=2 * size), list[str]()

    def ask(key: str) -> None:
        def make() -> bytes:
            made.append(key)
            return b"0" * 1_000

        rendered.get(key, STANDING, make)

    for key in ("a", "b", "a", "c", "a", "b"):
        ask(key)
    assert made == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("known", "is_known"), [(None, False), ("", False), ('W/"x"', False), ("*", True), ('"y", {}', True), ("{}", True)]
)
def test_who_has_it_already_is_told_so(known: str | None, is_known: bool) -> None:
    answer = answer_of(b"content")
    assert answer.is_known(known and known.format(answer.etag)) is is_known


def test_what_lacks_something_for_now_is_not_kept() -> None:
    rendered = Rendered()
    texts = iter((b"without ties", b"whole", b"never made"))
    seen = [rendered.get("board", STANDING, lambda: _answer(next(texts))).plain for _ in range(3)]
    assert seen == [b"without ties", b"whole", b"whole"]


def _answer(text: bytes) -> Answer:
    return answer_of(text, lasting=text != b"without ties")
