"""A server of files that misbehaves on purpose, each file in its own way."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat

Answer = Callable[["Handler"], None]
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Quota exceeded</body></html>"


class Host:
    """What is served, and what was asked for.

    Args:
        url: its address.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.ranges: list[str | None] = []

    def serve(self, path: str, answer: Answer) -> str:
        self.answers[path] = answer
        return f"{self.url}{path}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host: Host

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.host.asked[path] += 1
        self.host.ranges.append(self.headers.get("Range"))
        answer = self.host.answers.get(path)
        if answer is None:
            status(404)(self)
        else:
            answer(self)

    def log_message(self, *_: object) -> None:
        pass

    def head(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


def status(code: int, **headers: object) -> Answer:
    return lambda handler: handler.head(code, Content_Length=0, **headers)


def content(data: bytes, etag: str = '"one"', **headers: object) -> Answer:
    """Serve bytes as a good server does, from wherever they are asked for."""

    def answer(handler: Handler) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        same = handler.headers.get("If-Range") in (None, etag)
        start = int(wanted[1]) if wanted and same else 0
        rest = data[start:]
        if wanted and same:
            place = f"bytes {start}-{len(data) - 1}/{len(data)}"
            handler.head(206, Content_Length=len(rest), ETag=etag, Content_Range=place, **headers)
        else:
            handler.head(200, Content_Length=len(rest), ETag=etag, **headers)
        handler.wfile.write(rest)

    return answer


def cut(data: bytes, at: int, then: Answer, etag: str = '"one"', times: int = 1) -> Answer:
    """Break off after so many bytes, so many times; then do something else."""
    left = [times]

    def answer(handler: Handler) -> None:
        if left[0] == 0:
            then(handler)
            return
        left[0] -= 1
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        head = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if wanted else {}
        handler.head(206 if wanted else 200, Content_Length=len(data) - start, ETag=etag, **head)
        handler.wfile.write(data[start : start + at])
        handler.close_connection = True

    return answer


def without_ranges(data: bytes) -> Answer:
    """Always send everything from the beginning."""

    def answer(handler: Handler) -> None:
        handler.head(200, Content_Length=len(data), ETag='"one"')
        handler.wfile.write(data)

    return answer


def endless(handler: Handler) -> None:
    """Never end, and say no length."""
    handler.head(200, Transfer_Encoding="chunked")
    block = b"x" * 65536
    try:
        while True:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
    except OSError:
        handler.close_connection = True


def _drip(handler: Handler, parts: Iterable[bytes]) -> None:
    """Send a part now and then, so that the connection is never silent."""
    try:
        for part in parts:
            handler.wfile.write(part)
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True


def dripping(handler: Handler) -> None:
    """Send a byte now and then."""
    handler.head(200, Content_Length=10_000)
    _drip(handler, repeat(b"x", 10_000))


def dripping_head(handler: Handler) -> None:
    """Begin an answer, and send a byte of its head now and then."""
    head = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000
    _drip(handler, (bytes((byte,)) for byte in head))


def dripping_page(handler: Handler) -> None:
    """Send the beginning of a page, and then a byte now and then."""
    handler.head(200, Content_Length=100_000, Content_Type="text/html")
    _drip(handler, chain((PAGE + b" " * 512,), repeat(b"x", 10_000)))


def silent(handler: Handler) -> None:
    """Promise everything and send nothing."""
    handler.head(200, Content_Length=10_000)
    time.sleep(3)
    handler.close_connection = True


def page(data: bytes = PAGE, told: str = "text/html; charset=utf-8") -> Answer:
    def answer(handler: Handler) -> None:
        handler.head(200, Content_Length=len(data), Content_Type=told)
        handler.wfile.write(data)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """Answer with one after the other; the last stays."""
    left = list(answers)

    def answer(handler: Handler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Whoever gives up in the middle is no error here."""


@contextmanager
def host() -> Iterator[Host]:
    """Serve on this machine until the end."""
    server = _Server(("127.0.0.1", 0), type("Own", (Handler,), {}))
    served = Host(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass.host = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
