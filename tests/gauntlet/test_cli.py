"""The command line: what it prints where, and what its exit codes say."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import model_zoo
from benchmark.report import EvaluationReport
from gauntlet.app import make_services
from gauntlet.cli.console import ExitCode
from gauntlet.cli.serve import SHUTDOWN_SECONDS
from model_zoo.registry import ARCHITECTURES, bundled_checkpoint, card, cards
from model_zoo.registry import published as published_cards
from store.boards import get_board
from tests.running import Running, quiet_settings, running, safetensors
from tests.store.material import fill_board, published
from tests.web.material import take_in

ROOT = Path(__file__).parents[2]
CARD = card("Digits_Standard", "digits", "Linf")
CARD_FILES = ROOT / "model_zoo/cards"
BOARD = ("--dataset", "digits", "--threat-model", "Linf")
SUBMIT = ("submit", str(bundled_checkpoint(CARD)), "--name", "Mine", *BOARD, "--architecture", CARD.architecture)

EXTERNAL = ("external", str(bundled_checkpoint(CARD)), *BOARD, "--model", "Mine", "--attack", "by hand")


def gauntlet(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as people do."""
    command = [sys.executable, "-W", "error", "-m", "gauntlet", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


def assert_refused(found: subprocess.CompletedProcess[str], code: int, field: str, *, as_json: bool = False) -> None:
    """Check the exit code, the one line on stderr, and the shape on stdout."""
    assert found.returncode == code, found
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: ")
    assert "Remedy: " in line
    if as_json:
        error = json.loads(found.stdout)["error"]
        assert set(error) == {"code", "message", "detail"}
        assert error["detail"]["field"] == field
    else:
        assert found.stdout == ""
        assert field in line


HELP = """
import atexit, sys
from gauntlet.cli import main
slow = ("torch", "numpy", "sqlalchemy", "fastapi", "celery")
atexit.register(lambda: print([name for name in slow if name in sys.modules], file=sys.stderr))
sys.argv = ["gauntlet", "--help"]
main()
"""


def test_help_loads_nothing_slow() -> None:
    environment = {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HELP]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert found.stderr == "[]\n"


def test_help_names_the_exit_codes() -> None:
    found = gauntlet("--help")
    assert found.returncode == 0
    text = " ".join(found.stdout.split())
    assert all(str(int(code)) in text.partition("Exit codes: ")[2] for code in ExitCode)
    document = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert all(f"\n| {int(code)} | " in document for code in ExitCode)
    assert gauntlet().stdout == found.stdout


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "evaluate",
        "check",
        "compare",
        "analyse",
        "convert",
        "data check",
        "data fetch",
        "data list",
        "reproduce",
        "submit",
        "watch",
        "cancel",
        "external",
        "leaderboard",
        "import-model-info",
        "health",
        "account list",
        "account invite",
        "account link",
        "account role",
        "account disable",
        "backup",
        "restore",
        "zoo attack",
        "zoo train",
    ],
)
def test_every_command_has_help_with_json_and_is_documented(command: str) -> None:
    found = gauntlet(*command.split(), "--help")
    assert found.returncode == 0
    assert "--json" in found.stdout
    assert "Exit codes" in found.stdout
    assert f"| `gauntlet {command}" in (ROOT / "docs/cli.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("nothing", "--json"), "command line"),
        (("evaluate", "--json", "-"), "model"),
        (("evaluate", "Digits_Standard", "--dataset", "digits", "--json", "-"), "threat_model"),
        (("evaluate", "Digits_Standard", *BOARD, "--points", "many", "--json", "-"), "points"),
        (("evaluate", "Digits_Standard", *BOARD, "--points", "0", "--json", "-"), "points"),
        (("evaluate", "Digits_Standard", "--dataset", "digits", "--threat-model", "L9", "--json=-"), "board"),
        (("evaluate", "Nobody", *BOARD, "--json", "-"), "model"),
        (("evaluate", "missing.safetensors", *BOARD, "--json", "-"), "model"),
        (("evaluate", str(bundled_checkpoint(CARD)), *BOARD, "--json", "-"), "architecture"),
        (("evaluate", "Digits_Standard", *BOARD, "--json", "no/such/directory/x.json"), "json"),
        (("evaluate", "Digits_Standard", *BOARD, "--json", "/"), "json"),
        (("evaluate", "n" * 300, *BOARD, "--json", "-"), "file"),
        (("evaluate", "Digits_Standard", *BOARD, "--seeds", "1", "--json", "-"), "seeds"),
        (("compare", "missing.json", "missing.json", "--json"), "report"),
        (("compare", "/", "/", "--json"), "report"),
        (("compare", str(bundled_checkpoint(CARD)), str(bundled_checkpoint(CARD)), "--json"), "report"),
        (("reproduce", "missing.json", "--json"), "report"),
        (("reproduce", "missing.json"), "report"),
        (("submit", "missing.safetensors", *SUBMIT[2:], "--json"), "file"),
        ((*SUBMIT, "--extra-data", "plenty", "--json"), "extra_data"),
        (("external", "missing.npy", *EXTERNAL[2:], "--json"), "file"),
        ((*EXTERNAL, "--points", "3-1", "--json"), "points"),
        ((*EXTERNAL, "--points", "1", "--points-file", "x", "--json"), "points"),
        ((*EXTERNAL, "--points-file", "missing.txt", "--json"), "file"),
        ((*EXTERNAL, "--points-file", str(bundled_checkpoint(CARD)), "--json"), "points_file"),
        ((*EXTERNAL, "--claimed", "62", "--json"), "claimed"),
        (("leaderboard", "digits", "--json"), "board"),
        (("zoo", "show", "Nobody", "--json"), "model"),
        (("zoo", "check", "no/such.toml", "--json"), "card"),
        (("zoo", "check", str(CARD_FILES / "digits/Digits_Standard.toml"), "--json"), "threat_model"),
        (("zoo", "train", "Digits_Standard", "--output", "no/such/x", "--json"), "output"),
        (("health", "nothing", "--json"), "part"),
        (("backup", "missing/backup.tar", "--var-dir", "missing", "--json"), "database_url"),
        (("restore", "missing.tar", "--json"), "file"),
        (("restore", str(bundled_checkpoint(CARD)), "--json"), "backup"),
        (("serve", "--port", "70000", "--json"), "port"),
        (("serve", "--host", "192.0.2.1", "--json"), "host"),
        (("serve", "--port", "0", "--var-dir", "/dev/null/var", "--json"), "file"),
        (("serve", "--log-level", "loud", "--json"), "log_level"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(part[-20:] for part in value[:1] + value[-3:]),
)
def test_invalid_input_is_two(arguments: tuple[str, ...], field: str) -> None:
    as_json = any(argument.startswith("--json") for argument in arguments)
    assert_refused(gauntlet(*arguments), ExitCode.INVALID, field, as_json=as_json)


@pytest.mark.slow
def test_an_unreachable_service_is_three() -> None:
    for arguments in (("leaderboard", "digits/Linf"), SUBMIT, ("watch", "0"), ("cancel", "0"), EXTERNAL):
        found = gauntlet(*arguments, "--server", "http://127.0.0.1:1")
        assert_refused(found, ExitCode.UNREACHABLE, "http://127.0.0.1:1")


@pytest.mark.slow
def test_evaluates_a_zoo_model_and_a_file_to_the_same_report(tmp_path: Path) -> None:
    written = tmp_path / "report.json"
    of_file = gauntlet(
        "evaluate", str(bundled_checkpoint(CARD)), "--architecture", CARD.architecture, *BOARD,
        "--points", "24", "--json", str(written),
    )  # fmt: skip
    assert of_file.returncode == 0, of_file.stderr
    assert "Robust accuracy: " in of_file.stdout
    assert of_file.stderr == ""
    of_zoo = gauntlet("evaluate", CARD.id, *BOARD, "--points", "24", "--json", "-")
    assert of_zoo.stderr == ""
    report = EvaluationReport.model_validate_json(of_zoo.stdout)
    assert report.n_points == 24
    assert report.provenance.checkpoint_sha256 == CARD.sha256
    assert EvaluationReport.model_validate_json(written.read_bytes()).results_sha256() == report.results_sha256()


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(bundled_checkpoint(CARD).read_bytes()[:-1])
    found = gauntlet("evaluate", str(path), "--architecture", CARD.architecture, *BOARD)
    assert found.returncode == ExitCode.INVALID
    assert found.stderr.startswith("error: ")
    assert len(found.stderr.splitlines()) == 1


def test_lists_and_shows_the_zoo() -> None:
    listed = json.loads(gauntlet("zoo", "list", "--json").stdout)
    assert [model["id"] for model in listed["models"]] == [entry.id for entry in cards()]
    assert [model["id"] for model in listed["published"]] == [entry.id for entry in published_cards()]
    assert [entry["name"] for entry in listed["architectures"]] == list(ARCHITECTURES)
    table = gauntlet("zoo", "list").stdout
    assert all(model_id in table for model_id in model_zoo.list_models())
    shown = json.loads(gauntlet("zoo", "show", CARD.id, "--json").stdout)
    assert shown == CARD.model_dump(mode="json")
    assert CARD.sha256 in gauntlet("zoo", "show", CARD.id).stdout
    board = ("--dataset", "cifar10", "--threat-model", "Linf")
    assert json.loads(gauntlet("zoo", "show", "pang2020boosting", *board, "--json").stdout)["parameters"] == 184_531_664
    assert "arguments.unit_norm" in gauntlet("zoo", "show", "Pang2020Boosting", *board[:2]).stdout
    assert "3, 3, 27, 3" in gauntlet("zoo", "show", "Liu2023Comprehensive_ConvNeXt-L", "--dataset", "imagenet").stdout


def test_checks_a_card() -> None:
    path = str(CARD_FILES / "cifar10/Linf/Wong2020Fast.toml")
    found = gauntlet("zoo", "check", path, "--json")
    assert json.loads(found.stdout) == {
        "network": "PreActResNet",
        "parameters": 11_171_146,
        "keys": 102,
        "classes": 10,
    }, found
    assert gauntlet("zoo", "check", path).stdout.startswith(
        "Wong2020Fast on cifar10/Linf: PreActResNet with 11,171,146"
    )


@pytest.mark.slow
def test_trains_a_model_again_briefly(tmp_path: Path) -> None:
    path = tmp_path / "trained.safetensors"
    found = gauntlet("zoo", "retrain", CARD.id, "--output", str(path), "--epochs", "1", "--json")
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    content = json.loads(found.stdout)
    assert content["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert content["equals_card"] is False


def test_submits_watches_and_cancels(service: Running) -> None:
    server = ("--server", service.url)
    sent = gauntlet(*SUBMIT, "--json", *server)
    assert sent.returncode == 0, sent.stderr
    assert sent.stderr == ""
    view = json.loads(sent.stdout)
    assert view["state"] == "received"
    assert view["submission"]["checkpoint_sha256"] == CARD.sha256
    assert_refused(gauntlet(*SUBMIT, *server), ExitCode.INVALID, "name")

    cancelled = gauntlet("cancel", view["id"], *server)
    assert (cancelled.returncode, cancelled.stdout) == (0, "State: cancelled (cancelled by request)\n")
    watched = gauntlet("watch", view["id"], "--json", *server)
    assert watched.returncode == ExitCode.FAILED
    assert json.loads(watched.stdout)["state"] == "cancelled"


def test_a_file_that_the_service_refuses_is_invalid_input(service: Running, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(safetensors()[:-1])
    found = gauntlet("submit", str(path), *SUBMIT[2:], "--json", "--server", service.url)
    assert found.returncode == ExitCode.INVALID
    assert json.loads(found.stdout)["error"]["code"] == "invalid_checkpoint"


def test_shows_a_leaderboard(service: Running) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    server = ("--server", service.url)
    assert "Method A" in gauntlet("leaderboard", "digits/Linf", *server).stdout
    content = json.loads(gauntlet("leaderboard", "digits/Linf", "--json", *server).stdout)
    assert content == service.http.get("/api/v1/leaderboards/digits/Linf").json()
    assert_refused(gauntlet("leaderboard", "digits/L9", "--json", *server), ExitCode.INVALID, "board", as_json=True)


@pytest.mark.slow
def test_shows_all_of_a_long_leaderboard(service: Running) -> None:
    fill_board(service.services.db, 1_111)
    shown = gauntlet("leaderboard", "digits/L2", "--json", "--server", service.url).stdout
    assert json.loads(shown) == get_board(service.services.db, "digits", "L2").model_dump(mode="json")


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        found = gauntlet("serve", "--port", port, "--var-dir", str(tmp_path / "var"), "--json")
    assert_refused(found, ExitCode.INVALID, "port", as_json=True)
    assert port in found.stderr
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_serves_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "gauntlet", "serve", "--port", "0", "--var-dir", str(tmp_path / "var"), "--json"]
    environment = {"PYTHONPATH": str(ROOT), "GAUNTLET_EVALUATE_ZOO": "false", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        try:
            lines = iter(child.stdout.readline, "")
            url = json.loads("".join(next(lines) for _ in range(4)))["url"]  # with the administrator's link
            assert httpx.get(f"{url}/healthz").json()["status"] == "ok"
            child.send_signal(number)
            _, errors = child.communicate(timeout=20)
        finally:
            child.kill()
    assert child.returncode == 0
    assert errors == ""


@pytest.mark.slow
def test_an_open_stream_does_not_hold_up_the_end(tmp_path: Path, prepared: Path) -> None:
    shutil.copytree(prepared, tmp_path / "var")
    services = make_services(quiet_settings(tmp_path / "var"))
    view = take_in(services, "Watched")
    services.db.close()
    command = [sys.executable, "-m", "gauntlet", "serve", "--port", "0", "--var-dir", str(tmp_path / "var"), "--json"]
    environment = {
        "PYTHONPATH": str(ROOT),
        "GAUNTLET_EVALUATE_ZOO": "false",
        "GAUNTLET_WORKER_CHILDREN": "0",
        "PATH": "/usr/bin:/bin",
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        try:
            url = json.loads("".join(child.stdout.readline() for _ in range(4)))["url"]
            with httpx.stream("GET", f"{url}/api/v1/submissions/{view.id}/events") as response:
                next(response.iter_lines())
                child.send_signal(signal.SIGTERM)
                _, errors = child.communicate(timeout=SHUTDOWN_SECONDS - 1)
        finally:
            child.kill()
    assert (child.returncode, errors) == (0, "")


def test_a_log_in_json_holds_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gauntlet", "serve", "--port", "0", "--json", "--log-level", "INFO"]
    environment = {
        "PYTHONPATH": str(ROOT),
        "GAUNTLET_EVALUATE_ZOO": "false",
        "GAUNTLET_LOG_FORMAT": "json",
        "GAUNTLET_VAR_DIR": str(tmp_path / "var"),
        "PATH": "/usr/bin:/bin",
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        try:
            url = json.loads("".join(child.stdout.readline() for _ in range(4)))["url"]  # with the administrator's link
            assert httpx.get(f"{url}/submissions/none").status_code == 404
            child.send_signal(signal.SIGTERM)
            _, errors = child.communicate(timeout=20)
        finally:
            child.kill()
    records = [json.loads(line) for line in errors.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(record) for record in records)
    (request,) = [record for record in records if record["logger"] == "gauntlet.access"]
    assert (request["route"], request["status"]) == ("/submissions/{submission_id}", 404)


def test_two_services_never_share_a_directory(tmp_path: Path, prepared: Path) -> None:
    shutil.copytree(prepared, tmp_path / "var")
    settings = quiet_settings(tmp_path / "var").model_copy(update={"worker_children": 1})
    with running(settings):
        found = gauntlet("serve", "--port", "0", "--var-dir", str(tmp_path / "var"), "--json")
    assert_refused(found, ExitCode.INVALID, "var_dir", as_json=True)


@pytest.mark.parametrize("arguments", [("zoo", "list"), ("zoo", "list", "--json")])
def test_an_output_that_takes_nothing_is_told_in_one_line(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-W", "error", "-m", "gauntlet", *arguments]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        found = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    assert found.returncode == ExitCode.INVALID
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: output: found No space left on device")
