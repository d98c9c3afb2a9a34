"""The kernel's Landlock on this machine: what is listed can be used, and nothing else."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from worker.child import landlock

ROOT = Path(__file__).parents[2]
PROGRAM = """
import ctypes, json, os, socket, sys
from pathlib import Path
from worker.child import landlock
outside, inside, port = sys.argv[1:]
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
landlock.restrict([Path(sys.prefix), Path(sys.base_prefix), Path("/usr")], [Path(inside), Path("/nowhere")])

def tried(action):
    try:
        action()
    except OSError:
        return "denied"
    return "done"

def connect():
    socket.create_connection(("127.0.0.1", int(port)), 5).close()

print(json.dumps({
    "read outside": tried(lambda: open(f"{outside}/secret").read()),
    "list outside": tried(lambda: os.listdir(outside)),
    "write outside": tried(lambda: open(f"{outside}/new", "w")),
    "rename outside": tried(lambda: os.rename(f"{outside}/secret", f"{outside}/other")),
    "remove outside": tried(lambda: os.remove(f"{outside}/secret")),
    "link inside": tried(lambda: os.link(f"{outside}/secret", f"{inside}/secret")),
    "read through a link": tried(lambda: (os.symlink(f"{outside}/secret", f"{inside}/link"), open(f"{inside}/link"))),
    "connect": tried(connect),
    "child reads outside": "denied" if os.system(f"cat {outside}/secret 2>/dev/null") else "done",
    "write inside": tried(lambda: Path(inside, "new").write_text("x")),
    "rename inside": tried(lambda: os.rename(f"{inside}/new", f"{inside}/other")),
    "read inside": tried(lambda: Path(inside, "other").read_text()),
}))
"""


def test_only_what_is_listed_can_be_used(tmp_path: Path) -> None:

    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", PROGRAM, str(outside), str(inside), str(server.getsockname()[1])]
        done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    known = landlock.version()
    assert known > 0, "this machine has no Landlock"
    allowed = {"write inside", "rename inside", "read inside"} | ({"connect"} if known < 4 else set())
    assert {name for name, outcome in found.items() if outcome == "done"} == allowed, found
    assert (outside / "secret").read_text() == "secret"
