"""Malicious files end in one kind of refusal, cost little and leave nothing; torch's own loaders run their code."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.model_zoo.corpus import CASES
from tests.model_zoo.corpus.case import Case, Workplace
from tests.model_zoo.corpus.formats import PICKLES
from tests.model_zoo.exported import Small, export
from tests.model_zoo.trial import Outcome, Trial, Way, outcomes

SECONDS = 20
"""For one file; the slowest has fifty thousand operations to look at."""
GROWTH_BYTES = 1_500_000_000
FIRING = [case for case in CASES if case.raw]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return export(Small(), tmp_path_factory.mktemp("honest") / "model.pt2")


def tried(cases: list[Case], honest: Path, folder: Path, way: Way) -> dict[str, Outcome]:
    """Write every case into a folder of its own and have it read there."""
    trials = []
    for number, case in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        workplace = Workplace(honest, place / "model.pt2", folder / f"fired-{number}")
        case.write(workplace)
        trials.append(Trial(workplace.path, case.architecture, way))
    found = list(outcomes(trials, honest))
    assert len(found) == len(cases)
    return {case.name: outcome for case, outcome in zip(cases, found, strict=True)}


def fired(cases: list[Case], folder: Path) -> list[str]:
    return [case.name for number, case in enumerate(cases) if (folder / f"fired-{number}").exists()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def ends(honest: Path, folder: Path) -> dict[str, Outcome]:
    return tried(list(CASES), honest, folder, "ours")


def test_every_case_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_refused_or_never_read(case: Case, ends: dict[str, Outcome]) -> None:
    outcome = ends[case.name]
    assert outcome.ended == ("refused" if case.ends == "refused" else "ran"), outcome
    assert outcome.seconds < SECONDS
    assert outcome.grown < GROWTH_BYTES
    assert outcome.files == ("model.pt2",)


@pytest.mark.slow
def test_none_of_them_ran_code(ends: dict[str, Outcome], folder: Path) -> None:
    assert len(ends) == len(CASES)
    assert fired(list(CASES), folder) == []
    assert sorted(path.name for path in folder.iterdir()) == sorted(str(number) for number in range(len(CASES)))


@pytest.mark.slow
def test_raw_loading_of_exported_networks_runs_code(honest: Path, tmp_path: Path) -> None:
    """Were this to fail, the cases above would show nothing; torch may also have mended one."""
    found = tried(FIRING, honest, tmp_path, "torch.export.load")
    assert fired(FIRING, tmp_path) == [case.name for case in FIRING], found
    for case in FIRING:
        if case.raw == "run":
            assert found[case.name].stage == "run"


def test_raw_loading_of_pickles_runs_code(honest: Path, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.name in PICKLES]
    found = tried(cases, honest, tmp_path, "torch.load")
    assert fired(cases, tmp_path) == [case.name for case in cases], found
