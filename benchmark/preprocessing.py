"""What is done to images of other sizes before a model sees them, by name. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from benchmark.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 4096
_CHANNEL_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Preprocessing:
    """Resize an image, then crop its centre.

    Args:
        shorter_side: length to which the shorter side is brought, the other in proportion; None leaves the size.
        resized: height and width to which the image is brought, whatever its proportions; None leaves them.
        bicubic: whether by bicubic interpolation, else by bilinear; both average over what one pixel covers.
        crop: height and width of the crop; what is outside the image is black. None crops nothing.
        channels: 1 makes the image grey, 3 repeats a grey one; None leaves it.
    Source:
        The names and their meaning are those of RobustBench, Croce et al. 2021, arXiv:2010.09670, whose programs call
        torchvision; sizes and corners are rounded as there.
    """

    shorter_side: int | None = None
    resized: tuple[int, int] | None = None
    bicubic: bool = False
    crop: tuple[int, int] | None = None
    channels: int | None = None

    def __call__(self, image: Image) -> Image:
        """Return the prepared image; the one given stays as it is."""
        from PIL import Image as Images

        filtered = Images.Resampling.BICUBIC if self.bicubic else Images.Resampling.BILINEAR
        if self.channels is not None and image.mode != _CHANNEL_MODES[self.channels]:
            image = image.convert(_CHANNEL_MODES[self.channels])
        size = self._size(*image.size)
        if size != image.size:
            image = image.resize(size, filtered)
        return image if self.crop is None else _centre(image, *self.crop)

    def _size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and the height after resizing."""
        if self.resized is not None:
            return self.resized[1], self.resized[0]
        if self.shorter_side is None:
            return width, height
        if width <= height:
            return self.shorter_side, int(self.shorter_side * height / width)
        return int(self.shorter_side * width / height), self.shorter_side


_NONE = Preprocessing()
PREPROCESSINGS: Mapping[str, Preprocessing] = MappingProxyType(
    {
        "Res256Crop224": Preprocessing(shorter_side=256, crop=(224, 224)),
        "BicubicRes256Crop224": Preprocessing(shorter_side=256, bicubic=True, crop=(224, 224)),
        "BicubicRes248Crop224": Preprocessing(shorter_side=248, bicubic=True, crop=(224, 224)),
        "BicubicRes224Crop224": Preprocessing(shorter_side=224, bicubic=True, crop=(224, 224)),
        "Res224Crop224": Preprocessing(shorter_side=224, crop=(224, 224)),
        "Crop288": Preprocessing(crop=(288, 288)),
        "Res224": Preprocessing(resized=(224, 224)),
        "Res32Crop32": Preprocessing(shorter_side=32, crop=(32, 32)),
        "none": _NONE,
    }
)
"""What models ask for, by name."""


def preprocessing_named(name: str) -> Preprocessing:
    """Return a preprocessing by its name.

    Raises:
        NotFound: there is none of that name.
    """
    if name not in PREPROCESSINGS:
        raise NotFound.because(
            "preprocessing",
            found=name,
            expected=f"one of {', '.join(PREPROCESSINGS)}",
            remedy="take the one that the model was trained with; its card names it",
        )
    return PREPROCESSINGS[name]


def fitting(shape: tuple[int, int, int]) -> Preprocessing:
    """Return what brings any image to a shape: the shorter side resized bilinearly, the centre cropped.

    Args:
        shape: channels, height and width; grey images are repeated for 3 channels, coloured ones made grey for 1.
    Raises:
        InvalidInput: no image has that shape, or height and width differ.
    """
    channels, height, width = shape if len(shape) == 3 else (0, 0, 0)
    if channels not in _CHANNEL_MODES or height != width or not 1 <= height <= MAX_SIDE:
        raise InvalidInput.because(
            "shape", found=shape, expected=f"1 or 3 channels, and a height that is the width, up to {MAX_SIDE}",
            remedy='give the shape of another data set\'s images, such as SHAPES["cifar10"]',
        )  # fmt: skip
    return Preprocessing(shorter_side=height, crop=(height, width), channels=channels)


def _centre(image: Image, height: int, width: int) -> Image:
    """Cut out the centre; an image that is smaller is put into the middle of a black one first."""
    from PIL import Image as Images

    if image.width < width or image.height < height:
        canvas = Images.new(image.mode, (max(image.width, width), max(image.height, height)))
        canvas.paste(image, (max(width - image.width, 0) // 2, max(height - image.height, 0) // 2))
        image = canvas
    # Python rounds halves to the even number, and so do the programs whose crops these are.
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))
