"""Where the images of a batch stand apart in each value of a graph, and which operations bring them together.

The axis is followed as far as the operations' arguments tell; where they do not, nothing is said of what comes after,
and the check on the model decides. Free of torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmark.graph import Argument, Operation, Reference
from benchmark.restrictions.flow import Flow, first_reference

_BY_AXIS = re.compile(
    r"aten\.(sum|mean|amax|amin|max|min|prod|std|var|std_mean|var_mean|norm|frobenius_norm|linalg_vector_norm|logsumexp|"
    r"softmax|_softmax|log_softmax|_log_softmax|cumsum|sort|argsort|argmax|argmin|topk|roll|flip|any|all|glu)\.\w+"
)
"""Operations along axes, which are their second argument; those of `roll` are the third."""
_KEEPS = re.compile(
    r"aten\.(\w*relu\w*|add|sub|mul|div|pow|clamp\w*|abs|neg|exp|log\w*|sqrt|rsqrt|sigmoid|tanh|gelu|silu|mish|hard\w+|elu|"
    r"celu|selu|softplus|softshrink|conv[123]d|conv_transpose\w+|linear|batch_norm|layer_norm|group_norm|instance_norm|"
    r"\w*pool[12]d|contiguous|clone|alias|detach|dropout|where|lerp|maximum|minimum|round|floor|ceil|trunc|sign|frac|to|"
    r"_to_copy|type_as|upsample_\w+|pixel_shuffle|pixel_unshuffle|pad|constant_pad_nd|nan_to_num|square|reciprocal|erf|"
    r"_native_batch_norm_legit_no_training|rms_norm|threshold|masked_fill|prelu|eq|ne|gt|ge|lt|le)_?\.\w+"
)
"""Operations whose result has the images where the first argument has them."""


def mixing(flow: Flow) -> Iterator[Operation]:
    """Yield the operations whose result for one image takes in the others of its batch."""
    axes: dict[str, int | None] = {flow.graph.input: 0}
    for operation in flow.reading_images():
        if operation.trains and operation.target == "aten.batch_norm.default":
            yield operation
        first = first_reference(operation)
        axis = axes.get(first) if first is not None else None
        if axis is not None and _mixes(operation, axis):
            yield operation
        for name in operation.outputs:
            if name is not None:
                axes[name] = None if axis is None else _axis_after(operation, axis)


def _mixes(operation: Operation, axis: int) -> bool:
    if not _BY_AXIS.fullmatch(operation.target):
        return False
    place = 2 if operation.target.startswith("aten.roll") else 1
    given = operation.argument(place, "dims" if place == 2 else "dim")
    if operation.target.endswith(".default") and given is None:
        # Over everything, the images included; a sort without an axis is along the last.
        return not re.match(r"aten\.(sort|argsort|topk|softmax|glu)", operation.target)
    axes = given if isinstance(given, tuple) else (given,)
    return axis in axes


def _axis_after(operation: Operation, axis: int) -> int | None:
    """Return where the images are in the result; None where the arguments do not tell."""
    target = operation.target
    if _KEEPS.fullmatch(target):
        return axis
    if target in {"aten.flatten.using_ints", "aten.view.default", "aten.reshape.default", "aten.unflatten.int"}:
        begins = operation.argument(1, "start_dim")
        return axis if axis == 0 and (_is_size_of_batch(begins) or begins in {1, 2}) else None
    if target == "aten.permute.default":
        order = operation.argument(1, "dims")
        return order.index(axis) if isinstance(order, tuple) and axis in order else None
    if target == "aten.unsqueeze.default":
        place = operation.argument(1, "dim")
        return (axis + (place <= axis) if place >= 0 else axis) if isinstance(place, int) else None
    if _BY_AXIS.fullmatch(target):
        given = operation.argument(1, "dim")
        removed = given if isinstance(given, tuple) else (given,)
        ahead = all(isinstance(place, int) and (place > axis or place < 0) for place in removed)
        return axis if axis == 0 and ahead else None
    return None


def _is_size_of_batch(argument: Argument) -> bool:
    """Tell whether a list of sizes begins with one that was read from a value, or with what is left over."""
    return isinstance(argument, tuple) and bool(argument) and (isinstance(argument[0], Reference) or argument[0] == -1)
