"""A real store that speaks S3: rclone's server, a process of its own that checks signatures and keeps files on disk.

It stands for MinIO, Garage, Ceph or Amazon's own, and differs from Amazon's in two ways that matter here: it keeps a
checksum that is sent along without checking it, and it knows no permissions but one key.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).parent / "rclone"
KEY, SECRET = "test-key", "test-secret-of-the-bucket"
# Tests look and write behind its back, so it must not remember what it saw. At 0 it is busy with itself for minutes.
FRESH = ("--dir-cache-time", "1ms")
READY = re.compile(rb"Starting s3 server on \[(http://[^\]]+?)/?\]")


@dataclass(frozen=True)
class S3Server:
    """A server that answers.

    Args:
        url: its address.
        root: its directory: a folder for each bucket, a file for each object.
    """

    url: str
    root: Path

    def bucket(self) -> str:
        """Make a bucket of the caller's own and return its name."""
        name = f"bucket-{secrets.token_hex(8)}"
        (self.root / name).mkdir()
        return name


@contextmanager
def serving_s3(root: Path) -> Iterator[S3Server]:
    """Serve a directory until the end of the block."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "RCLONE_AUTH_KEY": f'"{KEY},{SECRET}"'}
    command = [str(PROGRAM), "serve", "s3", "--config", os.devnull, "--addr", "127.0.0.1:0", *FRESH, str(root)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said, url = b"", None
        while url is None:
            line = process.stderr.readline()
            assert line, f"the S3 server did not start: {said.decode()}"
            said += line
            url = READY.search(said)
        # What it says later must not fill the pipe.
        reader = threading.Thread(target=process.stderr.read, daemon=True)
        reader.start()
        try:
            yield S3Server(url[1].decode(), root)
        finally:
            process.terminate()
            reader.join(timeout=10)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests; every test has a bucket of its own."""
    with serving_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Name the server's key where boto3 looks for it, and nothing of the developer's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
