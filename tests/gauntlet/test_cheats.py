"""Toy cheats and honest networks, submitted over HTTP: each cheat is betrayed by the finding of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch

from benchmark.report import Check, CheckOutcome
from gauntlet.client import Client
from gauntlet.settings import Settings
from model_zoo.interpreter import load_program
from store.views import NewSubmission, State, SubmissionView
from tests.benchmark.cheats import CHEATS, Cheat
from tests.benchmark.honest import NETWORKS, make_honest
from tests.benchmark.test_cheats import checked as looked_at
from tests.model_zoo.exported import export
from tests.running import prepared, running

__all__ = ["prepared"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

EXPORTED = [cheat for cheat in CHEATS if cheat.graph]
HONEST = ("perceptron", "MobileNet", "ViT")
UNDER_WAY = {State.QUEUED, State.RUNNING}
CHECKED = frozenset(State) - {State.RECEIVED, State.CHECKING}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = Settings(
        var_dir=tmp_path_factory.mktemp("cheats") / "var", worker_children=2, evaluate_zoo=False, port=0
    )
    with running(settings) as service, Client(service.url) as client:
        yield client


def sent(client: Client, name: str, path: Path) -> SubmissionView:
    """Upload a file and submit it as a network of its author's own."""
    return client.submit(
        NewSubmission(
            name=name,
            dataset="digits",
            threat_model="Linf",
            architecture="exported",
            checkpoint_sha256=client.upload(path).sha256,
        )
    )


def checked(client: Client, views: Iterable[SubmissionView]) -> list[SubmissionView]:
    """Wait until all are checked, and cancel what would go on to be evaluated."""
    waiting, found = list(views), []
    end = time.monotonic() + 600
    while waiting:
        assert time.monotonic() < end, f"{[view.submission.name for view in waiting]} are still not checked"
        time.sleep(0.1)
        looks = [client.get_submission(view.id) for view in waiting]
        found += [
            client.cancel(view.id) if view.state in UNDER_WAY else view for view in looks if view.state in CHECKED
        ]
        waiting = [view for view in looks if view.state not in CHECKED]
    return found


@pytest.fixture(scope="module")
def cheats(client: Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SubmissionView]:
    """All of them submitted, and what their checks found."""
    folder = tmp_path_factory.mktemp("files")
    files = [export(cheat.make(), folder / f"{number}.pt2") for number, cheat in enumerate(EXPORTED)]
    views = checked(client, [sent(client, f"Cheat {number}", path) for number, path in enumerate(files)])
    return {EXPORTED[int(view.submission.name.split()[1])].name: view for view in views}


def outcomes(checks: tuple[Check, ...]) -> set[tuple[str, CheckOutcome]]:
    return {(check.code, check.outcome) for check in checks}


@pytest.mark.parametrize("cheat", EXPORTED, ids=lambda cheat: cheat.name)
def test_a_cheat_is_betrayed(cheat: Cheat, cheats: dict[str, SubmissionView]) -> None:
    view = cheats[cheat.name]
    assert cheat.graph in outcomes(view.checks), view.checks
    rejected = [check for check in view.checks if check.outcome is CheckOutcome.REJECTED]
    if rejected:
        assert (view.state, view.fault, view.reason) == (State.REJECTED, "model", rejected[0].code)
    else:
        assert view.state is State.CANCELLED
        assert len(view.evidence) == 8
    for check in view.checks:
        assert check.outcome is CheckOutcome.PASSED or check.remedy


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_network_has_no_findings(client: Client, name: str, tmp_path: Path) -> None:
    assert name in NETWORKS
    (view,) = checked(client, [sent(client, f"Honest {name}", export(make_honest(name), tmp_path / "model.pt2"))])
    assert view.state is State.CANCELLED
    assert {check.code for check in view.checks if check.outcome is not CheckOutcome.PASSED} == set()
    assert {one.code for one in view.evidence if one.outcome is CheckOutcome.FLAGGED} == set()


def test_what_cannot_be_exported_as_a_cheat_says_so(tmp_path: Path) -> None:
    """A descent within a pass, and gradients of one's own: nothing of them is left in a graph, or there is none."""
    for cheat in CHEATS:
        if cheat.graph is not None:
            continue
        try:
            torch._dynamo.reset()
            path = export(cheat.make(), tmp_path / "model.pt2")
        except Exception:  # noqa: BLE001, S112 - torch has no one error for it
            continue
        own = cheat.model[0] if cheat.model else ""
        harmless = {check.code for check in looked_at(load_program(path)) if check.outcome is not CheckOutcome.PASSED}
        assert own not in harmless, cheat.name
