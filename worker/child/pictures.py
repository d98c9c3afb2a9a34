"""A few examples for people to look at, inside the child that judges them: it has both images of every point."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

from torch import Tensor

from benchmark.gallery import SHOWN, Gallery, as_pixels
from benchmark.verdicts import Verdict, Verdicts
from worker.messages import GALLERY_FILE, Request

Pictures = dict[int, tuple[str, str]]
"""Of some points, by position in the data set, the clean image and the perturbed one."""


def pictured(verdicts: Verdicts, x: Tensor, x_adv: Tensor, wanted: Collection[int]) -> Pictures:
    """Return the images of those of the wanted points whose examples hold."""
    rows = zip(verdicts.index, verdicts.verdict, x, x_adv, strict=True)
    return {
        index: (_pixels(clean), _pixels(perturbed))
        for index, verdict, clean, perturbed in rows
        if index in wanted and verdict is Verdict.HOLDS
    }


def leave_gallery(request: Request, pictures: Pictures) -> None:
    """Write the gallery; without one nothing is lost but the look at it."""
    if not pictures:
        return
    columns = sorted(pictures.items())
    try:
        gallery = Gallery.model_validate(
            {
                "norm": request.norm,
                "epsilon": request.epsilon,
                "dataset": request.dataset,
                "checkpoint_sha256": request.checkpoint_sha256,
                "shape": SHOWN[request.dataset].shape,
                "index": [index for index, _ in columns],
                "clean": [clean for _, (clean, _) in columns],
                "perturbed": [perturbed for _, (_, perturbed) in columns],
            }
        )
        Path(GALLERY_FILE).write_bytes(gallery.to_bytes())
    except (OSError, ValueError) as error:
        print(f"there is no gallery: {error}", file=sys.stderr)  # noqa: T201


def _pixels(image: Tensor) -> str:
    return as_pixels(image.contiguous().numpy().astype("<f4").tobytes())
