"""The Python client against a real service."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmark.errors import GauntletError
from benchmark.threat_models import BOARDS
from gauntlet.client import Client, RefusedByService, ServiceUnreachable
from model_zoo.registry import bundled_checkpoint, card
from store.boards import get_board
from store.progress import get_progress
from store.views import Badge, NewExternal, NewSubmission, State
from tests.running import MAX_CHECKPOINT_BYTES, Running, safetensors
from tests.store.lowered import judge_examples
from tests.store.material import board_entry, fill_board, published, running

CARD = card("Digits_Standard", "digits", "Linf")


def submission(name: str = "Mine", **changes: str) -> NewSubmission:
    fields = {
        "name": name,
        "dataset": "digits",
        "threat_model": "Linf",
        "architecture": CARD.architecture,
        "checkpoint_sha256": CARD.sha256,
    }
    return NewSubmission.model_validate(fields | changes)


def test_uploads_once_and_tells_how_far_it_is(service: Running) -> None:
    path = bundled_checkpoint(CARD)
    size = path.stat().st_size
    told: list[tuple[int, int]] = []
    with Client(service.url) as client:
        uploaded = client.upload(path, lambda done, total: told.append((done, total)))
        assert (uploaded.sha256, uploaded.size) == (CARD.sha256, size)
        assert service.services.blobs.read(CARD.sha256) == path.read_bytes()
        assert told[-1] == (size, size)
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        told.clear()
        assert client.upload(path, lambda done, total: told.append((done, total))) == uploaded
        assert told == [(size, size)]


def test_submits_lists_and_cancels(service: Running) -> None:
    with Client(service.url) as client:
        client.upload(bundled_checkpoint(CARD))
        view = client.submit(submission())
        assert view.submission == submission()
        assert client.get_submission(view.id) == view
        assert client.list_submissions() == (view,)
        cancelled = client.cancel(view.id)
        assert cancelled.state is State.CANCELLED
        assert [seen.state for seen in client.watch(view.id)] == [State.CANCELLED]


def test_watches_until_the_end(service: Running) -> None:
    view = running(service.services.db, service.services.blobs, "Method A")
    seen: list[State] = []
    with Client(service.url) as client:

        def watch() -> None:
            seen.extend(look.state for look in client.watch(view.id, every=0.02))

        watcher = threading.Thread(target=watch)
        watcher.start()
        while not seen:
            time.sleep(0.01)
        client.cancel(view.id)
        watcher.join(timeout=5)
    assert not watcher.is_alive()
    assert seen == [State.QUEUED, State.CANCELLED]


def test_sends_examples_and_watches_until_they_are_judged(service: Running, tmp_path: Path) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    path = tmp_path / "x_adv.npy"
    np.save(path, np.zeros((2, 1, 8, 8), np.float32))
    with Client(service.url) as client:
        new = NewExternal(examples_sha256=client.upload(path).sha256, points=(100, 499), attack="by hand")
        view = client.submit_external("digits", "Linf", "Method A", new)
        assert view.submitted == new
        assert client.get_external(view.id) == view
        seen = client.watch_external(view.id, every=0.02)
        assert next(seen) == view
        judged = judge_examples(service.services, view, (100, 499))
        assert list(seen) == [judged]
        assert client.model("digits", "Linf", "Method A").externals == (judged,)
        with pytest.raises(RefusedByService) as caught:
            client.submit_external("digits", "Linf", "No/body", new)
        assert caught.value.status == 404
        with pytest.raises(RefusedByService, match="external"):
            client.get_external("../leaderboards")


@pytest.mark.parametrize("claim", ["nan", "inf", "-inf"])
def test_a_claim_that_is_no_number_is_refused_and_does_not_pass_for_none(
    service: Running, tmp_path: Path, claim: str
) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    path = tmp_path / "x_adv.npy"
    np.save(path, np.zeros((1, 1, 8, 8), np.float32))
    with Client(service.url) as client:
        before = client.list_submissions()
        client.upload(bundled_checkpoint(CARD))
        new = NewExternal(
            examples_sha256=client.upload(path).sha256, points=(100,), attack="x", claimed_robust_accuracy=float(claim)
        )
        for field in ("claimed_standard_accuracy", "claimed_robust_accuracy"):
            with pytest.raises(RefusedByService) as caught:
                client.submit(submission().model_copy(update={field: float(claim)}))
            assert (caught.value.status, caught.value.service_code) == (422, "invalid_submission")
            assert caught.value.detail is not None
            assert (caught.value.detail.field, caught.value.detail.found) == (field, claim)
        with pytest.raises(RefusedByService) as caught:
            client.submit_external("digits", "Linf", "Method A", new)
        assert (caught.value.status, caught.value.service_code) == (422, "invalid_submission")
        assert caught.value.detail is not None
        assert (caught.value.detail.field, caught.value.detail.found) == ("claimed_robust_accuracy", claim)
        assert client.model("digits", "Linf", "Method A").externals == ()
        assert client.list_submissions() == before


def test_reads_boards_models_and_reports(service: Running) -> None:
    published(service.services.db, service.services.blobs, "Method A")
    with Client(service.url) as client:
        assert [(board.dataset, board.threat_model) for board in client.leaderboards()] == [
            (board.dataset, board.threat_model) for board in BOARDS
        ]
        (row,) = client.leaderboard("digits", "Linf").rows
        assert row.model_id == "Method A"
        assert client.leaderboard("digits", "Linf", search="method").rows == (row,)
        assert client.leaderboard("digits", "Linf", badge=Badge.REPORTED).rows == ()
        model = client.model("digits", "Linf", "Method A")
        assert model.row == row
        assert client.report("digits", "Linf", "Method A") == model.report


def test_reads_the_progress_of_a_board(service: Running) -> None:
    with Client(service.url) as client:
        assert client.progress("cifar10", "Linf") == get_progress(service.services.db, "cifar10", "Linf")
        with pytest.raises(RefusedByService, match="board"):
            client.progress("cifar10", "L9")


def test_reads_a_long_board_whole(service: Running) -> None:
    fill_board(service.services.db, 1_111)
    with Client(service.url) as client:
        assert client.leaderboard("digits", "L2") == get_board(service.services.db, "digits", "L2")
        assert len(client.leaderboard("digits", "L2", search="Method 01").rows) == 111


class ChangesBetween(httpx.HTTPTransport):
    """Lets the board change before every later part of it is read, as often as told."""

    def __init__(self, service: Running, times: int) -> None:
        super().__init__()
        self.service = service
        self.times = times

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.params.get("offset") != "0" and self.times:
            self.times -= 1
            with self.service.services.db.transaction() as session:
                session.add(board_entry(f"New {self.times}", 0.95))
        return super().handle_request(request)


def test_a_board_that_changes_meanwhile_is_read_again(service: Running) -> None:
    fill_board(service.services.db, 1_001)
    with Client(service.url, transport=ChangesBetween(service, 1)) as client:
        assert client.leaderboard("digits", "L2") == get_board(service.services.db, "digits", "L2")
    with Client(service.url, transport=ChangesBetween(service, 9)) as client, pytest.raises(ServiceUnreachable):
        client.leaderboard("digits", "L2")


def test_refusals_arrive_as_the_service_made_them(service: Running, tmp_path: Path) -> None:
    with Client(service.url) as client:
        with pytest.raises(RefusedByService) as caught:
            client.leaderboard("digits", "L9")
        assert caught.value.status == 404
        sent = service.http.get("/api/v1/leaderboards/digits/L9").json()
        assert caught.value.as_json() == sent

        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(safetensors()[:-1])
        with pytest.raises(RefusedByService, match="bytes") as caught:
            client.upload(broken)
        assert caught.value.as_json()["error"]["code"] == "invalid_checkpoint"

        broken.write_bytes(bytes(MAX_CHECKPOINT_BYTES + 1))
        with pytest.raises(RefusedByService, match="at most") as caught:
            client.upload(broken)
        assert caught.value.as_json()["error"]["code"] == "too_large"

        with pytest.raises(RefusedByService) as caught:
            client.submit(submission(name="bad/name"))
        assert caught.value.status == 422
        with pytest.raises(RefusedByService, match="submission"):
            client.get_submission("../leaderboards")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "nonsense", "ftp://127.0.0.1", "http://[", ""])
def test_says_where_it_found_no_service(address: str) -> None:
    with pytest.raises(ServiceUnreachable) as caught, Client(address) as client:
        client.leaderboards()
    assert isinstance(caught.value, GauntletError)
    assert caught.value.detail is not None
    assert caught.value.detail.field == "server"


def test_an_answer_from_something_else_is_no_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope")

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client,
            pytest.raises(ServiceUnreachable, match="404"),
        ):
            client.leaderboards()
        thread.join(timeout=5)
