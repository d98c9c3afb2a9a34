"""Checkpoints of the zoo by their hash: those that may be passed on, and nobody's submission."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gauntlet.zoo_files import PermissiveFiles
from model_zoo.downloads.locking import Pin, add_pin
from model_zoo.downloads.places import Places
from model_zoo.registry import bundled_checkpoint, card
from tests.running import Running
from tests.store.material import new_submission

ADDRESS = "/api/v1/zoo/checkpoints"
BUNDLED = card("Digits_FGSM", "digits", "Linf")


def test_what_comes_along_is_listed_and_sent_as_it_is(service: Running) -> None:
    listed = {one["model_id"]: one for one in service.http.get(ADDRESS).json()["checkpoints"]}
    found = listed["Digits_FGSM"]
    assert (found["sha256"], found["licence"], found["dataset"]) == (BUNDLED.sha256, "MIT", "digits")
    response = service.http.get(f"{ADDRESS}/{BUNDLED.sha256}", headers={"Accept-Encoding": "identity"})
    assert response.status_code == 200
    assert hashlib.sha256(response.content).hexdigest() == BUNDLED.sha256
    assert len(response.content) == found["bytes"] == int(response.headers["content-length"])
    assert response.headers["etag"] == f'"{BUNDLED.sha256}"'
    assert "immutable" in response.headers["cache-control"]


def test_weights_are_not_compressed_on_the_way(service: Running) -> None:
    """That would take long, gain nothing, and leave whoever fetches them without a length."""
    response = service.http.get(f"{ADDRESS}/{BUNDLED.sha256}", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in response.headers
    assert int(response.headers["content-length"]) == bundled_checkpoint(BUNDLED).stat().st_size
    listed = service.http.get(ADDRESS, headers={"Accept-Encoding": "gzip"})
    assert listed.headers["content-encoding"] == "gzip"


def test_a_part_is_sent_to_whoever_goes_on(service: Running) -> None:
    whole = bundled_checkpoint(BUNDLED).read_bytes()
    headers = {"Range": "bytes=1000-", "If-Range": f'"{BUNDLED.sha256}"', "Accept-Encoding": "identity"}
    response = service.http.get(f"{ADDRESS}/{BUNDLED.sha256}", headers=headers)
    assert (response.status_code, response.content) == (206, whole[1000:])
    stale = service.http.get(f"{ADDRESS}/{BUNDLED.sha256}", headers=headers | {"If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, whole)
    head = service.http.head(f"{ADDRESS}/{BUNDLED.sha256}", headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")


def test_nobodys_submission_is_passed_on(service: Running) -> None:
    private = new_submission(service.services.blobs).checkpoint_sha256
    assert service.services.blobs.exists(private)
    for sha256 in (private, "0" * 64):
        response = service.http.get(f"{ADDRESS}/{sha256}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("sha256", ["x", "..", "A" * 64, "0" * 65])
def test_what_is_no_hash_is_refused(service: Running, sha256: str) -> None:
    assert service.http.get(f"{ADDRESS}/{sha256}").status_code in {404, 422}


def test_what_was_fetched_is_passed_on_where_its_licence_lets_anybody(tmp_path: Path) -> None:
    places = Places(tmp_path)
    folder = tmp_path / "zoo" / "checkpoints"
    folder.mkdir(parents=True)
    names = {"cifar10/Linf/Wong2020Fast": "1" * 64, "cifar10/Linf/Ding2020MMA": "2" * 64}
    for name, sha256 in names.items():
        (folder / f"{sha256}.safetensors").write_bytes(b"weights")
        pin = Pin(sources=("0" * 64,), safetensors=sha256, bytes=7, verified="2026-11-27")
        add_pin(tmp_path / "zoo" / "zoo.lock.json", name, pin)
    files = PermissiveFiles(places)
    fetched = {one.model_id: one for one in files.listed() if one.dataset == "cifar10"}
    assert fetched.keys() == {"Wong2020Fast"}, "of Ding2020MMA's licence not everybody may make use"
    assert files.path("1" * 64) == folder / f"{'1' * 64}.safetensors"
    assert files.path("2" * 64) is None


def test_a_damaged_lock_file_is_the_operators_and_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "zoo.lock.json").write_text("{")
    files = PermissiveFiles(Places(tmp_path))
    assert files.path(BUNDLED.sha256) == bundled_checkpoint(BUNDLED)
    assert {one.dataset for one in files.listed()} == {"digits"}
    assert "cannot be passed on" in caplog.text
