"""The smallest smoothing radius at which a cosine is certified for a size of perturbation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from captum_robust._base.captum_privates import _format_tensor_into_tuples
from captum_robust._base.checks import check_count, check_number
from captum_robust._base.streams import SELECTION_SEED, resolved_seed
from captum_robust.certificates.certificate import Certificate
from captum_robust.certificates.functionals.angle import sine_from_cosine
from captum_robust.noise import NoiseLaw, UniformBallNoise

Array = NDArray[np.float64]

_DOUBLINGS: Final = 10  # of the radius, in search of one that is certified


class Certifier(Protocol):
    """What the search needs of a smoothed attribution: its law, and certificates."""

    noise: NoiseLaw

    def certify(self, inputs: Any, target: Any = None, **settings: Any) -> Certificate: ...


def radius_at_norm(
    norms: ArrayLike,
    bound: float,
    cosine: float,
    epsilon: float,
    dimension: int,
    law: NoiseLaw | None = None,
) -> Array:
    r"""The radius at which a smoothed map of known norm would keep its cosine.

    .. math:: r = \frac{\epsilon}{2}\left(I^{-1}_{D}(\tfrac12, \tfrac{d+1}2)\right)^{-1/2},\quad
              D = \frac{\|h\|}{2M}\sqrt{1-T^2}

    Wang and Kong (2024), Corollary 1 (ii), eq. 9, with the geometry put right (printed:
    :math:`\sqrt{1/T^2 - 1}` in the place of :math:`\sqrt{1-T^2}`). The norm of h depends on r
    itself, so at a measured norm this is an **estimate**, not a certificate.

    Args:
        norms: :math:`\|h\|`, any shape, in [0, M].
        bound: M, no map is longer.
        cosine: T, in [0, 1).
        epsilon: size of the perturbations, > 0.
        dimension: number of input features d.
        law: ball noise by default; for box noise the norm of the perturbations is l1.

    Returns:
        Radii in input units, infinity where the norm is 0.

    Example:
        >>> from captum_robust.certificates import radius_at_norm
        >>> float(radius_at_norm(1.0, 1.0, 0.9, 0.5, dimension=784).round(2))
        25.31
    """
    law = UniformBallNoise() if law is None else law
    ratio = np.asarray(norms, float) / check_number("bound", bound, low=0, open_low=True)
    if not ((ratio >= 0.0) & (ratio <= 1.0 + 1e-4)).all():
        raise ValueError(f"`norms` must be in [0, {bound:g}] (the bound on maps), got {norms!r}.")
    epsilon = check_number("epsilon", epsilon, low=0, high=math.inf, open_low=True, open_high=True)
    allowed = ratio * sine_from_cosine(check_number("cosine", cosine, low=0, high=1))
    shift = law.inverse_angle_shift(allowed, dimension)
    with np.errstate(divide="ignore"):
        return epsilon / shift * law.radius_in_stdevs(dimension)


@dataclass(frozen=True, eq=False)
class SmallestRadius:
    """A smoothing radius for each example; see :func:`smallest_radius`.

    Attributes:
        radius: ``(N,)`` float64, of the ball or box, in input units; infinity where none was found.
        stdevs: ``(N,)``, the per-coordinate standard deviation; a radius is not comparable with
            ``epsilon``, this is.
        holds: ``(N,)`` bool, whether the certificate reaches the cosine; all False for estimates.
        epsilon: size of the perturbations.
        cosine: wanted.
        certificate: at the final radius, from fresh samples; None for an estimate.
    """

    radius: Tensor
    stdevs: Tensor
    holds: Tensor
    epsilon: float
    cosine: float
    certificate: Certificate | None

    @property
    def kind(self) -> str:
        """``"certified"`` (where it ``holds``) or ``"estimate"``."""
        return "estimate" if self.certificate is None else self.certificate.kind


def smallest_radius(
    smoothed: Certifier,
    inputs: Tensor | tuple[Tensor, ...],
    target: Any = None,
    *,
    epsilon: float,
    cosine: float,
    nt_samples: int,
    radius: float | None = None,
    refine: bool = False,
    selection_samples: int | None = None,
    tolerance: float = 0.02,
    seed: int | None = None,
    **settings: Any,
) -> SmallestRadius:
    r"""Smallest radius of uniform smoothing at which a cosine is kept.

    Without ``refine``, :func:`radius_at_norm` at the norm measured at ``radius``: an estimate. With
    it, the radius is doubled or halved and then bisected by certificates on selection samples, the
    same noise at every radius; the radius found, larger by ``tolerance``, then gets one certificate
    from fresh samples, which alone counts: its error is not affected by the search. What is
    certified need not grow with the radius, so a smaller radius may exist. Wang and Kong (2024),
    Corollary 1 (ii).

    Args:
        smoothed: ball or box noise and maps of bounded norm, such as
            ``UniformSmoothing(Saliency(model), transform=UnitNorm())``.
        inputs: floating-point tensors ``(N, *)``.
        target: as in the base method's ``attribute``; frozen.
        epsilon: size of the perturbations, > 0.
        cosine: wanted between the maps, in [0, 1).
        nt_samples: of the certificate, and of the estimate.
        radius: where the norm is measured, and the search begins; by default the least radius that
            any map could do with (``norm = bound``).
        refine: whether to search and certify.
        selection_samples: of each certificate of the search; ``nt_samples`` by default.
        tolerance: relative width at which the search stops, in (0, 1).
        seed: of the certificate; the search draws other noise.
        **settings: of :meth:`captum_robust.attr.SmoothedAttribution.certify`, such as ``alpha``
            and ``claim``, and arguments of the base method.

    Returns:
        A :class:`SmallestRadius`.

    Raises:
        ValueError: if an argument lies outside its range, the noise law has no radius, or the
            norm of maps has no bound.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import UniformSmoothing, UnitNorm
        >>> from captum_robust.certificates import smallest_radius
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> smooth = UniformSmoothing(Saliency(model), transform=UnitNorm())
        >>> found = smallest_radius(
        ...     smooth, torch.zeros(2, 4), target=0, epsilon=0.02, cosine=0.8, nt_samples=200,
        ...     refine=True, tolerance=0.2, seed=0,
        ... )
        >>> found.kind, found.holds.tolist()
        ('certified', [True, True])
    """
    check_number("cosine", cosine, low=0, high=1, open_high=True)
    check_number("epsilon", epsilon, low=0, high=math.inf, open_low=True, open_high=True)
    check_number("tolerance", tolerance, low=0, high=1, open_low=True, open_high=True)
    tensors = _format_tensor_into_tuples(inputs)
    dimension = sum(part[0].numel() for part in tensors)
    unit = smoothed.noise.radius_in_stdevs(dimension)
    seed = resolved_seed(seed)  # one draw, so that the search compares radii at the same noise
    if radius is None:
        radius = float(radius_at_norm(1.0, 1.0, cosine, epsilon, dimension, smoothed.noise))
    check_number("radius", radius, low=0, high=math.inf, open_low=True, open_high=True)

    def certify(radii: Array, samples: int, draw: int) -> Certificate:
        levels = tuple(
            torch.tensor(radii, dtype=torch.float64, device=part.device).view(
                -1, *[1] * (part.dim() - 1)
            )
            for part in tensors
        )
        level = levels if isinstance(inputs, tuple) else levels[0]
        return smoothed.certify(
            inputs, target, radius=level, nt_samples=samples, seed=draw, **settings
        )

    start = np.full(len(tensors[0]), radius)
    count = check_count("selection_samples", selection_samples or nt_samples)
    draw = seed ^ SELECTION_SEED
    first = certify(start, count, draw)
    first.cosine(epsilon)  # refuses maps without a bound, and says what would give one
    bound = first.range.norm
    norms = np.minimum(first.mean.norm(dim=1).numpy(), bound)
    guess = radius_at_norm(norms, bound, cosine, epsilon, dimension, smoothed.noise)
    if not refine:
        return _result(guess, unit, epsilon, cosine, None)

    def passes(radii: Array) -> NDArray[np.bool_]:
        return certify(radii, count, draw).cosine(epsilon).cpu().numpy() >= cosine

    found = _search(passes, np.where(np.isfinite(guess), guess, start), tolerance)
    final = np.where(np.isfinite(found), found * (1.0 + tolerance), start)
    certificate = certify(final, nt_samples, seed)
    return _result(found * (1.0 + tolerance), unit, epsilon, cosine, certificate)


def _result(
    radii: Array, unit: float, epsilon: float, cosine: float, certificate: Certificate | None
) -> SmallestRadius:
    radius = torch.from_numpy(radii)
    holds = torch.zeros(len(radii), dtype=torch.bool)
    if certificate is not None:
        holds = (certificate.cosine(epsilon).cpu() >= cosine) & torch.isfinite(radius)
    return SmallestRadius(radius, radius / unit, holds, epsilon, cosine, certificate)


def _search(passes: Callable[[Array], NDArray[np.bool_]], start: Array, tolerance: float) -> Array:
    """The end that passes of an interval around the boundary, within a factor; infinity for none.

    Doubles what fails and halves what passes until each element is bracketed, then bisects.
    """
    holding, failing = np.full_like(start, np.inf), np.zeros_like(start)
    tried = start.copy()
    for _ in range(_DOUBLINGS):
        good = passes(tried)
        holding = np.where(good, np.minimum(holding, tried), holding)
        failing = np.where(good, failing, np.maximum(failing, tried))
        failing = np.where(failing < holding, failing, 0.0)
        open_above, open_below = np.isinf(holding), failing == 0.0
        if not (open_above | open_below).any():
            break
        tried = np.where(open_above, 2.0 * failing, np.where(open_below, holding / 2.0, holding))
    bracketed = np.isfinite(holding) & (failing > 0.0)
    while (bracketed & (holding > failing * (1.0 + tolerance))).any():
        middle = np.where(bracketed, np.sqrt(np.maximum(failing, 1e-300) * holding), start)
        good = passes(middle)
        holding = np.where(bracketed & good, middle, holding)
        failing = np.where(bracketed & ~good, middle, failing)
    return holding
