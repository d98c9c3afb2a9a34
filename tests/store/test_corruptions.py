"""Boards on which nobody attacks: from finished shards to a score and a mean corruption error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmark.corruption_table import CELLS, CorruptionTable, mean_corruption_error
from benchmark.errors import Conflict, EvaluationFailed
from benchmark.report import EvaluationReport, canonical_json
from benchmark.threat_models import CORRUPTION_PROTOCOL, CORRUPTIONS
from store.blobs import LocalBlobs
from store.boards import get_board, get_model
from store.claims import Claim, claim
from store.database import Database
from store.externals import submit_external
from store.outcomes import finish_check, finish_shard
from store.submissions import submit
from store.views import NewExternal
from tests.store.corrupted import as_attacked, corruption_report, publish_corrupted
from tests.store.material import LEASE_MS, Rules, a_worker, check, examples, must_claim, new_submission, shard_report


def table(report: EvaluationReport) -> CorruptionTable:
    assert report.corruptions is not None
    return report.corruptions


def mces(db: Database) -> dict[str, float | None]:
    return {row.model_id: row.mce for row in get_board(db, "digits", CORRUPTIONS).rows}


def test_a_run_is_asked_for_what_the_board_says_and_draws_by_no_secret(db: Database, blobs: LocalBlobs) -> None:
    submit(db, blobs, new_submission(blobs, threat_model=CORRUPTIONS), Rules())
    work = must_claim(db)
    assert (work.norm, work.epsilon, work.protocol) == (CORRUPTIONS, "0", CORRUPTION_PROTOCOL)
    assert (work.seed, work.seed_key) == (0, "")


def test_shards_become_an_entry_that_is_ranked_by_the_mean(db: Database, blobs: LocalBlobs) -> None:
    """There are no examples, so nobody is asked to judge them again."""
    report = publish_corrupted(db, blobs, "Method A", losses=(15, 30))
    assert report.corruptions is not None
    assert (report.n_points, report.robust_accuracy, report.standard_accuracy) == (500, 1 - 22.5 / 75, 1.0)
    assert report.corruptions.cells[-1].correct == 0
    assert report.provenance.shards is not None
    assert [shard.points for shard in report.provenance.shards] == [250, 250]
    assert claim(db, a_worker(), LEASE_MS) is None
    (row,) = get_board(db, "digits", CORRUPTIONS).rows
    assert (row.rank, row.robust_accuracy, row.best_known_robust_accuracy) == (1, 1 - 22.5 / 75, 1 - 22.5 / 75)
    assert (row.protocol, row.epsilon, row.potentially_unreliable, row.mce) == (CORRUPTION_PROTOCOL, None, None, None)
    assert row.robust_interval == report.robust_interval
    view = get_model(db, blobs, "digits", CORRUPTIONS, "Method A")
    assert [item.source for item in view.history] == [f"Evaluated here, {CORRUPTION_PROTOCOL}"]
    assert view.submission is not None
    assert (view.submission.seed, view.submission.progress.fraction) == (None, 1.0)


def test_a_baseline_gives_all_their_error_and_later_entries_get_it_at_once(db: Database, blobs: LocalBlobs) -> None:
    everything = len(CELLS)
    early = publish_corrupted(db, blobs, "Early", losses=(everything, everything))
    assert mces(db) == {"Early": None}
    baseline = publish_corrupted(db, blobs, "Standard", losses=(everything, everything - 1), baseline=True)
    late = publish_corrupted(db, blobs, "Late", losses=(20, 40))
    expected = {
        name: mean_corruption_error(table(report), 500, table(baseline), 500)
        for name, report in (("Early", early), ("Standard", baseline), ("Late", late))
    }
    assert mces(db) == expected
    early_error, own, late_error = expected.values()
    assert own == 100
    assert late_error is not None
    assert early_error is not None
    assert 0 < late_error < 100 < early_error


def test_other_boards_and_reported_entries_have_no_say(db: Database, blobs: LocalBlobs) -> None:
    publish_corrupted(db, blobs, "Standard", losses=(75, 75), baseline=True)
    publish_corrupted(db, blobs, "Method A", losses=(75, 75))
    assert mces(db) == {"Standard": 100, "Method A": 100}
    assert get_board(db, "digits", "Linf").rows == ()


def test_a_flag_asks_for_no_closer_look_where_nobody_attacks(db: Database, blobs: LocalBlobs) -> None:
    publish_corrupted(db, blobs, "Method A", flags=1)
    (row,) = get_board(db, "digits", CORRUPTIONS).rows
    assert row.findings == ("changed_answers",)
    assert claim(db, a_worker(), LEASE_MS) is None


def test_examples_of_others_are_refused_where_nobody_attacks(db: Database, blobs: LocalBlobs) -> None:
    publish_corrupted(db, blobs, "Method A")
    new = NewExternal(examples_sha256=blobs.put(examples("digits", 500)), attack="mine")
    with pytest.raises(Conflict, match="attacker"):
        submit_external(db, blobs, ("digits", CORRUPTIONS, "Method A"), new, Rules())


def altered(report: EvaluationReport, **changes: object) -> bytes:
    return canonical_json(report.model_dump(mode="json") | changes)


def _one_cell(work: Claim) -> bytes:
    """A consistent report that leaves all hard cells out."""
    content = corruption_report(work, lost=0).model_dump(mode="json")
    content["corruptions"]["cells"] = content["corruptions"]["cells"][:1]
    content["points"]["kept"] = [1] * len(work.indices)
    return canonical_json(content)


def _other_images(work: Claim) -> bytes:
    report = corruption_report(work)
    table = report.corruptions
    assert table is not None
    return report.model_copy(update={"corruptions": table.model_copy(update={"source": "easy"})}).to_bytes()


HOSTILE: dict[str, Callable[[Claim], bytes]] = {
    "one cell only": _one_cell,
    "other images": _other_images,
    "a better score": lambda work: altered(corruption_report(work), robust_accuracy=1.0),
    "no table": lambda work: altered(corruption_report(work), corruptions=None),
    "a report of attacks": lambda work: shard_report(as_attacked(work)).to_bytes(),
    "another seed": lambda work: altered(
        corruption_report(work), provenance=corruption_report(work).provenance.model_dump(mode="json") | {"seed": 1}
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_of_this_very_work_is_refused(db: Database, blobs: LocalBlobs, name: str) -> None:
    submit(db, blobs, new_submission(blobs, threat_model=CORRUPTIONS), Rules())
    finish_check(db, must_claim(db), [check()])
    work = must_claim(db)
    with pytest.raises(EvaluationFailed):
        finish_shard(db, blobs, work, HOSTILE[name](work))
    finish_shard(db, blobs, work, corruption_report(work).to_bytes())


def test_a_table_of_corruptions_passes_for_no_attack(db: Database, blobs: LocalBlobs) -> None:
    """Nobody judges corrupted images again, so a report of attacks must not look like one."""
    submit(db, blobs, new_submission(blobs), Rules())
    finish_check(db, must_claim(db), [check()])
    work = must_claim(db)
    honest = corruption_report(work.model_copy(update={"norm": CORRUPTIONS, "epsilon": "0"}))
    for changes in ({}, {"norm": work.norm, "epsilon": work.epsilon}):
        with pytest.raises(EvaluationFailed):
            finish_shard(db, blobs, work, altered(honest, **changes))
