"""Reported entries from RobustBench's files of model information: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from benchmark.errors import ErrorDetail, InvalidInput
from store.database import Database, database_now_ms, take_turns
from store.entries import subject_of
from store.entry_edits import columns_set_by_hand
from store.model_info import InfoFile, ReadInfo, problem_of
from store.reference import IMPORTED_SOURCE, TURN
from store.states import OPEN
from store.tables import EntryHistoryRow, EntryRow, SubmissionRow
from store.views import Badge, ExtraData, View

NAMED = 20
"""How many bad files an error names; it counts the others."""
_KINDS = frozenset({ExtraData.REAL, ExtraData.SYNTHETIC})

Key = tuple[str, str, str]


class Imported(View):
    """What an import did; entries are written data set/threat model/id."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]
    remarks: tuple[str, ...]
    """What is odd about files that were taken all the same."""


def import_model_info(db: Database, files: Sequence[InfoFile]) -> Imported:
    """Bring the reported entries to what the files say; entries that are not reported ones are never touched.

    Raises:
        InvalidInput: files break a rule, or speak of entries that are no reported ones; nothing was changed.
    """
    read: dict[Key, tuple[InfoFile, ReadInfo]] = {}
    problems: list[ErrorDetail] = []
    for file in files:
        key, found = (file.dataset, file.threat_model, file.model_id), problem_of(file)
        if isinstance(found, ErrorDetail):
            problems.append(found)
        elif key in read:
            problems.append(_about(file, "a second file of this entry", "one file an entry", "leave one of them out"))
        else:
            read[key] = (file, found)
    with db.transaction() as session:
        take_turns(session, TURN)
        present, awaited = _present(session, read), _awaited(session, read)
        for key, (file, _) in read.items():
            entry = present.get(key)
            if entry is not None and entry.badge != Badge.REPORTED:
                problems.append(
                    _about(file, f"an entry that is {entry.badge}", "a reported entry, or none", "leave it out")
                )
            elif entry is None and key in awaited:
                problems.append(
                    _about(file, "a submission of this name", "a name that is free", "wait until it has ended")
                )
        if problems:
            raise _refusal(problems, len(files))
        by_hand = columns_set_by_hand(session)
        states = {key: _put(session, present.get(key), info.values, by_hand) for key, (_, info) in read.items()}
    named = {state: tuple("/".join(key) for key, its in states.items() if its == state) for state in _STATES}
    remarks = tuple(f"{file.place}: {info.remark}" for file, info in read.values() if info.remark)
    return Imported(**named, remarks=remarks)


_STATES = ("created", "updated", "unchanged")


def _put(
    session: Session, entry: EntryRow | None, values: Mapping[str, object], by_hand: Mapping[str, frozenset[str]]
) -> str:
    """Write an entry down and say whether it is new or another one now; what people have set here stays."""
    if entry is None:
        entry = EntryRow(**values)
        session.add(entry)
        session.flush()
        _note(session, entry)
        return "created"
    wanted = dict(values)
    if wanted["extra_data"] == ExtraData.SOME and entry.extra_data in _KINDS:
        del wanted["extra_data"]  # more is known already than the file can say
    kept = by_hand.get(subject_of(entry), frozenset())
    changed = {name: value for name, value in wanted.items() if name not in kept and getattr(entry, name) != value}
    if not changed:
        return "unchanged"
    for name, value in changed.items():
        setattr(entry, name, value)
    _note(session, entry)
    return "updated"


def _note(session: Session, entry: EntryRow) -> None:
    """Keep the entry's numbers with their source, by which later versions of the program know to leave it alone."""
    now = database_now_ms(session)
    source = f"{IMPORTED_SOURCE}, {datetime.fromtimestamp(now / 1000, UTC):%Y-%m-%d}"
    item = session.scalar(
        select(EntryHistoryRow).where(EntryHistoryRow.entry_id == entry.id, EntryHistoryRow.source == source)
    )
    if item is None:
        item = EntryHistoryRow(entry_id=entry.id, source=source, recorded_ms=now)
        session.add(item)
    item.standard_accuracy, item.robust_accuracy = entry.standard_accuracy, entry.best_known_robust_accuracy


def _present(session: Session, wanted: Mapping[Key, object]) -> dict[Key, EntryRow]:
    boards = {key[:2] for key in wanted}
    of_boards = tuple_(EntryRow.dataset, EntryRow.threat_model).in_(boards)
    rows = session.scalars(select(EntryRow).where(of_boards).with_for_update())
    return {(row.dataset, row.threat_model, row.model_id): row for row in rows}


def _awaited(session: Session, wanted: Mapping[Key, object]) -> set[Key]:
    """Return the names under which a submission may still become an entry."""
    columns = (SubmissionRow.dataset, SubmissionRow.threat_model, SubmissionRow.name)
    found = session.execute(select(*columns).where(SubmissionRow.state.in_(OPEN)))
    return {(dataset, threat_model, name) for dataset, threat_model, name in found}


def _about(file: InfoFile, found: str, expected: str, remedy: str) -> ErrorDetail:
    return ErrorDetail(f"{file.place}: id", found, expected, remedy)


def _refusal(problems: Sequence[ErrorDetail], files: int) -> InvalidInput:
    told = [f"{one.field}: found {one.found}, expected {one.expected}, {one.remedy}" for one in problems[:NAMED]]
    more = [f"and {len(problems) - NAMED} more"] if len(problems) > NAMED else []
    message = f"Nothing was imported: {len(problems)} of {files} files cannot be: {'; '.join([*told, *more])}."
    return InvalidInput(message, problems[0])
