"""One attempt at a piece of work: a child process, watched by its parent.

The parent holds the lease and the database; the child computes and holds neither. Whatever the child says or writes is
hostile until validated, and the whole process group ends with the attempt.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from benchmark.errors import EvaluationFailed
from store import claims, outcomes
from store.claims import Beat, Claim
from store.errors import StaleClaim
from store.services import Services
from store.states import Fault
from store.views import Progress
from worker import messages
from worker.messages import MESSAGE, Checked, Evaluated, Failed, Message, Progressed, Request, Saved

logger = logging.getLogger(__name__)

CHILD_COMMAND = (sys.executable, "-I", "-B", "-m", "worker.child")
_TELL_EVERY_S = 1.0
_KEPT_LOG_BYTES = 16 * 1024
_MAX_REPORT_BYTES = outcomes.MAX_REPORT_BYTES
_MAX_FILE_BYTES = 4 * 1024**3
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """How attempts are run.

    Args:
        scratch: where attempts have their directories.
        lease_ms: length of a lease.
        beat_ms: longest time between two signs of life.
        wall_clock_s: time after which an attempt is given up.
        slot_width: rows of a full batch.
        threads: threads of a child.
        save_every_s: time between two snapshots, beside the one at each new attack.
        command: the child's command line.
    """

    scratch: Path
    lease_ms: int
    beat_ms: int
    wall_clock_s: float = 24 * 3600.0
    slot_width: int = 64
    threads: int = 1
    save_every_s: float = 60.0
    command: Sequence[str] = CHILD_COMMAND


class _Ended(Exception):
    """The attempt ends without a result of its own."""


class _Discarded(_Ended):
    """The lease is lost or the submission cancelled: nothing more may be written."""


class _Stopped(_Ended):
    """The service shuts down."""


class _Broken(_Ended):
    """The child failed in a way that is the service's fault until proven otherwise."""


@dataclass
class _Child:
    """The process and what it has said so far."""

    process: subprocess.Popen[bytes]
    out: BinaryIO
    err: BinaryIO
    pending: bytes = b""
    log: bytes = b""
    final: Checked | Evaluated | Failed | None = None
    progress: Progress = field(default_factory=Progress)


def run_attempt(services: Services, claim: Claim, limits: Limits, stop: threading.Event) -> None:
    """Run the claimed work in a child and bring the outcome to the store.

    Every end of the child has its way: a result is stored, a failure is reported, a lost lease is respected, and at a
    shutdown the work is given back. Only errors of the store itself are raised.
    """
    limits.scratch.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{claim.shard_id}-", dir=limits.scratch))
    try:
        _store_outcome(services, claim, scratch, _watch(services, claim, limits, scratch, stop))
    except (_Discarded, StaleClaim):
        logger.info("work %s was given up: the lease is no longer held", claim.shard_id)
    except _Stopped:
        with contextlib.suppress(StaleClaim):
            claims.release(services.db, claim)
    except _Broken as error:
        logger.warning("attempt %s of work %s broke off: %s", claim.attempt, claim.shard_id, error)
        _report_failure(services, claim, str(error), "service")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _store_outcome(services: Services, claim: Claim, scratch: Path, final: Checked | Evaluated | Failed) -> None:
    if isinstance(final, Failed):
        _report_failure(services, claim, final.reason, final.fault)
    elif isinstance(final, Checked):
        outcomes.finish_check(services.db, claim, final.checks, parameters=final.parameters)
    else:
        report = _read(scratch / messages.REPORT_FILE, _MAX_REPORT_BYTES)
        examples = _keep(services, scratch / messages.EXAMPLES_FILE)
        try:
            outcomes.finish_shard(services.db, services.blobs, claim, report, x_adv_sha256=examples)
        except EvaluationFailed as error:
            _report_failure(services, claim, error.message, "service")


def _report_failure(services: Services, claim: Claim, reason: str, fault: Fault) -> None:
    with contextlib.suppress(StaleClaim):
        claims.fail_attempt(services.db, claim, reason, fault)


def _watch(
    services: Services, claim: Claim, limits: Limits, scratch: Path, stop: threading.Event
) -> Checked | Evaluated | Failed:
    """Start the child and follow it to its end; return its last word."""
    request = _prepare(services, claim, limits, scratch)
    with _started(limits, scratch, request) as child, selectors.DefaultSelector() as selector:
        selector.register(child.out, selectors.EVENT_READ)
        selector.register(child.err, selectors.EVENT_READ)
        deadline = time.monotonic() + limits.wall_clock_s
        beaten_at, told = time.monotonic(), child.progress
        while selector.get_map():
            if stop.is_set():
                raise _Stopped
            if time.monotonic() > deadline:
                raise _Broken(f"the evaluation took longer than {limits.wall_clock_s:g} seconds")
            for key, _ in selector.select(timeout=0.2):
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is child.err:
                    child.log = (child.log + data)[-_KEPT_LOG_BYTES:]
                else:
                    _hear(services, claim, child, scratch, data)
            silence = time.monotonic() - beaten_at
            if silence >= limits.beat_ms / 1000 or (silence >= _TELL_EVERY_S and child.progress != told):
                _beat(services, claim, limits, child.progress)
                beaten_at, told = time.monotonic(), child.progress
        code = child.process.wait(timeout=30)
        if child.final is not None and (code == 0 or isinstance(child.final, Failed)):
            return child.final
        logger.warning("the child of work %s said at last: %s", claim.shard_id, child.log.decode(errors="replace"))
        raise _Broken(f"the evaluation process ended with {_ending(code)}")


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _prepare(services: Services, claim: Claim, limits: Limits, scratch: Path) -> Request:
    """Lay the child's files out in its scratch directory; copies, so that it cannot change a blob."""
    shutil.copyfile(services.blobs.path(claim.checkpoint_sha256), scratch / messages.MODEL_FILE)
    if claim.resume_sha256:
        shutil.copyfile(services.blobs.path(claim.resume_sha256), scratch / messages.RESUME_FILE)
    return Request(
        kind=claim.kind,
        parent=os.getpid(),
        architecture=claim.submission.architecture,
        dataset=claim.submission.dataset,
        norm=claim.norm,
        epsilon=claim.epsilon,
        protocol=claim.protocol,
        seed=claim.seed,
        first=claim.first,
        last=claim.last,
        checkpoint_sha256=claim.checkpoint_sha256,
        claimed_standard_accuracy=claim.submission.claimed_standard_accuracy,
        resume=claim.resume_sha256 is not None,
        slot_width=limits.slot_width,
        threads=limits.threads,
        save_every_s=limits.save_every_s,
    )


@contextlib.contextmanager
def _started(limits: Limits, scratch: Path, request: Request) -> Iterator[_Child]:
    """Start the child in a session of its own, with an environment that holds no secret; end all of it afterwards."""
    environment = {
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": str(limits.threads),
        # With glibc's defaults every large tensor is mapped and unmapped again, which costs up to 40 % of the time.
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    }
    process = subprocess.Popen(
        list(limits.command),
        cwd=scratch,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    if stdin is None or stdout is None or stderr is None:
        raise RuntimeError("the child was started without pipes")
    try:
        with contextlib.suppress(BrokenPipeError):
            stdin.write(request.model_dump_json().encode() + b"\n")
            stdin.flush()
        yield _Child(process, out=stdout, err=stderr)  # type: ignore[arg-type]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (stdin, stdout, stderr):
            with contextlib.suppress(OSError):
                stream.close()


def _hear(services: Services, claim: Claim, child: _Child, scratch: Path, data: bytes) -> None:
    *lines, child.pending = (child.pending + data).split(b"\n")
    if len(child.pending) > messages.MAX_LINE_BYTES or any(len(line) > messages.MAX_LINE_BYTES for line in lines):
        raise _Broken("the evaluation process sent a line longer than any message")
    for line in lines:
        try:
            message: Message = MESSAGE.validate_json(line)
        except ValidationError:
            raise _Broken("the evaluation process sent something that is no message") from None
        if child.final is not None:
            raise _Broken("the evaluation process went on after its last message")
        if isinstance(message, Progressed):
            child.progress = Progress.model_validate(message.model_dump(exclude={"type"}))
        elif isinstance(message, Saved):
            snapshot = scratch / messages.SNAPSHOT_FILE.format(message.number)
            claims.save_checkpoint(services.db, claim, _keep(services, snapshot))
            snapshot.unlink(missing_ok=True)
        elif isinstance(message, Failed) or isinstance(message, Checked) == (claim.kind == "check"):
            child.final = message
        else:
            raise _Broken("the evaluation process answered another question")


def _beat(services: Services, claim: Claim, limits: Limits, progress: Progress) -> None:
    if claims.beat(services.db, claim, limits.lease_ms, progress) is not Beat.RENEWED:
        raise _Discarded


def _open(path: Path, limit: int) -> BinaryIO:
    """Open a file that the child wrote: a plain file of bounded size, no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _Broken(f"the evaluation process left no readable {path.name}: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        os.close(descriptor)
        raise _Broken(f"the evaluation process left a {path.name} that is no plain file of at most {limit} bytes")
    return os.fdopen(descriptor, "rb")


def _read(path: Path, limit: int) -> bytes:
    with _open(path, limit) as file:
        return file.read(limit)


def _keep(services: Services, path: Path) -> str:
    """Copy a file of the child's into the blob store and return its hash."""
    with _open(path, _MAX_FILE_BYTES) as file:
        writer = services.blobs.writer(_MAX_FILE_BYTES)
        try:
            while chunk := file.read(_CHUNK):
                writer.write(chunk)
            return writer.commit()
        except BaseException:
            writer.abort()
            raise
