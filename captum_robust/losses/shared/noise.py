"""Noisy copies of a batch, drawn anew in every training step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust._base.streams import SampleStreams
from captum_robust.losses.criterion import drawn_seed
from captum_robust.losses.packing import examples_of
from captum_robust.noise.gaussian import GaussianNoise
from captum_robust.noise.law import NoiseLaw
from captum_robust.robust.template.region import check_size


class NoiseDraws:
    """Draws of a noise law, several for each example.

    Args:
        stdevs: standard deviation per coordinate, in input units, >= 0: a number, a tensor that
            broadcasts to the inputs, or a tuple of these, one an input.
        draws: number of draws an example.
        noise: the law, Gaussian where ``None``.
        generator: draws from a seed that it gives; torch's global one by default.
    """

    def __init__(
        self,
        stdevs: float | Tensor | tuple[Any, ...],
        draws: int,
        noise: NoiseLaw | None,
        generator: torch.Generator | None,
    ) -> None:
        self.stdevs = check_size("stdevs", stdevs, positive=False)
        self.count = check_count("draws", draws)
        self.law = GaussianNoise() if noise is None else noise
        if not isinstance(self.law, NoiseLaw):
            raise TypeError(
                f"`noise` must be a NoiseLaw such as GaussianNoise(), got {type(noise).__name__}."
            )
        self.generator = generator

    def like(self, model: Any, inputs: Tensor) -> Tensor:
        """Noise ``(draws, N, *)`` for inputs of the form that the model takes."""
        examples = examples_of(model, inputs)
        scale = examples.spread("stdevs", self.stdevs)
        clean, number = examples.clean, self.count
        streams = None
        if self.generator is not None:
            streams = SampleStreams(drawn_seed(self.generator), range(len(clean)))
        noise = self.law.sample(
            len(clean) * number,
            clean.shape[1],
            device=clean.device,
            dtype=clean.dtype,
            streams=streams,
            samples=range(number),
        )
        scaled = noise.unflatten(0, (len(clean), number)).transpose(0, 1) * scale
        return scaled.reshape(number, *inputs.shape).to(inputs.dtype)


def at_draws(inputs: Tensor, noise: Tensor) -> Tensor:
    """Noisy inputs ``(draws * N, *)``, one draw of all examples after the other."""
    return (inputs + noise).flatten(0, 1)


def for_draws(target: Tensor, noise: Tensor) -> Tensor:
    """The target of each of them."""
    return target.repeat(len(noise), *[1] * (target.dim() - 1))


def by_draw(values: Tensor, noise: Tensor) -> Tensor:
    """Values or outputs ``(draws * N, *)`` as ``(draws, N, *)``."""
    return values.unflatten(0, (len(noise), -1))
