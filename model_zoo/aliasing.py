"""Which values of a graph may share memory, as far as its operations in place are concerned."""

from __future__ import annotations

from benchmark.graph import Graph

FRESH = frozenset(
    f"aten.{name}"
    for name in (
        "adaptive_avg_pool2d.default",
        "add.Tensor",
        "batch_norm.default",
        "bmm.default",
        "clone.default",
        "conv2d.default",
        "div.Tensor",
        "full_like.default",
        "group_norm.default",
        "layer_norm.default",
        "lift_fresh_copy.default",
        "linear.default",
        "matmul.default",
        "max_pool2d.default",
        "mul.Tensor",
        "new_full.default",
        "new_ones.default",
        "new_zeros.default",
        "ones_like.default",
        "relu.default",
        "sigmoid.default",
        "silu.default",
        "sub.Tensor",
        "zeros_like.default",
    )
)
"""Operations whose result is always its own, never a view of an argument; of any other it may be one."""


def reached_in_place(graph: Graph) -> set[str]:
    """Return the names of the images and constants that an operation in place may reach, itself or by views of them."""
    given = {graph.input, *(constant.name for constant in graph.constants)}
    origins: dict[str, set[str]] = {name: {name} for name in given}
    written: set[str] = set()
    for operation in graph.operations:
        reached: set[str] = set()
        if operation.changed is not None:  # which is what it returns, too
            reached |= origins[operation.changed]
            written |= reached
        elif operation.target not in FRESH:
            reached.update(*(origins[name] for name in operation.reads()))
        for name in operation.outputs:
            if name is not None:
                origins[name] = reached
    return written
