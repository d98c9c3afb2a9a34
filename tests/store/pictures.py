"""Galleries for the tests: images that tell by their values which point they are of."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from benchmark.gallery import SHOWN, Gallery, as_pixels
from store.claims import Claim
from store.outcomes import finish_judge, finish_shard
from store.services import Services
from store.views import State
from tests.store.material import must_claim, running, shard_report, verdicts_on

MOVED = 0.125
"""How far every second pixel is moved up."""


def clean_values(index: int, count: int) -> list[float]:
    """Values that float32 holds exactly, other ones for other points."""
    return [(index + place) % 8 / 16 for place in range(count)]


def perturbed_values(index: int, count: int, moved: float = MOVED) -> list[float]:
    return [value + moved * (place % 2) for place, value in enumerate(clean_values(index, count))]


def pixels(values: Sequence[float]) -> str:
    return as_pixels(struct.pack(f"<{len(values)}f", *values))


def gallery_of(index: Sequence[int], **changes: object) -> Gallery:
    """A gallery of points of the digits, within the budget of their Linf board."""
    fields: dict[str, object] = {"norm": "Linf", "epsilon": "1/5", "dataset": "digits", "index": list(index)}
    fields |= changes
    channels, height, width = shape = SHOWN[str(fields["dataset"])].shape
    count = channels * height * width
    images = {
        "shape": shape,
        "clean": [pixels(clean_values(one, count)) for one in index],
        "perturbed": [pixels(perturbed_values(one, count)) for one in index],
    }
    return Gallery.model_validate(images | fields)


def gallery_for(work: Claim, index: Sequence[int]) -> Gallery:
    """A gallery as an honest judge leaves it."""
    return gallery_of(index, checkpoint_sha256=work.checkpoint_sha256)


def publish_with_gallery(
    services: Services, name: str = "Method A", index: Sequence[int] = (20, 30), content: bytes | None = None
) -> Claim:
    """Evaluate to the end, with a gallery of these points: 0 to 9 are misclassified, and 10 to 59 broken by APGD.

    Args:
        services: the store.
        name: of the model.
        index: the points.
        content: what the judge leaves in place of a gallery of these points.
    """
    running(services.db, services.blobs, name)
    work = must_claim(services.db)
    finish_shard(services.db, services.blobs, work, shard_report(work).to_bytes())
    judging = must_claim(services.db)
    left = gallery_for(judging, index).to_bytes() if content is None else content
    state = finish_judge(services.db, services.blobs, judging, *verdicts_on(services.blobs, judging), gallery=left)
    assert state is State.PUBLISHED
    return judging
