"""Time our evaluation and its peers' on the same points, networks and budgets; the result is Markdown.

    python -m bench.engine --cases robust undefended --repeats 3 --json engine.json

The peers are pyautoattack, the reference's code, and torchattacks' own AutoAttack with 100 steps. Every run is a
process of its own; ours and the peers take turns. Times leave out imports, loading and the first pass. Ours runs as the
service runs it, with the allocator told to keep freed memory; peers run as people call them, and once "tuned", with the
same allocator settings and frozen parameters. Everybody's examples are judged by our judge.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bench.cases import BARE, CASES, MEMORY_CASE, OURS, TUNED, Case
from bench.contenders import SIDES, Measurement, measure
from bench.engine_report import markdown
from benchmark.allocator import keep_freed_memory

_ROOT = Path(__file__).resolve().parents[1]


def run_apart(case: Case, contender: str, points: int, seed: int, threads: int) -> Measurement:
    """Measure one run in a process of its own."""
    # What the caller's shell tells the allocator would reach peers too.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    # Read by torch when it is imported.
    environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "bench.engine", "--cases", case.name, "--one", contender]
    command += ["--points", str(points), "--seed", str(seed)]
    done = subprocess.run(command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found = Measurement.read(json.loads(done.stdout.splitlines()[-1]))
    print(f"{case.name}, {contender}: {found.wall:.1f} s", file=sys.stderr, flush=True)
    return found


def run_case(case: Case, repeats: int, points: int, threads: int) -> list[Measurement]:
    """Run ours and the peers in turns."""
    sides = (OURS, *case.peers)
    turns = [(repeat, side) for repeat in range(repeats) for side in sides if repeat == 0 or side != TUNED]
    found = [run_apart(case, side, points, repeat, threads) for repeat, side in turns]
    if case.name == MEMORY_CASE:
        found.append(run_apart(case, BARE, points, 0, threads))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--repeats", type=int, help="of ours and of each peer; by default each case has its own")
    parser.add_argument("--points", type=int, help="the first so many points; by default each case has its own")
    parser.add_argument("--threads", type=int, default=1, help="of every process")
    parser.add_argument("--json", type=Path, help="also write the measurements to this file")
    parser.add_argument("--one", choices=SIDES, help="run one side of one case in this process and print it as JSON")
    parser.add_argument("--seed", type=int, default=0, help="of --one")
    chosen = parser.parse_args()
    cases = [CASES[name] for name in chosen.cases]
    if chosen.one:
        if chosen.one in {OURS, TUNED, BARE}:
            keep_freed_memory()
        print(json.dumps(asdict(measure(cases[0], chosen.one, chosen.points or cases[0].points, chosen.seed))))
        return
    results: list[Measurement] = []
    for case in cases:
        results += run_case(case, chosen.repeats or case.repeats, chosen.points or case.points, chosen.threads)
    print(markdown(results, chosen.threads))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
