from __future__ import annotations

import csv
import io

import pytest

from benchmark.analysis.results import Analysis, Study
from benchmark.analysis.tables import ALL_POINTS, COLUMNS, FRACTIONS, MEASURES, NotAnalysed, as_csv, rows
from benchmark.analysis.words import in_words
from tests.benchmark.analysis.studies import POINTS, a_study, with_part


def value(study: Study, analysis: Analysis, measure: str, at: object = None) -> object:
    (found,) = [row["value"] for row in rows(analysis, {"m": study}) if (row["measure"], row["at"]) == (measure, at)]
    return found


def test_every_number_is_in_a_row_of_its_own() -> None:
    study = a_study()
    assert study.fairness is not None
    assert study.transfer is not None
    assert value(study, Analysis.CALIBRATION, "temperature") == 0.56
    assert value(study, Analysis.CALIBRATION, "points", 3) == 10
    assert value(study, Analysis.CALIBRATION, "accuracy", 1) is None, "of no points there is no mean"
    assert value(study, Analysis.FAIRNESS, "robust_accuracy", 7) == study.fairness.classes[7].robust_accuracy
    assert value(study, Analysis.PRIVACY, "members", "adversarial") == POINTS
    assert value(study, Analysis.SHIFT, "attacked", "MNIST") == 100
    assert value(study, Analysis.TRANSFER, "robust_accuracy", "Digits_1 → This model") == study.transfer.robust[2][0]
    assert value(study, Analysis.CURVE, "robust_accuracy", 0.2) == pytest.approx(0.56)
    assert value(study, Analysis.SHARPNESS, "worst_rise", 0.002) == pytest.approx(0.3)
    assert len([row for row in rows(Analysis.DISTANCES, {"m": study}) if row["measure"] == "distance"]) == POINTS


@pytest.mark.parametrize("analysis", Analysis)
def test_no_two_rows_say_the_same_and_every_measure_has_words(analysis: Analysis) -> None:
    found = rows(analysis, {"A": a_study(), "B": a_study(1)})
    assert {tuple(row) for row in found} == {COLUMNS}
    keys = [(row["model"], row["measure"], row["at"]) for row in found]
    assert len(keys) == len(set(keys))
    assert {str(row["measure"]) for row in found} <= set(MEASURES)
    assert {row["model"] for row in found} == {"A", "B"}
    for row in found:
        if row["measure"] in FRACTIONS and row["value"] is not None:
            assert 0 <= float(row["value"]) <= 1
    assert set(MEASURES) >= FRACTIONS | ALL_POINTS


def test_a_spreadsheet_takes_no_name_for_a_formula() -> None:
    name = '=HYPERLINK("http://evil", "x"),\nnext'
    text = as_csv(Analysis.SMOOTHNESS, {name: a_study(), "-1+2": a_study()})
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert tuple(read[0]) == COLUMNS
    assert {row[0] for row in read[1:]} == {f"'{name}", "'-1+2"}
    assert read[1][1:] == ["points", "", str(POINTS)]


def test_negative_numbers_stay_numbers() -> None:
    one = a_study().alignment
    assert one is not None
    text = as_csv(Analysis.ALIGNMENT, {"m": a_study(alignment=one.model_copy(update={"mean": -0.25}))})
    assert "m,mean,,-0.25\r\n" in text


def test_what_was_not_made_is_refused_with_the_model_that_lacks_it() -> None:
    with pytest.raises(NotAnalysed, match="calibration of Other"):
        rows(Analysis.CALIBRATION, {"One": a_study(), "Other": a_study(calibration=None)})
    with pytest.raises(NotAnalysed, match="no models"):
        as_csv(Analysis.CURVE, {})


@pytest.mark.parametrize("analysis", Analysis)
def test_every_analysis_is_told_in_whole_sentences(analysis: Analysis) -> None:
    text = in_words(analysis, a_study())
    assert text[0].isupper()
    assert text.endswith(".")
    assert not any(word in text for word in ("None", "nan", "  "))
    with pytest.raises(NotAnalysed, match="of the model"):
        in_words(analysis, with_part(analysis, None))


def test_words_say_what_numbers_mean() -> None:
    study = a_study()
    assert in_words(Analysis.CALIBRATION, study) == (
        "Underconfident: the best temperature is 0.56. The expected calibration error is 2.2\u202f%, and 1.1\u202f% at "
        "that temperature."
    )
    one = study.calibration
    assert one is not None
    over = a_study(calibration=one.model_copy(update={"temperature": 1000.0, "on_border": True}))
    assert in_words(Analysis.CALIBRATION, over).startswith("Overconfident: the best temperature is 1000.")
    assert in_words(Analysis.CALIBRATION, over).endswith("may lie beyond the grid.")
    even = a_study(calibration=one.model_copy(update={"temperature": 1.0}))
    assert in_words(Analysis.CALIBRATION, even).startswith("As sure as it is right")


def test_words_of_what_broke_everything_and_nothing() -> None:
    distances = a_study().distances
    fairness = a_study().fairness
    assert distances is not None
    assert fairness is not None
    far = a_study(distances=distances.model_copy(update={"median": None}))
    assert "farther" in in_words(Analysis.DISTANCES, far)
    assert "within 0.21; the budget of the board is 1/5" in in_words(Analysis.DISTANCES, a_study())
    lost = a_study(fairness=fairness.model_copy(update={"robust_spread": None}))
    assert "No class keeps" in in_words(Analysis.FAIRNESS, lost)
