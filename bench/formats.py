"""Compare networks with their exported files, family by family: answers, gradients, time; the result is a page.

    python -m bench.formats --quick --families ResNet-18

The network as its author has it and the one that was read from its file take turns on the same images, in one process
with one thread and frozen parameters, as an evaluation has them.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from bench.families import FAMILIES, Family, untrained
from benchmark.allocator import keep_freed_memory
from gauntlet.exporting import export
from model_zoo.interpreter import load_program

PAGE = Path(__file__).resolve().parents[1] / "docs/benchmarks/formats.md"
TOLERANCE = 1e-5
"""Greatest difference of logits and gradients, relative to the greatest of the network's own."""
TIMED, MOST = "ResNet-18", 1.3
"""The family that must not take more than so many times its own time."""
_COLUMNS = (
    *("family", "images", "operations", "file MB", "difference of logits", "of gradients"),
    *("network ms", "its file ms", "ratio", "export s", "load s"),
)


@dataclass(frozen=True)
class Comparison:
    """A network and its file.

    Args:
        operations: of the exported graph.
        megabytes: of the file.
        logits: greatest difference, relative to the greatest logit.
        gradients: greatest difference of the images' gradients, relative to the greatest gradient.
        export_s: to write the file, to read it back and to compare the two.
        load_s: to read and check the file.
        eager_ms: median time of a forward and a backward pass of the network.
        ours_ms: the same of what was read from the file.
    """

    name: str
    size: int
    operations: int
    megabytes: float
    logits: float
    gradients: float
    export_s: float
    load_s: float
    eager_ms: float
    ours_ms: float

    @property
    def ratio(self) -> float:
        """Our time over the network's."""
        return self.ours_ms / self.eager_ms

    @property
    def is_equal(self) -> bool:
        """Whether no number differs in a single bit."""
        return self.logits == self.gradients == 0


def compare(family: Family, rows: int, rounds: int, *, small: bool) -> Comparison:
    """Export a family's network and measure it against what is read from the file."""
    network = untrained(family.small if small else family.usual)
    size = family.small_size if small else family.size
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        exported = export(network, torch.rand(1, 3, size, size), Path(directory) / "model.pt2")
        written = time.perf_counter()
        loaded = load_program(exported.path)
        read = time.perf_counter()
        megabytes = exported.path.stat().st_size / 1e6
    network.requires_grad_(False)
    loaded.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(rows, 3, size, size, generator=generator)
    logits, gradients = (
        float((ours - theirs).abs().max() / theirs.abs().max())
        for ours, theirs in zip(_answers(loaded, images), _answers(network, images), strict=True)
    )
    eager, ours = _times((network, loaded), images, rounds)
    return Comparison(
        name=family.name,
        size=size,
        operations=exported.operations,
        megabytes=megabytes,
        logits=logits,
        gradients=gradients,
        export_s=written - began,
        load_s=read - written,
        eager_ms=1e3 * eager,
        ours_ms=1e3 * ours,
    )


def _answers(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits, and the gradient with respect to the images of what draws on all of them."""
    images = images.clone().requires_grad_()
    logits: Tensor = model(images)
    (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), images)
    return logits.detach(), gradient


def _times(models: Sequence[nn.Module], images: Tensor, rounds: int) -> list[float]:
    """Return the median seconds of each; they take turns, and who begins changes."""
    for model in models:
        _answers(model, images)
    seconds: list[list[float]] = [[] for _ in models]
    for number in range(rounds):
        order = range(len(models)) if number % 2 == 0 else reversed(range(len(models)))
        for place in order:
            began = time.perf_counter()
            _answers(models[place], images)
            seconds[place].append(time.perf_counter() - began)
    return [median(times) for times in seconds]


def failures(found: Sequence[Comparison]) -> list[str]:
    """Return what is not as it must be, in words."""
    apart = [one for one in found if not all(value <= TOLERANCE for value in (one.logits, one.gradients))]
    slow = [one for one in found if one.name == TIMED and one.ratio > MOST]
    return [
        *(f"{one.name}: its file differs by {max(one.logits, one.gradients):.1e}" for one in apart),
        *(f"{one.name}: its file takes {one.ratio:.2f} times as long" for one in slow),
    ]


def page(found: Sequence[Comparison], rows: int, rounds: int) -> str:
    """Return the measurements as Markdown."""
    equal = [one.name for one in found if one.is_equal]
    others = [one.name for one in found if not one.is_equal]
    ratios = sorted(one.ratio for one in found)
    lines = [
        "# Exported networks: equality and speed",
        "",
        "One command exports an untrained network of each family with `gauntlet.export`, reads the file as the service",
        "does, and compares the two on the same images. It writes this page:",
        "",
        "```",
        "make formats",
        "```",
        "",
        f"Machine: {_processor()}; Python {platform.python_version()}, torch {torch.__version__}, one thread.",
        f"Times are medians of {rounds} rounds on batches of {rows} images; the network and its file take turns",
        "with a forward pass and the backward pass to the images. On another machine only the ratio means anything.",
        "",
        "- **Difference** is the greatest of all logits, or of all gradients of the images, relative to the greatest",
        f"  of the network's own; it must not be above {TOLERANCE:.0e}. Zero is bit-identical.",
        f"- **Ratio** is the time of what was read from the file over the network's own; for {TIMED} at most {MOST}.",
        "- **Export** includes that the file is read back and compared on batches of two other sizes.",
        "",
        "## What it says",
        "",
        f"- {len(equal)} of {len(found)} families are bit-identical, logits and gradients"
        + (f"; not so: {', '.join(others)}." if others else "."),
        f"- The ratio is {ratios[0]:.2f} to {ratios[-1]:.2f}, with a median of {median(ratios):.2f}.",
        *(f"- Missed: {line}." for line in failures(found)),
        "",
        "## Table",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
        *(_row(one) for one in found),
        "",
    ]
    return "\n".join(lines)


def _row(found: Comparison) -> str:
    cells = (
        found.name,
        f"{found.size}×{found.size}",
        str(found.operations),
        f"{found.megabytes:.1f}",
        _difference(found.logits),
        _difference(found.gradients),
        f"{found.eager_ms:.1f}",
        f"{found.ours_ms:.1f}",
        f"{found.ratio:.2f}",
        f"{found.export_s:.1f}",
        f"{found.load_s:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def _difference(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _processor() -> str:
    try:
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [family.name for family in FAMILIES]
    parser.add_argument("--families", nargs="+", default=names, choices=names, metavar="NAME", help="by default all")
    parser.add_argument("--rows", type=int, default=8, help="images in a batch")
    parser.add_argument("--rounds", type=int, default=9, help="of timing")
    parser.add_argument("--quick", action="store_true", help="small networks and few rounds, to see that all works")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the exporter's, of its own deprecations
    keep_freed_memory()
    rows, rounds = (2, 3) if chosen.quick else (chosen.rows, chosen.rounds)
    found = []
    for family in FAMILIES:
        if family.name in chosen.families:
            found.append(compare(family, rows, rounds, small=chosen.quick))
            print(_row(found[-1]), file=sys.stderr, flush=True)
    text = page(found, rows, rounds)
    # A page of some families, or of small networks, is nobody's record.
    if chosen.quick or len(found) < len(FAMILIES):
        print(text)
    else:
        PAGE.write_text(text, encoding="utf-8")
    sys.exit("\n".join(failures(found)) or None)


if __name__ == "__main__":
    main()
