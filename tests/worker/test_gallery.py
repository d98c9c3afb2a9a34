"""The gallery that a judging child leaves: which points it is asked for, and that no file of its can harm the run."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark import datasets
from benchmark.gallery import chosen
from benchmark.threat_models import official_board
from gauntlet.settings import Settings
from model_zoo.registry import bundled_checkpoint, card
from store.boards import get_model
from store.claims import Claim
from store.galleries import find_gallery
from store.outcomes import finish_shard
from store.services import Services
from store.submissions import get_submission
from store.views import Purpose, State
from tests.running import running
from tests.store.material import shard_report, verdicts_on
from tests.store.pictures import gallery_for
from tests.web.html import read_page
from tests.worker.work import claimed_shard, limits, must_claim, played, run, submission
from worker.handover import Handover
from worker.messages import Request
from worker.tasks import Task, request_of

BOARD = official_board("digits", "Linf")
PATIENCE_S = 540.0


def claimed_judge(services: Services) -> Claim:
    """Claim the judging of a run of one shard: of its 500 points 10 are misclassified, and APGD breaks 50."""
    work = claimed_shard(services)
    examples = services.blobs.put(b"examples")
    finish_shard(services.db, services.blobs, work, shard_report(work).to_bytes(), x_adv_sha256=examples)
    judging = must_claim(services)
    assert judging.kind == "judge"
    return judging


def asked(services: Services, work: Claim, tmp_path: Path) -> Request:
    scratch = tmp_path / f"scratch-{time.monotonic_ns()}"
    scratch.mkdir()
    return request_of(Task(services, work, limits(tmp_path, ()), Handover(services.blobs, scratch)))


def test_a_judge_is_asked_for_points_that_may_be_shown(services: Services, tmp_path: Path) -> None:
    work = claimed_judge(services)
    wanted = chosen([shard_report(work).points])
    assert len(wanted) == 12
    assert set(wanted) <= set(range(10, 60)), "only what an attack broke"
    assert asked(services, work, tmp_path).gallery == wanted
    elsewhere = work.submission.model_copy(update={"dataset": "imagenet"})
    assert asked(services, work.model_copy(update={"submission": elsewhere}), tmp_path).gallery == ()
    assert asked(services, work.model_copy(update={"purpose": Purpose.FOLLOW_UP}), tmp_path).gallery == ()


LEFT = {
    "no file": ("pass", False),
    "a sound one": ("os.rename('sound', 'gallery.json')", True),
    "no gallery": ("open('gallery.json', 'w').write('{')", False),
    "a link": ("os.symlink('sound', 'gallery.json')", False),
    "a directory": ("os.mkdir('gallery.json')", False),
    "a pipe": ("os.mkfifo('gallery.json')", False),
    "a huge file": ("open('gallery.json', 'wb').truncate(10**10)", False),
}


@pytest.mark.parametrize("case", LEFT)
def test_whatever_it_leaves_the_run_is_published(services: Services, tmp_path: Path, case: str) -> None:
    work = claimed_judge(services)
    (verdicts,), _ = verdicts_on(services.blobs, work)
    sound = gallery_for(work, (20, 30))
    for name, content in (("verdicts", verdicts), ("gallery", sound.to_bytes())):
        (tmp_path / name).write_bytes(content)
    left, shown = LEFT[case]
    program = f"""
    import shutil
    shutil.copy({str(tmp_path / "verdicts")!r}, "verdicts-0.json")
    shutil.copy({str(tmp_path / "gallery")!r}, "sound")
    {left}
    say(type="judged")
    """
    run(services, work, limits(tmp_path, played(program)))
    assert submission(services, work).state is State.PUBLISHED
    stored = find_gallery(services.db, services.blobs, BOARD, "Digits_Standard")
    assert (stored.gallery if stored else None) == (sound if shown else None)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_evaluation_through_the_service_shows_its_gallery(tmp_path: Path) -> None:
    settings = Settings(var_dir=tmp_path / "var", worker_children=1, evaluate_zoo=False, port=0)
    entry = card("Digits_Standard", "digits", "Linf")
    with running(settings) as service:
        services = service.services
        sha256 = service.put(bundled_checkpoint(entry).read_bytes()).json()["sha256"]
        sent = service.http.post(
            "/api/v1/submissions",
            json={
                "name": "Method A",
                "dataset": "digits",
                "threat_model": "Linf",
                "architecture": entry.architecture,
                "checkpoint_sha256": sha256,
            },
        )
        give_up_at = time.monotonic() + PATIENCE_S
        while (view := get_submission(services.db, sent.json()["id"])).state is not State.PUBLISHED:
            assert view.state not in {State.FAILED, State.REJECTED}, view.reason
            assert time.monotonic() < give_up_at, "it took too long"
            time.sleep(0.2)

        stored = find_gallery(services.db, services.blobs, BOARD, "Method A")
        report = get_model(services.db, services.blobs, "digits", "Linf", "Method A").report
        assert stored is not None
        assert report is not None
        assert stored.gallery.index == chosen([report.points])
        true = datasets.load("digits", "test", index=stored.gallery.index).x.numpy()
        images = read_page(service.http.get("/models/digits/Linf/Method%20A").text).find("img")
        assert len(images) == 3 * 12
        for place, index in enumerate(stored.gallery.index):
            kinds = [image["src"] for image in images if f"/{index}/" in image["src"]]
            original, perturbed, _ = (
                Image.open(io.BytesIO(service.http.get(address).content)).tobytes() for address in kinds
            )
            expected = np.rint(255 * true[place].astype(np.float64)).astype(np.uint8)
            assert original == expected.tobytes()
            moved = np.frombuffer(perturbed, np.uint8).astype(int) - expected.ravel()
            assert 0 < np.abs(moved).max() <= 255 / 5 + 1
