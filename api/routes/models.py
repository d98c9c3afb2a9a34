"""Models: entries of a board with their evidence."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from starlette.responses import FileResponse

from api.entry_schemas import EntryEdit
from api.errors import binary, responses
from api.services import Store, Who
from benchmark.errors import NotFound
from benchmark.report import EvaluationReport, Points
from benchmark.threat_models import official_board
from store.analyses import StoredStudy, find_study
from store.boards import get_model
from store.checkpoints import find_checkpoint
from store.database import GREATEST_NUMBER
from store.entry_edits import edit_entry
from store.look_views import get_look
from store.model_info import ModelInfo, write_info
from store.services import Services
from store.views import ModelView

router = APIRouter(prefix="/models", tags=["models"])

MODEL = "/{dataset}/{threat_model}/{model_id}"
WEIGHTS = "application/octet-stream"
_EXPORTED = b"PK"
"""How the file of a whole exported network begins; others are safetensors."""

LookNumber = Annotated[int, Path(ge=1, le=GREATEST_NUMBER, description="Number of the closer look, as the entry says")]


@router.get(MODEL, responses=responses(404))
def read_model(dataset: str, threat_model: str, model_id: str, store: Store) -> ModelView:
    """Return an entry with its history and, where it was evaluated here, its report."""
    return get_model(store.db, store.blobs, dataset, threat_model, model_id)


@router.patch(MODEL, responses=responses(400, 401, 403, 404))
def patch_model(
    dataset: str, threat_model: str, model_id: str, body: EntryEdit, *, store: Store, who: Who
) -> ModelView:
    """Change where an entry of yours was published, or the address of its paper."""
    edit_entry(store.db, who, (dataset, threat_model, model_id), venue=body.venue, link=body.link)
    return get_model(store.db, store.blobs, dataset, threat_model, model_id)


@router.get(f"{MODEL}/report", response_model=EvaluationReport, responses=responses(404))
def read_report(dataset: str, threat_model: str, model_id: str, store: Store) -> Response:
    """Return the evaluation report in canonical form, byte for byte what the command line writes."""
    return Response(_report(store, dataset, threat_model, model_id).to_bytes(), media_type="application/json")


@router.get(f"{MODEL}/points", responses=responses(404))
def read_points(dataset: str, threat_model: str, model_id: str, store: Store) -> Points:
    """Return the verdict on every point, column by column."""
    return _report(store, dataset, threat_model, model_id).points


@router.get(f"{MODEL}/looks/{{number}}/report", response_model=EvaluationReport, responses=responses(404))
def read_look_report(dataset: str, threat_model: str, model_id: str, number: LookNumber, store: Store) -> Response:
    """Return the report of a closer look that is done, in canonical form; it is over the points that it was run on."""
    report = get_look(store.db, store.blobs, dataset, threat_model, model_id, number)
    return Response(report.to_bytes(), media_type="application/json")


@router.get(f"{MODEL}/analyses", responses=responses(404))
def read_analyses(dataset: str, threat_model: str, model_id: str, store: Store) -> StoredStudy:
    """Return what an entry is like beside its robustness, as far as it was analysed; none of it ranks."""
    stored = find_study(store.db, store.blobs, official_board(dataset, threat_model), model_id)
    if stored is None:
        raise NotFound.because(
            "analyses", found="none", expected="an entry that was analysed",
            remedy="ask whoever submitted it, or a maintainer, to have it analysed",
        )  # fmt: skip
    return stored


@router.get(f"{MODEL}/model-info", response_model=ModelInfo, responses=responses(404))
def read_model_info(dataset: str, threat_model: str, model_id: str, store: Store) -> Response:
    """Return an entry in the layout of RobustBench's files of model information; its numbers are texts there."""
    row = get_model(store.db, store.blobs, dataset, threat_model, model_id).row
    return Response(write_info(row, official_board(dataset, threat_model)), media_type="application/json")


@router.get(f"{MODEL}/checkpoint", response_class=FileResponse, responses=responses(404) | binary("The file"))
def read_checkpoint(dataset: str, threat_model: str, model_id: str, store: Store) -> Response:
    """Send the checkpoint of an entry whose author lets others have it, whole or the part that is asked for."""
    path = find_checkpoint(store.db, store.blobs, dataset, threat_model, model_id)
    with path.open("rb") as file:
        ending = "pt2" if file.read(len(_EXPORTED)) == _EXPORTED else "safetensors"
    return FileResponse(path, media_type=WEIGHTS, filename=f"{model_id}.{ending}")


def _report(store: Services, dataset: str, threat_model: str, model_id: str) -> EvaluationReport:
    report = get_model(store.db, store.blobs, dataset, threat_model, model_id).report
    if report is None:
        raise NotFound.because(
            "report",
            found="an entry that was not evaluated here",
            expected="an entry with the badge evaluated_here",
            remedy="read the entry itself; its numbers come from a publication",
        )
    return report
