"""Judging adversarial examples again, whoever found them: from files, without the attack that made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier, check_classes, check_points, frozen
from benchmark.errors import InvalidInput
from benchmark.judging import Judgement, judge
from benchmark.norms import norm_named
from benchmark.pipeline import device_named, hardware_of, installed_versions, sha256_of_examples
from benchmark.threat_models import ThreatModel
from benchmark.verdicts import Verdict, Verdicts


def recheck(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    x_adv: Tensor,
    index: Sequence[int],
    threat_model: ThreatModel,
    *,
    width: int = 64,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    checkpoint_sha256: str | None = None,
) -> Verdicts:
    """Judge one example for each point by the rules of an evaluation: by the same judge, with the same tolerances.

    The model is asked once for each example; one that draws at random may answer otherwise the next time.

    Args:
        model: from images (n, c, h, w) in [0, 1] to logits (n, classes); moved to ``device``, else left as it was.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        x_adv: one example for each point, (n, c, h, w), float32 of any values.
        index: positions of the points in the data set, increasing.
        threat_model: norm and budget of the attacker.
        width: rows of a full batch, raised to 8 where it is less.
        device: where to run, such as "cuda".
        progress: called after every batch with the number of examples that are judged, and that of all; what it raises
            ends the re-check.
        checkpoint_sha256: hash of the model's file, for the record.
    Raises:
        InvalidInput: an argument cannot be used, or the model does not belong to the points.
        UnsupportedNorm: the threat model's norm is not Linf, L2 or L1.
        EvaluationFailed: the model failed.
    """
    check_points(x, y)
    _check_examples(x, x_adv, index, width)
    place = device_named(device)
    model.to(place)
    classifier = Classifier(model, (x.shape[1], x.shape[2], x.shape[3]), width)
    verdicts: list[Verdict] = []
    distances: list[float] = []
    with frozen(model):
        for judgement in _judgements(classifier, x, y, x_adv, threat_model, place):
            check_classes(classifier.classes, y)
            verdicts += judgement.verdicts
            distances += judgement.distance.tolist()
            if progress is not None:
                progress(len(verdicts), len(x))
    return Verdicts(
        norm=threat_model.norm,
        epsilon=str(threat_model.epsilon),
        dataset=threat_model.dataset,
        checkpoint_sha256=checkpoint_sha256,
        examples_sha256=sha256_of_examples(x_adv),
        index=tuple(index),
        verdict=tuple(verdicts),
        distance=tuple(
            None if verdict is Verdict.NOT_FINITE else distance
            for verdict, distance in zip(verdicts, distances, strict=True)
        ),
        slot_width=classifier.width,
        threads=torch.get_num_threads(),
        device=place.type,
        hardware=hardware_of(place),
        versions=installed_versions(),
    )


def _judgements(
    classifier: Classifier, x: Tensor, y: Tensor, x_adv: Tensor, threat_model: ThreatModel, place: torch.device
) -> Iterator[Judgement]:
    """Yield the judgements on one full batch of examples after the other; no more of them is on the device at once."""
    norm = norm_named(threat_model.norm)
    for first in range(0, len(x), classifier.width):
        rows = slice(first, first + classifier.width)
        clean, proposed = (images[rows].detach().to(place).flatten(1) for images in (x, x_adv))
        yield judge(classifier, clean, y[rows].to(place), proposed, norm, threat_model.radius)


def _check_examples(x: Tensor, x_adv: Tensor, index: Sequence[int], width: int) -> None:
    if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape or x_adv.dtype != torch.float32:
        found = f"{x_adv.dtype}, {tuple(x_adv.shape)}" if isinstance(x_adv, Tensor) else type(x_adv).__name__
        raise InvalidInput.because(
            "x_adv",
            found=found,
            expected=f"torch.float32, {tuple(x.shape)}: one image for each point",
            remedy="give every point an example; where there is none, the clean image",
        )
    if len(index) != len(x) or any(a >= b for a, b in pairwise((-1, *index))):
        raise InvalidInput.because(
            "index",
            found=f"{len(index)} positions for {len(x)} points",
            expected="one for each point, from 0, strictly increasing",
            remedy="sort points, labels and examples by their positions in the data set",
        )
    if width < 1:
        raise InvalidInput.because(
            "width", found=width, expected="a positive number", remedy="leave it out for the default"
        )
