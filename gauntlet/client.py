"""A client of the service for other programs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from api.schemas import BoardList, ErrorResponse, LogLines, PartialUpload, Reason, SubmissionList
from benchmark.errors import ErrorDetail, GauntletError, InvalidInput
from benchmark.report import EvaluationReport
from gauntlet.tokens import find_token
from store.account_rows import AccountView
from store.analyses import StoredStudy
from store.comparison import ComparisonView
from store.progress import BoardProgress
from store.submission_log import LogLine
from store.views import (
    Badge,
    BoardRow,
    BoardSummary,
    BoardView,
    ExternalView,
    ModelView,
    NewExternal,
    NewSubmission,
    State,
    SubmissionView,
)

CHUNK_BYTES = 1024 * 1024
UPLOAD_ATTEMPTS, FIRST_PAUSE_S = 8, 0.5
"""How often in a row an upload is tried without getting further; the pause before it doubles each time. Together they
outlast the time that a service needs to find out that a connection is gone."""
ATTEMPTS = 3
"""How often a leaderboard is read anew because it changed between its parts."""
FINAL_STATES = frozenset({State.REJECTED, State.PUBLISHED, State.WITHDRAWN, State.FAILED, State.CANCELLED})
"""States after which a submission does not move by itself."""

BytesDone = Callable[[int, int], None]
"""Told the bytes done and the bytes altogether."""
Notice = Callable[[str], None]
"""Told in a sentence what happens."""
Model = TypeVar("Model", bound=BaseModel)


class ServiceUnreachable(GauntletError):
    """No answer came from the service, or none of its own."""

    code = "service_unreachable"


class RefusedByService(GauntletError):
    """The service answered with an error.

    Args:
        code: the error's code as the service gave it.
        message: what is wrong.
        detail: field, found, expected and remedy, where the input is at fault.
        status: HTTP status of the answer.
    """

    def __init__(self, code: str, message: str, detail: ErrorDetail | None, status: int) -> None:
        super().__init__(message, detail)
        self.service_code = code
        self.status = status

    def as_json(self) -> dict[str, dict[str, object]]:
        """Return the error as the service sent it."""
        shape = super().as_json()
        shape["error"]["code"] = self.service_code
        return shape


@dataclass(frozen=True)
class Uploaded:
    """A file that lies in the service's store.

    Args:
        sha256: its hash, by which a submission names it.
        size: its size in bytes.
    """

    sha256: str
    size: int


class Client:
    """The service at an address.

    Args:
        base_url: where it is, such as "http://127.0.0.1:8000".
        token: of an account; by default the one in GAUNTLET_TOKEN or in the system's keyring, where there is one.
        timeout: seconds to wait for an answer.
        transport: how to reach it, where not over the network.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        token = token or find_token(self.base_url)
        # Redirects are not followed, so that nobody else is ever shown the token.
        shown = {"Authorization": f"Bearer {_sound(token)}"} if token else {}
        try:
            self._http = httpx.Client(
                base_url=f"{self.base_url}/api/v1", timeout=timeout, transport=transport, headers=shown
            )
        except httpx.InvalidURL:
            raise self._unreachable("an address that cannot be read") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def upload(self, path: Path, progress: BytesDone | None = None, notice: Notice | None = None) -> Uploaded:
        """Send a checkpoint or a file of adversarial examples; one that the service has already is not sent again.

        Args:
            path: the file.
            progress: told how far the sending is.
            notice: told when a connection broke and when the upload goes on.
        Raises:
            RefusedByService: the file is too large, or of no kind that the service takes.
            ServiceUnreachable: there was no answer.
        """
        size = path.stat().st_size
        sha256 = sha256_of(path)
        there = self._send("GET", f"/uploads/{sha256}", accept=404)
        if there.status_code == 404:
            self._send_all(path, sha256, size, progress, notice)
        if progress is not None:
            progress(size, size)
        return Uploaded(sha256, size)

    def _send_all(self, path: Path, sha256: str, size: int, progress: BytesDone | None, notice: Notice | None) -> None:
        """Send a file, and after a broken connection what had not arrived, for as long as that gets further."""
        failures, furthest = 0, -1
        while True:
            try:
                first = self._read(PartialUpload, self._send("GET", f"/uploads/{sha256}/part")).received
                if first > furthest:
                    failures, furthest = 0, first
                headers = {"Content-Length": str(size - first)}
                if size:
                    which = f"{first}-{size - 1}" if first < size else "*"
                    headers["Content-Range"] = f"bytes {which}/{size}"
                self._send("PUT", f"/uploads/{sha256}", content=_chunks(path, first, size, progress), headers=headers)
            except (ServiceUnreachable, RefusedByService) as error:
                failures += 1
                if not _passes(error) or failures == UPLOAD_ATTEMPTS:
                    raise
                pause = FIRST_PAUSE_S * 2 ** (failures - 1)
                if notice is not None:
                    notice(f"{error.message} Going on with the upload in {pause:g} s.")
                time.sleep(pause)
            else:
                return

    def account(self) -> AccountView:
        """Return the account that the token is of."""
        return self._read(AccountView, self._send("GET", "/account"))

    def log(self, submission_id: str) -> tuple[LogLine, ...]:
        """Return what happened to a submission, in order, and last how its work stands."""
        return self._read(LogLines, self._send("GET", _path("submissions", submission_id, "log"))).lines

    def submit(self, submission: NewSubmission) -> SubmissionView:
        """Submit a checkpoint that was uploaded before."""
        return self._read(SubmissionView, self._post("/submissions", submission))

    def get_submission(self, submission_id: str) -> SubmissionView:
        """Return a submission with its live state."""
        return self._read(SubmissionView, self._send("GET", _path("submissions", submission_id)))

    def list_submissions(self, limit: int = 100) -> tuple[SubmissionView, ...]:
        """Return the latest submissions."""
        response = self._send("GET", "/submissions", params={"limit": str(limit)})
        return self._read(SubmissionList, response).submissions

    def watch(self, submission_id: str, *, every: float = 1.0) -> Iterator[SubmissionView]:
        """Yield the submission at once and whenever it has changed, until its state is final or waits for a maintainer.

        Args:
            submission_id: which one.
            every: seconds between two looks, where the service cannot tell of changes by itself.
        """
        last: SubmissionView | None = None
        for view in self._told(submission_id):
            last = view
            yield view
            if _settled(view):
                return
        looks = _changes(lambda: self.get_submission(submission_id), _settled, every)
        yield from (view for view in looks if view != last)

    def _told(self, submission_id: str) -> Iterator[SubmissionView]:
        """Yield what the service tells of a submission by itself, for as long as it does."""
        try:
            with self._http.stream("GET", _path("submissions", submission_id, "events")) as response:
                if not response.is_success:
                    return
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        yield SubmissionView.model_validate_json(line.removeprefix("data: "))
        except (httpx.TransportError, httpx.InvalidURL, ValidationError):
            return

    def analyses(self, dataset: str, threat_model: str, model_id: str) -> StoredStudy:
        """Return what an entry is like beside its robustness, as far as it was analysed."""
        return self._read(StoredStudy, self._send("GET", _path("models", dataset, threat_model, model_id, "analyses")))

    def analyse(self, submission_id: str) -> SubmissionView:
        """Have a published entry of yours analysed beside its robustness."""
        return self._read(SubmissionView, self._send("POST", _path("submissions", submission_id, "analyse")))

    def cancel(self, submission_id: str, reason: str = "") -> SubmissionView:
        """Cancel a submission that has no result yet; its owner reads the reason."""
        path = _path("submissions", submission_id, "cancel")
        answer = self._post(path, Reason(reason=reason)) if reason else self._send("POST", path)
        return self._read(SubmissionView, answer)

    def submit_external(self, dataset: str, threat_model: str, model_id: str, new: NewExternal) -> ExternalView:
        """Send adversarial examples for an entry in, whose file was uploaded before.

        Args:
            dataset: data set id, such as "digits".
            threat_model: such as "Linf".
            model_id: the entry's name on that board.
            new: which file, for which points, by whom, and what is claimed.
        """
        path = _path("models", dataset, threat_model, model_id, "external-evaluations")
        return self._read(ExternalView, self._post(path, new))

    def get_external(self, external_id: str) -> ExternalView:
        """Return an evaluation by others with what came of it."""
        return self._read(ExternalView, self._send("GET", _path("external-evaluations", external_id)))

    def watch_external(self, external_id: str, *, every: float = 1.0) -> Iterator[ExternalView]:
        """Yield the evaluation at once and again when its examples are judged.

        Args:
            external_id: which one.
            every: seconds between two looks.
        """
        return _changes(lambda: self.get_external(external_id), lambda view: view.concluded_ms is not None, every)

    def leaderboards(self) -> tuple[BoardSummary, ...]:
        """Return all boards with their leaders."""
        return self._read(BoardList, self._send("GET", "/leaderboards")).boards

    def leaderboard(
        self,
        dataset: str,
        threat_model: str,
        *,
        search: str | None = None,
        badge: Badge | None = None,
        as_of: str | None = None,
    ) -> BoardView:
        """Return a board's ranked entries, all of them, in as many answers as it takes.

        Args:
            dataset: data set id, such as "digits".
            threat_model: such as "Linf".
            search: words to find in name, title, architecture or venue.
            badge: whose numbers to show; everybody's by default.
            as_of: the moment to show, such as "2026-03-01"; the present by default.
        """
        params = {"search": search, "badge": badge.value if badge else None, "as_of": as_of}
        given = {name: value for name, value in params.items() if value is not None}
        for _ in range(ATTEMPTS):
            board = self._board(dataset, threat_model, given)
            # An entry that moves while the parts are read may be in two of them, and another then in none.
            if len({row.model_id for row in board.rows}) == board.matching:
                return board
        raise self._unreachable("a board that changes faster than it can be read")

    def _board(self, dataset: str, threat_model: str, given: dict[str, str]) -> BoardView:
        path = _path("leaderboards", dataset, threat_model)
        rows: list[BoardRow] = []
        while True:
            part = self._read(BoardView, self._send("GET", path, params=given | {"offset": str(len(rows))}))
            rows += part.rows
            if not part.rows or len(rows) >= part.matching:
                return part.model_copy(update={"rows": tuple(rows)})

    def compare(self, dataset: str, threat_model: str, model_ids: Sequence[str]) -> ComparisonView:
        """Return entries of a board that were evaluated there, point by point side by side.

        Args:
            dataset: data set id, such as "digits".
            threat_model: such as "Linf".
            model_ids: from two to five entries.
        """
        path = _path("leaderboards", dataset, threat_model, "compare")
        return self._read(ComparisonView, self._send("GET", path, params={"model": list(model_ids)}))

    def progress(self, dataset: str, threat_model: str) -> BoardProgress:
        """Return a board's best value over time, the venues of its entries, and what their authors overestimated."""
        return self._read(BoardProgress, self._send("GET", _path("leaderboards", dataset, threat_model, "progress")))

    def model(self, dataset: str, threat_model: str, model_id: str) -> ModelView:
        """Return an entry with its evidence."""
        return self._read(ModelView, self._send("GET", _path("models", dataset, threat_model, model_id)))

    def report(self, dataset: str, threat_model: str, model_id: str) -> EvaluationReport:
        """Return the evaluation report of an entry that was evaluated by the service."""
        response = self._send("GET", _path("models", dataset, threat_model, model_id, "report"))
        return self._read(EvaluationReport, response)

    def _post(self, path: str, body: BaseModel) -> httpx.Response:
        return self._send("POST", path, content=body.model_dump_json(), headers={"Content-Type": "application/json"})

    def _send(
        self,
        method: str,
        path: str,
        *,
        content: str | Iterator[bytes] | None = None,
        params: Mapping[str, str | list[str]] | None = None,
        headers: dict[str, str] | None = None,
        accept: int | None = None,
    ) -> httpx.Response:
        try:
            response = self._http.request(method, path, content=content, params=params, headers=headers)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(str(error) or type(error).__name__) from None
        if response.is_success or response.status_code == accept:
            return response
        try:
            shape = ErrorResponse.model_validate_json(response.content).error
        except ValidationError:
            raise self._unreachable(f"HTTP status {response.status_code}, not in the service's form") from None
        detail = ErrorDetail(**shape.detail.model_dump()) if shape.detail else None
        raise RefusedByService(shape.code, shape.message, detail, response.status_code)

    def _read(self, model: type[Model], response: httpx.Response) -> Model:
        try:
            return model.model_validate_json(response.content)
        except ValidationError:
            raise self._unreachable("an answer that this version of the client does not understand") from None

    def _unreachable(self, found: str) -> ServiceUnreachable:
        remedy = "start it with `gauntlet serve`, or name its address"
        detail = ErrorDetail("server", found, "a running service", remedy)
        return ServiceUnreachable(f"No service answers at {self.base_url}: {found}.", detail)


def _settled(view: SubmissionView) -> bool:
    return view.state in FINAL_STATES or view.rests


def _changes(look: Callable[[], Model], ended: Callable[[Model], bool], every: float) -> Iterator[Model]:
    """Yield what a look finds at once and whenever it has changed, until it has ended."""
    last: Model | None = None
    while True:
        view = look()
        if view != last:
            yield view
        if ended(view):
            return
        last = view
        time.sleep(every)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _sound(token: str) -> str:
    """Return a token that can be sent, without what a copy brings along; its content is told to nobody."""
    token = token.strip()
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise InvalidInput.because(
            "token", found="characters that no token has", expected="a token of an account",
            remedy="copy it again from the page of your account",
        )  # fmt: skip
    return token


def _passes(error: ServiceUnreachable | RefusedByService) -> bool:
    """Tell whether an upload may go on after an error.

    The service may not know yet that the last connection has ended, and take this one for a second.
    """
    if isinstance(error, ServiceUnreachable):
        return True
    return error.status == 409 and error.detail is not None and error.detail.field in {"sha256", "Content-Range"}


def _chunks(path: Path, first: int, size: int, progress: BytesDone | None) -> Iterator[bytes]:
    done = first
    with path.open("rb") as file:
        file.seek(first)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
            done += len(chunk)
            if progress is not None:
                progress(min(done, size), size)
