"""``gauntlet convert``: what it writes, what it says of it, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import gauntlet
from benchmark.errors import InvalidInput
from gauntlet.cli import main
from gauntlet.converting import DoesNotFit
from model_zoo import load_model
from model_zoo.checkpoints.safetensors import load_checkpoint
from tests.model_zoo.pickles import Marking

ROOT = Path(__file__).parents[2]
FITTING = ("--architecture", "digits_cnn", "--dataset", "digits")
MODEL = load_model("Digits_PGD10", dataset="digits", threat_model="Linf")
STATE: dict[str, Tensor] = dict(MODEL.state_dict())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.pt"
    torch.save({"state_dict": {f"module.{name}": value for name, value in STATE.items()}, "epoch": 3}, path)
    return path


def convert(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as people do."""
    command = [sys.executable, "-W", "error", "-m", "gauntlet", "convert", *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, dict[str, str]]:
    """Run it with --json in this process, and return exit code, stderr and the error's detail."""
    with pytest.raises(SystemExit) as ended:
        main(["convert", *map(str, arguments), "--json"])
    said = capsys.readouterr()
    detail: dict[str, str] = json.loads(said.out)["error"]["detail"]
    return int(ended.value.code or 0), said.err, detail


def test_a_state_dict_becomes_a_file_that_loads_as_the_same_network(file: Path) -> None:
    found = convert(file, *FITTING)
    assert (found.returncode, found.stderr) == (0, "")
    path = file.with_suffix(".safetensors")
    assert found.stdout.splitlines()[:4] == [
        "took the entry 'state_dict'",
        "left out the entries beside it: 'epoch'",
        "removed the prefix 'module.'",
        f"wrote {path} with {len(STATE)} tensors",
    ]
    assert "it loads as digits_cnn for digits; next: gauntlet check" in found.stdout
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(load_checkpoint(path, "digits_cnn", "digits")(images), MODEL(images))
    assert sorted(file.parent.iterdir()) == [file, path]


@pytest.mark.slow
def test_without_an_architecture_it_says_what_comes_next(file: Path) -> None:
    found = convert(file, "--json")
    answer = json.loads(found.stdout)
    assert answer["converted"] is True
    assert answer["format"] == "safetensors"
    assert answer["tensors"] == len(STATE)
    assert len(answer["steps"]) == 3
    assert answer["architecture"] is None
    found = convert(file, "--force")
    assert "`gauntlet zoo list` shows the architectures" in found.stdout
    assert "--architecture NAME" in found.stdout


@pytest.mark.parametrize("legacy", [False, True])
def test_python_does_what_the_command_does(legacy: bool, tmp_path: Path) -> None:
    average = {name: value + 1 for name, value in STATE.items()}
    content = {"state_dict": STATE, "ema": average}
    torch.save(content, tmp_path / "mine.pth", _use_new_zipfile_serialization=not legacy)
    converted = gauntlet.convert(
        tmp_path / "mine.pth", tmp_path / "out.safetensors", architecture="digits_cnn", dataset="digits", key="ema"
    )
    assert converted.steps == ("took the entry 'ema'", "left out the entries beside it: 'state_dict'")
    assert torch.equal(load_file(converted.path)["head.bias"], average["head.bias"])


def test_a_file_that_is_there_is_replaced_only_when_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file.with_suffix(".safetensors")
    path.write_bytes(b"the one before")
    code, _, detail = refused(capsys, file)
    assert (code, detail["field"]) == (2, "output")
    assert "--force" in detail["remedy"]
    assert path.read_bytes() == b"the one before"
    gauntlet.convert(file, overwrite=True)
    assert load_file(path).keys() == STATE.keys()


def test_a_file_is_not_replaced_by_what_does_not_fit(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = dict(STATE)
    state["fc.weight"] = state.pop("head.weight")
    state["conv1.weight"] = torch.zeros(3, 1, 3, 3)
    torch.save(state, file)
    path = file.with_suffix(".safetensors")
    path.write_bytes(b"the one before")
    code, said, detail = refused(capsys, file, *FITTING, "--force")
    assert code == 2
    assert detail["found"].startswith("3 differences")
    assert "missing 'head.weight' [10, 64]; nearest on the other side is 'fc.weight' [10, 64]" in said
    assert "unexpected 'fc.weight' [10, 64]; nearest on the other side is 'head.weight' [10, 64]" in said
    assert "'conv1.weight' of shape [3, 1, 3, 3], where the architecture has [16, 1, 3, 3]" in said
    assert path.read_bytes() == b"the one before"
    assert sorted(file.parent.iterdir()) == [file, path]


def test_of_many_differences_the_first_are_told(tmp_path: Path) -> None:
    torch.save({f"layer{number}": torch.ones(1) for number in range(60)}, tmp_path / "mine.pt")
    with pytest.raises(DoesNotFit) as found:
        gauntlet.convert(tmp_path / "mine.pt", architecture="digits_cnn", dataset="digits")
    assert len(found.value.differences) == 21
    assert found.value.differences[-1] == "and 48 more"


def test_values_are_checked_where_the_architecture_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({**STATE, "head.bias": torch.full((10,), float("nan"))}, file)
    assert refused(capsys, file, *FITTING)[2]["field"] == "values"
    assert not file.with_suffix(".safetensors").exists()


def test_a_file_that_the_service_takes_is_left_alone(file: Path) -> None:
    path = gauntlet.convert(file).path
    again = gauntlet.convert(path, architecture="digits_cnn", dataset="digits")
    assert (again.path, again.new, again.tensors) == (path, False, len(STATE))
    exported = gauntlet.export(MODEL, torch.rand(1, 1, 8, 8), file.with_name("mine.pt2")).path
    found = convert(exported)
    assert (found.returncode, found.stderr) == (0, "")
    assert "needs no conversion" in found.stdout
    assert "--threat-model" in found.stdout


def test_a_safetensors_file_is_no_pickle_whatever_the_length_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for length in range(1, 600):
        save_file({"weight": torch.ones(2)}, path, metadata={"note": "x" * length})
        if path.read_bytes().startswith(b"\x80"):
            break
    assert path.read_bytes().startswith(b"\x80")
    assert not gauntlet.convert(path).new


def test_a_safetensors_file_is_compared_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = gauntlet.convert(file).path
    code, _, detail = refused(capsys, path, "--architecture", "digits_resnet", "--dataset", "digits")
    assert (code, detail["field"]) == (2, "keys")


@pytest.mark.parametrize("legacy", [False, True])
def test_of_a_pickled_module_the_lines_are_told_that_export_it(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "whole.pt"
    model = nn.Sequential(nn.Linear(2, 2))
    torch.save({"model": model, "other": Marking(tmp_path / "mark")}, path, _use_new_zipfile_serialization=not legacy)
    found = convert(path)
    assert found.returncode == 2
    assert found.stdout == ""
    lines = [line.strip() for line in found.stderr.splitlines()]
    assert f"gauntlet.export(model, torch.rand(1, 3, 32, 32), {str(path.with_suffix('.pt2'))!r})" in lines
    assert lines[-1].startswith("error: data.pkl: found a pickled module")
    assert list(tmp_path.iterdir()) == [path]


def scripted(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_formats_are_refused_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scripted(tmp_path / "scripted.pt")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x09\x12\x07pytorch\x1a\x052.13.")
    (tmp_path / "text.pt").write_bytes(b"import torch\n")
    for name, found, remedy in (
        ("scripted.pt", "TorchScript", "gauntlet.export"),
        ("model.onnx", "ONNX", "gauntlet.export"),
        ("text.pt", "begins with", "gauntlet.export"),
    ):
        code, _, detail = refused(capsys, tmp_path / name)
        assert code == 2
        assert found in detail["found"]
        assert remedy in detail["remedy"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("missing.pt",), "file"),
        (("FILE", "--architecture", "digits_cnn"), "dataset"),
        (("FILE", "--dataset", "digits"), "architecture"),
        (("FILE", "--architecture", "nothing", "--dataset", "digits"), "architecture"),
        (("FILE", "--key", "ema"), "key"),
        (("FILE", "--output", "no/such/directory/x.safetensors"), "file"),
    ],
)
def test_arguments_that_cannot_be_used_are_told(
    arguments: tuple[str, ...], field: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (str(file) if argument == "FILE" else argument for argument in arguments)
    code, _, detail = refused(capsys, *given)
    assert (code, detail["field"]) == (2, field)
    assert list(file.parent.iterdir()) == [file]


def test_in_python_too(file: Path) -> None:
    with pytest.raises(InvalidInput, match="architecture and dataset together"):
        gauntlet.convert(file, dataset="digits")
