"""Files over HTTP from a server that misbehaves: whole or not at all, and no longer than patience lasts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from benchmark.errors import InvalidInput
from model_zoo.downloads.places import check_address
from model_zoo.downloads.transfer import DownloadFailed, HtmlInstead, Patience, fetch, retry_after
from tests.model_zoo.hosts import (
    PAGE,
    Answer,
    Host,
    content,
    cut,
    dripping,
    dripping_head,
    dripping_page,
    endless,
    host,
    in_turn,
    page,
    silent,
    status,
    without_ranges,
)

DATA = bytes(range(256)) * 4_000
QUICK = Patience(attempts=3, pause_s=0.01, silence_s=0.5, window_s=0.3, max_bytes=2 * len(DATA))


@pytest.fixture
def server() -> Iterator[Host]:
    with host() as served:
        yield served


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "files" / "weights"


def left_over(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()}


def test_a_file_is_fetched_and_nothing_else_stays(server: Host, target: Path) -> None:
    told: list[tuple[int, int | None]] = []
    fetch(server.serve("/f", content(DATA)), target, patience=QUICK, progress=lambda *so_far: told.append(so_far))
    assert target.read_bytes() == DATA
    assert left_over(target) == {"weights"}
    assert told[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_what_broke_off_is_gone_on_from(server: Host, target: Path) -> None:
    fetch(server.serve("/f", cut(DATA, 300_000, content(DATA), times=2)), target, patience=QUICK)
    assert target.read_bytes() == DATA
    assert server.ranges == [None, "bytes=300000-", "bytes=600000-"]


def test_a_later_call_goes_on_too(server: Host, target: Path) -> None:
    url = server.serve("/f", cut(DATA, 1_000, content(DATA), times=3))
    with pytest.raises(DownloadFailed, match=r"3000 of|ended after|broke"):
        fetch(url, target, patience=QUICK)
    assert left_over(target) == {"weights.part", "weights.part.json"}
    fetch(url, target, patience=QUICK)
    assert target.read_bytes() == DATA
    assert server.ranges[-1] == "bytes=3000-"


def test_another_file_under_the_address_is_begun_anew(server: Host, target: Path) -> None:
    other = bytes(reversed(DATA))
    fetch(server.serve("/f", cut(DATA, 5_000, content(other, etag='"two"'))), target, patience=QUICK)
    assert target.read_bytes() == other


def test_what_is_there_of_another_address_is_not_gone_on_from(server: Host, target: Path) -> None:
    with pytest.raises(DownloadFailed):
        fetch(server.serve("/a", cut(DATA, 5_000, content(DATA), times=9)), target, patience=QUICK)
    fetch(server.serve("/b", content(bytes(reversed(DATA)))), target, patience=QUICK)
    assert target.read_bytes() == bytes(reversed(DATA))


def test_a_server_without_ranges_sends_it_again(server: Host, target: Path) -> None:
    fetch(server.serve("/f", cut(DATA, 5_000, without_ranges(DATA))), target, patience=QUICK)
    assert target.read_bytes() == DATA


def test_a_server_without_a_validator_is_not_gone_on_from(server: Host, target: Path) -> None:
    """Nobody could tell that it is still the same file."""
    fetch(server.serve("/f", cut(DATA, 5_000, content(DATA), etag="")), target, patience=QUICK)
    assert target.read_bytes() == DATA
    assert server.ranges == [None, None]


def test_another_part_than_was_asked_for_is_thrown_away(server: Host, target: Path) -> None:
    def wrong(handler: object) -> None:
        handler.head(206, Content_Length=10, ETag='"one"', Content_Range="bytes 0-9/1024000")  # type: ignore[attr-defined]
        handler.wfile.write(DATA[:10])  # type: ignore[attr-defined]

    fetch(server.serve("/f", in_turn(cut(DATA, 5_000, status(500)), wrong, content(DATA))), target, patience=QUICK)
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(server: Host, target: Path, code: int) -> None:
    fetch(server.serve("/f", in_turn(status(code), content(DATA))), target, patience=QUICK)
    assert target.read_bytes() == DATA


def test_a_server_that_asks_for_patience_gets_it(server: Host, target: Path) -> None:
    began = time.monotonic()
    fetch(server.serve("/f", in_turn(status(503, Retry_After=1), content(DATA))), target, patience=QUICK)
    assert time.monotonic() - began >= 1


def test_a_server_may_say_until_when(server: Host, target: Path) -> None:
    until = formatdate(time.time() + 2, usegmt=True)  # in whole seconds, so more than one from now
    began = time.monotonic()
    fetch(server.serve("/f", in_turn(status(503, Retry_After=until), content(DATA))), target, patience=QUICK)
    assert time.monotonic() - began > 0.8


@pytest.mark.parametrize("said", ["\xb2", "soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT", "9" * 400])
def test_nonsense_about_patience_is_passed_over(said: str) -> None:
    answer = httpx.Response(503, headers=[(b"Retry-After", said.encode("latin-1"))])
    assert not math.isnan(retry_after(answer))
    assert retry_after(answer) >= 0


def test_a_validator_that_cannot_be_sent_back_is_none(server: Host, target: Path) -> None:
    fetch(server.serve("/f", cut(DATA, 5_000, content(DATA), etag='"\xff"')), target, patience=QUICK)
    assert target.read_bytes() == DATA
    assert server.ranges == [None, None]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_what_does_not_pass_is_told_at_once(server: Host, target: Path, code: int) -> None:
    with pytest.raises(DownloadFailed, match=str(code)):
        fetch(server.serve("/f", status(code)), target, patience=QUICK)
    assert server.asked["/f"] == 1
    assert not target.exists()


HOPELESS: dict[str, tuple[Answer, str]] = {
    "no end": (endless, "more than"),
    "a byte now and then": (dripping, "only|ended"),
    "a byte of the head now and then": (dripping_head, "broke"),
    "a byte of a page now and then": (dripping_page, "HTML page"),
    "silence": (silent, "broke"),
    "nothing": (content(b""), "empty"),
    "too large by its word": (content(b"x" * (2 * len(DATA) + 1)), "2048001 bytes"),
    "always broken off": (cut(DATA, 1_000, status(500), times=99), "ended after|broke"),
    "compressed": (content(DATA, Content_Encoding="gzip"), "compressed"),
    "errors without end": (status(503), "503"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_what_never_comes_is_given_up(server: Host, target: Path, name: str) -> None:
    answer, reason = HOPELESS[name]
    began = time.monotonic()
    with pytest.raises(DownloadFailed, match=reason) as failed:
        fetch(server.serve("/f", answer), target, patience=replace(QUICK, least_rate=10_000))
    assert failed.value.detail is not None
    assert failed.value.detail.remedy
    assert time.monotonic() - began < 8
    assert not target.exists()


@pytest.mark.parametrize("told", ["text/html", "application/octet-stream"])
@pytest.mark.parametrize("data", [PAGE, b"\n\n <HTML><p>no</p>", b"<!-- a comment --><html>"])
def test_a_page_instead_of_the_file_says_so(server: Host, target: Path, data: bytes, told: str) -> None:
    with pytest.raises(HtmlInstead, match="HTML page") as failed:
        fetch(server.serve("/f", page(data, told)), target, patience=QUICK)
    assert failed.value.page == data
    assert left_over(target) == set()
    assert server.asked["/f"] == 1


def test_redirects_are_followed_and_come_to_an_end(server: Host, target: Path) -> None:
    server.serve("/to", content(DATA))
    fetch(server.serve("/from", status(302, Location="/to")), target, patience=QUICK)
    assert target.read_bytes() == DATA
    with pytest.raises(DownloadFailed, match="redirects"):
        fetch(server.serve("/loop", status(302, Location="/loop")), target, patience=QUICK)


@pytest.mark.parametrize(
    "to", ["http://example.org/f", "ftp://127.0.0.1/f", "file:///etc/passwd", "https://user@example.org/f"]
)
def test_nothing_is_fetched_from_where_anybody_could_change_it(server: Host, target: Path, to: str) -> None:
    with pytest.raises(InvalidInput, match="https"):
        fetch(to, target, patience=QUICK)
    with pytest.raises(InvalidInput, match="https"):
        fetch(server.serve("/f", status(301, Location=to)), target, patience=QUICK)
    assert not target.exists()


def test_what_lies_elsewhere_does_not_lead_to_the_services_of_this_machine() -> None:
    check_address("http://127.0.0.1:8000/f", "redirect", after="http://127.0.0.1:8001/f")
    check_address("https://files.example/f", "redirect", after="https://example.org/f")
    with pytest.raises(InvalidInput, match="redirect"):
        check_address("http://127.0.0.1:8000/f", "redirect", after="https://example.org/f")


@pytest.mark.parametrize(
    "to", ["https://xn--a/", f"https://{'a' * 70}.org/", "https://[bad/", f"https://{'a' * 70_000}"]
)
def test_an_address_that_is_none_is_told(server: Host, target: Path, to: str) -> None:
    with pytest.raises(DownloadFailed):
        fetch(server.serve("/f", status(302, Location=to)), target, patience=QUICK)


def test_a_disk_that_cannot_be_written_is_told(server: Host, tmp_path: Path) -> None:
    (tmp_path / "weights.part").mkdir()
    with pytest.raises(DownloadFailed, match="written"):
        fetch(server.serve("/f", content(DATA)), tmp_path / "weights", patience=QUICK)


def test_nobody_there_is_told(target: Path) -> None:
    with host() as served:
        url = f"{served.url}/f"
    with pytest.raises(DownloadFailed, match="broke"):
        fetch(url, target, patience=QUICK)
