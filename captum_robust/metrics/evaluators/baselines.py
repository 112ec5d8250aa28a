"""What an input is without its features: zero, its mean, its blur, or what the user gives."""

from __future__ import annotations

from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice

Baseline = Literal["zero", "mean", "blur"] | float | Tensor | tuple[float | Tensor, ...]


def filled(baseline: Baseline, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The baseline of each input, in its shape and dtype."""
    if not isinstance(baseline, tuple):
        return tuple(_one(baseline, part) for part in inputs)
    if len(baseline) != len(inputs):
        raise ValueError(
            f"`baseline` must have one entry for each of the {len(inputs)} inputs, "
            f"got {len(baseline)}."
        )
    return tuple(_one(value, part) for value, part in zip(baseline, inputs, strict=True))


def _one(baseline: Baseline, inputs: Tensor) -> Tensor:
    if isinstance(baseline, Tensor):
        if baseline.dim() != inputs.dim() or any(
            have not in (1, want) for have, want in zip(baseline.shape, inputs.shape, strict=True)
        ):
            raise ValueError(
                f"`baseline` must broadcast to the inputs' shape {tuple(inputs.shape)}, "
                f"got {tuple(baseline.shape)}."
            )
        return baseline.detach().to(inputs).expand_as(inputs)
    if isinstance(baseline, Real) and not isinstance(baseline, bool):
        return torch.full_like(inputs, float(baseline))
    check_choice("baseline", baseline, ("zero", "mean", "blur"))
    if baseline == "zero":
        return torch.zeros_like(inputs)
    return _mean(inputs) if baseline == "mean" else _blur(inputs)


def _mean(inputs: Tensor) -> Tensor:
    """The mean of each example's channel, or of all features where there are no channels."""
    dims = tuple(range(2 if inputs.dim() > 2 else 1, inputs.dim()))
    return inputs.mean(dims, keepdim=True).expand_as(inputs)


def _blur(inputs: Tensor) -> Tensor:
    if inputs.dim() < 3 or min(inputs.shape[-2:]) < 6:
        raise ValueError(
            '`baseline="blur"` needs images (N, C, H, W) of at least 6 by 6 pixels, '
            f"got shape {tuple(inputs.shape)}."
        )
    from torchvision.transforms.functional import gaussian_blur  # torchvision: only where used

    return gaussian_blur(inputs, kernel_size=[11, 11], sigma=[5.0, 5.0])
