"""Malicious files on the service's own way: the upload, the submission, and the child in its sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from benchmark.report import SandboxLevel
from gauntlet.settings import Settings
from store.submissions import get_submission
from store.views import State
from tests.model_zoo.corpus import CASES, sizes
from tests.model_zoo.corpus.case import Case, Workplace
from tests.model_zoo.exported import Small, export
from tests.running import Running, running
from tests.worker.work import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MAX_BYTES = 64 * 1024 * 1024
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return export(Small(), tmp_path_factory.mktemp("honest") / "model.pt2")


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = Settings(
        var_dir=tmp_path_factory.mktemp("hostile") / "var",
        worker_children=2,
        evaluate_zoo=False,
        max_checkpoint_bytes=MAX_BYTES,
        port=0,
        sandbox_minimum=SandboxLevel.NAMESPACES,
    )
    with running(settings) as service:
        yield service


def written(case: Case, honest: Path, folder: Path) -> tuple[bytes, Path]:
    """Return the file's content, and where its code would leave a mark."""
    place = Workplace(honest, folder / "model.pt2", folder / "fired")
    case.write(place)
    return place.path.read_bytes(), place.mark


def submitted(service: Running, name: str, case: Case, sha256: str) -> httpx.Response:
    body = {"name": name, "dataset": "digits", "threat_model": "Linf", "architecture": case.architecture}
    return service.http.post("/api/v1/submissions", json={**body, "checkpoint_sha256": sha256})


def test_every_malicious_file_is_refused_at_the_upload_or_in_the_sandbox(
    working: Running, honest: Path, tmp_path: Path
) -> None:
    """One shape of error and nothing left behind; what only shows when it runs is for the test below."""
    late = []
    for number, case in enumerate(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        content, mark = written(case, honest, folder)
        before = working.files()
        sent = working.put(content)
        assert not mark.exists(), case.name
        if sent.status_code == 201:
            late.append(case)
            continue
        assert sent.status_code in {413, 422}, (case.name, sent.text)
        detail = sent.json()["error"]["detail"]
        assert all(detail[part] for part in ("found", "expected", "remedy")), (case.name, detail)
        assert working.files() == before, case.name
    assert len(CASES) - len(late) > 150


@pytest.mark.parametrize(
    "case", [case for case in sizes.CASES if case.ends == "refused"][::6], ids=lambda case: case.name
)
def test_what_shows_only_when_it_runs_ends_in_the_sandbox(
    case: Case, working: Running, honest: Path, tmp_path: Path
) -> None:
    content, mark = written(case, honest, tmp_path)
    sent = working.put(content)
    if sent.status_code == 422:
        return
    answer = submitted(working, f"Bomb {sizes.CASES.index(case)}", case, sent.json()["sha256"])
    if answer.status_code == 422:
        return
    assert answer.status_code == 201, answer.text
    submission_id = answer.json()["id"]

    def over() -> bool:
        return get_submission(working.services.db, submission_id).state in {State.REJECTED, State.FAILED}

    wait_for(over, PATIENCE_S)
    view = get_submission(working.services.db, submission_id)
    assert (view.state, view.fault) == (State.REJECTED, "model"), view.reason
    assert not mark.exists()
