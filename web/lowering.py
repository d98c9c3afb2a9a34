"""What has lowered an entry's best known robust accuracy since its evaluation, and what still may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from store.publication import UNANNOUNCED
from store.views import ExternalView, HistoryItem, LookState, LookView, ModelView
from web.formats import percent
from web.rendering import external_address, model_address

MOST_LINES = 50
"""Lines about evaluations that broke nothing new; anybody can add one, so an entry may have any number."""
_PHRASES = {
    "unannounced": ("the unannounced attack", "the unannounced attack"),
    "look": ("a closer look", "closer looks"),
    "external": ("an evaluation by others", "evaluations by others"),
}

Item = TypeVar("Item")


class HistoryLine(BaseModel):
    """A number that the entry bore, and the address of what is known of its source; empty where that is here."""

    model_config = ConfigDict(frozen=True)

    item: HistoryItem
    address: str


class LookLine(BaseModel):
    """A closer look, what it broke that nobody had broken before, and the address of its report once there is one."""

    model_config = ConfigDict(frozen=True)

    view: LookView
    newly_broken: int | None
    report_address: str


class Lowering(BaseModel):
    """Everything that a number is held against once it is published."""

    model_config = ConfigDict(frozen=True)

    history: tuple[HistoryLine, ...]
    history_left_out: int
    looks: tuple[LookLine, ...]
    externals: tuple[ExternalView, ...]
    """The newest first."""
    externals_left_out: int


def lowering(model: ModelView) -> Lowering:
    """Return what an entry's page shows of this; of very many evaluations, those that broke something or are new."""
    history = _foremost(model.history, lambda item: item.newly_broken != 0)
    externals = _foremost(model.externals, lambda view: bool(view.newly_broken))
    return Lowering(
        history=tuple(HistoryLine(item=item, address=_address_of(model, item)) for item in history),
        history_left_out=len(model.history) - len(history),
        looks=tuple(_look_line(model, look) for look in model.looks),
        externals=tuple(reversed(externals)),
        externals_left_out=len(model.externals) - len(externals),
    )


def lowered_sentences(model: ModelView) -> str:
    """Say who lowered the best known value, and that a closer look is still to come; empty where neither is so."""
    kinds = Counter(_kind_of(model, item) for item in model.history if item.newly_broken)
    who = [_PHRASES[kind][number > 1] for kind, number in kinds.items() if kind in _PHRASES]
    text = ""
    if who:
        names = " and ".join(filter(None, (", ".join(who[:-1]), who[-1])))
        best = percent(model.row.best_known_robust_accuracy, unit=True)
        text = f" {names[:1].upper()}{names[1:]} lowered the best known value to {best}."
    if any(look.state in {LookState.QUEUED, LookState.RUNNING} for look in model.looks):
        text += " A closer look is still under way."
    return text


def _kind_of(model: ModelView, item: HistoryItem) -> str:
    """Return what kind of evaluation a number comes from; empty for any but those that come after the entry's own."""
    if item.source == UNANNOUNCED:
        return "unannounced"
    if any(look.protocol == item.source for look in model.looks):
        return "look"
    return "external" if _external_of(model, item) else ""


def _external_of(model: ModelView, item: HistoryItem) -> ExternalView | None:
    # The id stands at the end, behind whatever its authors have written.
    found = (view for view in model.externals if item.source.endswith(f"(external evaluation {view.id})"))
    return next(found, None)


def _address_of(model: ModelView, item: HistoryItem) -> str:
    match _kind_of(model, item):
        case "unannounced":
            return "#second-attack"
        case "look":
            return "#looks"
        case _:
            external = _external_of(model, item)
            return external_address(external.id) if external else ""


def _look_line(model: ModelView, look: LookView) -> LookLine:
    newly = [item.newly_broken for item in model.history if item.source == look.protocol]
    address = model_address(model.dataset, model.threat_model, model.row.model_id)
    done = look.state == LookState.DONE
    return LookLine(
        view=look,
        newly_broken=newly[0] if newly else None,
        report_address=f"/api/v1{address}/looks/{look.number}/report" if done else "",
    )


def _foremost(items: Sequence[Item], told: Callable[[Item], bool]) -> list[Item]:
    """Return the newest items, the last ones, and of the others those that are told in any case, in their order."""
    others, newest = items[:-MOST_LINES], items[-MOST_LINES:]
    return [*filter(told, others), *newest]
