"""Entries side by side, as people see them."""

from __future__ import annotations

import itertools

import pytest

from benchmark.side_by_side import Pair
from store.comparison import compare_entries
from tests.running import Running
from tests.store.corrupted import publish_corrupted
from tests.store.lowered import judge_examples, send_examples
from tests.web.html import read_page
from tests.web.material import HOSTILE, publish, questions
from web.pages.compare import Compared, ComparePage, compare_page
from web.side_by_side import MOST_POINTS, differences, profile

ADDRESS = "/compare/digits/Linf"


def test_two_entries_side_by_side(service: Running) -> None:
    publish(service.services, "Method A", title=HOSTILE)
    publish(service.services, "Method B")
    judge_examples(service.services, send_examples(service.services, "Method B"), broken=range(60, 160))
    view = compare_entries(service.services.db, service.services.blobs, "digits", "Linf", ["Method A", "Method B"])
    page = compare_page(service.services, "digits", "Linf", ["Method A", " Method B ", ""])
    json_address = "/api/v1/leaderboards/digits/Linf/compare?model=Method+A&model=Method+B"
    assert page == ComparePage(
        title="Method A and Method B side by side",
        dataset="digits",
        threat_model="Linf",
        board_title=page.board_title,
        epsilon="1/5",
        asked=("Method A", "Method B"),
        choices=("Method A", "Method B"),
        problem=None,
        compared=Compared(
            view=view,
            letters=("A", "B"),
            profile=profile(view.comparison),
            differences=differences(view.comparison),
            analyses=(),
            json_address=json_address,
        ),
    )
    (one,) = differences(view.comparison)
    assert one.verdict == "A keeps 100 points more; by chance that would be rare (p = 1.6e-30)."
    assert (one.a_points, one.b_points) == (tuple(range(60, 60 + MOST_POINTS)), ())
    shown = read_page(service.http.get(f"{ADDRESS}?model=Method+A&model=+Method+B+&model=").text)
    for text in (one.verdict, "340 of 500 points are kept by all, 60 by none", "and 40 more", "no attack", "apgd-ce"):
        assert text in shown.text
    assert "alert(1)" in shown.text, "as text"
    assert service.http.get(json_address).json() == view.model_dump(mode="json")


def test_the_choice_begins_with_no_entry_or_one(service: Running) -> None:
    publish(service.services, "Method A")
    alone = read_page(service.http.get(ADDRESS).text)
    assert "one entry that was evaluated here so far; it takes two" in alone.text
    publish(service.services, "Method B")
    begun = service.http.get(f"{ADDRESS}?model=Method+A")
    assert begun.status_code == 200
    shown = read_page(begun.text)
    assert [field["value"] for field in shown.find("input", name="model")] == ["Method A", "", "", "", ""]
    assert shown.find("a", href=f"{ADDRESS}?model=Method+A&model=Method+B")
    assert [option["value"] for option in shown.find("option")] == ["Method A", "Method B"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["Method A", "Nobody"], "'Nobody'"),
        (["Method A"] * 2, "'Method A' twice"),
        (list("abcdef"), "6 entries"),
    ],
)
def test_what_is_wrong_is_said_beside_the_fields_and_nothing_is_lost(
    service: Running, names: list[str], found: str
) -> None:
    publish(service.services, "Method A")
    answer = service.http.get(ADDRESS, params={"model": names})
    assert answer.status_code == 422
    shown = read_page(answer.text)
    assert f"Found {found}; expected" in shown.text
    assert [field["value"] for field in shown.find("input", name="model")] == [*names, "", "", ""][:5]
    assert service.http.get("/api/v1/leaderboards/digits/Linf/compare", params={"model": names}).status_code in {
        404,
        422,
    }


def test_boards_that_are_not_there_are_not_found(service: Running) -> None:
    assert service.http.get("/compare/digits/none").status_code == 404
    assert service.http.get("/compare/cifar10/Linf?model=a&model=b").status_code == 422


def test_corruptions_take_the_place_of_attacks(service: Running) -> None:
    db, blobs = service.services.db, service.services.blobs
    publish_corrupted(db, blobs, "Method A", losses=(5, 30))
    publish_corrupted(db, blobs, "Method B", losses=(0, 5))
    page = compare_page(service.services, "digits", "corruptions", ["Method A", "Method B"])
    assert page.compared is not None
    assert page.compared.profile is None
    shown = read_page(service.http.get("/compare/digits/corruptions?model=Method+A&model=Method+B").text)
    assert "elastic transform" in shown.text
    assert "Attack by attack" not in shown.text


def test_what_is_asked_of_the_database_does_not_grow(service: Running) -> None:
    for name in ("Method A", "Method B", "Method C"):
        publish(service.services, name)
    costs = []
    for names in (["Method A", "Method B"], ["Method A", "Method B", "Method C"]):
        with questions(service.services) as asked:
            compare_page(service.services, "digits", "Linf", names)
        costs.append(len(asked))
    assert costs == [7, 7]


@pytest.mark.parametrize(
    ("only_a", "only_b", "verdict"),
    [
        (0, 0, "A and B keep the same points."),
        (1, 0, "Not told apart: a difference like this is common by chance (p = 1)."),
        (5, 0, "Not told apart: a difference like this is common by chance (p = 0.062)."),
        (6, 0, "A keeps 6 points more; by chance that would be rare (p = 0.031)."),
        (0, 2_000, "B keeps 2\u202f000 points more; by chance that would be rare (p = 0.03)."),
    ],
)
def test_verdicts_on_a_pair(service: Running, only_a: int, only_b: int, verdict: str) -> None:
    publish(service.services, "Method A")
    publish(service.services, "Method B")
    view = compare_entries(service.services.db, service.services.blobs, "digits", "Linf", ["Method A", "Method B"])
    pair = Pair(
        a="Method A",
        b="Method B",
        both=0,
        only_a=only_a,
        only_b=only_b,
        neither=0,
        p_value=0.001,
        corrected_p_value={0: 1.0, 1: 1.0, 5: 0.0625, 6: 0.03125, 2_000: 0.03}[only_a or only_b],
        only_a_points=(),
        only_b_points=(),
    )
    (one,) = differences(view.comparison.model_copy(update={"pairs": (pair,)}))
    assert one.verdict == verdict


def test_letters_at_the_ends_of_lines_do_not_lie_on_each_other(service: Running) -> None:
    names = [f"Method {letter}" for letter in "ABCDE"]
    for name in names:
        publish(service.services, name)
    view = compare_entries(service.services.db, service.services.blobs, "digits", "Linf", names)
    chart = profile(view.comparison)
    assert chart is not None
    ends = sorted(line.label_y for line in chart.lines)
    assert all(round(below - above, 1) >= 20 for above, below in itertools.pairwise(ends))
    assert ends[-1] <= chart.bottom
    broken = view.comparison.stages[-1].model_copy(update={"accuracies": (0.0,) * 5})
    low = profile(view.comparison.model_copy(update={"stages": (view.comparison.stages[0], broken)}))
    assert low is not None
    ends = sorted(line.label_y for line in low.lines)
    assert ends[-1] == low.bottom
    assert all(round(below - above, 1) >= 20 for above, below in itertools.pairwise(ends))
