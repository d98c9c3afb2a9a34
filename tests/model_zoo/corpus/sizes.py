"""Graphs that ask for too much memory or time once they run."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model_zoo.corpus.case import Case, Json, inserted, node, number, numbers, real, tensor

HUGE = 10**6


def _chain(target: str, times: int, *arguments: Json, first: str = "x") -> Iterator[Json]:
    name = first
    for step in range(times):
        yield node(target, tensor(name), *arguments, out=f"step_{step}")
        name = f"step_{step}"


def _doubling_cat(times: int) -> Iterator[Json]:
    name = "x"
    for step in range(times):
        yield node("aten.cat.default", {"as_tensors": [{"name": name}] * 2}, number(1), out=f"cat_{step}")
        name = f"cat_{step}"


def _doubling_size(times: int) -> Iterator[Json]:
    """Square a size again and again, then make a tensor of it."""
    name = "s0"
    yield {**node("_operator.add", number(2), number(2)), "outputs": [{"as_sym_int": {"as_name": name}}]}
    for step in range(times):
        size = {"as_sym_int": {"as_name": name}}
        name = f"s{step + 1}"
        yield {**node("_operator.mul", size, size), "outputs": [{"as_sym_int": {"as_name": name}}]}
    yield node("aten.zeros.default", {"as_sym_ints": [{"as_name": name}]})


def _of_batch() -> Iterator[Json]:
    """Make a tensor of the batch's size to the eighth power."""
    name = "sym_size_int_1"
    for step in range(3):
        size = {"as_sym_int": {"as_name": name}}
        name = f"n{step}"
        yield {**node("_operator.mul", size, size), "outputs": [{"as_sym_int": {"as_name": name}}]}
    yield node("aten.zeros.default", {"as_sym_ints": [{"as_name": name}]})


def _kept(times: int) -> Iterator[Json]:
    """Make many tensors and read them all at the end."""
    for step in range(times):
        yield node("aten.full.default", numbers(100_000_000), real(1.0), out=f"kept_{step}")
    names = [{"name": f"kept_{step}"} for step in range(times)]
    yield node("aten.stack.default", {"as_tensors": names})


def _bomb(name: str, *operations: Json) -> Case:
    return Case(f"memory: {name}", "memory once it runs", inserted(*operations))


def _slow(name: str, *operations: Json) -> Case:
    return Case(f"time: {name}", "time once it runs", inserted(*operations))


_SQUARE = node("aten.full.default", numbers(16_000, 8_000), real(1.0), out="square")

CASES = (
    _bomb("full", node("aten.full.default", numbers(HUGE, HUGE), real(1.0))),
    _bomb("zeros", node("aten.zeros.default", numbers(HUGE, HUGE))),
    _bomb("ones", node("aten.ones.default", numbers(10**5, 10**5))),
    _bomb("sizes that overflow", node("aten.zeros.default", numbers(2**31, 2**31, 2**31))),
    _bomb("a size of 2⁶³ − 1", node("aten.zeros.default", numbers(2**63 - 1))),
    _bomb("a negative size", node("aten.zeros.default", numbers(-1))),
    _bomb("eye", node("aten.eye.default", number(HUGE))),
    _bomb("arange", node("aten.arange.default", number(10**12))),
    _bomb("arange by small steps", node("aten.arange.start_step", real(0.0), real(1.0), real(1e-12))),
    _bomb("new_zeros", node("aten.new_zeros.default", tensor("x"), numbers(HUGE, HUGE))),
    _bomb(
        "expand and clone",
        node("aten.expand.default", tensor("b_mean"), numbers(1000, 1000, 1000, 1000), out="wide"),
        node("aten.clone.default", tensor("wide")),
    ),
    _bomb("repeat", node("aten.repeat.default", tensor("x"), numbers(1, 1000, 1000, 1000))),
    _bomb("tile", node("aten.tile.default", tensor("x"), numbers(1, 1000, 1000, 1000))),
    _bomb("repeat_interleave", node("aten.repeat_interleave.self_int", tensor("x"), number(10**9))),
    _bomb(
        "one_hot",
        node("aten.to.dtype", tensor("x"), {"as_scalar_type": 5}, out="long"),
        node("aten.one_hot.default", tensor("long"), number(2**31 - 1)),
    ),
    _bomb("upsample_nearest2d", node("aten.upsample_nearest2d.default", tensor("x"), numbers(HUGE, HUGE))),
    _bomb(
        "upsample_bilinear2d",
        node(
            "aten.upsample_bilinear2d.vec",
            tensor("x"),
            {"as_none": True},
            {"as_bool": False},
            {"as_floats": [1e5, 1e5]},
        ),
    ),
    _bomb("constant_pad_nd", node("aten.constant_pad_nd.default", tensor("x"), numbers(HUGE, HUGE, HUGE, HUGE))),
    _bomb("adaptive_avg_pool2d", node("aten.adaptive_avg_pool2d.default", tensor("x"), numbers(HUGE, HUGE))),
    _bomb("im2col", node("aten.im2col.default", tensor("x"), *[numbers(1, 1)] * 2, numbers(HUGE, HUGE), numbers(1, 1))),
    _bomb(
        "outer",
        node("aten.arange.default", number(HUGE), out="line"),
        node("aten.outer.default", tensor("line"), tensor("line")),
    ),
    _bomb(
        "add by broadcasting",
        node("aten.arange.default", number(HUGE), out="line"),
        node("aten.unsqueeze.default", tensor("line"), number(1), out="column"),
        node("aten.add.Tensor", tensor("line"), tensor("column")),
    ),
    _bomb(
        "cdist",
        node("aten.ones.default", numbers(HUGE, 1), out="points"),
        node("aten.cdist.default", tensor("points"), tensor("points")),
    ),
    _bomb("cat, doubled 40 times", *_doubling_cat(40)),
    _bomb("a size squared six times", *_doubling_size(6)),
    _bomb("the eighth power of the batch", *_of_batch()),
    _bomb("much kept at once", *_kept(40)),
    _bomb("repeat, doubled", *_chain("aten.repeat.default", 40, numbers(1, 2, 1, 1))),
    _bomb(
        "unbound into a hundred million pieces",
        node("aten.zeros.default", numbers(100_000_000), out="long"),
        node("aten.unbind.int", tensor("long")),
    ),
    _bomb(
        "split into a hundred million pieces",
        node("aten.zeros.default", numbers(100_000_000), out="long"),
        node("aten.split.Tensor", tensor("long"), number(1)),
    ),
    _bomb("two billion sections", node("aten.tensor_split.sections", tensor("x"), number(2**31 - 1))),
    _bomb(
        "attention over a million places",
        node("aten.ones.default", numbers(1, 1, HUGE, 1), out="places"),
        node("aten.scaled_dot_product_attention.default", *[tensor("places")] * 3),
    ),
    _slow(
        "3,000 sines of 64 million numbers",
        node("aten.ones.default", numbers(64_000_000), out="many"),
        *_chain("aten.sin.default", 3_000, first="many"),
    ),
    _slow(
        "twenty products",
        _SQUARE,
        node("aten.t.default", tensor("square"), out="turned"),
        *(node("aten.mm.default", tensor("square"), tensor("turned"), out=f"product_{step}") for step in range(20)),
    ),
    _slow(
        "a pool over everything",
        node("aten.ones.default", numbers(1, 1, 8_001, 8_001), out="plane"),
        node("aten.max_pool2d.default", tensor("plane"), numbers(4_001, 4_001), numbers(1, 1), numbers(2_000, 2_000)),
    ),
    _slow(
        "sums along the whole of one row",
        node("aten.ones.default", numbers(1, 1, 8_001, 8_001), out="plane"),
        node("aten.avg_pool2d.default", tensor("plane"), numbers(4_001, 4_001), numbers(1, 1)),
    ),
    _slow(
        "distances of long vectors",
        node("aten.ones.default", numbers(4_000, 16_000), out="points"),
        node("aten.cdist.default", tensor("points"), tensor("points"), real(1.0), {"as_none": True}),
        *_chain("aten.cdist.default", 60, tensor("points"), real(1.0), first="points"),
    ),
    Case("50,001 operations", "time", inserted(*_chain("aten.neg.default", 50_001))),
)
