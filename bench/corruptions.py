"""Compare our common corruptions with the authors' programs, and show what they do to digits; the result is a page.

    git clone https://github.com/hendrycks/robustness AUTHORS
    python -m venv PEER
    PEER/bin/python -m pip install imagecorruptions==1.1.2 opencv-python-headless==4.10.0.84 scikit-image==0.22.0 \\
        "numpy<2" "setuptools<80"
    python -m bench.corruptions --authors AUTHORS --peer PEER

The others run with an interpreter of their own, because they need an older numpy; images travel in files.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from bench.corruptions_page import SHEET, Agreement, Found, page, sheet
from bench.networks import load_points
from benchmark.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from benchmark.datasets import load
from model_zoo import load_model
from model_zoo.registry import cards

PAGE = SHEET.with_suffix(".md")
SIDE = 224
PROGRAMS = "ImageNet-C/create_c/make_{}_c.py"
Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Others:
    """Where the others' programs are.

    Args:
        interpreter: Python with what they need.
        authors: folder of the authors' repository.
    """

    interpreter: Path
    authors: Path

    def corrupted(self, source: str, images: Levels, draws: int) -> Mapping[str, Levels]:
        """Return the images under the source's corruptions by name, (draws, severities, n, height, width, 3)."""
        with TemporaryDirectory() as folder:
            clean, results = Path(folder) / "clean.npy", Path(folder) / "results.npz"
            np.save(clean, images)
            program = Path(__file__).with_name("corruptions_peer.py")
            subprocess.run([self.interpreter, program, source, clean, str(draws), results], check=True)
            with np.load(results) as arrays:
                return dict(arrays)


def photographs() -> Levels:
    """Return the two photographs that scikit-learn brings along, reduced and in crops, (n, 224, 224, 3)."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise FileNotFoundError("scikit-learn")
    found = []
    for name in ("china", "flower"):
        with Image.open(Path(package.origin).parent / f"datasets/images/{name}.jpg") as photograph:
            side, left = photograph.height, (photograph.width - photograph.height) // 2
            whole = photograph.crop((left, 0, left + side, side))
            found.append(np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
            for left, top in ((20, 180), (200, 100), (400, 150)):
                found.append(np.asarray(photograph.crop((left, top, left + SIDE, top + SIDE))))
    return np.stack(found)


def compare(theirs: Mapping[str, Levels], images: Levels) -> Mapping[tuple[str, int], Agreement]:
    """Corrupt the images as often as they did, and measure."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255
    found = {}
    for corruption, results in theirs.items():
        for place, severity in enumerate(SEVERITIES):
            ours = np.stack([corrupted(x, corruption, severity, draw) for draw in range(len(results))])
            found[corruption, severity] = Agreement(
                ours=_distance(ours, images),
                theirs=_distance(results[:, place], images),
                difference=_distance(ours, results[:, place]),
            )
        print(corruption, images.shape[1], file=sys.stderr)
    return found


def corrupted(x: Tensor, corruption: str, severity: int, draw: int) -> Levels:
    """Return the images as levels, with the random numbers of other positions in each draw."""
    index = range(draw * len(x), (draw + 1) * len(x))
    levels: Levels = (corrupt(x, corruption, severity, index) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return levels


def _distance(one: Levels, other: Levels) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def accuracies() -> Mapping[tuple[str, int], Sequence[float]]:
    """Return the bundled models' accuracies on the digits, clean (severity 0 of nothing) and corrupted."""
    points = load("digits")
    cells = {("", 0): points.x}
    cells |= {
        (name, severity): corrupt(points.x, name, severity, points.index)
        for name in CORRUPTIONS
        for severity in SEVERITIES
    }
    found: dict[tuple[str, int], list[float]] = {cell: [] for cell in cells}
    for card in cards():
        model = load_model(card.id, dataset=card.dataset, threat_model=card.threat_models[0])
        for cell, x in cells.items():
            with torch.no_grad():
                found[cell].append(float((model(x).argmax(1) == points.y).double().mean()))
    return found


def seconds(x: Tensor) -> float:
    """Return how long all cells of these points take."""
    began = time.perf_counter()
    for corruption in CORRUPTIONS:
        for severity in SEVERITIES:
            corrupt(x, corruption, severity, range(len(x)))
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, write the page and the picture, and say whether all agree."""
    parser = argparse.ArgumentParser(prog="python -m bench.corruptions", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--authors", type=Path, required=True, help="folder of the repository hendrycks/robustness")
    parser.add_argument("--peer", type=Path, required=True, help="environment with the package imagecorruptions")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    others = Others(chosen.peer / "bin/python", chosen.authors)
    small = load_points("cifar_points", 100).x
    small_levels = (small * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    small_theirs = others.corrupted(str(others.authors / PROGRAMS.format("cifar")), small_levels, 2)
    large_theirs = {
        **others.corrupted(str(others.authors / PROGRAMS.format("imagenet")), photographs(), 2),
        **others.corrupted("imagecorruptions", photographs(), 6),
    }
    found = Found(
        small=compare(small_theirs, small_levels),
        large=compare(large_theirs, photographs()),
        accuracies=accuracies(),
        digits_seconds=seconds(load("digits").x),
        small_seconds=seconds(small),
    )
    PAGE.write_text(page(found), encoding="utf-8")
    sheet().save(SHEET, optimize=True)
    return 0 if found.agrees else 1


if __name__ == "__main__":
    raise SystemExit(main())
