"""Analyses of a published entry: real children make them, and whatever a child leaves is hostile until validated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from benchmark.analysis.results import Analysis, Study
from benchmark.threat_models import official_board
from store.analyses import StoredStudy, find_study
from store.claims import Claim, claim
from store.intervention import requeue
from store.outcomes import finish_check, finish_shard
from store.services import Services
from store.submissions import get_submission, submit
from store.tables import ShardRow
from store.views import Purpose, State
from store.workers import Worker
from tests.store.material import judge, shard_report
from tests.worker.work import LEASE_MS, PASSED, limits, must_claim, new_submission, played, run

BOARD = official_board("digits", "Linf")
NAME = "Digits_PGD10"


def published(services: Services, model: str = NAME, *, analyse: bool = True) -> str:
    """Put a model of the zoo on its board, its evaluation made up, and return its submission's id."""
    view = submit(
        services.db,
        services.blobs,
        new_submission(services, model).model_copy(update={"analyse": analyse}),
        services.admission,
    )
    finish_check(services.db, must_claim(services), [PASSED], parameters=1, shard_points=500)
    work = must_claim(services)
    finish_shard(services.db, services.blobs, work, shard_report(work).to_bytes())
    assert judge(services.db, services.blobs) is State.PUBLISHED
    return view.id


def analyses(services: Services) -> Iterator[Claim]:
    """Claim all analyses, one after the other."""
    while (work := claim(services.db, Worker(name="test", datasets=("digits",)), LEASE_MS)) is not None:
        assert (work.kind, work.purpose) == ("analysis", Purpose.ANALYSIS)
        yield work


def found(services: Services, model: str = NAME) -> StoredStudy:
    stored = find_study(services.db, services.blobs, BOARD, model)
    assert stored is not None
    return stored


def study_of(stored: StoredStudy) -> Study:
    assert stored.study is not None
    return stored.study


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_every_analysis_is_made_by_a_child_of_its_own(services: Services, tmp_path: Path) -> None:
    published(services, "Digits_Standard", analyse=False)
    published(services)
    assert find_study(services.db, services.blobs, BOARD, "Digits_Standard") is None
    waiting = found(services)
    assert (waiting.study, waiting.pending, waiting.failed) == (None, tuple(Analysis), ())
    seen = []
    for work in analyses(services):
        assert work.indices == tuple(range(500))
        assert work.analysis is not None
        seen.append(work.analysis)
        if work.analysis in {Analysis.CALIBRATION, Analysis.TRANSFER, Analysis.PRIVACY}:
            run(services, work, limits(tmp_path))
        else:
            leave(services, work, tmp_path, "os.rename('sound', 'study.json')")
        assert work.analysis not in found(services).pending
    assert seen == list(Analysis)
    stored = found(services)
    assert (stored.pending, stored.failed) == ((), ())
    study = study_of(stored)
    assert study.made == (Analysis.CALIBRATION, Analysis.PRIVACY, Analysis.TRANSFER)
    assert study.calibration is not None
    assert study.calibration.underconfident
    assert study.transfer is not None
    assert study.transfer.names == (NAME, "Digits_Standard")
    own, carried = study.transfer.robust[0]
    assert 0.7 < own < 0.9
    assert 0 < carried < 1
    assert study.privacy is not None
    assert study.privacy.benign.members == 500
    assert set(study.left_out) == set(Analysis) - set(study.made)
    assert stored.sha256 != waiting.sha256


def sound(work: Claim) -> Study:
    """What leaves the claimed analysis out, for a made-up reason."""
    assert work.analysis is not None
    return Study(
        dataset="digits",
        norm="Linf",
        epsilon="1/5",
        points=len(work.indices),
        seed=work.seed,
        checkpoint_sha256=work.checkpoint_sha256,
        standard_accuracy=0.5,
        left_out={work.analysis: "nobody wants it"},
        seconds={},
    )


def leave(services: Services, work: Claim, tmp_path: Path, program: str, study: Study | None = None) -> None:
    """Have a played child make the claimed analysis."""
    (tmp_path / "study").write_bytes((study or sound(work)).to_bytes())
    run(
        services,
        work,
        limits(
            tmp_path,
            played(f"""
            import shutil
            shutil.copy({str(tmp_path / "study")!r}, "sound")
            def change(what, to):
                open("study.json", "w").write(open("sound").read().replace(what, to))
            {program}
            say(type="analysed")
            """),
        ),
    )


HOSTILE = {
    "no file": "pass",
    "no study": "open('study.json', 'w').write('{')",
    "a link": "os.symlink('sound', 'study.json')",
    "a directory": "os.mkdir('study.json')",
    "a pipe": "os.mkfifo('study.json')",
    "a huge file": "open('study.json', 'wb').truncate(10**10)",
    "of other points": "change('500', '499')",
    "of another data set": "change('digits', 'mnist')",
    "of another analysis": "change('calibration', 'curve')",
    "no number": "change('0.5', 'NaN')",
}


def test_whatever_a_child_leaves_one_analysis_fails_and_nothing_else(services: Services, tmp_path: Path) -> None:
    submission_id = published(services)
    for name, program in HOSTILE.items():
        work = next(analyses(services))
        assert work.analysis is Analysis.CALIBRATION, name
        leave(services, work, tmp_path, program)
        stored = found(services)
        assert stored.study is None, name
        if Analysis.CALIBRATION in stored.failed:
            again(services)
    work = next(analyses(services))
    assert work.analysis is Analysis.CALIBRATION
    leave(services, work, tmp_path, "os.rename('sound', 'study.json')")
    assert study_of(found(services)).left_out == {Analysis.CALIBRATION: "nobody wants it"}
    assert get_submission(services.db, submission_id).state is State.PUBLISHED


def again(services: Services) -> None:
    """Queue what has failed once more, as a maintainer would."""
    with services.db.snapshot() as session:
        failed = session.scalars(select(ShardRow.id).where(ShardRow.state == "failed")).one()
    assert requeue(services.db, failed) == (failed,)


def test_texts_of_a_child_are_made_fit_to_be_shown(services: Services, tmp_path: Path) -> None:
    published(services)
    work = next(analyses(services))
    odd = sound(work).model_copy(update={"left_out": {Analysis.CALIBRATION: "\u202eno /etc/shadow/here\x1b[2J"}})
    leave(services, work, tmp_path, "os.rename('sound', 'study.json')", odd)
    assert study_of(found(services)).left_out == {Analysis.CALIBRATION: "no … [2J"}
