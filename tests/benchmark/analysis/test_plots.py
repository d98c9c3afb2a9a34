from __future__ import annotations

import re
import threading
import xml.etree.ElementTree as ET

import pytest

from benchmark.analysis.plots import as_png, as_svg, size
from benchmark.analysis.results import Analysis, Study
from benchmark.analysis.tables import NotAnalysed
from benchmark.drawing import DARK, LIGHT, MARKERS, STROKES
from benchmark.report import Part
from tests.benchmark.analysis.studies import a_study, with_part

LONG = "N" * 80
HOSTILE = '$x$ <script>& \u202en\x00 style="a:b;c:d"'
FEW = (Analysis.CURVE, *(pytest.param(one, marks=pytest.mark.slow) for one in Analysis if one is not Analysis.CURVE))
"""One analysis, and the others where there is time."""
FIVE = {name: a_study(seed) for seed, name in enumerate(("Plain", HOSTILE, LONG, "_hidden", "模型"))}


def root_of(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own


def words_of(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in root_of(svg).iter() if element.tag.endswith("}text")]


def said_of(svg: str, tag: str) -> str:
    (found,) = [element.text or "" for element in root_of(svg).iter() if element.tag.endswith(f"}}{tag}")]
    return found


@pytest.mark.parametrize("analysis", Analysis)
@pytest.mark.parametrize("studies", [{"Alone": a_study()}, FIVE], ids=["one", "five"])
def test_every_analysis_is_drawn_alike_every_time(analysis: Analysis, studies: dict[str, Study]) -> None:
    svg = as_svg(analysis, studies)
    assert as_svg(analysis, studies) == svg
    root = root_of(svg)
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title description")
    assert len(said_of(svg, "desc")) > 40
    assert words_of(svg)
    width, height = size(analysis, studies)
    assert [float(number) for number in (root.get("viewBox") or "").split()[2:]] == pytest.approx(
        [0.75 * width, 0.75 * height], abs=1
    )


@pytest.mark.slow
@pytest.mark.parametrize("analysis", Analysis)
def test_pictures_are_the_same_bytes_too(analysis: Analysis) -> None:
    png = as_png(analysis, {"Alone": a_study()}, dpi=60)
    assert png.startswith(b"\x89PNG")
    assert as_png(analysis, {"Alone": a_study()}, dpi=60) == png


@pytest.mark.parametrize("analysis", FEW)
def test_a_policy_without_styles_changes_nothing(analysis: Analysis) -> None:
    svg = as_svg(analysis, FIVE)
    assert "<style" not in svg
    assert not any("style" in element.attrib for element in root_of(svg).iter())
    for element in root_of(svg).iter():
        if element.tag.endswith("}text"):
            assert element.get("font-size")
            assert "DejaVu Sans" in (element.get("font-family") or "")


def test_names_are_nothing_but_names() -> None:
    svg = as_svg(Analysis.CALIBRATION, FIVE)
    shown = [word for word in words_of(svg) if word[:1] in "ABCDE" and word[1:3] == "  "]
    assert [word[3:9] for word in shown] == ["Plain", "$x$ <s", "NNNNNN", "_hidde", "模型"]
    assert 'style="a:b;c:d"' in shown[1]
    assert "\u202e" not in svg
    assert "<script" not in svg
    assert all(len(word) <= 60 for word in words_of(svg))


def test_a_lone_name_that_begins_with_an_underscore_is_shown() -> None:
    assert "_hidden" in "".join(words_of(as_svg(Analysis.CURVE, {"_hidden": a_study()})))


@pytest.mark.parametrize("analysis", FEW)
def test_dark_paper_has_colours_of_its_own(analysis: Analysis) -> None:
    light, dark = (as_svg(analysis, {"A": a_study(), "B": a_study(1)}, dark=dark) for dark in (False, True))
    assert f'fill="{LIGHT.paper}"' in light
    assert f'fill="{DARK.paper}"' in dark
    assert DARK.paper not in light
    assert LIGHT.ink not in dark
    if analysis is not Analysis.TRANSFER:
        assert LIGHT.series[1].lower() in light
        assert DARK.series[1].lower() in dark


def test_every_model_has_a_mark_and_a_stroke_of_its_own() -> None:
    assert len(set(LIGHT.series)) == len(set(DARK.series)) == 5
    assert min(len(set(MARKERS)), len(set(STROKES))) >= 5


def test_a_model_keeps_its_letter_and_colour_where_others_are_left_out() -> None:
    svg = as_svg(Analysis.CURVE, {"One": a_study(), "Other": a_study(1)}, places=(1, 4))
    assert {"B  One", "E  Other"} <= set(words_of(svg))
    assert LIGHT.series[1].lower() in svg
    assert LIGHT.series[0].lower() not in svg


def test_many_classes_stay_readable() -> None:
    svg = as_svg(Analysis.FAIRNESS, {"Huge": a_study(classes=1000)})
    assert len(words_of(svg)) < 30
    assert "classes, each line from its worst to its best" in words_of(svg)
    few = as_svg(Analysis.FAIRNESS, {"Small": a_study(classes=10)})
    assert set("0123456789") <= set(words_of(few))


def test_the_board_s_budget_is_marked() -> None:
    for analysis in (Analysis.CURVE, Analysis.DISTANCES):
        assert any("budget, 1/5" in word for word in words_of(as_svg(analysis, {"A": a_study()})))
        odd = as_svg(analysis, {"A": a_study(epsilon="1/0")})
        assert any("budget, 1/0" in word for word in words_of(odd)), "a budget that is no number is named alone"


def test_a_matrix_has_its_numbers_and_a_great_one_none() -> None:
    one = a_study(others=2).transfer
    assert one is not None
    words = words_of(as_svg(Analysis.TRANSFER, {"A": a_study(others=2)}))
    assert {f"{100 * value:.0f}" for row in one.robust for value in row} <= set(words)
    great = words_of(as_svg(Analysis.TRANSFER, {"A": a_study(others=30)}))
    assert not [word for word in great if word.isdecimal()]


@pytest.mark.parametrize("analysis", Analysis)
def test_what_was_not_made_is_refused(analysis: Analysis) -> None:
    with pytest.raises(NotAnalysed, match="of Other"):
        as_svg(analysis, {"One": a_study(), "Other": with_part(analysis, None)})
    with pytest.raises(NotAnalysed, match="no models"):
        as_png(analysis, {})


def test_what_is_empty_is_drawn_empty() -> None:
    study = a_study()
    hollow: dict[Analysis, Part | None] = {
        Analysis.CALIBRATION: study.calibration and study.calibration.model_copy(update={"bins": ()}),
        Analysis.OOD: study.ood and study.ood.model_copy(update={"sets": (), "histogram": ()}),
        Analysis.FAIRNESS: study.fairness and study.fairness.model_copy(update={"classes": ()}),
        Analysis.SMOOTHNESS: study.smoothness and study.smoothness.model_copy(update={"lipschitz": 0.0}),
        Analysis.SHIFT: study.shift and study.shift.model_copy(update={"sets": ()}),
        Analysis.DISTANCES: study.distances and study.distances.model_copy(update={"points": 0, "distances": ()}),
        Analysis.SHARPNESS: study.sharpness and study.sharpness.model_copy(update={"average": (), "worst": ()}),
    }
    for analysis, part in hollow.items():
        bare = with_part(analysis, part)
        for studies in ({"A": bare}, {"A": bare, "B": bare}):
            assert words_of(as_svg(analysis, studies))


def test_threads_do_not_mix_their_themes() -> None:
    found: dict[tuple[int, bool], str] = {}

    def draw(number: int, dark: bool) -> None:
        found[number, dark] = as_svg(Analysis.CURVE, {"A": a_study()}, dark=dark)

    threads = [threading.Thread(target=draw, args=(number, dark)) for number in range(4) for dark in (False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {re.findall('fill="(#[0-9a-f]{6})"', svg)[0] for (_, dark), svg in found.items() if dark} == {DARK.paper}
    assert len({svg for (_, dark), svg in found.items() if not dark}) == 1
