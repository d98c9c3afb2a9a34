"""A real service on a free port of the loopback interface, for the tests that need one."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from gauntlet.app import create_app, make_services
from gauntlet.settings import Settings
from store.services import Services

MAX_CHECKPOINT_BYTES = 300_000


@dataclass(frozen=True)
class Running:
    """A service that answers.

    Args:
        url: where it is.
        app: the application itself.
        services: its store, to look behind the answers.
        blobs: the directory of its blobs.
        http: a client of it.
    """

    url: str
    app: FastAPI
    services: Services
    blobs: Path
    http: httpx.Client

    @property
    def port(self) -> int:
        """Where to connect to with a bare socket."""
        return int(self.url.rpartition(":")[2])

    def files(self) -> list[str]:
        """Every file below the blobs' directory, temporary ones included."""
        return sorted(path.name for path in self.blobs.rglob("*") if path.is_file())

    def put(self, content: bytes) -> httpx.Response:
        """Upload a file under its hash."""
        return self.http.put(f"/api/v1/uploads/{hashlib.sha256(content).hexdigest()}", content=content)


def read_all(connection: socket.socket) -> bytes:
    """Read until the service closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a service that has been started once, to be copied."""
    path = tmp_path_factory.mktemp("prepared") / "var"
    make_services(quiet_settings(path)).db.close()
    return path


@pytest.fixture
def service(prepared: Path, tmp_path: Path) -> Iterator[Running]:
    """A service of the test's own, without submissions and without a worker."""
    shutil.copytree(prepared, tmp_path / "var")
    with running(quiet_settings(tmp_path / "var")) as service:
        yield service


def quiet_settings(var_dir: Path) -> Settings:
    """Settings without a worker, so that nothing moves unless a test moves it."""
    return Settings(
        var_dir=var_dir, worker_children=0, evaluate_zoo=False, max_checkpoint_bytes=MAX_CHECKPOINT_BYTES, port=0
    )


@contextmanager
def running(settings: Settings) -> Iterator[Running]:
    """Serve until the end of the block."""
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    # As `gauntlet serve` has it: otherwise the second half of each answer waits 40 ms for the first to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.005)
        with httpx.Client(base_url=url, timeout=10) as http:
            yield Running(url, app, app.state.services, settings.var_dir / "blobs", http)
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listener.close()


def safetensors(header: dict[str, object] | None = None, data: bytes = bytes(16)) -> bytes:
    """Build a safetensors file by hand; by default a sound one with a single tensor."""
    content = {"weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}} if header is None else header
    text = json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text + data
