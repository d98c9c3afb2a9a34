"""What can be taken away: checkpoints that are for others, entries as model information, and everything at once."""

from __future__ import annotations

import json
from collections import Counter

import httpx
import pytest
from sqlalchemy import select, update

from benchmark.report import EvaluationReport
from benchmark.threat_models import BOARDS, official_board
from store.boards import get_board, get_model
from store.model_info import write_info
from store.tables import EntryRow, ReportRow, SubmissionRow
from tests.api.shape import assert_error
from tests.running import Running, safetensors
from tests.store.material import CHECKPOINT, board_entry, fill_board, published

ADDRESS = "/api/v1/models/digits/Linf/Method A"


@pytest.fixture
def open_checkpoint(service: Running) -> Running:
    """A service with one entry, whose author lets others have its file."""
    published(service.services.db, service.services.blobs)
    change(service, SubmissionRow, private_checkpoint=False)
    return service


def change(service: Running, table: type[SubmissionRow | EntryRow], **values: object) -> None:
    with service.services.db.transaction() as session:
        session.execute(update(table).values(**values))


def test_a_checkpoint_is_sent_whole_or_in_part(open_checkpoint: Running) -> None:
    http = open_checkpoint.http
    whole = http.get(f"{ADDRESS}/checkpoint")
    assert (whole.status_code, whole.content) == (200, CHECKPOINT)
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["content-disposition"] == "attachment; filename*=utf-8''Method%20A.safetensors"
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = http.get(f"{ADDRESS}/checkpoint", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, CHECKPOINT[2:5])
    assert http.get(f"{ADDRESS}/checkpoint", headers={"Range": "bytes=100-"}).status_code == 416
    assert http.head(f"{ADDRESS}/checkpoint").headers["content-length"] == str(len(CHECKPOINT))


def test_every_other_checkpoint_is_not_there(open_checkpoint: Running) -> None:
    cases: list[tuple[type[SubmissionRow | EntryRow], str, object, object]] = [
        (SubmissionRow, "private_checkpoint", True, False),
        (SubmissionRow, "anonymous", True, False),
        (EntryRow, "anonymous", True, False),
        (EntryRow, "withdrawn_ms", 1, None),
        (SubmissionRow, "checkpoint_sha256", "0" * 64, open_checkpoint.services.blobs.put(CHECKPOINT)),
        (EntryRow, "submission_id", None, None),
    ]
    for table, column, closed, opened in cases:
        assert open_checkpoint.http.get(f"{ADDRESS}/checkpoint").status_code == 200
        change(open_checkpoint, table, **{column: closed})
        assert_error(open_checkpoint.http.get(f"{ADDRESS}/checkpoint"), 404, "not_found", "checkpoint")
        change(open_checkpoint, table, **{column: opened})


def test_what_has_no_checkpoint_answers_alike(service: Running) -> None:
    for name in ("digits/Linf/Nobody", "digits/L9/x", "x/y/%00", "cifar10/Linf/Carmon2019Unlabeled"):
        assert_error(service.http.get(f"/api/v1/models/{name}/checkpoint"), 404, "not_found", "checkpoint")


def test_an_exported_network_has_its_own_ending(open_checkpoint: Running) -> None:
    content = b"PK\3\4" + safetensors()
    change(open_checkpoint, SubmissionRow, checkpoint_sha256=open_checkpoint.services.blobs.put(content))
    assert open_checkpoint.http.get(f"{ADDRESS}/checkpoint").headers["content-disposition"].endswith(".pt2")


def test_an_entry_is_sent_as_model_information(service: Running) -> None:
    row = get_model(service.services.db, service.services.blobs, "cifar10", "Linf", "Carmon2019Unlabeled").row
    answer = service.http.get("/api/v1/models/cifar10/Linf/Carmon2019Unlabeled/model-info")
    assert (answer.headers["content-type"], answer.content) == (
        "application/json",
        write_info(row, official_board("cifar10", "Linf")),
    )
    assert (answer.json()["autoattack_acc"], answer.json()["eps"]) == ("59.53", "8/255")
    assert_error(service.http.get("/api/v1/models/cifar10/Linf/Nobody/model-info"), 404, "not_found", "model")


def lines_of(answer: httpx.Response) -> list[dict[str, object]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_dump_holds_everything_public(service: Running) -> None:
    db = service.services.db
    published(db, service.services.blobs)
    fill_board(db, 450)
    lines = lines_of(service.http.get("/api/v1/dump"))
    assert (lines[0]["kind"], lines[0]["version"]) == ("dump", 1)
    assert lines[-1] == {"kind": "end", "lines": len(lines) - 1}
    kinds = Counter(str(line["kind"]) for line in lines)
    assert (kinds["board"], kinds["entry"], kinds["report"]) == (len(BOARDS), 236 + 1 + 450, 1)
    for board in BOARDS:
        entries = [
            {name: value for name, value in line.items() if name not in {"kind", "dataset", "threat_model"}}
            for line in lines
            if (line["kind"], line.get("dataset", "")) == ("entry", board.dataset)
            and line["threat_model"] == board.threat_model
        ]
        rows = get_board(db, board.dataset, board.threat_model).rows
        assert entries == [row.model_dump(mode="json") for row in rows]
    (report,) = [line for line in lines if line["kind"] == "report"]
    assert report["model_id"] == "Method A"
    with db.snapshot() as session:
        summary = session.scalars(select(ReportRow.summary)).one()
    assert report["summary"] == json.loads(summary)
    assert "points" not in json.loads(summary)
    assert set(EvaluationReport.model_fields) - {"points"} <= set(json.loads(summary))
    history = [line for line in lines if line["kind"] == "history" and line["model_id"] == "Method A"]
    assert [item["robust_accuracy"] for item in history] == [0.88]


def test_the_dump_tells_nothing_private(service: Running) -> None:
    db = service.services.db
    published(db, service.services.blobs)
    secrets = {"authors": "Secret Author", "title": "Secret Title", "venue": "Secret Venue"}
    with db.transaction() as session:
        entry = board_entry("Hidden", 0.5)
        for name, value in (secrets | {"link": "https://secret.example", "anonymous": True}).items():
            setattr(entry, name, value)
        session.add(entry)
    change(service, SubmissionRow, submitter="secret-address", notes="secret notes", licence="secret licence")
    answer = service.http.get("/api/v1/dump")
    assert "Hidden" in answer.text
    assert "secret" not in answer.text.lower()
    names = {name for line in lines_of(answer) for name in line}
    assert not names & {"owner_id", "submitter", "email", "notes", "best_known_sha256", "id"}


def test_what_is_still_on_its_way_is_not_in_the_dump(service: Running) -> None:
    published(service.services.db, service.services.blobs)
    with service.services.db.transaction() as session:
        session.execute(update(EntryRow).where(EntryRow.model_id == "Method A").values(report_id=None))
    lines = lines_of(service.http.get("/api/v1/dump"))
    assert "report" not in {line["kind"] for line in lines}
