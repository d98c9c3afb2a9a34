"""How leaderboards came to where they stand."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import respond
from api.errors import responses
from api.examples import PROGRESS
from api.exports.formats import CSV, MEDIA_TYPES, Format, wanted
from api.exports.progress_table import progress_as_csv
from api.services import Store
from store.progress import BoardProgress, Chart, get_progress
from store.rendered import standing_of

router = APIRouter(prefix="/leaderboards", tags=["leaderboards"])


class ProgressQuestion(BaseModel):
    """Which part of a board's progress is asked for, and how it is written."""

    model_config = ConfigDict(frozen=True)

    chart: Chart | None = Field(None, description="The part to return; by default all of them")
    format: Literal["json", "csv"] | None = Field(
        None, description="How to write it; by default JSON, or CSV to those who accept that"
    )


@router.get(
    "/{dataset}/{threat_model}/progress",
    response_model=BoardProgress,
    responses=responses(404)
    | {
        200: {
            "description": "The board's progress",
            "content": {CSV: {"schema": {"type": "string"}, "example": progress_as_csv(PROGRESS)}},
        }
    },
)
def read_progress(
    dataset: str, threat_model: str, store: Store, request: Request, question: Annotated[ProgressQuestion, Query()]
) -> Response:
    """Return a board's best value over time, the venues of its entries, and what their authors overestimated.

    Only entries that the board ranks count. An entry's date is the year that its venue names, or else the day of its
    publication here. Entries without a date are counted and not listed.
    """
    how = wanted(Format(question.format) if question.format else None, request.headers.get("accept", ""))

    def make() -> bytes:
        progress = get_progress(store.db, dataset, threat_model)
        asked = progress if question.chart is None else progress.only(question.chart)
        text = asked.model_dump_json() if how is Format.JSON else progress_as_csv(asked)
        return text.encode("utf-8", "replace")

    standing = standing_of(store.db, dataset, threat_model)
    answer = store.rendered.get(("progress", dataset, threat_model, question.chart, how), standing, make)
    return respond(request, answer, MEDIA_TYPES[how], _headers(how, dataset, threat_model, question.chart))


def _headers(how: Format, dataset: str, threat_model: str, chart: Chart | None) -> dict[str, str]:
    """Return the headers: CSV is a file to keep, JSON is to be shown."""
    name = "-".join([dataset, threat_model, "progress", *([chart.value] if chart else [])])
    kept = {"Content-Disposition": f'attachment; filename="{name}.csv"'} if how is Format.CSV else {}
    return {"Vary": "Accept", **kept}
