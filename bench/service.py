"""Measure how fast the service answers: a board of 250 rows, as JSON and as a page, beside a route that does nothing.

    python -m bench.service

Runs the real service in a process of its own, on the loopback interface, and asks it with wrk: a round of each address
in turn, several times, so that whatever else the machine does falls on all of them. Writes docs/benchmarks/service.md.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from textwrap import fill as fill_lines

import torch
from sqlalchemy import func, select

from benchmark.pipeline import hardware_of
from gauntlet.app import make_services
from gauntlet.settings import Settings
from store.tables import EntryRow
from web.pages.board import ROWS as PAGE_ROWS

ROWS = 250
BOARD = ("cifar10", "Linf")
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks" / "service.md"
BARE = "bare route"
ADDRESSES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    BARE: ("/healthz", ()),
    "board as JSON": (f"/api/v1/leaderboards/{'/'.join(BOARD)}", ()),
    "board as JSON, gzip": (f"/api/v1/leaderboards/{'/'.join(BOARD)}", ("Accept-Encoding: gzip",)),
    "board as page": (f"/boards/{'/'.join(BOARD)}", ()),
    "board as page, gzip": (f"/boards/{'/'.join(BOARD)}", ("Accept-Encoding: gzip",)),
    "list of boards as JSON": ("/api/v1/leaderboards", ()),
}
"""What is asked for, with the headers that it is asked for with."""
ANEW = f"/boards/{'/'.join(BOARD)}?search=a"
"""A view of the board that is kept for nobody; every row has an a somewhere."""
LEAST = 0.3
"""Share of the bare route's requests per second that a board must reach."""


@dataclass(frozen=True)
class Round:
    """What wrk found in a few seconds.

    Args:
        per_second: requests answered.
        p50_ms: median time of an answer.
        p99_ms: time that one answer in a hundred exceeds.
        errors: answers that were none, or of another status than 200.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def main(arguments: list[str] | None = None) -> int:
    """Run all rounds, print a table, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each address")
    parser.add_argument("--seconds", type=int, default=4, help="seconds of a round")
    parser.add_argument("--connections", type=int, default=8, help="connections at a time")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="where to write the table")
    options = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        print("wrk is missing; on Debian `apt-get install wrk` brings it", file=sys.stderr)
        return 2
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as url:
        found: dict[str, list[Round]] = {name: [] for name in ADDRESSES}
        for number in range(options.rounds):
            for name, (path, headers) in ADDRESSES.items():
                found[name].append(ask(f"{url}{path}", headers, options.seconds, options.connections))
                print(f"round {number + 1}: {name}: {found[name][-1].per_second:.0f} a second", file=sys.stderr)
        anew = ask(f"{url}{ANEW}", (), options.seconds, 1)
    text = document(found, options.seconds, options.connections, load, anew)
    print(text)
    options.document.write_text(text, encoding="utf-8")
    shares = [share(found, name) for name in ADDRESSES if name.startswith("board as")]
    return 0 if min(shares) >= LEAST and not any(one.errors for rounds in found.values() for one in rounds) else 1


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a board of so many rows, without workers, until the end of the block."""
    settings = Settings(var_dir=folder / "var", evaluate_zoo=False, worker_children=0)
    fill(settings)
    with started(settings.var_dir, {"GAUNTLET_EVALUATE_ZOO": "0", "GAUNTLET_WORKER_CHILDREN": "0"}) as url:
        yield url


@contextmanager
def started(var_dir: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run a service in a process of its own until the end of the block; yield its address."""
    command = [sys.executable, "-m", "gauntlet", "serve", "--port", "0", "--var-dir", str(var_dir)]
    surroundings = {"PATH": "/usr/bin:/bin", **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=surroundings, text=True) as process:
        try:
            yield _address(process.stdout.readline() if process.stdout is not None else "")
        finally:
            process.terminate()


def _address(line: str) -> str:
    """Return the address in the line that tells that the service has started."""
    found = re.search(r"http://\S+", line)
    if found is None:
        raise RuntimeError("the service did not start")
    return found[0]


def fill(settings: Settings) -> None:
    """Add copies of the board's entries, under other names, until there are enough."""
    with closing(make_services(settings).db) as db, db.transaction() as session:
        board = (EntryRow.dataset == BOARD[0], EntryRow.threat_model == BOARD[1])
        present = session.scalar(select(func.count()).select_from(EntryRow).where(*board)) or 0
        templates = session.scalars(select(EntryRow).where(*board)).all()
        for number in range(ROWS - present):
            template = templates[number % len(templates)]
            columns = (column.key for column in EntryRow.__table__.columns if column.key not in {"id", "model_id"})
            values = {name: getattr(template, name) for name in columns}
            session.add(EntryRow(**values, model_id=f"Copy{number:03d}_{template.model_id}"))


def ask(url: str, headers: tuple[str, ...], seconds: int, connections: int) -> Round:
    """Ask for one address for a few seconds."""
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--latency"]
    for header in headers:
        command += ["--header", header]
    done = subprocess.run([*command, url], check=True, capture_output=True, text=True, timeout=seconds + 30)
    return read(done.stdout)


def read(text: str) -> Round:
    """Read what wrk prints."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    times = [re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s) *$", text, re.MULTILINE) for share in (50, 99)]
    p50, p99 = (float(found[1]) * _MS[found[2]] if found is not None else math.nan for found in times)
    if rate is None or math.isnan(p50 + p99):
        raise ValueError(f"wrk printed what is not understood: {text}")
    others = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = int(others[1]) if others else 0
    errors += sum(map(int, sockets.groups())) if sockets else 0
    return Round(float(rate[1]), p50, p99, errors)


_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def share(found: Mapping[str, list[Round]], name: str) -> float:
    """Return the median over the rounds of an address's requests per second as a share of the bare route's."""
    pairs = zip(found[name], found[BARE], strict=True)
    return median(one.per_second / bare.per_second for one, bare in pairs)


def document(found: Mapping[str, list[Round]], seconds: int, connections: int, load: float, anew: Round) -> str:
    """Return the page that tells what was found.

    Args:
        found: the rounds of each address.
        seconds: of a round.
        connections: at a time.
        load: what else the machine did before, as its load average.
        anew: the page made anew each time, for one connection.
    """
    rows = [
        f"| {name} | {median(one.per_second for one in rounds):,.0f} | {share(found, name):.2f} "
        f"| {median(one.p50_ms for one in rounds):.1f} | {median(one.p99_ms for one in rounds):.1f} |"
        for name, rounds in found.items()
    ]
    count = len(found[BARE])
    packages = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "starlette", "fastapi", "sqlalchemy"))
    processor = hardware_of(torch.device("cpu"))
    paragraphs = {
        "setting": f"""A board of {ROWS} rows on SQLite, one process of `gauntlet serve` without a worker, asked by wrk
            with {connections} connections over the loopback interface: {count} rounds of {seconds} s for each address,
            in turns. Requests a second and times are medians over the rounds, and so is the share, which is formed
            within each round. A page of a board has its first {PAGE_ROWS} rows. A board must reach {LEAST:.0%} of the
            bare route, which passes the same guards and looks nothing up.""",
        "machine": f"""{processor}, {os.cpu_count()} cores with a load average of {load:.1f} before the first round,
            Python {platform.python_version()}, {packages}. Where the load is not near 0, others computed too: trust the
            shares more than the rest. Repeat with `make bench-service`.""",
        "how": f"""Both forms of an answer, plain and packed by gzip, are made once and given again until an entry of
            the board changes, which one indexed query finds out at each request. The page of a board on which a
            submission is under way is made anew when that has come further, which takes five more queries to find
            out; it is not among these rows. Searches, moments of the past and pages of people who are signed in are
            made anew each time: for one reader at a time that took {anew.p50_ms:.0f} ms in the median and
            {anew.p99_ms:.0f} ms for the slowest in a hundred.""",
    }
    filled = {name: fill_lines(" ".join(text.split()), 120) for name, text in paragraphs.items()}
    head = "| address | requests a second | share of the bare route | p50 ms | p99 ms |"
    table = "\n".join((head, "|---|---|---|---|---|", *rows))
    title = "# How fast the service answers"
    return "\n\n".join((title, filled["setting"], table, filled["machine"], filled["how"])) + "\n"


if __name__ == "__main__":
    sys.exit(main())
