"""RobustBench's files of model information, there and back, and what they may never change."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from sqlalchemy import select, update

from benchmark.errors import InvalidInput
from benchmark.threat_models import BOARDS, official_board
from store.blobs import LocalBlobs
from store.boards import get_board, get_model
from store.database import Database
from store.model_info import LARGEST_BYTES, InfoFile, ModelInfo, write_info
from store.model_info_import import import_model_info
from store.reference import IMPORTED_SOURCE, import_reference_boards
from store.submissions import submit
from store.tables import EntryRow, MetaRow
from tests.store.material import Rules, new_submission, published

SOUND: dict[str, object] = {
    "link": "http://arxiv.org/abs/1905.13736",
    "name": "A Title",
    "authors": "Jane Doe",
    "additional_data": True,
    "number_forward_passes": 1,
    "dataset": "cifar10",
    "venue": "NeurIPS 2019",
    "architecture": "WideResNet-28-10",
    "eps": "8/255",
    "clean_acc": "89.69",
    "reported": "62.5",
    "autoattack_acc": "59.53",
    "external": "58.1",
    "footnote": None,
    "unreliable": False,
}


def a_file(model_id: str = "Doe2026Careful", board: str = "cifar10/Linf", **changes: object) -> InfoFile:
    dataset, threat_model = board.split("/")
    content = {name: value for name, value in (SOUND | changes).items() if value != "left out"}
    return InfoFile(f"{board}/{model_id}.json", dataset, threat_model, model_id, json.dumps(content).encode())


def all_files(db: Database) -> list[InfoFile]:
    return [
        InfoFile(row.model_id, board.dataset, board.threat_model, row.model_id, write_info(row, board))
        for board in BOARDS
        for row in get_board(db, board.dataset, board.threat_model).rows
    ]


def test_all_published_entries_survive_the_way_there_and_back(db: Database) -> None:
    import_reference_boards(db)
    files = all_files(db)
    assert len(files) == 236
    again = import_model_info(db, files)
    assert (len(again.unchanged), again.created, again.updated, again.remarks) == (236, (), (), ())
    with db.transaction() as session:
        session.execute(update(EntryRow).values(model_id="Old" + EntryRow.model_id))
    new = import_model_info(db, files)
    assert (len(new.created), new.updated, new.unchanged) == (236, (), ())
    written = {(file.dataset, file.threat_model, file.model_id): file.content for file in all_files(db)}
    assert all(written[file.dataset, file.threat_model, file.model_id] == file.content for file in files)
    with db.snapshot() as session:
        rows = Counter(session.scalars(select(EntryRow.badge)))
    assert rows == {"reported": 2 * 236}


def test_a_file_becomes_an_entry(db: Database, blobs: LocalBlobs) -> None:
    done = import_model_info(db, [a_file(), a_file("Standard", board="cifar100/Linf", dataset="cifar10")])
    assert done.created == ("cifar10/Linf/Doe2026Careful", "cifar100/Linf/Standard")
    assert [remark.partition(":")[0] for remark in done.remarks] == ["cifar100/Linf/Standard.json"]
    model = get_model(db, blobs, "cifar10", "Linf", "Doe2026Careful")
    row = model.row
    assert (row.badge, row.link, row.standard_accuracy) == ("reported", "https://arxiv.org/abs/1905.13736", 0.8969)
    assert (row.robust_accuracy, row.best_known_robust_accuracy) == (0.5953, 0.581)
    assert (row.extra_data, row.claimed_robust_accuracy, row.potentially_unreliable) == ("some", 0.625, False)
    assert [item.source.startswith(IMPORTED_SOURCE) for item in model.history] == [True]
    assert get_model(db, blobs, "cifar100", "Linf", "Standard").row.baseline
    assert import_model_info(db, [a_file()]).unchanged == ("cifar10/Linf/Doe2026Careful",)
    assert import_model_info(db, [a_file(autoattack_acc=57)]).updated == ("cifar10/Linf/Doe2026Careful",)
    later = get_model(db, blobs, "cifar10", "Linf", "Doe2026Careful")
    assert (later.row.best_known_robust_accuracy, len(later.history)) == (0.57, 1)


def test_what_was_imported_survives_another_version_of_the_packaged_records(db: Database) -> None:
    import_reference_boards(db)
    before = {row.model_id: row for row in get_board(db, "cifar10", "Linf").rows}
    import_model_info(db, [a_file("Carmon2019Unlabeled", name="Corrected"), a_file()])
    with db.transaction() as session:
        session.delete(session.get_one(MetaRow, "reference_import"))
        session.execute(update(EntryRow).where(EntryRow.model_id == "Hendrycks2019Using").values(title="stale"))
    assert import_reference_boards(db) == 236
    after = {row.model_id: row for row in get_board(db, "cifar10", "Linf").rows}
    assert after["Carmon2019Unlabeled"].title == "Corrected"
    assert after["Carmon2019Unlabeled"].zoo_id == before["Carmon2019Unlabeled"].zoo_id
    assert after["Doe2026Careful"].title == "A Title"
    assert after["Hendrycks2019Using"].title == before["Hendrycks2019Using"].title


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"clean_acc": "left out"}, "clean_acc"),
        ({"clean_acc": "high"}, "clean_acc"),
        ({"clean_acc": "nan"}, "clean_acc"),
        ({"clean_acc": ""}, "clean_acc"),
        ({"autoattack_acc": None}, "autoattack_acc"),
        ({"autoattack_acc": "101"}, "autoattack_acc"),
        ({"external": "-1"}, "external"),
        ({"eps": "16/255"}, "eps"),
        ({"eps": None}, "eps"),
        ({"eps": "1e999999999"}, "eps"),
        ({"link": "javascript:alert(1)"}, "link"),
        ({"link": "ftp://a"}, "link"),
        ({"name": 7}, "name"),
        ({"name": "x" * 10_000}, "name"),
        ({"additional_data": "yes"}, "additional_data"),
        ({"number_forward_passes": 0}, "number_forward_passes"),
        ({"clean_accuracy": "1"}, "clean_accuracy"),
        ({"board": "cifar10/L7"}, "board"),
        ({"model_id": "../../etc"}, "file name"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_imported(on_sqlite: Database, changes: dict[str, str], field: str) -> None:
    bad = a_file(**{"model_id": "Bad"} | changes)
    with pytest.raises(InvalidInput) as caught:
        import_model_info(on_sqlite, [a_file(), bad])
    assert caught.value.detail is not None
    assert caught.value.detail.field == f"{bad.place}: {field}"
    assert caught.value.message.startswith("Nothing was imported: 1 of 2 files cannot be: ")
    assert get_board(on_sqlite, "cifar10", "Linf").rows == ()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 90_000, b" " * (LARGEST_BYTES + 1), b'{"link": NaN}']
)
def test_a_file_that_is_none_is_named(on_sqlite: Database, content: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"1 of 1 files cannot be: here\.json: "):
        import_model_info(on_sqlite, [InfoFile("here.json", "cifar10", "Linf", "A", content)])


def test_entries_that_are_no_reported_ones_are_never_touched(db: Database, blobs: LocalBlobs) -> None:
    published(db, blobs, "Ours")
    submit(db, blobs, new_submission(blobs, name="Coming"), Rules())
    changes = {"board": "digits/Linf", "eps": "1/5", "dataset": "digits"}
    files = [a_file(name, **changes) for name in ("Ours", "Coming", "Free", "Free")]
    before = get_board(db, "digits", "Linf")
    with pytest.raises(InvalidInput) as caught:
        import_model_info(db, files)
    message = caught.value.message
    assert "3 of 4 files" in message
    assert all(part in message for part in ("evaluated_here", "a submission of this name", "a second file"))
    assert get_board(db, "digits", "Linf") == before
    assert import_model_info(db, files[2:3]).created == ("digits/Linf/Free",)


def test_an_entry_that_was_evaluated_here_is_written_in_the_layout(db: Database, blobs: LocalBlobs) -> None:
    published(db, blobs, "Ours")
    content = write_info(get_board(db, "digits", "Linf").rows[0], official_board("digits", "Linf"))
    info = ModelInfo.model_validate_json(content)
    assert (info.clean_acc, info.autoattack_acc, info.eps, info.additional_data) == (98.0, 88.0, "1/5", None)
    assert json.loads(content)["clean_acc"] == "98.00"
    assert content.endswith(b"}\n")
