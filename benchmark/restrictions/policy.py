"""The restrictions as versioned policies: which rules a model must keep to be admitted.

A rule can be lifted or added by a new version; reports tell by which one their checks were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from benchmark.errors import InvalidInput
from benchmark.restrictions import (
    attack_detection,
    batch_dependent,
    disproportionate_cost,
    off_grid_detection,
    optimization,
    output,
    randomized,
    replay,
    saturated_output,
    shattered_gradient,
    softmax_output,
    stateful,
    test_set_lookup,
    zero_gradient,
)
from benchmark.restrictions.subject import Restriction


@dataclass(frozen=True)
class Policy:
    """A version of the rules.

    Args:
        version: raised with every change of a rule, a threshold or an outcome.
        restrictions: the rules, in the order in which they are reported. The first two decide whether the others can
            be looked at.
    """

    version: int
    restrictions: tuple[Restriction, ...]


_OUTPUT = (output.SHAPE, output.FINITE)
POLICIES: Mapping[int, Policy] = MappingProxyType(
    {
        2: Policy(
            2,
            (
                *_OUTPUT,
                randomized.RESTRICTION,
                stateful.RESTRICTION,
                batch_dependent.RESTRICTION,
                zero_gradient.RESTRICTION,
                shattered_gradient.RESTRICTION,
                softmax_output.RESTRICTION,
                saturated_output.RESTRICTION,
                off_grid_detection.RESTRICTION,
                attack_detection.RESTRICTION,
                test_set_lookup.RESTRICTION,
                test_set_lookup.STORED_IMAGES,
                optimization.RESTRICTION,
                disproportionate_cost.RESTRICTION,
                replay.RESTRICTION,
            ),
        ),
    }
)
"""Every version that can still be run. Version 1 had output_shape, non_finite_output, softmax_output, randomized,
zero_gradient and optimization_at_inference, and no look at graphs."""
POLICY = POLICIES[max(POLICIES)]
"""The version by which models are admitted."""


def policy_of_version(version: int | None) -> Policy:
    """Return the policy of that version; None stands for the first.

    Raises:
        InvalidInput: it cannot be run any more, or is newer than this program.
    """
    if version is None or version not in POLICIES:
        raise InvalidInput.because(
            "policy",
            found=f"version {1 if version is None else version} of the restrictions",
            expected=" or ".join(f"version {known}" for known in POLICIES),
            remedy="use the version of the program that wrote the report",
        )
    return POLICIES[version]
