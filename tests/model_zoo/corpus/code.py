"""Files that want to run code of their own; most of them do where torch's own loader reads them."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch

from tests.model_zoo.corpus.case import (
    CONSTANTS,
    PROGRAM,
    WEIGHTS,
    Case,
    Json,
    Workplace,
    inserted,
    node,
    nodes,
    number,
    program,
    tensor,
    text,
)
from tests.model_zoo.exported import changed, edited

COMPILER = shutil.which("cc")


class Payload:
    """Leaves the mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self._mark), "w")


def saved(mark: Path) -> bytes:
    """Return what torch.save makes of the payload."""
    buffer = io.BytesIO()
    torch.save(Payload(mark), buffer)
    return buffer.getvalue()


def pickled_entry(path_name: str) -> Json:
    meta = {
        "dtype": 7,
        "sizes": [{"as_int": 1}],
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": 1}],
        "storage_offset": {"as_int": 0},
        "layout": 7,
    }
    return {"path_name": path_name, "is_param": False, "use_pickle": True, "tensor_meta": meta}


def _sample_inputs(place: Workplace) -> None:
    changed(place.honest, place.path, {"data/sample_inputs/model.pt": lambda _: saved(place.mark)})


def _pickled_weight(place: Workplace) -> None:
    def edit(config: Json) -> None:
        config["config"]["conv.weight"].update(use_pickle=True)

    changes = {WEIGHTS: edited(edit), "data/weights/weight_0": lambda _: saved(place.mark)}
    changed(place.honest, place.path, changes)


def _constant(name: str, content: Callable[[Path], bytes]) -> Callable[[Workplace], None]:
    def write(place: Workplace) -> None:
        def edit(config: Json) -> None:
            config["config"]["evil"] = pickled_entry(name)

        added = {f"data/constants/{name}": content(place.mark)}
        changed(place.honest, place.path, {CONSTANTS: edited(edit)}, added)

    return write


def _legacy(folder: str) -> Callable[[Workplace], None]:
    return lambda place: _ignore(
        changed(place.honest, place.path, added={f"data/{folder}/model.pt": saved(place.mark)})
    )


def _ignore(_: object) -> None:
    """Have a function that returns something stand where one does that returns nothing."""


def _expression(place: Workplace) -> None:
    def edit(document: Json) -> None:
        size = document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]
        size["expr_str"] = f"__import__('pathlib').Path({str(place.mark)!r}).touch()"

    changed(place.honest, place.path, {PROGRAM: edited(edit)})


def _size_expression(place: Workplace) -> None:
    def edit(document: Json) -> None:
        values = document["graph_module"]["graph"]["sym_int_values"]
        for value in values.values():
            value["as_expr"]["expr_str"] = f"__import__('pathlib').Path({str(place.mark)!r}).touch()"

    changed(place.honest, place.path, {PROGRAM: edited(edit)})


def _placeholder(place: Workplace) -> None:
    hostile = f"x=open({str(place.mark)!r},'w')"

    def change(content: bytes) -> bytes:
        return content.replace(b'"x"', json.dumps(hostile).encode())

    changed(place.honest, place.path, {PROGRAM: change})


def _guards(place: Workplace) -> None:
    def edit(document: Json) -> None:
        document["guards_code"] = [f"open({str(place.mark)!r},'w')"]

    changed(place.honest, place.path, {PROGRAM: edited(edit)})


def _library(place: Workplace) -> None:
    """Add a library that leaves the mark when it is loaded; without a compiler, a stub that nothing can load."""
    library = b"\x7fELF"
    if COMPILER:
        source = place.path.with_suffix(".c")
        source.write_text(
            "#include <fcntl.h>\n__attribute__((constructor)) static void run(void)"
            f'{{ open("{place.mark}", O_CREAT | O_WRONLY, 0600); }}\n'
        )
        built = place.path.with_suffix(".so")
        subprocess.run([COMPILER, "-shared", "-fPIC", "-o", built, source], check=True, timeout=60)
        library = built.read_bytes()
        source.unlink()
        built.unlink()
    folder = "data/aotinductor/model"
    metadata = json.dumps({"AOTI_DEVICE_KEY": "cpu"}).encode()
    added = {f"{folder}/model.wrapper.so": library, f"{folder}/model.wrapper_metadata.json": metadata}
    changed(place.honest, place.path, added=added)


def _calling(target: str, **named: Json) -> Callable[[Workplace], object]:
    """Put in an operation that is given the mark's name."""

    def write(place: Workplace) -> None:
        def edit(document: Json) -> None:
            graph = document["graph_module"]["graph"]
            call = node(target, text(_command(target, place.mark)))
            call["inputs"][0]["name"] = "filename"
            call["inputs"] += [{"name": name, "arg": argument, "kind": 2} for name, argument in named.items()]
            graph["nodes"].insert(1, call)
            graph["tensor_values"]["evil"] = graph["tensor_values"]["linear"]  # torch wants it described

        changed(place.honest, place.path, {PROGRAM: edited(edit)})

    return write


def _command(target: str, mark: Path) -> str:
    return f"touch {mark}" if target.endswith("system") else str(mark)


def _program_with(key: str, value: object) -> Callable[[Workplace], object]:
    def edit(document: Json) -> None:
        nodes(document)[1]["inputs"][1]["arg"] = {key: value}

    return program(edit)


_OTHERS = (
    "aten.rand.default",
    "aten.empty.memory_format",
    "aten.new_empty.default",
    "aten.empty_like.default",
    "aten.resize_.default",
    "aten.set_.source_Tensor",
    "aten.as_strided.default",
    "aten.as_strided_.default",
    "aten.bernoulli.p",
    "aten.data.default",
    "aten.set_data.default",
    "aten.nonzero.default",
    "aten.masked_select.default",
    "aten.item.default",
    "aten._local_scalar_dense.default",
    "aten.native_dropout.default",
    "aten.relu.__class__",
    "aten.relu.default.__class__",
    "aten.__class__.__base__",
    "aten.relu.__init__.__globals__",
    "aten..default",
    "aten.relu.default ",
    "aten.relu.default\n",
    "aten.RELU.default",
)
_FOREIGN = (
    "torch.ops.prims.normal.default",
    "torch.ops.prims.empty_strided.default",
    "torch.ops.inductor.resize_storage_bytes_.default",
    "torch.ops.higher_order.cond",
    "torch.ops.higher_order.while_loop",
    "torch.ops.higher_order.wrap_with_set_grad_enabled",
    "torch.ops.load_library",
    "torch.ops.quantized.add.default",
    "torch.ops.profiler._record_function_enter_new.default",
    "torch.load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.ops.aten",
    "torch.ops.",
    "torch.sym_int",
    "math.sqrt",
    "_operator.methodcaller",
    "_operator.attrgetter",
    "_operator.itemgetter",
    "_operator.getitem",
    "_operator.call",
    "_operator.pow",
    "_operator.lshift",
    "_operator.matmul",
    "_operator.add.__class__",
    "operator.add",
    "builtins.eval",
    "builtins.exec",
    "builtins.getattr",
    "os.system",
    "eval",
    "",
    "#evil:operator",
    "../../models/model.json",
)

CASES = (
    Case("sample inputs", "torch falls back to unpickling them", _sample_inputs, "ignored", raw="load"),
    Case("pickled weight", "use_pickle has it unpickled", _pickled_weight, raw="load"),
    Case("pickled constant", "use_pickle has it unpickled", _constant("tensor_0", saved), raw="load"),
    Case(
        "opaque constant",
        "is always unpickled",
        _constant("opaque_obj_0", lambda mark: pickle.dumps(Payload(mark))),
        raw="load",
    ),
    Case("custom object", "is rebuilt by TorchScript", _constant("custom_obj_0", saved)),
    Case("legacy weights", "the older place of weights is unpickled", _legacy("weights"), raw="load"),
    Case("legacy constants", "the older place of constants is unpickled", _legacy("constants"), raw="load"),
    Case("size of the images", "sympy evaluates expressions", _expression, "ignored", raw="load"),
    Case("size of a value", "sympy evaluates expressions", _size_expression, "ignored", raw="load"),
    Case("placeholder", "its name is pasted into generated code", _placeholder, "ignored", raw="load"),
    Case("guards", "they are pasted into generated code", _guards, "ignored", raw="run"),
    Case("library", "it is loaded with the archive", _library, raw="load" if COMPILER else None),
    Case(
        "aten.from_file",
        "it makes or reads a file of any name",
        _calling("aten.from_file.default", shared={"as_bool": True}, size=number(1)),
        raw="run",
    ),
    Case("torch.os.system", "any attribute of torch can be called", _calling("torch.os.system")),
    Case("torch.ops.load_library", "any attribute of torch can be called", _calling("torch.ops.load_library")),
    Case("aten.save_to_file", "no operation may write", _calling("torch.ops.aten._save_to_file.default")),
    *(Case(f"operation {target!r}", "not on the list", inserted(node(target, tensor("x")))) for target in _OTHERS),
    *(Case(f"operation {target!r}", "not of aten's", inserted(node(target, tensor("x")))) for target in _FOREIGN),
    Case("as_graph", "a graph within the graph", _program_with("as_graph", {"name": "g", "graph": {"nodes": []}})),
    Case("as_custom_obj", "an object", _program_with("as_custom_obj", {"name": "o", "class_fqn": "os.system"})),
    Case("as_operator", "an operation as an argument", _program_with("as_operator", "os.system")),
    Case("as_complex", "numbers that no image needs", _program_with("as_complex", {"real": 1.0, "imag": 1.0})),
    Case("as_sym_bool", "a branch", _program_with("as_sym_bool", {"as_name": "x"})),
    Case("as_expr", "an expression as an argument", _program_with("as_expr", {"expr_str": "1+1"})),
    Case("an argument of a kind that nobody knows", "confusion", _program_with("as_code", "1")),
    Case(
        "two kinds at once",
        "the readers may differ",
        program(lambda d: nodes(d)[1]["inputs"][1]["arg"].update(number(1))),
    ),
)
