"""Admission rules, one per file. A finding is named after its symptom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmark.classifier import check_points, frozen
from benchmark.graph import Graph
from benchmark.report import Check, CheckOutcome
from benchmark.restrictions.flow import Flow
from benchmark.restrictions.policy import POLICY, Policy
from benchmark.restrictions.subject import SAMPLE, OnModel, Restriction, Subject, not_assessed
from benchmark.threat_models import ThreatModel

__all__ = ["POLICY", "SAMPLE", "check_graph", "check_restrictions", "run_checks"]

_MEND = "Mend the first finding and check again."


def run_checks(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat_model: ThreatModel,
    *,
    classes: int | None = None,
    twin: tuple[Tensor, Tensor] | None = None,
    policy: Policy = POLICY,
) -> tuple[Check, ...]:
    """Run every restriction and return all checks, the passed ones included.

    A model that bears its graph, as an exported network does, is looked at in both ways: each rule has a check on the
    graph and one on the model. The rules on graphs have nothing to say of other models.

    Args:
        model: from images in [0, 1] to logits; left as it was found.
        x: clean points, (n, c, h, w), float32 in [0, 1]; most checks use the first 64.
        y: labels, (n,), int64.
        threat_model: what the attacker may do.
        classes: number of classes of the data set, where known.
        twin: images and labels of the same kind that nobody ranks on, where there are any.
        policy: which rules.
    """
    check_points(x, y)
    with frozen(model), torch.random.fork_rng():
        subject = Subject(model, x, y, threat_model, classes, twin)
        rules = [rule for rule in policy.restrictions if rule.on_model is not None]
        found: list[Check] = []
        for number, rule in enumerate(rules):
            found.append(_on_model(rule, subject))
            # Without an answer of the right shape and of finite numbers, nothing else can be measured.
            if number < 2 and found[-1].outcome is CheckOutcome.REJECTED:
                found += [not_assessed(rest.code, "the output cannot be used", _MEND) for rest in rules[number + 1 :]]
                break
    graph = getattr(model, "graph", None)
    return in_order(policy, [*found, *(_on_graphs(graph, policy) if isinstance(graph, Graph) else ())])


def check_graph(graph: Graph, policy: Policy = POLICY) -> tuple[Check, ...]:
    """Run every restriction that a graph can tell of, without running the graph.

    Args:
        graph: the model; nothing in it is trusted.
        policy: which rules.
    Returns:
        All checks: those on the graph, and, as not assessed, those on the model.
    """
    unseen = [
        not_assessed(rule.code, "the network was not run, for its graph breaks a rule", _MEND)
        for rule in policy.restrictions
        if rule.on_model is not None
    ]
    return in_order(policy, [*_on_graphs(graph, policy), *unseen])


def check_restrictions(model: nn.Module, x: Tensor, y: Tensor, threat_model: ThreatModel) -> list[Check]:
    """Return the findings: the checks that are flagged or rejected; an empty list for an honest model.

    Args:
        model: from images in [0, 1] to logits; left as it was found.
        x: clean points, (n, c, h, w), float32 in [0, 1].
        y: labels, (n,), int64.
        threat_model: what the attacker may do.
    """
    wanted = {CheckOutcome.FLAGGED, CheckOutcome.REJECTED}
    return [check for check in run_checks(model, x, y, threat_model) if check.outcome in wanted]


def in_order(policy: Policy, checks: Iterable[Check]) -> tuple[Check, ...]:
    """Return checks in the order of the policy, that on the graph behind that on the model."""
    codes = [code for rule in policy.restrictions for code in (rule.code, rule.graph_code)]
    return tuple(sorted(checks, key=lambda check: codes.index(check.code)))


def _on_graphs(graph: Graph, policy: Policy) -> Sequence[Check]:
    flow = Flow(graph)
    return [
        _run(rule.graph_code, partial(rule.on_graph, flow)) for rule in policy.restrictions if rule.on_graph is not None
    ]


def _on_model(rule: Restriction, subject: Subject) -> Check:
    look: OnModel | None = rule.on_model
    if look is None:
        raise ValueError(f"{rule.code} does not look at models")
    return _run(rule.code, partial(look, subject))


def _run(code: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - a model that breaks a check has not passed it
        return Check(
            code=code,
            outcome=CheckOutcome.REJECTED,
            message=f"The check could not be run: {type(error).__name__}: {str(error)[:300]}",
            remedy="Make the model differentiable with respect to its input and free of side effects.",
        )
