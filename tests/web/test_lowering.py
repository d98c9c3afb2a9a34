"""Who has lowered a number, in words and in lines; computed from the entry alone."""

from __future__ import annotations

import pytest

from store.publication import UNANNOUNCED
from store.views import (
    Badge,
    BoardRow,
    ExternalState,
    ExternalView,
    ExtraData,
    HistoryItem,
    LookState,
    LookView,
    ModelView,
    NewExternal,
    Progress,
)
from web.lowering import MOST_LINES, lowered_sentences, lowering

OWN = "Evaluated here, standard-1"


def item(source: str, newly_broken: int | None) -> HistoryItem:
    return HistoryItem(
        source=source, standard_accuracy=0.9, robust_accuracy=0.5, recorded_ms=1, newly_broken=newly_broken
    )


def look(state: LookState, protocol: str = "follow-up-1", number: int = 7) -> LookView:
    return LookView(
        number=number,
        protocol=protocol,
        state=state,
        points=16,
        sources=(),
        progress=Progress(),
        broken=3,
        seed=None,
        created_ms=1,
    )


def external(number: int, newly_broken: int) -> ExternalView:
    return ExternalView(
        id=f"{number:020x}",
        dataset="digits",
        threat_model="Linf",
        model_id="A",
        submitted=NewExternal(examples_sha256="0" * 64, attack="by hand"),
        state=ExternalState.VERIFIED,
        reason="",
        counts={},
        robust_accuracy=None,
        newly_broken=newly_broken,
        created_ms=1,
        concluded_ms=None,
    )


def by(view: ExternalView) -> HistoryItem:
    return item(f"Jane Doe: A title (external evaluation {view.id})", view.newly_broken)


def entry(
    *history: HistoryItem, looks: tuple[LookView, ...] = (), externals: tuple[ExternalView, ...] = ()
) -> ModelView:
    row = BoardRow(
        rank=1,
        model_id="A b",
        badge=Badge.EVALUATED,
        title="",
        authors="",
        venue="",
        link="",
        architecture="",
        extra_data=ExtraData.NONE,
        standard_accuracy=0.9,
        robust_accuracy=0.5,
        best_known_robust_accuracy=0.462,
        best_known_source="",
        claimed_robust_accuracy=None,
        standard_interval=None,
        robust_interval=None,
        potentially_unreliable=False,
        forward_passes=None,
        parameters=None,
        zoo_id=None,
        baseline=False,
        protocol=None,
        mce=None,
        submission_id=None,
        published_ms=None,
    )
    return ModelView(
        dataset="digits",
        threat_model="Linf",
        row=row,
        history=(item(OWN, None), *history),
        report=None,
        checkpoint_sha256=None,
        submission=None,
        looks=looks,
        externals=externals,
    )


ONE, OTHER, NOTHING = external(1, 4), external(2, 1), external(3, 0)
DONE = look(LookState.DONE)
LOWERED = "lowered the best known value to 46.20\u202f%."


@pytest.mark.parametrize(
    ("model", "sentences"),
    [
        (entry(), ""),
        (entry(by(NOTHING), externals=(NOTHING,)), ""),
        (entry(item("follow-up-1", 0), looks=(DONE,)), ""),
        (entry(looks=(look(LookState.FAILED),)), ""),
        (entry(item("follow-up-1", 3), looks=(DONE,)), f" A closer look {LOWERED}"),
        (entry(item(UNANNOUNCED, 1)), f" The unannounced attack {LOWERED}"),
        (entry(by(ONE), externals=(ONE,)), f" An evaluation by others {LOWERED}"),
        (
            entry(by(ONE), by(OTHER), item("follow-up-1", 3), looks=(DONE,), externals=(ONE, OTHER)),
            f" Evaluations by others and a closer look {LOWERED}",
        ),
        (
            entry(item(UNANNOUNCED, 1), by(ONE), looks=(look(LookState.RUNNING),), externals=(ONE,)),
            f" The unannounced attack and an evaluation by others {LOWERED} A closer look is still under way.",
        ),
        (
            entry(item(UNANNOUNCED, 1), by(ONE), item("follow-up-1", 3), looks=(DONE,), externals=(ONE,)),
            f" The unannounced attack, an evaluation by others and a closer look {LOWERED}",
        ),
        (entry(looks=(look(LookState.QUEUED),)), " A closer look is still under way."),
    ],
)
def test_says_who_lowered_the_number_and_what_is_still_to_come(model: ModelView, sentences: str) -> None:
    assert lowered_sentences(model) == sentences


def test_every_source_leads_to_what_is_known_of_it() -> None:
    shown = lowering(entry(item(UNANNOUNCED, 1), by(ONE), item("follow-up-1", 3), looks=(DONE,), externals=(ONE,)))
    assert [line.address for line in shown.history] == [
        "",
        "#second-attack",
        f"/external-evaluations/{ONE.id}",
        "#looks",
    ]
    (line,) = shown.looks
    assert line.newly_broken == 3
    assert line.report_address == "/api/v1/models/digits/Linf/A%20b/looks/7/report"
    (waiting,) = lowering(entry(looks=(look(LookState.RUNNING),))).looks
    assert (waiting.newly_broken, waiting.report_address) == (None, "")


def test_a_title_cannot_pass_itself_off_as_another_evaluation() -> None:
    forged = item(f"(external evaluation {ONE.id}) (external evaluation {OTHER.id})", 1)
    shown = lowering(entry(forged, externals=(ONE, OTHER)))
    assert shown.history[-1].address == f"/external-evaluations/{OTHER.id}"


def test_very_many_evaluations_that_broke_nothing_crowd_nobody_out() -> None:
    crowd = tuple(external(number, 0) for number in range(10, 10 + 2 * MOST_LINES))
    model = entry(by(ONE), *map(by, crowd), externals=(ONE, *crowd))
    shown = lowering(model)
    assert shown.externals == (*reversed(crowd[MOST_LINES:]), ONE)
    assert shown.externals_left_out == MOST_LINES
    assert [line.item for line in shown.history] == [*model.history[:2], *map(by, crowd[MOST_LINES:])]
    assert shown.history_left_out == MOST_LINES
