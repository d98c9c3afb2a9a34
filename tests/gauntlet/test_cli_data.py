"""``gauntlet data``, and the commands that read data sets from a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.dataset_table import DATASETS
from gauntlet.cli.console import ExitCode
from tests.benchmark.data_files import drawn, labels_of, write_mnist
from tests.gauntlet.test_cli import assert_refused, gauntlet


def test_lists_every_data_set_with_its_place_and_what_is_there(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", drawn(3, 28, 1), labels_of(3))
    found = gauntlet("data", "list", "--data-dir", str(tmp_path), "--json")
    assert (found.returncode, found.stderr) == (0, "")
    listed = json.loads(found.stdout)
    assert listed["data_dir"] == str(tmp_path)
    assert [entry["name"] for entry in listed["datasets"]] == list(DATASETS)
    by_name = {entry["name"]: entry for entry in listed["datasets"]}
    assert by_name["mnist"]["here"] == {"test": str(tmp_path / "mnist")}
    assert by_name["cifar10"]["here"] == {}
    assert by_name["cifar10"]["place"] == str(tmp_path / "cifar10")
    assert by_name["cifar10"]["downloads"][0]["checksum"].startswith("md5:")
    assert by_name["imagenet"]["downloads"] == []
    assert "https://image-net.org" in by_name["imagenet"]["instructions"]
    assert set(by_name["digits"]["here"]) == {"train", "test", "twin"}
    assert by_name["digits"]["place"] is None
    table = gauntlet("data", "list", "--data-dir", str(tmp_path)).stdout
    assert all(name in table for name in DATASETS)


def test_checks_what_is_there(tmp_path: Path) -> None:
    found = gauntlet("data", "check", "digits", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout) == {"name": "digits", "splits": {"train": 1097, "test": 500, "twin": 200}}
    assert gauntlet("data", "check", "digits").stdout.splitlines()[1] == "test: 500 points"


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("mnist", "invalid_data", "bytes"),
        ("cifar10", "not_found", "cifar-10-binary.tar.gz"),
        ("minst", "not_found", "mnist"),
    ],
)
def test_a_check_says_what_is_wrong(tmp_path: Path, name: str, code: str, message: str) -> None:
    write_mnist(tmp_path / "mnist", drawn(3, 28, 1), labels_of(3))
    found = gauntlet("data", "check", name, "--data-dir", str(tmp_path), "--json")
    assert found.returncode == ExitCode.INVALID
    error = json.loads(found.stdout)["error"]
    assert error["code"] == code
    assert message in error["message"] + error["detail"]["remedy"]


def test_a_folder_given_as_an_option_wins(tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    found = gauntlet("data", "list", "--data-dir", str(tmp_path), "--json", GAUNTLET_DATA_DIR=elsewhere)
    assert json.loads(found.stdout)["data_dir"] == str(tmp_path)
    found = gauntlet("data", "list", "--json", GAUNTLET_DATA_DIR=elsewhere)
    assert json.loads(found.stdout)["data_dir"] == elsewhere


@pytest.mark.slow
def test_an_unknown_preprocessing_is_refused() -> None:
    arguments = ("--dataset", "digits", "--threat-model", "Linf", "--preprocessing", "Res512", "--json", "-")
    found = gauntlet("evaluate", "Digits_Standard", *arguments)
    assert_refused(found, ExitCode.INVALID, "preprocessing", as_json=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenet", "https://image-net.org"),
        ("svhn", "http://ufldl.stanford.edu"),
        ("cifar10", "GAUNTLET_OFFLINE"),
        ("cifar11", "cifar10"),
    ],
)
def test_what_is_not_fetched_says_why(tmp_path: Path, name: str, message: str) -> None:
    found = gauntlet("data", "fetch", name, "--data-dir", str(tmp_path), "--json", GAUNTLET_OFFLINE="1")
    assert found.returncode == ExitCode.INVALID
    error = json.loads(found.stdout)["error"]
    assert error["code"] == "not_found"
    assert message in error["message"] + error["detail"]["remedy"]
    assert list(tmp_path.iterdir()) == []


def test_what_comes_along_needs_no_fetching() -> None:
    found = gauntlet("data", "fetch", "digits", "--json", GAUNTLET_OFFLINE="1")
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)["files"] == []
    assert "Nothing to fetch" in gauntlet("data", "fetch", "digits", GAUNTLET_OFFLINE="1").stdout


def test_the_folder_is_in_the_cache_unless_it_is_named(tmp_path: Path) -> None:
    for variables, expected in (
        ({"GAUNTLET_CACHE": str(tmp_path / "a")}, tmp_path / "a/data"),
        ({"XDG_CACHE_HOME": str(tmp_path / "b")}, tmp_path / "b/gauntlet/data"),
        ({"GAUNTLET_CACHE": str(tmp_path / "a"), "GAUNTLET_DATA_DIR": str(tmp_path / "c")}, tmp_path / "c"),
        ({"HOME": str(tmp_path)}, tmp_path / ".cache/gauntlet/data"),
    ):
        assert json.loads(gauntlet("data", "list", "--json", **variables).stdout)["data_dir"] == str(expected)
