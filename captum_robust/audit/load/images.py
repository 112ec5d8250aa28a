"""Image files as tensors, and tensors as small pictures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from captum_robust.audit.ask.usage import Skipped

IMAGE_SUFFIXES: Final = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAP_COLOURS: Final = "viridis"  # perceptually uniform, readable without red and green

# By content, whatever the name says: Pillow hands other formats, such as EPS, to other programs.
_FORMATS: Final = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MOST_PIXELS: Final = 50_000_000  # of a picture in memory before it is made smaller
_EIGHT_BITS: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
_LEVELS: Final = 16  # colours of a map's picture, half a byte each
_LARGEST: Final = 96
_PAGE: Final = 15_000  # bytes of the pictures of one example


def read_image(path: Path, size: int | None = None, gray: bool = False) -> Tensor:
    """An image as ``(1, C, H, W)`` with pixels in [0, 1].

    Args:
        path: of the file.
        size: the shorter side is brought to it, then the central square is taken.
        gray: one channel rather than three.

    Raises:
        Skipped: if it cannot be read, or has more than eight bits a channel.
    """
    try:
        with Image.open(path, formats=_FORMATS) as file:
            if file.mode not in _EIGHT_BITS:
                raise Skipped(f"unreadable: {file.mode} pixels; convert it to eight bits")
            if file.width * file.height > _MOST_PIXELS:
                raise Skipped(f"unreadable: too large ({file.width} x {file.height} pixels)")
            picture = ImageOps.exif_transpose(file).convert("L" if gray else "RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        # Its message names the path, which is in the report already.
        raise Skipped(f"unreadable: not an image that can be decoded ({_kind(error)})") from None
    except (Image.DecompressionBombError, MemoryError):
        raise Skipped("unreadable: too large") from None
    if size is not None:
        picture = _central_square(picture, size)
    pixels = torch.from_numpy(np.array(picture))
    return (pixels.unsqueeze(-1) if gray else pixels).permute(2, 0, 1)[None].float() / 255.0


def _kind(error: Exception) -> str:
    return "truncated" if "truncated" in str(error) else type(error).__name__


def _central_square(picture: Image.Image, size: int) -> Image.Image:
    shorter = min(picture.size)
    wide, high = (max(size, round(side * size / shorter)) for side in picture.size)
    resized = picture.resize((wide, high), Image.Resampling.BILINEAR)
    left, top = (wide - size) // 2, (high - size) // 2
    return resized.crop((left, top, left + size, top + size))


@dataclass(frozen=True, eq=False)
class Picture:
    """A small picture of eight bits, ``(H, W)`` or ``(H, W, 3)``."""

    pixels: NDArray[np.uint8]

    @classmethod
    def of_map(cls, values: Tensor, side: int) -> Picture:
        """A map ``(H, W)``, its largest value white, averaged down to at most ``side`` pixels."""
        small = _reduced(values[None].double(), side)[0]
        top = float(small.max())
        return cls(_as_bytes(small / top if top > 0 else small))

    @classmethod
    def of_input(cls, inputs: Tensor, bounds: tuple[float, float], side: int) -> Picture:
        """An input ``(C, H, W)``, in colours where it has three channels, else their mean."""
        low, high = bounds
        small = _reduced(inputs.detach().cpu().double(), side)
        scaled = ((small - low) / ((high - low) or 1.0)).clamp(0, 1)
        return cls(_as_bytes(scaled.permute(1, 2, 0) if len(scaled) == 3 else scaled.mean(0)))

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Picture:
        """What :meth:`to_json` gave."""
        flat = np.frombuffer(base64.b64decode(saved["bytes"]), dtype=np.uint8)
        return cls(flat.reshape(saved["shape"]))

    def to_json(self) -> dict[str, Any]:
        """Shape, and bytes in base64."""
        return {
            "shape": list(self.pixels.shape),
            "bytes": base64.b64encode(self.pixels.tobytes()).decode("ascii"),
        }

    def as_map(self) -> str:
        """A ``data:`` address of the picture of a map, in few colours."""
        levels = (self.pixels.astype(np.uint16) * _LEVELS // 256).astype(np.uint8)
        image = Image.fromarray(levels)
        image.putpalette(_palette())  # makes it one of numbered colours
        return _address(image, "PNG", bits=4, optimize=True)

    def as_input(self) -> str:
        """A ``data:`` address of the picture of an input."""
        image = Image.fromarray(self.pixels)
        if max(image.size) > 32:
            return _address(image, "JPEG", quality=80)
        return _address(image, "PNG", optimize=True)


def side_of_pictures(methods: int) -> int:
    """The longest side of the pictures on a page of so many methods, so that pages stay small.

    Example:
        >>> from captum_robust.audit.load.images import side_of_pictures
        >>> side_of_pictures(1), side_of_pictures(3), side_of_pictures(9)
        (96, 86, 54)
    """
    return min(_LARGEST, math.isqrt(2 * _PAGE // (methods + 1)))


def _reduced(images: Tensor, side: int) -> Tensor:
    """Images ``(C, H, W)`` averaged down to at most ``side`` pixels a side."""
    height, width = images.shape[-2:]
    factor = max(height, width) / side
    if factor <= 1:
        return images
    shape = (max(1, round(height / factor)), max(1, round(width / factor)))
    return functional.adaptive_avg_pool2d(images[None], shape)[0]


def _as_bytes(shares: Tensor) -> NDArray[np.uint8]:
    return (shares * 255).round().to(torch.uint8).numpy()


def _address(image: Image.Image, form: str, **how: Any) -> str:
    written = io.BytesIO()
    image.save(written, form, **how)
    code = base64.b64encode(written.getvalue()).decode("ascii")
    return f"data:image/{form.lower()};base64,{code}"


@cache
def _palette() -> Sequence[int]:
    """The colours of maps, as red, green and blue in turn."""
    from matplotlib import colormaps

    colours = colormaps[MAP_COLOURS](np.linspace(0, 1, _LEVELS))[:, :3]
    return (colours * 255).round().astype(int).flatten().tolist()
