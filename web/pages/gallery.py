"""The images of a gallery, one by one."""

from __future__ import annotations

from fastapi import APIRouter, Response

from benchmark.errors import NotFound
from benchmark.threat_models import official_board
from store.galleries import find_gallery
from web.gallery import Kind, as_png
from web.services import Store

router = APIRouter()

FOREVER = "public, max-age=31536000, immutable"
"""The address holds the hash of the gallery, so under it nothing ever changes."""


@router.get("/models/{dataset}/{threat_model}/{model_id}/gallery/{version}/{point}/{image}")
def show_picture(
    dataset: str, threat_model: str, model_id: str, version: str, point: str, image: str, *, store: Store
) -> Response:
    """Send an image of the gallery that an entry has now."""
    stored = find_gallery(store.db, store.blobs, official_board(dataset, threat_model), model_id)
    kinds = {f"{kind}.png": kind for kind in Kind}
    points = {str(index): index for index in stored.gallery.index} if stored else {}
    if stored is None or stored.sha256 != version or point not in points or image not in kinds:
        raise NotFound.because(
            "image",
            found=f"{version[:80]}/{point[:80]}/{image[:80]}",
            expected="an image that the entry's page shows",
            remedy="load the entry's page again",
        )
    content = as_png(stored.gallery, points[point], kinds[image])
    return Response(content, media_type="image/png", headers={"Cache-Control": FOREVER})
