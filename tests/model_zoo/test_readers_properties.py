"""Sound files changed at random: a network that runs or is refused, or a refusal, in little time and memory, no file.

The changes know the formats: values in the JSON, operations of the list, members of the archive, and single bytes.
"""

from __future__ import annotations

import copy
import json
import resource
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.formats import EXPORTED, check_file
from model_zoo.checkpoints.operations import ALLOWED
from model_zoo.loading import load_submitted
from tests.model_zoo.corpus.archives import zipped
from tests.model_zoo.corpus.case import CONSTANTS, PROGRAM, WEIGHTS, Json, nodes
from tests.model_zoo.corpus.headers import ENTRY, honest
from tests.model_zoo.exported import Small, export
from tests.model_zoo.files import framed

pytestmark = pytest.mark.slow

SECONDS = 10
GROWTH_BYTES = 2 * 10**9
VALUES: list[object] = [
    *(None, True, False, "", "x", "linear", "p_conv_weight", "float32", "cpu", "meta", "../../x", "\ud800", "a" * 500),
    *(0, 1, 2, 3, 7, 8, 64, 4096, -1, -2, 2**31 - 1, 2**31, 2**32, 2**63 - 1, -(2**63), 2**64, 10**30),
    *(0.0, -0.0, 0.5, 1e-300, 1e308, float("inf"), float("nan"), 1.5),
    *([], {}, [[]], [0] * 100, {"as_int": 0}, {"as_none": True}, {"as_tensor": {"name": "x"}}, {"as_ints": [2, -1]}),
    *({"as_sym_int": {"as_name": "sym_size_int_1"}}, {"as_string": "meta"}, {"as_scalar_type": 12}, {"as_bool": True}),
]
TARGETS = sorted(ALLOWED)
OPERATORS = ("_operator.add", "_operator.mul", "_operator.floordiv", "_operator.mod", "_operator.neg")


class Mixed(nn.Module):
    """A network of other kinds: attention, pieces, a pool, constants made in the graph and a change in place."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = nn.functional.gelu(self.patches(nn.functional.pad(x, (1, 1, 1, 1))))
        first, second = nn.functional.avg_pool2d(features, 2, ceil_mode=True).chunk(2, dim=1)
        tokens = torch.cat((first, second), 1).flatten(2).transpose(1, 2)
        places = torch.arange(tokens.shape[1]).div(10.0)
        tokens = self.norm(tokens + places[:, None].expand(-1, 8).clone().mul_(2.0))
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        logits: Tensor = self.head(mixed.mean(1))
        return logits.clamp(-50, 50)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[str, bytes]]]:
    """Two exported networks, by their members."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sound")
    found = []
    for model in (Small(), Mixed()):
        with zipfile.ZipFile(export(model, folder / "model.pt2")) as file:
            found.append([(info.filename, file.read(info)) for info in file.infolist()])
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("changed") / "model.pt2"


@contextmanager
def bounded(path: Path) -> Iterator[None]:
    """See that what is done takes little and leaves nothing, here or where the file is."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    yield
    assert time.perf_counter() - began < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GROWTH_BYTES
    assert list(Path.cwd().iterdir()) == []
    assert list(path.parent.iterdir()) == [path]


def places(value: object, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*way, key)
        yield from places(item, (*way, key))


def within(document: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        document = document[key]
    return document


def change_value(document: Any, draw: Callable[..., Any]) -> None:
    """Replace, remove, double or insert a value."""
    ways = list(places(document))
    if not ways:
        return
    way = draw(st.sampled_from(ways))
    parent, key = within(document, way[:-1]), way[-1]
    kind = draw(st.sampled_from(("replace", "replace", "nudge", "remove", "double", "move")))
    if kind == "replace":
        parent[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    elif kind == "nudge" and type(parent[key]) is int:
        parent[key] += draw(st.sampled_from((-1, 1, 2, 1000)))
    elif kind == "remove":
        del parent[key]
    elif kind == "double" and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif kind == "double":
        parent[f"{key}_"] = copy.deepcopy(parent[key])
    elif kind == "move":
        parent[key] = copy.deepcopy(within(document, draw(st.sampled_from(ways))))


def change_graph(document: Json, draw: Callable[..., Any]) -> None:
    """Change an operation, the values that it takes, their order, or a size."""
    operations = nodes(document)
    if not operations:
        return
    node = draw(st.sampled_from(operations))
    kind = draw(
        st.sampled_from(("target", "operator", "names", "argument", "swap", "double", "drop", "kind", "remove"))
    )
    inputs = node["inputs"]
    if kind == "target":
        node["target"] = "torch.ops." + draw(st.sampled_from(TARGETS))
    elif kind == "operator":
        node["target"] = draw(st.sampled_from(OPERATORS))
    elif kind == "names" and inputs:
        names = [spec["name"] for entry in document["graph_module"]["graph"]["inputs"] for spec in entry.values()]
        names += [body["name"] for n in operations for out in n["outputs"] for body in out.values() if "name" in body]
        draw(st.sampled_from(inputs))["arg"] = {"as_tensor": {"name": draw(st.sampled_from(names))}}
    elif kind == "argument" and inputs:
        argument = draw(st.sampled_from(inputs))
        argument["arg"] = draw(
            st.sampled_from(
                [{"as_int": n} for n in (-1, 0, 1, 2, 7, 1000, 2**31)]
                + [{"as_ints": [n] * m} for n in (-1, 0, 1, 2, 3, 100_000) for m in (1, 2, 4)]
                + [{"as_float": f} for f in (0.0, -1.0, 0.5, 1e30)]
                + [{"as_bool": True}, {"as_none": True}, {"as_string": "same"}, {"as_scalar_type": 8}]
            )
        )
    elif kind == "swap":
        other = draw(st.sampled_from(operations))
        node["inputs"], other["inputs"] = other["inputs"], node["inputs"]
    elif kind == "double" and inputs:
        inputs.append(copy.deepcopy(draw(st.sampled_from(inputs))))
    elif kind == "drop" and inputs:
        inputs.remove(draw(st.sampled_from(inputs)))
    elif kind == "kind" and inputs:
        draw(st.sampled_from(inputs))["kind"] = draw(st.sampled_from((0, 1, 2, 3)))
    elif kind == "remove":
        operations.remove(node)


def change_members(contents: list[tuple[str, bytes]], draw: Callable[..., Any]) -> None:
    """Rename, cut, damage, remove, double or move a member."""
    if not contents:
        return
    place = draw(st.integers(0, len(contents) - 1))
    name, content = contents[place]
    kind = draw(st.sampled_from(("rename", "cut", "damage", "remove", "double", "move")))
    if kind == "rename":
        other = draw(st.sampled_from([other for other, _ in contents]))
        contents[place] = (draw(st.sampled_from((other, name + "0", name.upper(), "../" + name, "x"))), content)
    elif kind == "cut":
        contents[place] = (name, content[: draw(st.integers(0, max(len(content) - 1, 0)))])
    elif kind == "damage" and content:
        at = draw(st.integers(0, len(content) - 1))
        contents[place] = (name, content[:at] + draw(st.binary(min_size=1, max_size=4)) + content[at + 1 :])
    elif kind == "remove":
        del contents[place]
    elif kind == "double":
        contents.append(contents[place])
    elif kind == "move":
        contents.insert(draw(st.integers(0, len(contents) - 1)), contents.pop(place))


def change_bytes(content: bytearray, draw: Callable[..., Any]) -> None:
    """Change, remove or insert a few bytes, most often at the beginning or the end, where the headers are."""
    if not content:
        return
    near = draw(st.sampled_from((300, 3_000, len(content))))
    place = min(draw(st.integers(0, near)), len(content) - 1)
    place = draw(st.sampled_from((place, len(content) - 1 - place)))
    kind = draw(st.sampled_from(("replace", "replace", "remove", "insert", "cut")))
    if kind == "replace":
        content[place] = draw(st.integers(0, 255))
    elif kind == "remove":
        del content[place : place + draw(st.integers(1, 40))]
    elif kind == "insert":
        content[place:place] = draw(st.binary(min_size=1, max_size=8))
    else:
        del content[place:]


def changed_archive(contents: list[tuple[str, bytes]], draw: Callable[..., Any]) -> bytes:
    """Change an exported network in up to three ways."""
    contents = list(contents)
    raw = 0
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(
            st.sampled_from((PROGRAM, PROGRAM, "graph", "graph", "graph", WEIGHTS, CONSTANTS, "members", "bytes"))
        )
        if kind == "members":
            change_members(contents, draw)
        elif kind == "bytes":
            raw += 1
        else:
            ending = PROGRAM if kind == "graph" else kind
            for place, (name, content) in enumerate(contents):
                if name.endswith(ending):
                    try:
                        document = json.loads(content)
                        (change_graph if kind == "graph" else change_value)(document, draw)
                    except (ValueError, KeyError, TypeError, AttributeError):
                        continue  # changed before in such a way that it no longer is what it was
                    contents[place] = (name, json.dumps(document).encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = bytearray(zipped(contents))
    for _ in range(raw):
        change_bytes(whole, draw)
    return bytes(whole)


@given(data=st.data())
@settings(max_examples=4_000)
def test_a_changed_archive_is_sound_or_refused(
    archives: list[list[tuple[str, bytes]]], path: Path, data: st.DataObject
) -> None:
    path.write_bytes(changed_archive(data.draw(st.sampled_from(archives)), data.draw))
    with bounded(path):
        try:
            found = check_file(path)
        except InvalidCheckpoint as error:
            json.dumps(error.as_json()).encode("ascii")
        else:
            assert found == "pt2"


@given(data=st.data())
@settings(max_examples=2_500)
@pytest.mark.filterwarnings("ignore")  # torch warns of odd arguments; a worker shows none of that
def test_a_changed_network_runs_or_is_refused(
    archives: list[list[tuple[str, bytes]]], path: Path, data: st.DataObject
) -> None:
    path.write_bytes(changed_archive(data.draw(st.sampled_from(archives)), data.draw))
    images = torch.full((2, 1, 8, 8), 0.5)
    with bounded(path), torch.no_grad():
        try:
            network = load_submitted(path, EXPORTED, "digits")
            logits = network(images)
            again = network(images)
        except InvalidCheckpoint as error:
            json.dumps(error.as_json()).encode("ascii")
            return
        assert logits.shape == (2, 10)
        assert logits.is_floating_point()
        assert torch.equal(logits, again) or bool(logits.isnan().any())
        assert torch.equal(images, torch.full((2, 1, 8, 8), 0.5))


@given(data=st.data())
@settings(max_examples=2_500)
def test_a_changed_safetensors_file_loads_or_is_refused(path: Path, data: st.DataObject) -> None:
    content = honest()
    end = 8 + int.from_bytes(content[:8], "little")
    header, tensors = json.loads(content[8:end]), content[end:]
    raw = 0
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            change_value(header, data.draw)
        else:
            raw += 1
    mutated = bytearray(framed(json.dumps(header).encode(), tensors))
    for _ in range(raw):
        change_bytes(mutated, data.draw)
    path.write_bytes(mutated)
    with bounded(path), torch.no_grad():
        try:
            network = load_submitted(path, ENTRY.architecture, "digits")
            logits = network(torch.full((2, 1, 8, 8), 0.5))
        except InvalidCheckpoint as error:
            json.dumps(error.as_json()).encode("ascii")
        else:
            assert logits.shape == (2, 10)
