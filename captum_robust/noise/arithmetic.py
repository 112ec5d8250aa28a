r"""What a computer's arithmetic does to noise, and how little of it is left.

Noise that is drawn and added in the model's precision can betray the input: the numbers that
:math:`x + \eta` can take depend on :math:`x`, so a deterministic method can read :math:`x` from the
low-order bits, and a certificate is false although its mathematics is right (Voráček and Hein,
2023, for classifiers). Here the noisy input is rounded at random to a grid that does not depend on
:math:`x`, and the distance between what is computed and the law in the books has a proven bound,
which every answer of a certificate pays (see :class:`~captum_robust.noise.computed.AsComputed`).

**What is explained.** For a feature of standard deviation :math:`\sigma` the grid is the multiples
of :math:`g = 2^{\lfloor\log_2\sigma\rfloor - 16}`, between 65,536 and 131,072 steps a standard
deviation. The noisy input is

.. math:: z = \mathrm{round}_{dtype}(g\,\lfloor (x + \sigma\eta)/g + U \rfloor),\quad U \sim U[0, 1)

clamped where that is asked for: stochastic rounding, right on average, the same procedure at every
input. So a certificate for the noise :math:`\eta` is one for :math:`z`: processing cannot increase
the distance between the laws at :math:`x` and at :math:`x + \delta`.

**What is computed.** Integers of 53 bits, uniform numbers
:math:`u \in \{-1 + 2^{-53}, -1 + 3\cdot 2^{-53}, \dots, 1 - 2^{-53}\}` from them without rounding,
noise :math:`\tilde\eta` from :math:`u`, and the sum in units of g, all in float64. The input is
split without error into a whole number of steps and a rest of at most half a step, so that nothing
below depends on how large x is.

**Theorem** (ours). The law of z as computed and the law of z in real arithmetic have a total
variation distance of at most

.. math:: \mathrm{TV} \le d\,2^{17} (e + 5u) + n\,2^{-52},\quad u = 2^{-53}

for d features, n numbers drawn for the noise of an example, and
:math:`e = E\|\tilde\eta - \eta\|_1/d`, the law's error per feature in standard deviations.

*Proof.* (1) Let y and y' be a real and a computed sum in units of g. :math:`\lfloor y + U\rfloor`
is :math:`\lfloor y\rfloor` or the next integer, the latter with the probability of y's fractional
part, so for two numbers these laws differ by at most min(1, \|y - y'\|) in total variation: by
\|y - y'\| inside one cell, and for neighbouring cells with fractional parts f and f' by at most the
larger of f' and 1 - f, both at most \|y - y'\|. Given the noise, features are rounded
independently, so they add up, and by coupling the total variation is at most
:math:`E\sum_j |y_j - y'_j|`. (2) Here :math:`\sigma/g < 2^{17}` without rounding, so
:math:`|y - y'|` is at most :math:`2^{17}|\tilde\eta-\eta|` and u for the product and for the sum
with the rest of x each, relative to :math:`2^{17}|\tilde\eta| + 1`. (3) Adding U, a multiple of
:math:`2^{-53}`, is rounded too: since rounding is monotone, that moves the thresholds of U by at
most :math:`u (2^{17}|\tilde\eta| + 2)` and its probabilities by :math:`2^{-53}`; there are two
thresholds. With :math:`E|\eta| \le 1` these are :math:`2^{17} \cdot 4u` and a few u, less than
:math:`2^{17} \cdot 5u`. (4) The sum of two whole numbers, the product with g, the cast and the
clamp depend on the whole number of steps alone. (5) The two cells of u at the ends, where an error
of the noise has no bound, are charged in full, :math:`2\cdot2^{-53}` for each number drawn. ∎

**Inverse method.** Where :math:`\eta = F^{-1}((1+U)/2)` and the computed inverse is off by at most
16 units in the last place, or by as much as moving u by one step would change it,
:math:`e \le 16u + 3Tu` with T the largest number that can be drawn: a cell of u of probability
:math:`2^{-53}` contributes half of that times the change of :math:`F^{-1}` across it, and over all
cells these changes add up to 2T.

**Assumed.** The generator's bits are ideal. Products, sums and square roots in float64 are rounded
correctly (IEEE 754), as on CPUs and CUDA devices; on devices without float64 noise is made on the
CPU. The inverse error function is as accurate as said (measured: 2 units). Inputs are exact
numbers of their own dtype.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from captum_robust._base.streams import SampleStreams

UNIT: Final = 2.0**-53  # the rounding unit of float64, and the resolution of uniform numbers
GRID_BITS: Final = 17  # a standard deviation is at most 2^17 steps of the grid
_BITS: Final = 53
_INVERSE: Final = 16.0 * UNIT
_UP: Final = 1.0 + 1e-9  # the bounds themselves are computed in float64


def inverse_method_error(largest: float) -> float:
    """Expected error of noise drawn by the inverse method, per feature, in standard deviations.

    Args:
        largest: the largest number that can be drawn.
    """
    return _INVERSE + 3.0 * largest * UNIT


def rounding_distance(features: int, drawn: int, error: float) -> float:
    """Bound on the total variation between noisy inputs as computed and those of the ideal law.

    Args:
        features: d, noisy features of an example.
        drawn: n, numbers drawn for the noise of an example.
        error: e, expected error of the noise per feature, in standard deviations.

    Example:
        >>> from captum_robust.noise.arithmetic import inverse_method_error, rounding_distance
        >>> rounding_distance(150_528, 150_528, inverse_method_error(8.21)) < 2e-4
        True
    """
    distance = features * 2.0**GRID_BITS * (error + 5.0 * UNIT) + drawn * 2.0 * UNIT
    return min(1.0, distance * _UP)


def fill_bits(out: Tensor, generator: torch.Generator | None) -> None:
    """Fills an int64 tensor with integers of 53 random bits."""
    out.random_(0, 2**_BITS, generator=generator)


def drawn_bits(
    rows: int,
    columns: int,
    device: torch.device,
    streams: SampleStreams | None = None,
    samples: range = range(0),
) -> Tensor:
    """Integers of 53 random bits, ``(rows, columns)``, each row from its own stream."""
    bits = torch.empty(rows, columns, dtype=torch.int64, device=device)
    if streams is None:
        fill_bits(bits, None)
    else:
        streams.fill(bits, samples, fill_bits)
    return bits


def centred(bits: Tensor) -> Tensor:
    """Odd multiples of 2^-53 in (-1, 1), without rounding."""
    return bits.double().mul_(2.0).add_(1.0 - 2.0**_BITS).mul_(UNIT)


def dither(bits: Tensor) -> Tensor:
    """Multiples of 2^-53 in [0, 1), without rounding."""
    return bits.double().mul_(UNIT)


def sum_in_pairs(values: Tensor) -> Tensor:
    """Sums of rows ``(rows, n)`` as ``(rows, 1)``, each term rounded 2 log2(n) times at most."""
    while values.shape[1] > 1:
        half = values.shape[1] // 2
        paired = values[:, :half] + values[:, half : 2 * half]
        if values.shape[1] % 2:
            paired[:, 0] += values[:, -1]
        values = paired
    return values


class NoisyFeatures:
    """One input tensor, ready to be rounded together with noise.

    Args:
        tensor: ``(N, *)``, floating point.
        scale: standard deviations that broadcast to it; no noise where 0.
    """

    def __init__(self, tensor: Tensor, scale: Tensor) -> None:
        self.tensor = tensor
        values, wide = _double(tensor.detach()), _double(scale)
        mantissa, _ = torch.frexp(wide)
        silent = wide == 0
        # scale / mantissa is a power of two, so nothing is rounded here or below.
        self._step = torch.where(silent, 1.0, wide / mantissa) * 2.0**-GRID_BITS
        steps = values / self._step
        if not torch.isfinite(steps).all():
            raise ValueError(
                "`stdevs` must not be so far below the size of the inputs: their ratio exceeds "
                "the range of float64."
            )
        whole = steps.round()
        self._rest = (steps - whole).unsqueeze(1)
        self._whole = (whole + 0.0).unsqueeze(1)  # -0.0 would betray the sign of the rest
        self._ratio, self._step = (
            part.unsqueeze(1) if part.dim() == tensor.dim() else part
            for part in (wide / self._step, self._step)
        )
        self._silent = silent if bool(silent.any()) else None

    def rounded(self, noise: Tensor, chance: Tensor, graph: bool = False) -> Tensor:
        """The noisy features ``(N, b, *)`` in the input's dtype and on its device.


        Args:
            noise: of unit standard deviation, ``(N, b, *)`` float64; overwritten.
            chance: uniform on [0, 1), of the same shape.
            graph: leaves the sum off the grid, at most one step away from where it would be, since
                rounding has no slope for gradients to follow; not for certificates.
        """
        if graph:
            moved = noise.mul_(self._ratio).mul_(self._step).to(self.tensor.device)
            return (self.tensor.unsqueeze(1) + moved).to(self.tensor.dtype)
        steps = noise.mul_(self._ratio).add_(self._rest).add_(chance).floor_().add_(self._whole)
        noisy = steps.mul_(self._step).to(device=self.tensor.device, dtype=self.tensor.dtype)
        if self._silent is None:
            return noisy
        silent = self._silent.to(noisy.device)
        silent = silent.unsqueeze(1) if silent.dim() == self.tensor.dim() else silent
        return torch.where(silent, self.tensor.unsqueeze(1), noisy)


def drawing_device(device: torch.device) -> torch.device:
    """Where noise is made: the device itself, or the CPU where it has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def _double(tensor: Tensor) -> Tensor:
    return tensor.to(device=drawing_device(tensor.device), dtype=torch.float64)
