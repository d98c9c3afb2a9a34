"""Blobs that lie with the service, reached by its workers over HTTP."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from benchmark.errors import TooLarge
from store.errors import StorageFull
from store.remote_blobs import Missing, Passing, Refused

ADDRESS = "/internal/v1/blobs"
"""Where the service has its blobs."""
_CHUNK_BYTES = 1024 * 1024
_ERROR_BYTES = 64 * 1024
# A service that keeps its own blobs elsewhere answers an upload only when they are there.
_TIMEOUT = httpx.Timeout(60, connect=10, read=300)
_NOBODY = "0" * 64
_BUSY = frozenset({408, 425, 429})


class _Detail(BaseModel):
    field: str


class _Error(BaseModel):
    code: str
    detail: _Detail | None


class _Answer(BaseModel):
    error: _Error


class HttpRemote:
    """The service's store of blobs.

    Args:
        url: the service's address.
        token: what shows the service that a worker asks; it is sent to this address and nowhere else.
    """

    def __init__(self, url: str, token: SecretStr) -> None:
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}{ADDRESS}",
            headers={"Authorization": f"Bearer {token.get_secret_value()}", "Accept-Encoding": "identity"},
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=False,  # a proxy from the environment would be given the token
            verify=ssl.create_default_context(),  # the machine's certificates, and those that SSL_CERT_FILE names
        )

    def require_access(self) -> None:
        """Raise Refused where the service has no such store or does not know the token."""
        self.size(_NOBODY)

    def size(self, sha256: str) -> int | None:
        """Return the length of a blob; None where there is none."""
        with self._answer("HEAD", sha256) as head:
            if head.status_code != 404:
                return _length(head)
        # An answer to HEAD has no body, and it is the body that tells a missing blob from a service without blobs.
        try:
            with self._answer("GET", sha256) as response:
                return _length(response)
        except Missing:
            return None

    def fetch(self, sha256: str, write: Callable[[bytes], None]) -> None:
        """Pass a blob's content to ``write`` piece by piece; Missing where there is none."""
        with self._answer("GET", sha256) as response:
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                write(chunk)

    def send(self, sha256: str, path: Path) -> None:
        """Store a file as a blob; where that breaks off, nothing is visible."""
        headers = {"Content-Length": str(path.stat().st_size), "Content-Type": "application/octet-stream"}
        with self._answer("PUT", sha256, content=_pieces(path), headers=headers):
            pass

    def remove(self, sha256: str) -> None:
        """Refuse: only the service itself removes files."""
        raise Refused("workers remove no files")

    def discard_stale(self, older_than_s: float) -> int:
        """Do nothing: the service tidies up its store by itself."""
        return 0

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    @contextmanager
    def _answer(
        self,
        method: str,
        sha256: str,
        content: Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        """Yield a good answer, or one to HEAD that nothing is there."""
        try:
            with self._http.stream(method, f"/{sha256}", content=content, headers=headers) as response:
                if not (response.is_success or (method == "HEAD" and response.status_code == 404)):
                    raise _meaning(response)
                yield response
        except httpx.LocalProtocolError:
            raise Refused("the request cannot be sent as it is") from None  # the reason may quote a header
        except httpx.TransportError as error:
            raise Passing(f"{type(error).__name__}: {error}") from None


def _meaning(response: httpx.Response) -> Exception:
    """Return what an answer other than success is to us."""
    status = response.status_code
    said = f"HTTP status {status}"
    if status == 404 and _is_missing_blob(response):
        return Missing()
    if status == 404:
        return Refused(f"{said}: no blobs are served there; the service needs the setting worker_token too")
    if status == 401:
        return Refused(f"{said}: the service has another worker_token")
    if status == 413:
        return TooLarge.because(
            "file", found=said, expected="a file that the service takes", remedy="send a smaller one"
        )
    if status == 507:
        return StorageFull("The service has too little free disk space; nothing was stored. Try again later.")
    if status >= 500 or status in _BUSY or status == 422:  # 422: damaged on its way
        return Passing(said)
    return Refused(f"{said}, which is no answer of the service's store")


def _is_missing_blob(response: httpx.Response) -> bool:
    body = next(response.iter_bytes(_ERROR_BYTES), b"")
    try:
        error = _Answer.model_validate_json(body).error
    except ValidationError:
        return False
    return error.code == "not_found" and error.detail is not None and error.detail.field == "sha256"


def _length(response: httpx.Response) -> int:
    length = response.headers.get("Content-Length", "")
    if not (length.isdecimal() and len(length) <= 18):
        raise Refused("an answer without the length of the blob")
    return int(length)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            yield piece
