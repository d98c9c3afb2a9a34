"""A forward pass must not cost many times what its parameters account for, as an unrolled optimisation does."""

from __future__ import annotations

import math
from collections import Counter

from torch.utils.flop_counter import FlopCounterMode

from benchmark import rules
from benchmark.report import Check
from benchmark.restrictions.flow import Flow
from benchmark.restrictions.subject import Restriction, Subject, graded, not_assessed

_FLAG_FROM, _REJECT_FROM = 8.0, 32.0
_USES_FLAG_FROM, _USES_REJECT_FROM = 8, 32
_SMALL = 16
"""Elements up to which a parameter may be used anywhere: a temperature, the statistics of the colour channels."""
_IMAGES = 2
_REMEDY = (
    "Submit the feed-forward network alone: a pass in which the same weights are applied again and again is an "
    "optimisation, or a defence at test time, and is outside this benchmark."
)


def _on_model(subject: Subject) -> Check:
    """Reject a pass with far more multiplications than one for each parameter at each pixel.

    A convolution uses each of its weights once at each place, a layer of a transformer once for each token, both fewer
    than there are pixels. Attention adds to that, but less than as much again.
    """
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            subject.logits(subject.x[:_IMAGES])
    except Exception as error:  # noqa: BLE001 - the counter knows neither gradients within a pass nor loops
        why = f"the multiplications of a pass cannot be counted: {type(error).__name__}"
        return not_assessed(RESTRICTION.code, why, "Use operations of torch that compute a result from arguments.")
    multiplications = counter.get_total_flops() / 2 / len(subject.x[:_IMAGES])
    weights = sum(value.numel() for value in (*subject.model.parameters(), *subject.model.buffers()))
    pixels = subject.x.shape[2] * subject.x.shape[3]
    value = multiplications / max(weights * pixels, 1)
    message = f"A pass takes {multiplications:.3g} multiplications for each image, {value:.2g} for each of {weights} "
    message += f"parameters and buffers at each of {pixels} pixels."
    return graded(RESTRICTION.code, message, value, flag_from=_FLAG_FROM, reject_from=_REJECT_FROM, remedy=_REMEDY)


def _on_graph(flow: Flow) -> Check:
    """Reject a graph that applies the same weights again and again."""
    uses: Counter[str] = Counter()
    for operation in flow.reading_images():
        # Elementwise too: a descent can be unrolled without a single layer.
        names = {constant.name for constant in flow.constants_of(operation) if math.prod(constant.shape) > _SMALL}
        uses.update(names)
    most = max(uses.values(), default=0)
    message = f"No parameter is used more than {most} times in a pass."
    return graded(
        RESTRICTION.graph_code,
        message,
        float(most),
        flag_from=_USES_FLAG_FROM,
        reject_from=_USES_REJECT_FROM,
        remedy=_REMEDY,
    )


RESTRICTION = Restriction(rules.DISPROPORTIONATE_COST, _on_model, _on_graph)
