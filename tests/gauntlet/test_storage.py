"""Where the blobs are: which addresses are understood, which are refused, and that none tells a secret."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmark.errors import InvalidInput
from gauntlet.settings import Settings, read_settings
from gauntlet.storage import open_blobs
from store.blobs import LocalBlobs
from store.http_blobs import HttpRemote
from store.remote_blobs import RemoteBlobs
from tests.running import quiet_settings, running, safetensors
from tests.s3_server import S3Server
from tests.store.opening import TOKEN

SECRET = "secret-of-the-tests"


def settings(path: Path, url: str | None, token: str | None = TOKEN) -> Settings:
    return Settings(var_dir=path, blobs_url=url, worker_token=SecretStr(token) if token else None)


def test_a_directory_by_default_and_by_address(tmp_path: Path) -> None:
    default = open_blobs(settings(tmp_path, None))
    assert isinstance(default, LocalBlobs)
    assert default.root == tmp_path / "blobs"
    named = open_blobs(settings(tmp_path, f"file://{tmp_path}/my%20blobs"))
    assert isinstance(named, LocalBlobs)
    assert named.root == tmp_path / "my blobs"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "begins with"),
        ("blobs", "begins with"),
        ("/srv/blobs", "begins with"),
        ("ftp://host/blobs", "begins with 'ftp'"),
        ("S4://bucket", "begins with 's4'"),
        ("file://host/blobs", "absolute path"),
        ("file:blobs", "absolute path"),
        ("file:///", "absolute path"),
        ("s3://", "bucket"),
        ("s3:///prefix", "bucket"),
        ("s3://Bucket_", "bucket"),
        ("s3://bucket/../other", "prefix"),
        ("s3://bucket/a//b", "prefix"),
        ("s3://bucket/a%2fb", "prefix"),
        ("s3://bucket?endpoint=host:9000", "endpoint"),
        ("s3://bucket?endpoint=file:///etc", "endpoint"),
        ("s3://bucket?endpoint=http://host/path", "endpoint"),
        ("s3://bucket?endpoint=http://a&endpoint=http://b", "at most once"),
        ("s3://bucket?secret=x", "options"),
        ("s3://bucket?region=x%0d%0ay", "region"),
        ("http://", "host"),
        ("https:///path", "host"),
        ("http://host?token=x", "host"),
        ("http://host:port", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://host#part", "blanks or a fragment"),
        ("http://host/\r\nX-Injected: yes", "blanks or a fragment"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_blobs(settings(tmp_path, url))
    assert caught.value.detail is not None
    assert caught.value.detail.field == "blobs_url"
    assert words in caught.value.message
    assert len(caught.value.message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@host",
        f"https://{SECRET}@host",
        f"s3://key:{SECRET}@bucket",
        f"s3://bucket?endpoint=http://user:{SECRET}@host",
        f"file://user:{SECRET}@host/path",
        f"http://host:{SECRET}",
        f"s3://bucket?secret={SECRET}",
        f"http://host?token={SECRET}",
        f"file:///path?token={SECRET}",
        f"s3://bucket?endpoint=http://host?token={SECRET}",
        f"s3://bucket?endpoint=http://host/{SECRET}",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_blobs(settings(tmp_path, url))
    assert SECRET not in f"{caught.value.as_json()} {caught.value.__cause__!r}"


def test_a_service_is_reached_with_a_token_only(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_blobs(settings(tmp_path, "http://127.0.0.1:9", token=None))
    assert caught.value.detail is not None
    assert caught.value.detail.field == "worker_token"


def test_a_store_that_does_not_answer_yet_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blobs = open_blobs(settings(tmp_path, "http://127.0.0.1:9"))
    assert isinstance(blobs, RemoteBlobs)
    assert isinstance(blobs.remote, HttpRemote)
    assert "does not answer yet" in caplog.text
    blobs.close()


@pytest.mark.usefixtures("s3_credentials")
def test_a_bucket_that_does_not_exist_keeps_the_service_from_starting(s3_server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no bucket"):
        open_blobs(settings(tmp_path, f"s3://no-such-bucket?endpoint={s3_server.url}"))


@pytest.mark.usefixtures("s3_credentials")
def test_s3_without_boto3_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InvalidInput, match="no boto3"):
        open_blobs(settings(tmp_path, "s3://bucket"))


@pytest.mark.usefixtures("s3_credentials")
def test_a_service_on_a_bucket_serves_workers_without_any_shared_disk(
    s3_server: S3Server, prepared: Path, tmp_path: Path
) -> None:
    """A checkpoint goes in by the public interface, and a worker elsewhere reads it and sends its results."""
    url = f"s3://{s3_server.bucket()}/some/prefix/?endpoint={s3_server.url}&region=us-east-1"
    given = {"blobs_url": url, "worker_token": SecretStr(TOKEN)}
    with running(quiet_settings(tmp_path / "var").model_copy(update=given)) as service:
        checkpoint = safetensors()
        assert service.put(checkpoint).status_code == 201
        assert service.http.get(f"/api/v1/uploads/{hashlib.sha256(checkpoint).hexdigest()}").status_code == 200
        worker = open_blobs(settings(tmp_path / "worker", service.url))
        assert worker.read(hashlib.sha256(checkpoint).hexdigest()) == checkpoint
        examples = b"examples" * 200_000
        assert service.services.blobs.read(worker.put(examples)) == examples
        worker.close()
    stored = [path.name for path in s3_server.root.rglob("some/prefix/sha256/??/??/*")]
    assert sorted(stored) == sorted(hashlib.sha256(data).hexdigest() for data in (checkpoint, examples))
    assert not (tmp_path / "var/blobs").exists()


def test_a_service_on_a_bucket_that_is_away_says_so(s3_server: S3Server, tmp_path: Path, s3_credentials: None) -> None:
    url = f"s3://{s3_server.bucket()}?endpoint=http://127.0.0.1:9"
    with running(quiet_settings(tmp_path / "var").model_copy(update={"blobs_url": url})) as service:
        blobs = service.services.blobs
        assert isinstance(blobs, RemoteBlobs)
        blobs.waits_s = ()
        answer = service.put(safetensors())
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "storage_unavailable"
        assert "127.0.0.1:9" not in answer.text


@pytest.mark.parametrize("token", ["", SECRET, "x" * 31, "x" * 513, f"{'x' * 32}\n", f"{'x' * 32} y", "ü" * 40])
def test_a_weak_token_keeps_the_service_from_starting_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("GAUNTLET_WORKER_TOKEN", token)
    with pytest.raises(InvalidInput) as caught:
        read_settings()
    assert caught.value.detail is not None
    assert caught.value.detail.field == "worker_token"
    assert not token or token not in f"{caught.value.as_json()}"
    assert "xxx" not in caught.value.message


def test_no_error_of_another_setting_repeats_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_WORKER_TOKEN", TOKEN)
    for given in ({"lease_ms": 1, "beat_ms": 1}, {"port": -1}, {"lease_ms": 1, "port": TOKEN[:3]}):
        with pytest.raises(InvalidInput) as caught:
            read_settings(**given)
        assert TOKEN not in f"{caught.value.as_json()}"


def test_settings_hide_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAUNTLET_WORKER_TOKEN", TOKEN)
    read = read_settings()
    assert read.worker_token is not None
    assert read.worker_token.get_secret_value() == TOKEN
    assert TOKEN not in f"{read!r} {read} {read.model_dump()} {read.model_dump_json()}"
