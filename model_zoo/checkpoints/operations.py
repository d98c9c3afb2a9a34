"""The operations that a submitted graph may be made of.

Only what computes its result from its arguments alone is here: nothing that draws at random (dropout and attention do
so only when told to train), reads memory that nobody wrote, reads or writes a file, keeps state, or runs another graph.
What is here may still be against the rules of the benchmark, such as rounding; the restrictions see to that, with a
reason of their own. The reader also knows some operations that break a rule by being there, see `benchmark.graph`: it
tells of them, so that the rule can be named, and nothing runs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchmark.errors import InvalidCheckpoint
from benchmark.graph import Graph
from model_zoo.checkpoints.archive import refuse
from model_zoo.checkpoints.header import shown

# Names of aten's; in brackets the overloads, where there are others than the default one.
_ATEN = """
_log_softmax _native_batch_norm_legit_no_training _softmax _to_copy abs abs_ acos adaptive_avg_pool1d
adaptive_avg_pool2d add(Scalar,Tensor) add_(Scalar,Tensor) addbmm addcdiv addcmul addmm affine_grid_generator alias
all(default,dim) amax amin any(default,dim) arange(default,start,start_step) argmax argmin argsort asin atan atan2
avg_pool2d baddbmm batch_norm bitwise_and(Tensor) bitwise_not bitwise_or(Tensor) bmm broadcast_tensors cat cdist ceil
celu channel_shuffle chunk clamp(Tensor,default) clamp_ clamp_max clamp_max_ clamp_min clamp_min_ clone col2im
constant_pad_nd contiguous conv1d(default,padding) conv2d(default,padding) conv3d conv_transpose1d
conv_transpose2d(input) convolution copy copy_ cos cosh cosine_similarity cross cumsum detach detach_ diagonal
div(Scalar,Scalar_mode,Tensor,Tensor_mode) div_(Scalar,Tensor) dot dropout dropout_ einsum elu elu_ embedding
eq(Scalar,Tensor) erf exp exp_ expand expand_as expm1 eye fill(Scalar,Tensor) fill_(Scalar,Tensor) flatten(using_ints)
flip floor floor_divide fmod(Scalar,Tensor) frac frobenius_norm(dim) full full_like gather ge(Scalar,Tensor) gelu
gelu_ glu grid_sampler group_norm gt(Scalar,Tensor) hardshrink hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh
hardtanh_ hstack im2col index(Tensor) index_put index_select instance_norm isfinite isinf isnan layer_norm
le(Scalar,Tensor) leaky_relu leaky_relu_ lerp(Scalar,Tensor) lift_fresh_copy linalg_norm linalg_vector_norm linear log
log1p log2 log_sigmoid log_softmax(int) logical_and logical_not logical_or logical_xor logsumexp lt(Scalar,Tensor) mT
masked_fill(Scalar,Tensor) masked_fill_(Scalar,Tensor) matmul max(default,dim) max_pool1d max_pool2d
max_pool2d_with_indices maximum mean(default,dim) meshgrid(default,indexing) min(default,dim) minimum mish mish_ mm
movedim(int,intlist) mul(Scalar,Tensor) mul_(Scalar,Tensor) mv nan_to_num narrow native_group_norm native_layer_norm
ne(Scalar,Tensor) neg neg_ new_full new_ones new_zeros norm(Scalar,ScalarOpt_dim) numpy_T one_hot ones ones_like outer
pad pairwise_distance permute pixel_shuffle pixel_unshuffle pow(Scalar,Tensor_Scalar,Tensor_Tensor) pow_(Scalar) prelu
prod(default,dim_int) reciprocal reflection_pad1d reflection_pad2d relu relu6 relu6_ relu_ remainder(Scalar,Tensor)
repeat repeat_interleave(self_int) replication_pad2d reshape reshape_as rms_norm roll round rsqrt rsub(Scalar,Tensor)
scaled_dot_product_attention scatter(src,value) scatter_add select(int) select_scatter selu sigmoid sigmoid_ sign silu
silu_ sin sinh slice(Tensor) slice_scatter softmax(int) softplus softshrink sort(default,stable) split(Tensor,sizes)
split_with_sizes sqrt sqrt_ square square_ squeeze(default,dim,dims) squeeze_(dim) stack std(correction,default,dim)
std_mean(correction) sub(Scalar,Tensor) sub_(Scalar,Tensor) sum(default,dim_IntList) swapaxes sym_size(int) t tan tanh
tanh_ tensor_split(sections) threshold tile to(device,dtype,dtype_layout,other) topk transpose(int) transpose_ tril
triu trunc type_as unbind(int) unflatten(int) unfold unsqueeze unsqueeze_ upsample_bicubic2d(default,vec)
upsample_bilinear2d(default,vec) upsample_nearest2d(default,vec) var(correction,default,dim) var_mean(correction) view
view_as vstack where(Scalar,ScalarOther,ScalarSelf,default,self) zero_ zeros zeros_like
"""
_ENTRY = re.compile(r"(\w+)(?:\(([\w,]+)\))?")


def _targets() -> Iterator[str]:
    for name, overloads in _ENTRY.findall(_ATEN):
        for overload in (overloads or "default").split(","):
            yield f"aten.{name}.{overload}"


ALLOWED = frozenset(_targets())
"""Every tensor operation, with its overload."""
INTEGERS = frozenset(("add", "sub", "mul", "floordiv", "mod", "neg"))
"""What may be computed from sizes, by the names of Python's module ``operator``."""


def is_runnable(graph: Graph) -> bool:
    """Tell whether a graph may be run as far as its operations go."""
    try:
        require_runnable(graph)
    except InvalidCheckpoint:
        return False
    return True


def require_runnable(graph: Graph) -> None:
    """Refuse to run a graph that was read for the sake of the rules that it breaks.

    Raises:
        InvalidCheckpoint: it holds an operation that is not to be run, one as in training, or a change that outlives
            the call.
    """
    for operation in graph.operations:
        if operation.target not in ALLOWED and not operation.target.startswith("operator."):
            refuse("graph", found=f"the operation {shown(operation.target)}", expected="operations that may be run")
        if operation.trains:
            refuse("graph", found=f"{operation.target} as in training", expected="a model in eval mode")
    if graph.written:
        changed = ", ".join(shown(key) for key in graph.written[:_SHOWN_KEYS])
        refuse("graph", found=f"a change of {changed} in each call", expected="a model without state")


_SHOWN_KEYS = 5
