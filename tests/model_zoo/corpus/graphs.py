"""Graphs that do not hold together, keep state, or trust torch with what it does not check."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.model_zoo.corpus.case import (
    Case,
    Json,
    Workplace,
    ending,
    inserted,
    node,
    nodes,
    number,
    numbers,
    program,
    real,
    tensor,
    text,
)


def _signature(edit: Callable[[Json], object]) -> Callable[[Workplace], object]:
    return program(lambda document: edit(document["graph_module"]["signature"]))


def _images(*sizes: Json) -> Callable[[Workplace], object]:
    return program(lambda d: d["graph_module"]["graph"]["tensor_values"]["x"].update(sizes=list(sizes)))


def _renamed(document: Json) -> None:
    """Have two operations read each other's result."""
    first, second = nodes(document)[4], nodes(document)[5]
    first["inputs"][0]["arg"], second["inputs"][0]["arg"] = second["outputs"][0], first["outputs"][0]


def _again(document: Json) -> None:
    nodes(document).append(json.loads(json.dumps(nodes(document)[1])))


def _size(name: str) -> Json:
    return {"as_sym_int": {"as_name": name}}


def _named_arguments(document: Json) -> None:
    nodes(document)[1]["inputs"].append({"name": "self", "arg": tensor("x"), "kind": 2})


_FALSE: Json = {"as_bool": False}
_TRUE: Json = {"as_bool": True}
_ANY: Json = {"as_expr": {"expr_str": "s0", "hint": None}}
_SIZES = [{"as_int": 1}, {"as_int": 8}, {"as_int": 8}]
_STATISTICS = (
    tensor("p_norm_weight"),
    tensor("p_norm_bias"),
    tensor("b_norm_running_mean"),
    tensor("b_norm_running_var"),
)

CASES = (
    Case("a name given twice", "confusion", program(_again)),
    Case("names before they are given", "confusion", program(lambda d: nodes(d).reverse())),
    Case("a circle", "confusion", program(_renamed)),
    Case("a name that nobody gives", "confusion", inserted(node("aten.relu.default", tensor("nobody")))),
    Case("itself", "confusion", inserted(node("aten.relu.default", tensor("evil")))),
    Case("the name of the images", "confusion", inserted(node("aten.relu.default", tensor("x"), out="x"))),
    Case("the name of a parameter", "confusion", inserted(node("aten.relu.default", tensor("x"), out="p_conv_weight"))),
    Case("no images", "confusion", _signature(lambda s: s["input_specs"].pop())),
    Case("images twice", "confusion", _signature(lambda s: s["input_specs"].append(s["input_specs"][-1]))),
    Case(
        "two batches of images",
        "confusion",
        _signature(lambda s: s["input_specs"].append({"user_input": {"arg": tensor("y")}})),
    ),
    Case(
        "an object as input",
        "code",
        _signature(lambda s: s["input_specs"].append({"custom_obj": {"arg": {"name": "o"}}})),
    ),
    Case(
        "a token as input", "effects", _signature(lambda s: s["input_specs"].append({"token": {"arg": {"name": "t"}}}))
    ),
    Case("no output", "confusion", _signature(lambda s: s["output_specs"].clear())),
    Case("two outputs", "confusion", _signature(lambda s: s["output_specs"].append(s["output_specs"][0]))),
    Case(
        "a number as output",
        "confusion",
        _signature(lambda s: s.update(output_specs=[{"user_output": {"arg": number(1)}}])),
    ),
    Case(
        "a size as output",
        "confusion",
        _signature(lambda s: s.update(output_specs=[{"user_output": {"arg": tensor("sym_size_int_1")}}])),
    ),
    Case(
        "a buffer written as output",
        "state",
        _signature(
            lambda s: s["output_specs"].insert(
                0, {"buffer_mutation": {"arg": {"name": "relu_"}, "buffer_name": "mean"}}
            )
        ),
    ),
    Case(
        "the images written as output",
        "state",
        _signature(
            lambda s: s["output_specs"].insert(
                0, {"user_input_mutation": {"arg": {"name": "relu_"}, "user_input_name": "x"}}
            )
        ),
    ),
    Case("images without dimensions", "confusion", _images()),
    Case("a fixed batch", "confusion", _images({"as_int": 4}, *_SIZES)),
    Case("no pixels", "division by nothing", _images(_ANY, {"as_int": 1}, {"as_int": 0}, {"as_int": 8})),
    Case("a huge image", "memory", _images(_ANY, *[{"as_int": 2**31 - 1}] * 3)),
    Case("another size of images", "confusion", _images(_ANY, {"as_int": 3}, {"as_int": 8}, {"as_int": 8})),
    Case("a parameter changed in place", "state", inserted(node("aten.relu_.default", tensor("p_conv_weight")))),
    Case(
        "a parameter changed in place, by the argument's name",
        "state",
        inserted(node("aten.relu_.default", self=tensor("p_conv_weight"))),
    ),
    Case("a buffer changed in place", "state", inserted(node("aten.add_.Tensor", tensor("b_mean"), number(1)))),
    Case(
        "an argument given by place and by name",
        "confusion",
        program(_named_arguments),
    ),
    Case("dropout as in training", "randomness", inserted(node("aten.dropout.default", tensor("x"), real(0.5), _TRUE))),
    Case(
        "dropout told by a number",
        "randomness",
        inserted(node("aten.dropout.default", tensor("x"), real(0.5), number(1))),
    ),
    Case(
        "batch normalisation as in training",
        "state",
        inserted(
            node("aten.batch_norm.default", tensor("conv2d"), *_STATISTICS, _TRUE, real(0.1), real(1e-5), _FALSE), at=3
        ),
    ),
    Case(
        "instance normalisation with the batch's statistics",
        "state, for it writes them into the buffers",
        inserted(
            node("aten.instance_norm.default", tensor("conv2d"), *_STATISTICS, _TRUE, real(0.1), real(1e-5), _FALSE),
            at=3,
        ),
    ),
    Case(
        "attention with dropout",
        "randomness",
        inserted(
            node(
                "aten.scaled_dot_product_attention.default",
                *(tensor("x"), tensor("x"), tensor("x")),
                dropout_p=real(0.5),
            )
        ),
    ),
    Case(
        "batch normalisation of 64 channels by four",
        "memory beyond the statistics",
        inserted(
            node("aten.repeat.default", tensor("x"), numbers(1, 64, 1, 1), out="wide"),
            {
                **node(
                    "aten._native_batch_norm_legit_no_training.default",
                    tensor("wide"),
                    *_STATISTICS,
                    real(0.1),
                    real(1e-5),
                ),
                "outputs": [tensor("evil"), tensor("evil_1"), tensor("evil_2")],
            },
        ),
    ),
    Case(
        "a grid sampled in a mode that is none",
        "memory that nobody wrote",
        inserted(
            node("aten.expand.default", tensor("x"), numbers(-1, 2, -1, -1), out="wide"),
            node("aten.permute.default", tensor("wide"), numbers(0, 2, 3, 1), out="grid"),
            node("aten.grid_sampler.default", tensor("x"), tensor("grid"), number(7), number(0), _FALSE),
        ),
    ),
    Case(
        "complex numbers by the type's number",
        "a kind of tensor that no check knows",
        inserted(node("aten.to.dtype", tensor("x"), number(9))),
    ),
    Case(
        "quantised numbers by the type's number",
        "a kind of tensor that no check knows",
        inserted(node("aten.sum.default", tensor("x"), dtype=number(12))),
    ),
    Case(
        "a sparse tensor",
        "a layout that no check knows",
        inserted(node("aten.zeros.default", numbers(2), layout=number(1))),
    ),
    Case(
        "a device by its name",
        "data that is nowhere",
        inserted(node("aten.zeros.default", numbers(2), device=text("meta"))),
    ),
    Case(
        "the images on the meta device",
        "data that is nowhere",
        inserted(node("aten.to.device", tensor("x"), text("meta"), {"as_scalar_type": 7})),
    ),
    Case(
        "another device",
        "a device of the service's",
        inserted(node("aten._to_copy.default", tensor("x"), device=text("cuda:0"))),
    ),
    Case("pinned memory", "memory of the device's", inserted(node("aten.zeros.default", numbers(2), pin_memory=_TRUE))),
    Case(
        "an unknown argument", "confusion", inserted(node("aten.relu.default", tensor("x"), out="evil", evil=number(1)))
    ),
    Case("too few arguments", "confusion", inserted(node("aten.linear.default"))),
    Case("too many arguments", "confusion", inserted(node("aten.relu.default", *[tensor("x")] * 9))),
    Case("a text for a number", "confusion", inserted(node("aten.mul.Scalar", tensor("x"), text("1")))),
    Case("a tensor for a size", "confusion", inserted(node("aten.unsqueeze.default", tensor("x"), tensor("x")))),
    Case(
        "shapes that do not fit",
        "confusion",
        inserted(node("aten.matmul.default", tensor("x"), tensor("p_last_weight"))),
    ),
    Case("a dimension that is none", "confusion", inserted(node("aten.sum.dim_IntList", tensor("x"), numbers(9)))),
    Case(
        "fewer results than there are", "confusion", inserted({**node("aten.relu.default", tensor("x")), "outputs": []})
    ),
    Case(
        "more results than there are",
        "confusion",
        inserted({**node("aten.relu.default", tensor("x")), "outputs": [tensor("a"), tensor("b")]}),
    ),
    Case(
        "a result of another kind",
        "confusion",
        inserted({**node("aten.relu.default", tensor("x")), "outputs": [{"as_custom_obj": {"name": "o"}}]}),
    ),
    Case(
        "division of sizes by nothing",
        "confusion",
        inserted({**node("_operator.floordiv", number(1), number(0)), "outputs": [_size("q")]}),
    ),
    Case(
        "a tensor among sizes",
        "confusion",
        inserted({**node("_operator.mul", tensor("x"), tensor("x")), "outputs": [_size("q")]}),
    ),
    Case(
        "places by a mask",
        "a size that depends on values",
        inserted(
            node("aten.gt.Scalar", tensor("x"), real(0.5), out="mask"),
            node("aten.index.Tensor", tensor("x"), {"as_tensors": [{"name": "mask"}]}),
        ),
    ),
    Case(
        "as many classes as the greatest pixel",
        "a size that depends on values",
        inserted(
            node("aten.to.dtype", tensor("x"), {"as_scalar_type": 5}, out="long"),
            node("aten.one_hot.default", tensor("long")),
        ),
    ),
    Case("classes first", "another reading of the logits", ending(node("aten.t.default", tensor("linear")))),
    Case("logits of another type", "confusion", ending(node("aten.to.dtype", tensor("linear"), {"as_scalar_type": 5}))),
    Case("one logit", "another number of classes", ending(node("aten.sum.default", tensor("linear")))),
    Case(
        "eleven classes",
        "another number of classes",
        ending(node("aten.constant_pad_nd.default", tensor("linear"), numbers(0, 1))),
    ),
    Case(
        "logits of one image",
        "fewer rows",
        ending(node("aten.slice.Tensor", tensor("linear"), number(0), number(0), number(1))),
    ),
    Case("the images as logits", "confusion", ending(node("aten.alias.default", tensor("x")))),
)
