"""A few adversarial examples of an entry, to look at. They are no evidence, and nothing fails for want of them."""

from __future__ import annotations

import logging

from pydantic import ValidationError
from sqlalchemy import select

from benchmark.errors import NotFound
from benchmark.gallery import Gallery
from benchmark.threat_models import Board
from benchmark.verdicts import Verdicts
from store.blobs import Blobs
from store.board_filters import of_board
from store.claims import Claim
from store.database import Database
from store.submission_log import presentable
from store.tables import EntryRow, ReportRow, RunRow
from store.views import Purpose, View

logger = logging.getLogger(__name__)


class StoredGallery(View):
    """A gallery, and the hash of what holds it: it changes with any image."""

    sha256: str
    gallery: Gallery


def sound_gallery(claim: Claim, content: bytes, verdicts: list[Verdicts]) -> Gallery | None:
    """Return the gallery that a judge has left; None, with a line in the log, where it is not sound.

    Args:
        claim: the judging that was claimed.
        content: the gallery, from whoever ran the untrusted model.
        verdicts: the same judge's verdicts: only examples that hold are shown.
    """
    try:
        gallery = Gallery.from_bytes(content)
        found = (gallery.norm, gallery.epsilon, gallery.dataset, gallery.checkpoint_sha256)
        if found != (claim.norm, claim.epsilon, claim.submission.dataset, claim.checkpoint_sha256):
            raise ValueError("it is not one of this work")
        if claim.purpose not in {Purpose.RANKING, Purpose.AGAIN}:
            raise ValueError("none is made of such a run")
        if not set(gallery.index) <= {index for one in verdicts for index in one.broken}:
            raise ValueError("it shows points whose examples do not hold")
    except ValueError as error:
        logger.warning("the gallery of work %s was dropped: %s", claim.shard_id, presentable(_told(error)))
        return None
    return gallery


def find_gallery(db: Database, blobs: Blobs, board: Board, model_id: str) -> StoredGallery | None:
    """Return the gallery of the evaluation that an entry bears the numbers of; None where there is none."""
    wanted = (
        select(RunRow.gallery_sha256)
        .join(ReportRow, ReportRow.run_id == RunRow.id)
        .join(EntryRow, EntryRow.report_id == ReportRow.id)
        .where(of_board(board), EntryRow.model_id == model_id)
    )
    with db.snapshot() as session:
        sha256 = session.scalar(wanted)
    if sha256 is None:
        return None
    try:
        return StoredGallery(sha256=sha256, gallery=Gallery.from_bytes(blobs.read(sha256)))
    except (NotFound, FileNotFoundError, ValueError):
        logger.warning("the gallery %s of %s on %s is gone or damaged", sha256, ascii(model_id), board.name)
        return None


def _told(error: ValueError) -> str:
    """Say what is wrong, without the input, which may be large and is anybody's."""
    if isinstance(error, ValidationError):
        return error.errors(include_url=False, include_input=False)[0]["msg"]
    return str(error)
