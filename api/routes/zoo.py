"""Checkpoints of the zoo by the hash of their content, so that one service can be a mirror for many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import FileResponse

from api.errors import binary, responses
from api.routes.uploads import Sha256
from api.schemas import ZooFile, ZooFileList
from benchmark.errors import NotFound

MEDIA_TYPE = "application/octet-stream"
CACHED = "public, max-age=31536000, immutable"
"""A hash names the same bytes for ever."""


class ZooFiles(Protocol):
    """Checkpoints that may be passed on to anybody; the composition root supplies them."""

    def listed(self) -> tuple[ZooFile, ...]:
        """Return all of them."""

    def path(self, sha256: str) -> Path | None:
        """Return where the file with that hash lies; None where it is none of them."""


def _files(request: Request) -> ZooFiles:
    files: ZooFiles = request.app.state.zoo
    return files


Files = Annotated[ZooFiles, Depends(_files)]

router = APIRouter(prefix="/zoo", tags=["zoo"])


@router.get("/checkpoints", responses=responses())
def list_checkpoints(files: Files) -> ZooFileList:
    """List the checkpoints of the zoo that this service has and may pass on."""
    return ZooFileList(checkpoints=files.listed())


@router.get("/checkpoints/{sha256}", response_class=FileResponse, responses=responses(404) | binary("The file"))
def get_checkpoint(sha256: Sha256, files: Files) -> Response:
    """Send a checkpoint of the zoo, as safetensors."""
    path = files.path(sha256)
    if path is None:
        raise NotFound.because(
            "sha256",
            found=sha256,
            expected="the hash of a checkpoint of the zoo that may be passed on",
            remedy="look it up in the list of checkpoints",
        )
    return FileResponse(
        path,
        media_type=MEDIA_TYPE,
        headers={"ETag": f'"{sha256}"', "Cache-Control": CACHED},
        filename=f"{sha256}.safetensors",
    )
