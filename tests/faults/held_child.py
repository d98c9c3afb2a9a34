"""The process that runs a submitted model, as ``worker.child`` is, with places at which a test may hold it.

A test holds it at a place by a file of that name in the directory of the holds. Whoever comes there first takes the
file by adding its process id to the name, and stops until it is let go.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

CHECK = "check"
LAST_WORD = "last word"


def main(holds: Path) -> None:
    """Answer the one request, as the real one does."""
    from worker.child import __main__ as child
    from worker.child import work
    from worker.messages import Evaluated, Message, Progressed, Request, Saved

    answer = work.answer

    def stop_at(place: str) -> None:
        try:
            (holds / place).rename(holds / f"{place}.{os.getpid()}")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGSTOP)

    def answer_with_stops(request: Request, send: work.Send) -> None:
        attack, attacks_done = "", 0

        def send_and_stop(message: Message) -> None:
            nonlocal attack, attacks_done
            send(message)
            if isinstance(message, Progressed):
                attack, attacks_done = message.attack, message.attacks_done
            # At the first attack there is no snapshot yet; at the others it is the last thing that is said.
            if isinstance(message, Saved) or (isinstance(message, Progressed) and attacks_done == 0):
                stop_at(attack)
            if isinstance(message, Evaluated):
                stop_at(LAST_WORD)

        if request.kind == "check":
            stop_at(CHECK)
        answer(request, send_and_stop)

    work.answer = answer_with_stops
    child.main()


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])
    main(Path(sys.argv[1]))
