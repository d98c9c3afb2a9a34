"""The restrictions in words, by version, for whoever only shows them. Nothing here needs torch.

How each rule is checked is in `benchmark.restrictions`, one file for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

IN_GRAPH = "_in_graph"
"""How the code of a check on the graph ends."""


@dataclass(frozen=True)
class Rule:
    """What a model must keep to be admitted.

    Args:
        code: of the check on the model, named after the symptom; that on the graph is called so too, with "_in_graph".
        sentence: what is required, for authors.
        on_model: whether the model is run to see.
        on_graph: whether the graph of an exported network is read to see. A rule that is looked at in neither way is
            one that only the whole evaluation can tell of.
    """

    code: str
    sentence: str
    on_model: bool = True
    on_graph: bool = True

    @property
    def graph_code(self) -> str:
        """Code of the check on the graph."""
        return f"{self.code}{IN_GRAPH}"


OUTPUT_SHAPE = Rule(
    "output_shape", "The model answers every batch of images with one row of logits for each.", on_graph=False
)
NON_FINITE_OUTPUT = Rule(
    "non_finite_output", "All logits are finite numbers, for every image of the box.", on_graph=False
)
RANDOMIZED = Rule("randomized", "The same images get the same logits in every pass: no noise, no active dropout.")
STATEFUL = Rule(
    "stateful", "A pass leaves no trace: nothing in the model changes, and its answers do not depend on earlier ones."
)
BATCH_DEPENDENT = Rule(
    "batch_dependent", "An image's logits do not depend on the other images of its batch, nor on its place among them."
)
ZERO_GRADIENT = Rule("zero_gradient", "The margin has an input gradient that is not exactly zero, in general.")
SHATTERED_GRADIENT = Rule(
    "shattered_gradient",
    "The input gradient is that of the margin: a small step along it changes the margin as it says.",
)
SOFTMAX_OUTPUT = Rule("softmax_output", "The answers are logits, not probabilities.")
SATURATED_OUTPUT = Rule(
    "saturated_output", "The gradient of the cross-entropy does not vanish in float32 where the margin has one."
)
OFF_GRID_DETECTION = Rule(
    "off_grid_detection",
    "The logits do not jump between images that hardly differ, such as one in 8-bit values and one next to it.",
)
ATTACK_DETECTION = Rule(
    "attack_detection",
    "Every image is classified in the same way: the model neither branches on values nor compares pixel values.",
)
TEST_SET_LOOKUP = Rule(
    "test_set_lookup",
    "The model does as well on points of the same kind that nobody ranks on, and with the same confidence.",
)
STORED_TEST_IMAGES = Rule(
    "stored_test_images", "The parameters and buffers hold no images of the test set.", on_graph=False
)
OPTIMIZATION_AT_INFERENCE = Rule(
    "optimization_at_inference",
    "A forward pass computes no gradients and runs no loop that goes on until something is reached.",
)
DISPROPORTIONATE_COST = Rule(
    "disproportionate_cost",
    "The same weights are not applied again and again, and a pass costs what they account for.",
)
CHANGED_ANSWERS = Rule(
    "changed_answers",
    "After all attacks the model answers the first batch as it did before them.",
    on_model=False,
    on_graph=False,
)

RULES: Mapping[int, tuple[Rule, ...]] = MappingProxyType(
    {
        2: (
            OUTPUT_SHAPE,
            NON_FINITE_OUTPUT,
            RANDOMIZED,
            STATEFUL,
            BATCH_DEPENDENT,
            ZERO_GRADIENT,
            SHATTERED_GRADIENT,
            SOFTMAX_OUTPUT,
            SATURATED_OUTPUT,
            OFF_GRID_DETECTION,
            ATTACK_DETECTION,
            TEST_SET_LOOKUP,
            STORED_TEST_IMAGES,
            OPTIMIZATION_AT_INFERENCE,
            DISPROPORTIONATE_COST,
            CHANGED_ANSWERS,
        ),
    }
)
"""The rules of every version that can still be run, in the order in which they are reported."""
VERSION = max(RULES)
"""The version by which models are admitted."""
