"""Settings: documented, read from the environment, and refused where impossible."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.errors import InvalidInput
from gauntlet.settings import Settings, read_settings

DOCUMENT = Path(__file__).parents[2] / "docs/settings.md"
ROW = re.compile(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\| (.+) \|$", flags=re.MULTILINE)


def test_every_setting_is_documented_with_its_default_and_its_docstring() -> None:
    documented = {name: (default, meaning) for name, default, meaning in ROW.findall(DOCUMENT.read_text("utf-8"))}
    declared = {}
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} has no docstring"
        default = "" if field.default is None else str(field.default)
        if isinstance(field.default, tuple):
            default = ",".join(field.default)
        declared[name] = (default, " ".join(field.description.split()))
    assert documented == declared


def test_the_environment_is_read_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_PORT", "1234")
    monkeypatch.setenv("GAUNTLET_HOST", "0.0.0.0")  # noqa: S104
    monkeypatch.setenv("GAUNTLET_ALLOWED_HOSTS", "a.example, b.example")
    settings = read_settings(port=4321, host=None)
    assert (settings.port, settings.host, settings.allowed_hosts) == (4321, "0.0.0.0", ("a.example", "b.example"))  # noqa: S104
    assert settings.hosts_served == ("a.example", "b.example")


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("127.0.0.1", ("127.0.0.1", "localhost", "::1")),
        ("::1", ("127.0.0.1", "localhost", "::1")),
        ("192.0.2.7", ("*",)),
    ],
)
def test_a_loopback_service_answers_to_loopback_names_only(host: str, served: tuple[str, ...]) -> None:
    assert read_settings(host=host).hosts_served == served


def test_the_database_lies_in_the_data_directory_unless_named(tmp_path: Path) -> None:
    assert read_settings(var_dir=tmp_path).database_address == f"sqlite:///{tmp_path}/gauntlet.sqlite"
    assert read_settings(database_url="sqlite:///x").database_address == "sqlite:///x"


def test_devices_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().worker_devices == ("cpu",)
    monkeypatch.setenv("GAUNTLET_WORKER_DEVICES", "cuda:0, cuda:1")
    assert read_settings().worker_devices == ("cuda:0", "cuda:1")


@pytest.mark.parametrize("devices", ["cuda:x", "gpu", ",", "cpu,cuda:0,tpu"])
def test_impossible_devices_are_refused(monkeypatch: pytest.MonkeyPatch, devices: str) -> None:
    monkeypatch.setenv("GAUNTLET_WORKER_DEVICES", devices)
    with pytest.raises(InvalidInput, match="worker_devices"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "70000"),
        ("port", "http"),
        ("worker_children", "-1"),
        ("max_checkpoint_bytes", "0"),
        ("log_format", "xml"),
        ("log_level", "loud"),
    ],
)
def test_impossible_values_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"GAUNTLET_{name.upper()}", value)
    with pytest.raises(InvalidInput) as caught:
        read_settings()
    assert caught.value.detail is not None
    assert caught.value.detail.field == name
    assert value in caught.value.detail.found


def test_a_lease_must_outlive_two_beats() -> None:
    with pytest.raises(InvalidInput, match="twice beat_ms"):
        read_settings(lease_ms=1000, beat_ms=501)
    assert read_settings(lease_ms=1000, beat_ms=500).lease_ms == 1000


def test_a_weak_token_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_METRICS_TOKEN", "sesame")
    with pytest.raises(InvalidInput, match="metrics_token") as caught:
        read_settings()
    assert "sesame" not in str(caught.value.as_json())
    monkeypatch.setenv("GAUNTLET_METRICS_TOKEN", "0123456789abcdef" * 2)
    assert read_settings().secrets == {"0123456789abcdef" * 2}
    assert "0123456789abcdef" not in repr(read_settings())


def test_secrets_are_collected_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_DATABASE_URL", "postgresql+psycopg://gauntlet:op%2Fen-sesame@127.0.0.1/x")
    assert read_settings().secrets == {"op%2Fen-sesame", "op/en-sesame"}
    assert read_settings(database_url="sqlite:///x.sqlite").secrets == frozenset()
    with pytest.raises(InvalidInput) as caught:
        read_settings(lease_ms=1, beat_ms=1)
    assert "sesame" not in str(caught.value.as_json())


@pytest.mark.parametrize("address", ["nonsense", "postgresql://u:op%en-sesame", "postgresql://h:open-sesame/x"])
def test_an_address_that_cannot_be_read_is_refused_without_being_shown(address: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_settings(database_url=address)
    assert caught.value.detail is not None
    assert caught.value.detail.field == "database_url"
    assert address not in str(caught.value.as_json())
    assert "sesame" not in str(caught.value.as_json())


@pytest.mark.parametrize("level", ["INFO", "info"])
def test_levels_are_read_in_any_case(level: str) -> None:
    assert read_settings(log_level=level).log_level == "info"


def test_a_setting_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, content in {
        "DATABASE_URL": "postgresql+psycopg://u:open-sesame@db/x\n",
        "METRICS_TOKEN": "0123456789abcdef" * 2 + "\r\n",
        "PORT": "81",
        "WORKER_DEVICES": "cuda:0,cuda:1",
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        monkeypatch.setenv(f"GAUNTLET_{name}_FILE", str(tmp_path / name))
    settings = read_settings()
    assert settings.database_url == "postgresql+psycopg://u:open-sesame@db/x"
    assert settings.secrets == {"open-sesame", "0123456789abcdef" * 2}
    assert (settings.port, settings.worker_devices) == (81, ("cuda:0", "cuda:1"))
    assert read_settings(port=82).port == 82


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "noise"):
        monkeypatch.setenv("GAUNTLET_REDIS_URL_FILE", str(path))
        with pytest.raises(InvalidInput) as caught:
            read_settings()
        assert caught.value.detail is not None
        assert caught.value.detail.field == "GAUNTLET_REDIS_URL_FILE"


def test_a_value_and_a_file_contradict_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "port").write_text("81", encoding="utf-8")
    monkeypatch.setenv("GAUNTLET_PORT_FILE", str(tmp_path / "port"))
    monkeypatch.setenv("GAUNTLET_PORT", "82")
    with pytest.raises(InvalidInput, match="one of the two"):
        read_settings()


def test_a_bad_value_from_a_file_is_not_shown_where_it_is_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("sesame", encoding="utf-8")
    for name in ("DATABASE_URL", "REDIS_URL", "METRICS_TOKEN"):
        monkeypatch.setenv(f"GAUNTLET_{name}_FILE", str(tmp_path / "url"))
        with pytest.raises(InvalidInput) as caught:
            read_settings()
        assert "sesame" not in str(caught.value.as_json())
        monkeypatch.delenv(f"GAUNTLET_{name}_FILE")


def test_a_mistyped_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_DATABASE_URI_FILE", "/x")
    with pytest.raises(InvalidInput, match="GAUNTLET_DATABASE_URI_FILE"):
        read_settings()


def test_a_mistyped_setting_is_named_with_the_one_it_resembles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_SERVER", "http://127.0.0.1:8000")
    read_settings()
    monkeypatch.setenv("GAUNTLET_ALLOWED_HOST", "a.example")
    with pytest.raises(InvalidInput) as caught:
        read_settings()
    assert caught.value.detail is not None
    assert caught.value.detail.field == "GAUNTLET_ALLOWED_HOST"
    assert caught.value.detail.expected == "GAUNTLET_ALLOWED_HOSTS"
