"""One file over HTTPS: resumed where it broke off, bounded in every way, and in its place only once it is whole."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path

import httpx

from benchmark.errors import InvalidInput
from model_zoo.downloads.deadline import Deadline
from model_zoo.downloads.places import check_address

Progress = Callable[[int, int | None], None]
"""Told the bytes that are there and, where the server says, how many there will be."""
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_HTML = (b"<!doctype html", b"<html", b"<head", b"<!--")
_SNIFFED = 512
_PAGE_BYTES = 1024 * 1024


class DownloadFailed(InvalidInput):
    """A file could not be fetched; what is there of it stays, to go on from."""

    code = "download_failed"


class HtmlInstead(DownloadFailed):
    """The server answered with a page instead of the file.

    Args:
        page: the beginning of it.
    """

    page: bytes = b""


@dataclass(frozen=True)
class Patience:
    """How long to wait, how often to try, and how much to take.

    Args:
        attempts: in all, those that come from where they broke off included.
        pause_s: before the second; each later one waits twice as long, or as long as the server asks, up to a minute.
        silence_s: without a byte, after which an attempt is given up.
        least_rate: bytes a second over the window below which an attempt is given up.
        window_s: over which that is measured, and within which an answer must begin.
        max_bytes: size above which a file is refused.
        redirects: most that are followed.
    """

    attempts: int = 5
    pause_s: float = 1.0
    silence_s: float = 30.0
    least_rate: float = 256.0
    window_s: float = 60.0
    max_bytes: int = 8 * 1024**3
    redirects: int = 5


CUSTOMARY = Patience()


@dataclass(frozen=True)
class _Part:
    """What is there of a file, and by what a server knows that it is still the same.

    Args:
        path: the bytes.
        note: beside it: the address and the validator.
    """

    path: Path
    url: str

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self) -> str | None:
        """Return the validator of these bytes; None where they cannot be gone on from."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            known = note["validator"] if note["url"] == self.url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if isinstance(known, str) and self.size else None

    def begin(self, validator: str | None) -> None:
        self.path.unlink(missing_ok=True)
        self.note.write_text(json.dumps({"url": self.url, "validator": validator}), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def fetch(url: str, target: Path, *, patience: Patience = CUSTOMARY, progress: Progress | None = None) -> None:
    """Fetch a file; it is at ``target`` only once all of it is.

    Until then it is beside it, as ``<name>.part``, from where a later call goes on if the server still has the same.

    Args:
        url: https, or http to this machine; so must be all that it redirects to.
        target: where to put it.
        patience: limits.
        progress: told how far it is.
    Raises:
        DownloadFailed: it cannot be had, or is too large.
        HtmlInstead: a page came instead.
    """
    check_address(url, "url")
    part = _Part(target.with_name(f"{target.name}.part"), url)
    target.parent.mkdir(parents=True, exist_ok=True)
    pause = patience.pause_s
    for attempt in range(1, patience.attempts + 1):
        try:
            _attempt(part, patience, progress)
        except _Passing as passing:
            if attempt == patience.attempts:
                raise _failed(url, passing.reason, "try again later: what is there is kept and gone on from") from None
            time.sleep(min(max(pause, passing.after_s), 60.0))
            pause *= 2
        else:
            part.path.replace(target)
            part.note.unlink(missing_ok=True)
            return


class _Passing(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.after_s = reason, after_s


def _attempt(part: _Part, patience: Patience, progress: Progress | None) -> None:
    validator = part.validator()
    # Not compressed: the length that is told is then that of the file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "gauntlet"}
    if validator is not None:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": validator}
    timeout = httpx.Timeout(patience.silence_s, connect=min(patience.silence_s, 15.0))
    try:
        with httpx.Client(timeout=timeout, follow_redirects=False, trust_env=True, headers=headers) as client:
            _follow(client, part, patience, progress)
    except (httpx.InvalidURL, UnicodeError):  # of names that no host can have
        raise _failed(part.url, "an address that cannot be asked", "check the address") from None
    except httpx.HTTPError as error:
        raise _Passing(f"the connection broke: {type(error).__name__} {str(error)[:200]}".rstrip()) from None
    except OSError as error:
        raise _failed(part.url, f"the file cannot be written: {error.strerror}", "make room, and try again") from None


def _follow(client: httpx.Client, part: _Part, patience: Patience, progress: Progress | None) -> None:
    url = part.url
    with Deadline() as deadline:
        for _ in range(patience.redirects + 1):
            request = client.build_request("GET", url, extensions={"trace": deadline.trace})
            with deadline.within(patience.window_s):
                response = client.send(request, stream=True)
            with contextlib.closing(response):
                if response.status_code not in _REDIRECTS:
                    _receive(response, part, patience, progress)
                    return
                before, url = url, str(response.url.join(response.headers.get("location", "")))
            check_address(url, "redirect", after=before)
    raise _failed(part.url, f"more than {patience.redirects} redirects", "check the address")


def _receive(response: httpx.Response, part: _Part, patience: Patience, progress: Progress | None) -> None:
    status = response.status_code
    if status in _PASSING:
        raise _Passing(f"the server answers {status}", retry_after(response))
    if status == 416:  # what is there is no beginning of what the server has
        part.discard()
        raise _Passing("the server has another file now")
    if status not in (200, 206):
        raise _failed(part.url, f"the server answers {status}", "check whether the file is still there, and may be had")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _failed(part.url, "the server sends it compressed, though it was asked not to", "use another mirror")
    offset = part.size if status == 206 else 0
    total = _total(response, offset, status)
    if status == 206 and not response.headers.get("content-range", "").startswith(f"bytes {offset}-"):
        part.discard()
        raise _Passing("the server sent another part than was asked for")
    if total is not None and total > patience.max_bytes:
        raise _failed(part.url, f"{total} bytes", f"a file has at most {patience.max_bytes}")
    if status == 200:
        part.begin(_validator(response))
    _write(response, part, offset, total, patience, progress)


def _write(
    response: httpx.Response, part: _Part, offset: int, total: int | None, patience: Patience, progress: Progress | None
) -> None:
    pace = _Pace(patience, offset)
    size, most = offset, patience.max_bytes if total is None else total
    chunks = response.iter_raw()  # as they come: whoever sends a byte now and then is to be noticed
    start = _start(chunks, pace) if offset == 0 else b""
    if _is_html(start, response):
        part.discard()
        raise _html(part.url, start, chunks, pace)
    with part.path.open("ab") as file:
        for chunk in chain((start,), chunks):
            size += len(chunk)
            if size > most:
                part.discard()
                raise _failed(part.url, f"more than the {most} bytes that it may have", "use another source")
            file.write(chunk)
            pace.check(size)
            if progress is not None:
                progress(size, total)
    if size == 0:
        part.discard()
        raise _failed(part.url, "an empty file", "check the address")
    if total is not None and size < total:
        raise _Passing(f"the connection ended after {size} of {total} bytes")


class _Pace:
    """Gives an attempt up that gets nowhere, though it is never quite silent."""

    def __init__(self, patience: Patience, size: int) -> None:
        self._patience, self._from, self._size = patience, time.monotonic(), size

    def check(self, size: int) -> None:
        now = time.monotonic()
        passed = now - self._from
        if passed < self._patience.window_s:
            return
        if size - self._size < self._patience.least_rate * passed:
            raise _Passing(f"only {size - self._size} bytes came in {passed:.0f} seconds")
        self._from, self._size = now, size


def _start(chunks: Iterator[bytes], pace: _Pace) -> bytes:
    """Return enough of the beginning to tell a page from a file."""
    start = b""
    for chunk in chunks:
        start += chunk
        pace.check(len(start))
        if len(start) >= _SNIFFED:
            break
    return start


def _is_html(start: bytes, response: httpx.Response) -> bool:
    told = response.headers.get("content-type", "").startswith("text/html")
    return bool(start) and (told or start[:_SNIFFED].lstrip().lower().startswith(_HTML))


def _html(url: str, start: bytes, chunks: Iterator[bytes], pace: _Pace) -> HtmlInstead:
    page = start
    with contextlib.suppress(httpx.HTTPError, _Passing):
        for chunk in chunks:
            page += chunk
            pace.check(len(page))
            if len(page) > _PAGE_BYTES:
                break
    error = HtmlInstead.because(
        "download",
        found=f"an HTML page instead of the file ({url})",
        expected="the file",
        remedy="open the address in a browser: the file may be private, gone, or asked for too often today. What is "
        "downloaded by hand can be named as model_dir",
    )
    error.page = page[:_PAGE_BYTES]
    return error


def _total(response: httpx.Response, offset: int, status: int) -> int | None:
    text = response.headers.get("content-length", "")
    if not text.isdigit():
        return None
    return int(text) + (offset if status == 206 else 0)


def _validator(response: httpx.Response) -> str | None:
    """Return what If-Range may carry: a strong ETag, or else the time of the last change."""
    etag = response.headers.get("etag", "")
    known = response.headers.get("last-modified", "") if not etag or etag.startswith("W/") else etag
    return str(known) if known and known.isascii() else None  # nothing else can be sent back


def retry_after(response: httpx.Response) -> float:
    """Return for how many seconds the server asks to be left alone; 0 where it says nothing that can be read."""
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):  # neither seconds nor a time
        return 0.0


def _failed(url: str, found: str, remedy: str) -> DownloadFailed:
    return DownloadFailed.because("download", found=f"{found} ({url})", expected="the whole file", remedy=remedy)
