"""The boards' first entries: what RobustBench and its paper published, as *Reported* rows.

Three files in reference_data: RobustBench's entries of March 2025, the tables of its paper, and, for the paper's rows
that bear no id, which entry each of them is and why.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.database import Database, database_now_ms, take_turns
from store.entries import subject_of
from store.entry_edits import columns_set_by_hand
from store.tables import EntryHistoryRow, EntryRow, MetaRow
from store.views import Badge, ExtraData

ROBUSTBENCH = "RobustBench, March 2025"
IMPORTED_SOURCE = "RobustBench model information"
"""How sources begin of entries that an operator has imported; these are the operator's from then on."""
TURN = "import the reference boards"
"""What those who import reported entries take turns at."""
CORRUPTIONS_SOURCE = "15 corruptions × 5 severities"
_FILES = ("robustbench_entries.jsonl", "paper_leaderboards.csv", "paper_matches.csv")
_META_KEY = "reference_import"
_VERSION = 1  # raised whenever this code makes other rows of the same files

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Published:
    """A number that was published for an entry."""

    key: Key
    """Data set, threat model, id."""
    source: str
    standard_accuracy: float | None
    robust_accuracy: float | None
    zoo_id: str | None = None


@dataclass(frozen=True)
class Reported:
    """What a board's reported entry says, without a database."""

    model_id: str
    standard_accuracy: float | None
    robust_accuracy: float | None
    best_known_robust_accuracy: float | None
    footnote: str


def reported_entries(dataset: str, threat_model: str) -> dict[str, Reported]:
    """Return the reported entries of a board by id, as the packaged files say."""
    text = (files("store") / "reference_data" / _FILES[0]).read_text(encoding="utf-8")
    found = {}
    for record in map(json.loads, text.splitlines()):
        if (record["dataset"], record["threat_model"]) == (dataset, threat_model):
            values = entry_values(record, {})
            entry = Reported(**{field.name: values[field.name] for field in fields(Reported)})  # type: ignore[arg-type]
            found[entry.model_id] = entry
    return found


def import_reference_boards(db: Database) -> int:
    """Bring the reported entries to what the packaged files say.

    Entries evaluated here, and those that an operator has imported, are left alone, and so is what people have edited
    or disputed here of the others.

    Returns:
        How many entries the files hold where they were imported; 0 where nothing was to do.
    """
    texts = {name: (files("store") / "reference_data" / name).read_text(encoding="utf-8") for name in _FILES}
    digest = hashlib.sha256(repr((_VERSION, texts)).encode()).hexdigest()
    with db.snapshot() as session:
        imported = session.get(MetaRow, _META_KEY)
        if imported is not None and imported.value == digest:
            return 0
    records = [json.loads(line) for line in texts[_FILES[0]].splitlines()]
    paper = read_paper(texts[_FILES[1]], texts[_FILES[2]])
    zoo_ids = {item.key: item.zoo_id for item in paper}
    with db.transaction() as session:
        take_turns(session, TURN)
        entries = _put_entries(session, [entry_values(record, zoo_ids) for record in records])
        _put_history(session, entries, [*paper, *(_as_published(record) for record in records)])
        session.merge(MetaRow(key=_META_KEY, value=digest))
    return len(records)


def read_paper(tables: str, matches: str) -> list[Published]:
    """Return every row of the paper's tables with the entry that it is a number of."""
    matched = {(row["table"], row["rank"]): row["model_id"] for row in csv.DictReader(io.StringIO(matches))}
    return [
        Published(
            key=(
                row["dataset"],
                row["threat_model"],
                row["model_zoo_id"] or matched[row["table"], row["rank"]],
            ),
            source=f"RobustBench paper, {row['table'].lower()}",
            standard_accuracy=_fraction(float(row["standard_accuracy"])),
            robust_accuracy=_fraction(float(row["robust_or_corruption_accuracy"])),
            zoo_id=row["model_zoo_id"] or None,
        )
        for row in csv.DictReader(io.StringIO(tables))
    ]


def entry_values(record: Mapping[str, Any], zoo_ids: Mapping[Key, str | None]) -> dict[str, object]:
    """Return the columns of the entry that a RobustBench record describes; what it does not say stays None."""
    robust = _fraction(record.get("autoattack_robust_accuracy", record.get("corruption_accuracy")))
    external = _fraction(record.get("external_robust_accuracy"))
    attacked = record["threat_model"] != "corruptions"
    best, source = robust, "AutoAttack" if attacked else CORRUPTIONS_SOURCE
    if robust is not None and external is not None and external < robust:
        best, source = external, "external evaluation"
    epsilon = record["epsilon"]
    return {
        "dataset": record["dataset"],
        "threat_model": record["threat_model"],
        "model_id": record["id"],
        "badge": Badge.REPORTED,
        "title": record["title"].strip(),
        "authors": record["authors"].strip(),
        "venue": "" if record["venue"] == "N/A" else record["venue"],
        # A few links are still http, to hosts that serve https too; pages only ever link to https.
        "link": record["link"].replace("http://", "https://", 1),
        "architecture": record["architecture"],
        # The records tell that there was more data, not whether it was real.
        "extra_data": ExtraData.SOME if record["extra_data"] else ExtraData.NONE,
        "epsilon": epsilon,
        "footnote": f"Evaluated with epsilon {epsilon}, not 8/255." if epsilon == "0.031" else "",
        "standard_accuracy": _fraction(record["standard_accuracy"]),
        "robust_accuracy": robust,
        "best_known_robust_accuracy": best,
        "best_known_source": source,
        "claimed_robust_accuracy": _fraction(record["claimed_robust_accuracy"]),
        "potentially_unreliable": record.get("flagged_unreliable"),
        "findings": "[]",
        "forward_passes": record["forward_passes"],
        "zoo_id": zoo_ids.get(_key(record)),
        "baseline": record["id"] == "Standard" or record["id"].startswith("Standard_"),
        "mce": record.get("mce"),
        "corruption_accuracy_3d": _fraction(record.get("corruption_accuracy_3d")),
        "mce_3d": record.get("mce_3d"),
    }


def _as_published(record: Mapping[str, Any]) -> Published:
    robust = record.get("autoattack_robust_accuracy", record.get("corruption_accuracy"))
    return Published(_key(record), ROBUSTBENCH, _fraction(record["standard_accuracy"]), _fraction(robust))


def _key(record: Mapping[str, Any]) -> Key:
    return record["dataset"], record["threat_model"], record["id"]


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 6)


def _put_entries(session: Session, wanted: Iterable[Mapping[str, object]]) -> dict[Key, EntryRow]:
    present = {(row.dataset, row.threat_model, row.model_id): row for row in session.scalars(select(EntryRow))}
    by_operator = select(EntryHistoryRow.entry_id).where(EntryHistoryRow.source.startswith(IMPORTED_SOURCE))
    imported = set(session.scalars(by_operator))
    by_hand = columns_set_by_hand(session)
    for values in wanted:
        key = (str(values["dataset"]), str(values["threat_model"]), str(values["model_id"]))
        row = present.get(key)
        if row is None:
            present[key] = row = EntryRow(**values)
            session.add(row)
            continue
        if row.badge == Badge.UNVERIFIED:  # what its author said is now published
            row.badge, row.owner_id, row.expires_ms, row.published_ms = Badge.REPORTED, None, None, None
        if row.badge == Badge.REPORTED and row.id not in imported:
            kept = by_hand.get(subject_of(row), frozenset())
            for column in values.keys() - kept:
                setattr(row, column, values[column])
    session.flush()
    return present


def _put_history(session: Session, entries: Mapping[Key, EntryRow], wanted: Iterable[Published]) -> None:
    now = database_now_ms(session)
    present = {(row.entry_id, row.source): row for row in session.scalars(select(EntryHistoryRow))}
    for item in wanted:
        entry_id = entries[item.key].id
        row = present.get((entry_id, item.source))
        if row is None:
            row = EntryHistoryRow(entry_id=entry_id, source=item.source, recorded_ms=now)
            session.add(row)
        row.standard_accuracy, row.robust_accuracy = item.standard_accuracy, item.robust_accuracy
