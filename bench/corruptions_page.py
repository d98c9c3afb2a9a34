"""The page and the picture that bench.corruptions writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image, ImageDraw

from bench.networks import load_points
from benchmark.corruptions import CORRUPTIONS, SEVERITIES, VERSION, corrupt
from benchmark.datasets import load

SHEET = Path(__file__).resolve().parents[1] / "docs/benchmarks/corruptions.png"
WITHOUT_CHANCE = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
TOLERANCE = 1.0
"""Greatest mean difference in levels where there is no chance; up to one is how they round."""
RATIO = 0.15
"""How far the mean distances from the clean images may lie apart where there is chance."""
CELL, MARGIN, GAP = 48, 108, 6


@dataclass(frozen=True)
class Agreement:
    """What became of one corruption at one severity, in levels of 255.

    Args:
        ours: mean distance of ours from the clean images.
        theirs: the same of the others'.
        difference: mean distance between ours and theirs.
    """

    ours: float
    theirs: float
    difference: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


Table = Mapping[tuple[str, int], Agreement]


@dataclass(frozen=True)
class Found:
    """All that was measured.

    Args:
        small: agreement at 32 pixels.
        large: agreement at 224 pixels.
        accuracies: the models' on the digits, by corruption and severity; those of severity 0 on the clean ones.
        digits_seconds: what all cells of the 500 digits take.
        small_seconds: what all cells of 100 images of 32 pixels take.
    """

    small: Table
    large: Table
    accuracies: Mapping[tuple[str, int], Sequence[float]]
    digits_seconds: float
    small_seconds: float

    @property
    def difference(self) -> float:
        """The greatest of all without chance."""
        cells = (*self.small.items(), *self.large.items())
        return max(cell.difference for (name, _), cell in cells if name in WITHOUT_CHANCE)

    @property
    def ratios(self) -> Sequence[float]:
        """Those of all with chance."""
        cells = (*self.small.items(), *self.large.items())
        return [cell.ratio for (name, _), cell in cells if name not in WITHOUT_CHANCE]

    @property
    def apart(self) -> Sequence[str]:
        """Those with chance of which a ratio is not within 5 %."""
        cells = (*self.small.items(), *self.large.items())
        names = {name for (name, _), cell in cells if name not in WITHOUT_CHANCE and abs(cell.ratio - 1) > 0.05}
        return [name.replace("_", " ") for name in CORRUPTIONS if name in names]

    @property
    def bitwise(self) -> float:
        """The greatest of those that should be equal."""
        cells = (*self.small.items(), *self.large.items())
        return max(cell.difference for (name, _), cell in cells if name in {"pixelate", "jpeg_compression"})

    @property
    def agrees(self) -> bool:
        return self.difference <= TOLERANCE and max(abs(ratio - 1) for ratio in self.ratios) <= RATIO


def page(found: Found) -> str:
    """Write the page."""
    clean = found.accuracies["", 0]
    by_severity = [
        [fmean(found.accuracies[name, severity][i] for name in CORRUPTIONS) for severity in SEVERITIES]
        for i in range(len(clean))
    ]
    worst = min(range(len(clean)), key=lambda i: by_severity[i][-1])
    mean = [fmean(models) for models in zip(*by_severity, strict=True)]
    close = sum(abs(ratio - 1) <= 0.05 for ratio in found.ratios)
    return f"""# Common corruptions beside the authors' programs

The images of the 15 common corruptions are made by [our own generators](../decisions/0021-corruptions-of-our-own.md),
version {VERSION}. One command corrupts the same images with them and with the programs of the paper's authors,
`make_cifar_c.py` and `make_imagenet_c.py`, which nothing here depends on:

```
git clone https://github.com/hendrycks/robustness AUTHORS
python -m venv PEER
PEER/bin/python -m pip install imagecorruptions==1.1.2 opencv-python-headless==4.10.0.84 scikit-image==0.22.0 \\
    "numpy<2" "setuptools<80"
python -m bench.corruptions --authors AUTHORS --peer PEER
```

Motion blur and snow take ImageMagick there, and frost takes photographs. These three are compared with the package
imagecorruptions, which has the authors' constants for large images, and so at 224 pixels alone.

numpy {version("numpy")}, SciPy {version("scipy")}, Pillow {version("pillow")}, one thread.

## What it says

- **Without chance** ({", ".join(name.replace("_", " ") for name in WITHOUT_CHANCE)})
  two pixels differ by at most {found.difference:.2f} of 255 levels on average. Half a level is how they differ in the
  last step: we round, and they cut off. The greatest difference is that of large discs, whose soft edge their grid cuts
  off. Pixelation and JPEG differ by {found.bitwise:g}.
- **With chance** the mean distances from the clean images have ratios of {min(found.ratios):.2f} to
  {max(found.ratios):.2f}; {close} of {len(found.ratios)} are within 5 %. The others ({", ".join(found.apart)})
  have so much chance that a few draws of one side differ as much from each other.
- **All cells** of the 500 digits take {found.digits_seconds:.0f} s, and those of 100 colour images of 32×32 pixels
  {found.small_seconds:.0f} s.
- **The bundled models of the digits** classify {fmean(clean):.1%} of the clean images correctly, and
  {", ".join(f"{share:.1%}" for share in mean)} at severities 1 to 5; the one that is weakest at severity 5,
  {", ".join(f"{share:.1%}" for share in by_severity[worst])}.

![Every corruption of a digit of 8×8 pixels, one of MNIST's and an image of CIFAR-10](corruptions.png)

From left to right in each group: the clean image, and severities 1 to 5.

## 32 pixels: 100 images of CIFAR-10, two draws

{_agreement(found.small)}

## 224 pixels: two photographs, whole and in crops, two draws or six

{_agreement(found.large)}

## The digits: mean accuracy of the {len(clean)} bundled models

Noise, JPEG and zoom cost a model of 8×8 pixels next to nothing: their constants are levels and ratios, and are used as
published.

| corruption | {" | ".join(f"severity {severity}" for severity in SEVERITIES)} | the weakest model at 5 |
|---|{"---|" * (len(SEVERITIES) + 1)}
{_accuracies(found)}
"""


def _agreement(table: Table) -> str:
    head = " | ".join(f"severity {severity}" for severity in SEVERITIES)
    names = [name for name in CORRUPTIONS if (name, 1) in table]
    rows = [
        f"| {name.replace('_', ' ')} | "
        + " | ".join(_cell(name, table[name, severity]) for severity in SEVERITIES)
        + " |"
        for name in names
    ]
    return "\n".join(
        (
            "Mean distance from the clean images in levels of 255, ours / theirs. In brackets, without chance:",
            "the mean difference of ours and theirs.",
            "",
            f"| corruption | {head} |",
            f"|---|{'---|' * len(SEVERITIES)}",
            *rows,
        )
    )


def _cell(name: str, cell: Agreement) -> str:
    text = f"{cell.ours:.2f} / {cell.theirs:.2f}"
    return f"{text} ({cell.difference:.2f})" if name in WITHOUT_CHANCE else text


def _accuracies(found: Found) -> str:
    rows = []
    for name in CORRUPTIONS:
        shares = " | ".join(f"{fmean(found.accuracies[name, severity]):.1%}" for severity in SEVERITIES)
        rows.append(f"| {name.replace('_', ' ')} | {shares} | {min(found.accuracies[name, 5]):.1%} |")
    return "\n".join(rows)


def sheet() -> Image.Image:
    """Return every corruption of a digit, of a digit of MNIST and of an image of CIFAR-10."""
    points = (load("digits").x[2], load_points("mnist_points").x[1], load_points("cifar_points").x[1])
    group = (len(SEVERITIES) + 1) * CELL + GAP
    picture = Image.new("RGB", (MARGIN + len(points) * group, len(CORRUPTIONS) * CELL), "white")
    pen = ImageDraw.Draw(picture)
    for row, corruption in enumerate(CORRUPTIONS):
        pen.text((4, row * CELL + CELL // 2 - 6), corruption.replace("_", " "), fill="black")
        for place, x in enumerate(points):
            cells = [x, *(corrupt(x[None], corruption, severity, [place])[0] for severity in SEVERITIES)]
            for column, cell in enumerate(cells):
                levels = (cell * 255).round().to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0).numpy()
                enlarged = Image.fromarray(levels).resize((CELL, CELL), Image.Resampling.NEAREST)
                picture.paste(enlarged, (MARGIN + place * group + column * CELL, row * CELL))
    return picture.quantize(256, dither=Image.Dither.NONE)
