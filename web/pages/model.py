"""An entry of a board with its evidence."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from benchmark.confirmation import CODE as JUDGED_AGAIN
from benchmark.report import Check, EvaluationReport, Evidence
from benchmark.threat_models import Board, official_board
from store.actors import ANYBODY, Actor
from store.analyses import find_study
from store.bibtex import as_citation
from store.boards import get_model
from store.entry_edits import EntryRights, rights_on
from store.galleries import find_gallery
from store.services import Services
from store.views import Badge, BoardRow, ExtraData, ModelView, SeedView
from web.analyses import Analyses, analyses
from web.charts import Bar, CorruptionRow, per_class, per_corruption, waterfall
from web.classes import Listed, broken_points, extremes, named
from web.formats import as_day, budget, iso_time, percent, threat
from web.gallery import Pictures, pictures
from web.lowering import Lowering, lowered_sentences, lowering
from web.rendering import Page, model_address, render
from web.services import Store, Who

router = APIRouter()

Found = TypeVar("Found", bound=Check)
_NUMBERS = ("no", "One attack", "Two attacks", "Three attacks", "Four attacks", "Five attacks", "Six attacks")


class Measured(BaseModel):
    """What an evaluation here measured, without the verdict on every point."""

    model_config = ConfigDict(frozen=True)

    report: EvaluationReport
    waterfall: tuple[Bar, ...]
    corruptions: tuple[CorruptionRow, ...]
    """Empty on a board with an attacker."""
    broken: tuple[Listed, ...]
    """The points that each attack broke."""
    classes: tuple[Bar, ...]
    extremes: str
    """Which classes do worst and best, in a sentence."""
    checks: tuple[Check, ...]
    """Those that are not passed first."""
    tests: tuple[Evidence, ...]
    """Tests for gradients that mislead, those that are not passed first."""
    seed: SeedView | None
    """None for an entry that is older."""
    judged_again: Check | None
    """Whether another process judged all examples alike; None for an entry that is older."""


class Usage(BaseModel):
    """How to get the model and how to get its number."""

    model_config = ConfigDict(frozen=True)

    load: str | None
    reproduce: str | None
    note: str


class ModelPage(Page):
    """An entry of a board."""

    template: ClassVar[str] = "model.html"
    section: ClassVar[str] = "boards"

    board_title: str
    epsilon: str | None
    model: ModelView
    verdict: str
    evidence: Measured | None
    gallery: Pictures | None
    """None on a board without an attacker."""
    analyses: Analyses | None
    """None on a board without an attacker."""
    lowering: Lowering
    form_address: str | None
    """Where to send examples for the entry; None where nobody can judge them."""
    usage: Usage
    citation: str
    """A BibTeX entry."""
    unknown: tuple[str, ...]
    """What is not known of the entry, in words."""
    rights: EntryRights
    """What whoever looks may do with it."""


def model_page(
    services: Services, dataset: str, threat_model: str, model_id: str, who: Actor = ANYBODY, *, site: str = ""
) -> ModelPage:
    """Return what the page of an entry shows to somebody.

    Args:
        services: the store.
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        model_id: the entry's name.
        who: who looks.
        site: address of the service, for whoever cites the page.
    Raises:
        NotFound: there is no such board or entry.
    """
    board = official_board(dataset, threat_model)
    model = get_model(services.db, services.blobs, dataset, threat_model, model_id)
    report = model.report
    address = model_address(dataset, threat_model, model_id)
    gallery = find_gallery(services.db, services.blobs, board, model_id) if report and board.attacked else None
    studied = find_study(services.db, services.blobs, board, model_id) if board.attacked else None
    judged_here = report is not None and board.attacked and model.row.withdrawn_ms is None
    return ModelPage(
        title=f"{model.row.model_id} · {board.title}",
        board_title=board.title,
        epsilon=str(board.epsilon) if board.epsilon is not None else None,
        model=model,
        verdict=evaluated_verdict(model, report) if report else reported_verdict(model),
        evidence=_evidence(model, report) if report else None,
        gallery=pictures(model, gallery) if board.attacked else None,
        analyses=analyses(model, studied) if board.attacked else None,
        lowering=lowering(model),
        form_address=f"{address}/external" if judged_here else None,
        usage=usage(model),
        citation=as_citation(model.row, _place(model, board), f"{site}{address}"),
        unknown=unknown(model),
        rights=rights_on(services.db, who, (dataset, threat_model, model_id)),
    )


@router.get("/models/{dataset}/{threat_model}/{model_id}")
def show_model(request: Request, dataset: str, threat_model: str, model_id: str, *, store: Store, who: Who) -> Response:
    """Show an entry of a board."""
    site = str(request.base_url).rstrip("/")
    return render(request, model_page(store, dataset, threat_model, model_id, who, site=site))


def _place(model: ModelView, board: Board) -> str:
    """Say for a citation where an entry is found, and since which year."""
    since = model.row.published_ms or (model.history[-1].recorded_ms if model.history else None)
    year = f", {iso_time(since)[:4]}" if since is not None else ""
    return f"Entry of the leaderboard {board.title} of Gauntlet{year}"


def evaluated_verdict(model: ModelView, report: EvaluationReport) -> str:
    """Say in a few sentences what the evaluation found, and what has come of it since."""
    if report.corruptions is not None:
        return corruption_verdict(model, report)
    attacks = len(report.attacks)
    who = _NUMBERS[attacks] if 0 < attacks < len(_NUMBERS) else f"{attacks} attacks"
    turns = ", one after another," if attacks > 1 else ""
    text = (
        f"{who}{turns} moving every image by at most {budget(report.epsilon)} in {threat(report.norm)}, left "
        f"{percent(report.robust_accuracy, unit=True)} of the {report.n_points} images correctly classified; "
        f"without an attack it is {percent(report.standard_accuracy, unit=True)}."
    )
    text += lowered_sentences(model)
    if model.row.potentially_unreliable or model.row.findings:
        text += " The entry is flagged: an adaptive attack will probably find a lower number."
    elif any(check.outcome == "not_assessed" for check in report.findings):
        text += " Not every check could be made."
    else:
        text += " No check found a symptom of misleading gradients."
    return text


def corruption_verdict(model: ModelView, report: EvaluationReport) -> str:
    """Say in a few sentences how the model does on corrupted images, and on which it does worst."""
    rows = per_corruption(report)
    hardest = min(rows, key=lambda row: row.mean)
    severities = max(len(row.accuracies) for row in rows)
    text = (
        f"Under {len(rows)} types of corruption at {severities} severities each, "
        f"{percent(report.robust_accuracy, unit=True)} of the {report.n_points} images were classified correctly on "
        f"average; without corruption it is {percent(report.standard_accuracy, unit=True)}. "
        f"Hardest was {hardest.label}, with {percent(hardest.mean, unit=True)}."
    )
    if model.row.findings:
        text += " The entry is flagged: see the checks."
    return text


def reported_verdict(model: ModelView) -> str:
    """Say in a sentence or two what others reported, and that nothing was run here."""
    row = model.row
    if row.badge is Badge.UNVERIFIED:
        return unverified_verdict(row)
    source = model.history[-1].source if model.history else "a publication"
    if model.threat_model == "corruptions":
        measure = "of corrupted images correctly classified"
    else:
        measure = "robust accuracy under attack"
    text = f"{source} reports {percent(row.robust_accuracy, unit=True)} {measure}, and "
    text += f"{percent(row.standard_accuracy, unit=True)} on clean images."
    if _lowered(row):
        text += f" {_capitalised(row.best_known_source)} lowered the best known value to "
        text += f"{percent(row.best_known_robust_accuracy, unit=True)}."
    return f"{text} This service has not run the model."


def unverified_verdict(row: BoardRow) -> str:
    """Say in a few sentences what authors say of their own run, and that nobody has verified it."""
    until = f" The entry is removed on {as_day(row.expires_ms)}." if row.expires_ms is not None else ""
    return (
        f"The authors say that their own run left {percent(row.robust_accuracy, unit=True)} robust accuracy under "
        f"attack, and {percent(row.standard_accuracy, unit=True)} on clean images. This service has not run the model, "
        f"so the entry has no rank.{until}"
    )


def usage(model: ModelView) -> Usage:
    """Say how to load the model and how to reproduce its number, as far as this service knows."""
    row = model.row
    if model.report is None:
        note = "This service holds no checkpoint of this model, so it can neither load nor re-run it."
        if row.zoo_id:
            note += f" In RobustBench's model zoo its id is {row.zoo_id}."
        return Usage(load=None, reproduce=None, note=note)
    place = f"--dataset {model.dataset} --threat-model {model.threat_model} --seed {model.report.provenance.seed}"
    if row.zoo_id:
        load = (
            "from gauntlet import load_model\n"
            f'model = load_model("{row.zoo_id}", dataset="{model.dataset}", threat_model="{model.threat_model}")'
        )
        return Usage(
            load=load,
            reproduce=f"gauntlet evaluate {shlex.quote(row.zoo_id)} {place}\ngauntlet reproduce report.json",
            note=f"On the same kind of machine the verdict on every image is the same. {_REPORT}",
        )
    return Usage(
        load=None,
        reproduce=f"gauntlet evaluate FILE --architecture {shlex.quote(row.architecture)} {place}\n"
        "gauntlet reproduce report.json --checkpoint FILE",
        note=f"The checkpoint is private: whoever has the file with the hash below can run this. {_REPORT}",
    )


_REPORT = "The file report.json is the whole report, linked below; every setting is taken from it."


def unknown(model: ModelView) -> tuple[str, ...]:
    """List what is not known of the entry."""
    row, attacked = model.row, model.threat_model != "corruptions"
    gaps = {
        "authors": not row.authors and not row.anonymous,
        "venue": not row.venue and not row.anonymous,
        "paper": not row.link and not row.anonymous,
        "number of parameters": row.parameters is None,
        "kind of extra data": row.extra_data in {ExtraData.SOME, ExtraData.UNKNOWN},
        "claimed robust accuracy": row.claimed_robust_accuracy is None and attacked,
        "result of each attack": model.report is None and attacked,
        "verdict on each image": model.report is None,
        "accuracy by class": model.report is None,
        "accuracy by type of corruption": model.report is None and not attacked,
        "findings of the checks": model.report is None,
        "evidence of gradient masking": not (model.report and model.report.evidence) and attacked,
        "uncertainty": model.report is None,
        "hash of the checkpoint": model.checkpoint_sha256 is None,
        "seed": model.report is None,
        "versions and hardware": model.report is None,
        "time and passes": model.report is None,
    }
    return tuple(name for name, missing in gaps.items() if missing)


def _evidence(model: ModelView, report: EvaluationReport) -> Measured:
    return Measured(
        report=report,
        waterfall=waterfall(report),
        corruptions=per_corruption(report),
        broken=broken_points(report) if report.corruptions is None else (),
        classes=named(per_class(report), report, model.dataset),
        extremes=extremes(report, model.dataset),
        checks=_worst_first(report.checks),
        tests=_worst_first(report.evidence),
        seed=model.submission.seed if model.submission else None,
        judged_again=next((check for check in report.checks if check.code == JUDGED_AGAIN), None),
    )


def _worst_first(checks: Sequence[Found]) -> tuple[Found, ...]:
    order = ("rejected", "flagged", "not_assessed", "passed")
    return tuple(sorted(checks, key=lambda check: order.index(check.outcome)))


def _lowered(row: BoardRow) -> bool:
    best, robust = row.best_known_robust_accuracy, row.robust_accuracy
    return best is not None and robust is not None and best < robust


def _capitalised(source: str) -> str:
    return "An external evaluation" if source == "external evaluation" else source
