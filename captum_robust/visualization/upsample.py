"""Coarse maps at the size of the image, for display."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from captum_robust._base.checks import check_choice, check_count


class Upsample:
    """Brings coarse maps to the size of the image, for display only.

    A map of GradCAM, or of regions, is certified at its own size; this shows it over the image. It
    is no :class:`~captum_robust.attr.Transform`: thousands of pixels that repeat a few values would
    be counted as features of their own.

    Args:
        size: height and width, or one number for both.
        mode: ``"nearest"``, which leaves cells visible, or ``"bilinear"``.

    Example:
        >>> import torch
        >>> from captum_robust.visualization import Upsample
        >>> Upsample(224)(torch.rand(2, 1, 7, 7)).shape
        torch.Size([2, 1, 224, 224])
    """

    def __init__(self, size: int | tuple[int, int], mode: str = "nearest") -> None:
        sides = size if isinstance(size, tuple) else (size, size)
        self.size = tuple(check_count("size", side) for side in sides)
        self.mode = check_choice("mode", mode, ("nearest", "bilinear"))

    def __call__(self, maps: Tensor) -> Tensor:
        """Maps ``(*, H, W)`` at the new size."""
        if maps.dim() < 2:
            raise ValueError(f"`maps` must have shape (*, H, W), got {tuple(maps.shape)}.")
        planes = maps.reshape(1, -1, *maps.shape[-2:])
        whole = planes.to(torch.promote_types(planes.dtype, torch.float32))
        smooth = {"align_corners": False} if self.mode == "bilinear" else {}
        mode = "nearest-exact" if self.mode == "nearest" else self.mode
        larger = functional.interpolate(whole, self.size, mode=mode, **smooth)
        return larger.reshape(*maps.shape[:-2], *self.size).to(maps.dtype)
