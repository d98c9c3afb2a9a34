"""What is read of wrk's words, and that the board measured has as many rows as the page says."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from bench.service import ADDRESSES, BARE, BOARD, ROWS, Round, document, fill, read, share
from gauntlet.app import make_services
from gauntlet.settings import Settings
from store.boards import get_board

PRINTED = """Running 4s test @ http://127.0.0.1:8000/healthz
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.10ms    1.51ms  43.20ms   95.52%
    Req/Sec     3.78k   455.94     4.43k    79.31%
  Latency Distribution
     50%  980.00us
     75%    2.21ms
     90%    2.97ms
     99%    1.20s\x20
  11287 requests in 3.00s, 1.53MB read
  Non-2xx or 3xx responses: 3
  Socket errors: connect 0, read 1, write 0, timeout 2
Requests/sec:   3762.11
Transfer/sec:    521.38KB
"""


def test_what_wrk_prints_is_read() -> None:
    assert read(PRINTED) == Round(per_second=3762.11, p50_ms=0.98, p99_ms=1200.0, errors=6)


@pytest.mark.parametrize("lost", ["Requests/sec", "50%", "99%"])
def test_other_words_are_refused(lost: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        read(PRINTED.replace(lost, "nothing"))


def test_shares_are_formed_within_each_round() -> None:
    found = {
        name: [Round(rate * (1 if name == BARE else 0.5), 1.0, 2.0, 0) for rate in (100.0, 1000.0, 300.0)]
        for name in ADDRESSES
    }
    assert share(found, BARE) == 1
    assert share(found, "board as page") == 0.5
    assert "| board as page | 150 | 0.50 | 1.0 | 2.0 |" in (
        text := document(found, 4, 8, load=1.25, anew=Round(30.0, 33.4, 41.0, 0))
    )
    assert "load average of 1.2 " in text
    assert "took 33 ms in the median" in " ".join(text.split())


def test_the_board_is_filled_up(tmp_path: Path) -> None:
    settings = Settings(var_dir=tmp_path / "var", evaluate_zoo=False, worker_children=0)
    fill(settings)
    with closing(make_services(settings).db) as db:
        assert get_board(db, *BOARD).total == ROWS
