"""The process that runs a submitted model: ``python -m worker.child``, one request on stdin, messages on stdout."""

from __future__ import annotations

import os
import sys

from benchmark.allocator import keep_freed_memory
from worker.child.confinement import confine
from worker.messages import MAX_LINE_BYTES, Failed, Message, Request


def main() -> None:
    """Answer the one request."""
    # Whatever a library prints goes to stderr; only messages reach the parent's pipe.
    pipe = os.dup(1)
    os.dup2(2, 1)

    def send(message: Message) -> None:
        line = message.model_dump_json().encode() + b"\n"
        while line:
            line = line[os.write(pipe, line) :]

    request = Request.model_validate_json(sys.stdin.buffer.readline(MAX_LINE_BYTES))
    confine(request.confinement)
    keep_freed_memory()
    try:
        from worker.child.work import answer  # loads torch: only after the confinement

        answer(request, send)
    except MemoryError:
        send(Failed(reason="The evaluation ran out of memory.", fault="service"))
    except Exception as error:
        send(Failed(reason=f"{type(error).__name__}: {error}"[:1_000], fault="service"))
        raise
    # All is said and written. The interpreter's own end takes long with torch in it, and the parent waits for it.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
