"""How a board came to where it stands: dates, the best so far, venues and claims."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from benchmark.errors import NotFound
from benchmark.threat_models import BOARDS, RANKING_PROTOCOL
from store.database import Database
from store.progress import Chart, DatedEntry, VenueCount, get_progress
from store.reference import import_reference_boards
from store.venues import VenueKind, kind_of_venue, year_of_venue
from store.views import Badge
from tests.store.material import board_entry
from tests.store.test_boards import counted

HERE = {"badge": Badge.EVALUATED, "protocol": RANKING_PROTOCOL}


def ms(year: int, month: int, day: int, hour: int = 0) -> int:
    return round(datetime(year, month, day, hour, tzinfo=UTC).timestamp() * 1000)


def add(db: Database, model_id: str, best: float | None, venue: str = "", **columns: object) -> None:
    entry = board_entry(model_id, best)
    for name, value in {"venue": venue, **columns}.items():
        setattr(entry, name, value)
    with db.transaction() as session:
        session.add(entry)


def dated(db: Database) -> tuple[DatedEntry, ...]:
    best = get_progress(db, "digits", "L2").best_known
    assert best is not None
    return best.entries


@pytest.mark.parametrize(
    ("venue", "kind", "year"),
    [
        ("ICLR 2020", VenueKind.ICLR, 2020),
        ("arXiv, Oct 2020", VenueKind.ARXIV, 2020),
        ("arXiv, Dec. 2022", VenueKind.ARXIV, 2022),
        ("NIPS2017", VenueKind.NEURIPS, 2017),
        ("neurips 2019", VenueKind.NEURIPS, 2019),
        ("CVPR'19", VenueKind.CVPR, None),
        ("NeurIPS 2019 Workshop on X", VenueKind.OTHER, 2019),
        ("Winter Conference ICLRX 2020", VenueKind.OTHER, 2020),
        ("BMVC 2023", VenueKind.OTHER, 2023),
        ("ICML 2021 (arXiv 2020; arXiv 2019)", VenueKind.ICML, 2019),
        ("AAAI 2027", VenueKind.AAAI, 2027),
        ("AAAI 2028", VenueKind.AAAI, None),
        ("Journal 12020, 19999", VenueKind.OTHER, None),
        ("Proceedings of 1890", VenueKind.OTHER, None),
        ("ICCV ²⁰²¹ ٢٠٢٠", VenueKind.ICCV, None),
        ("", VenueKind.OTHER, None),
    ],
)
def test_venues_are_read_as_people_write_them(venue: str, kind: VenueKind, year: int | None) -> None:
    assert (kind_of_venue(venue), year_of_venue(venue, latest=2027)) == (kind, year)


def test_the_best_so_far_rises_with_the_dates(db: Database) -> None:
    add(db, "first", 0.3, "ICLR 2019")
    add(db, "worse, of the same year", 0.2, "arXiv, Jan 2019")
    add(db, "lower, later", 0.25, "ICML 2021")
    add(db, "here, in spring", 0.5, "a report", published_ms=ms(2021, 3, 1, 23), **HERE)
    add(db, "here, in autumn", 0.6, "", published_ms=ms(2021, 9, 1), **HERE)
    add(db, "here, with a year", 0.55, "ECCV 2020", published_ms=ms(2022, 1, 1), **HERE)
    assert [(entry.model_id, entry.year, entry.day, entry.best_so_far, entry.raised) for entry in dated(db)] == [
        ("first", 2019, None, 0.3, True),
        ("worse, of the same year", 2019, None, 0.3, False),
        ("here, with a year", 2020, None, 0.55, True),
        ("here, in spring", 2021, date(2021, 3, 1), 0.55, False),
        ("lower, later", 2021, None, 0.55, False),
        ("here, in autumn", 2021, date(2021, 9, 1), 0.6, True),
    ]


def test_of_one_date_the_best_raises_and_so_do_its_equals(db: Database) -> None:
    for name, best in (("b", 0.4), ("a", 0.4), ("c", 0.1), ("zero", 0.0)):
        add(db, name, best, "ICLR 2019" if best else "ICLR 2018")
    assert [(entry.model_id, entry.raised) for entry in dated(db)] == [
        ("zero", True),
        ("a", True),
        ("b", True),
        ("c", False),
    ]


def test_what_is_not_drawn_is_counted(db: Database) -> None:
    add(db, "dated", 0.5, "ICLR 2019", claimed_robust_accuracy=0.6, robust_accuracy=0.5)
    add(db, "of no year", 0.4, "a seminar", claimed_robust_accuracy=0.6)
    # That the service has it since then says nothing about when it appeared.
    add(db, "reported", 0.4, published_ms=ms(2026, 1, 1))
    add(db, "without a number", None, "ICLR 2020", robust_accuracy=None, claimed_robust_accuracy=0.6)
    progress = get_progress(db, "digits", "L2")
    assert (progress.best_known, progress.venues, progress.overestimation) != (None, None, None)
    assert progress.best_known
    assert progress.venues
    assert progress.overestimation
    assert progress.entries == 4
    assert [entry.model_id for entry in progress.best_known.entries] == ["dated"]
    assert (progress.best_known.undated, progress.best_known.unmeasured) == (2, 1)
    assert [count.year for count in progress.venues.counts] == [2019, 2020]
    assert progress.venues.left_out == 2
    assert [entry.model_id for entry in progress.overestimation.entries] == ["dated", "of no year"]


def test_only_what_ranks_counts_and_nothing_tells_of_the_anonymous(db: Database) -> None:
    add(db, "ranked", 0.5, "ICLR 2019")
    add(db, "withdrawn", 0.9, "ICLR 2019", withdrawn_ms=1, withdrawn_reason="retracted")
    add(db, "unverified", 0.9, "ICLR 2019", badge=Badge.UNVERIFIED)
    add(db, "of an old protocol", 0.9, "ICLR 2019", published_ms=1, badge=Badge.EVALUATED, protocol="standard-0")
    add(db, "anonymous", 0.6, "NeurIPS 2018", anonymous=True, published_ms=ms(2026, 5, 4), **HERE)
    progress = get_progress(db, "digits", "L2")
    assert progress.entries == 2
    ranked, anonymous = dated(db)
    assert ranked.model_id == "ranked"
    assert (anonymous.model_id, anonymous.venue, anonymous.day) == ("anonymous", "", date(2026, 5, 4))
    assert "2018" not in progress.model_dump_json()
    assert "NeurIPS" not in progress.model_dump_json()


def test_venues_are_counted_by_year_and_kind(db: Database) -> None:
    for i, venue in enumerate(["arXiv, Oct 2020", "ICLR 2020", "ICLR 2020", "BMVC 2019", "TMLR 2019"]):
        add(db, f"m{i}", 0.5, venue)
    venues = get_progress(db, "digits", "L2").venues
    assert venues is not None
    assert venues.counts == (
        VenueCount(year=2019, venue=VenueKind.OTHER, entries=2),
        VenueCount(year=2020, venue=VenueKind.ICLR, entries=2),
        VenueCount(year=2020, venue=VenueKind.ARXIV, entries=1),
    )


def test_claims_are_compared_with_the_attacks_and_not_with_the_best_known(db: Database) -> None:
    for name, claimed, robust in (("high", 0.7, 0.4), ("exact", 0.3, 0.3), ("low", 0.2, 0.3), ("slight", 0.62, 0.6)):
        add(db, name, 0.1, claimed_robust_accuracy=claimed, robust_accuracy=robust)
    add(db, "silent", 0.1)
    claims = get_progress(db, "digits", "L2").overestimation
    assert claims is not None
    assert [(entry.model_id, entry.overestimation) for entry in claims.entries] == [
        ("high", 0.3),
        ("slight", 0.02),
        ("exact", 0.0),
        ("low", -0.1),
    ]
    assert (claims.median, claims.without_claim) == (0.01, 1)


def test_a_part_comes_without_the_others(db: Database) -> None:
    progress = get_progress(db, "digits", "L2")
    for chart in Chart:
        parts = progress.only(chart).model_dump()
        assert [other for other in Chart if parts[other] is not None] == [chart]


def test_an_empty_board_has_no_median_and_an_unknown_one_does_not_exist(db: Database) -> None:
    claims = get_progress(db, "digits", "L2").overestimation
    assert claims is not None
    assert (claims.entries, claims.median) == ((), None)
    with pytest.raises(NotFound):
        get_progress(db, "digits", "L9")


def test_every_entry_of_the_reference_boards_is_somewhere_in_a_fixed_number_of_questions(db: Database) -> None:
    with counted(db) as empty:
        get_progress(db, "cifar10", "Linf")
    import_reference_boards(db)
    for board in BOARDS:
        with counted(db) as asked:
            progress = get_progress(db, board.dataset, board.threat_model)
        assert len(asked) == len(empty)
        assert progress.best_known
        assert progress.venues
        drawn = len(progress.best_known.entries)
        assert drawn + progress.best_known.undated + progress.best_known.unmeasured == progress.entries
        assert sum(count.entries for count in progress.venues.counts) + progress.venues.left_out == progress.entries
        assert (progress.overestimation is not None) == board.attacked
        if progress.overestimation:
            assert len(progress.overestimation.entries) + progress.overestimation.without_claim == progress.entries


def test_the_best_of_the_reference_board_is_known(db: Database) -> None:
    import_reference_boards(db)
    progress = get_progress(db, "cifar10", "Linf")
    assert progress.best_known
    assert progress.overestimation
    assert [(entry.year, entry.model_id) for entry in progress.best_known.entries if entry.raised] == [
        (2018, "Madry2018Towards"),
        (2019, "Carmon2019Unlabeled"),
        (2020, "Gowal2020Uncovering_70_16_extra"),
        (2021, "Rebuffi2021Fixing_70_16_cutmix_extra"),
        (2023, "Peng2023Robust"),
        (2024, "Bartoldson2024Adversarial_WRN-94-16"),
    ]
    assert (progress.best_known.undated, len(progress.overestimation.entries)) == (1, 99)
