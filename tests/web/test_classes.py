"""Classes and points in words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmark.report import ClassAccuracy, EvaluationReport
from tests.benchmark.reports import MIXED, report_of
from tests.running import Running
from tests.web.html import read_page
from tests.web.material import publish
from web.charts import per_class
from web.classes import MOST_LISTED, Listed, broken_points, class_name, extremes, named
from web.pages.model import model_page


def with_classes(report: EvaluationReport, accuracies: Sequence[float]) -> EvaluationReport:
    classes = tuple(
        ClassAccuracy(label=label, points=50, standard_accuracy=1, robust_accuracy=accuracy)
        for label, accuracy in enumerate(accuracies)
    )
    return report.model_copy(update={"classwise": classes})


def test_names_of_classes() -> None:
    assert (class_name("digits", 3), class_name("cifar10", 3)) == ("3", "3 cat")
    assert (class_name("cifar10", 10), class_name("nothing", 3)) == ("10", "3")


@pytest.mark.parametrize(
    ("dataset", "accuracies", "sentence"),
    [
        ("digits", [0.5, 0.25, 0.75], "Worst is class 1, with 25.0\u202f%; best is class 2, with 75.0\u202f%."),
        (
            "cifar10",
            [0.5, 0.25, 0.25],
            "Worst are classes 1 automobile and 2 bird, with 25.0\u202f%; best is class 0 airplane, with 50.0\u202f%.",
        ),
        ("digits", [0, 0, 0, 0, 1], "Worst are 4 classes, with 0.0\u202f%; best is class 4, with 100.0\u202f%."),
        ("digits", [0.5, 0.5], "Every class is left the same: 50.0\u202f%."),
        ("digits", [0.5], "Every class is left the same: 50.0\u202f%."),
    ],
)  # fmt: skip
def test_the_worst_class_is_called_out(dataset: str, accuracies: list[float], sentence: str) -> None:
    assert extremes(with_classes(report_of(MIXED), accuracies), dataset) == sentence


def test_bars_bear_the_names() -> None:
    report = with_classes(report_of(MIXED), [0.5, 0.25])
    assert [bar.label for bar in named(per_class(report), report, "cifar10")] == ["0 airplane", "1 automobile"]


def test_every_point_that_broke_is_listed_under_what_broke_it() -> None:
    assert [(one.label, one.points) for one in broken_points(report_of(MIXED))] == [
        ("no attack", (1, 7)),
        ("apgd-ce", (2,)),
        ("apgd-t", (5,)),
        ("fab-t", (8,)),
        ("square", (4,)),
    ]
    assert broken_points(report_of([None, None])) == ()


def test_very_many_are_cut_short() -> None:
    count = MOST_LISTED + 7
    (found,) = broken_points(report_of(["square"] * count))
    assert found == Listed(label="square", points=tuple(range(MOST_LISTED)), left_out=7)


def test_the_page_says_all_that(service: Running) -> None:
    publish(service.services, "Method A")
    page = model_page(service.services, "digits", "Linf", "Method A")
    assert page.evidence is not None
    assert page.evidence.extremes == "Every class is left the same: 88.0\u202f%."
    assert page.evidence.broken == (
        Listed(label="no attack", points=tuple(range(10)), left_out=0),
        Listed(label="apgd-ce", points=tuple(range(10, 60)), left_out=0),
    )
    shown = read_page(service.http.get("/models/digits/Linf/Method%20A").text)
    assert "10, 11, 12, 13" in shown.text
    assert page.evidence.extremes in shown.text
