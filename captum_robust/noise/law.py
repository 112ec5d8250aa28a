"""The noise law: what is sampled and what a shift of it can do, in one object.

Every law is written for unit per-coordinate standard deviation; a noise level multiplies it. A
perturbation ``delta`` is measured in those units too: its ``shift`` is ``||delta / stdev||`` in the
law's own norm."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from captum_robust._base.numbers.bisect import bisect
from captum_robust._base.streams import SampleStreams
from captum_robust.noise.arithmetic import (
    UNIT,
    centred,
    drawing_device,
    drawn_bits,
    inverse_method_error,
    rounding_distance,
)

Array = NDArray[np.float64]


_HALF_PRECISION: Final = (torch.float16, torch.bfloat16)
_FARTHEST: Final = 1e9
_HALVINGS: Final = 100  # of that distance: down to the resolution of float64 near 1e-21


class NoiseLaw(ABC):
    r"""A noise law: a sampler of :math:`\eta` and bounds on :math:`E\,s(x+\delta+\eta)`.

    For a function :math:`s` with values in :math:`[0,1]` and :math:`p = E\,s(x+\eta)`, the two
    methods :meth:`lower` and :meth:`upper` bound the mean at any :math:`x+\delta` with
    :math:`\|\delta\|` of at most ``shift`` standard deviations:

    .. math:: \mathrm{lower}(p) \le E\,s(x+\delta+\eta) \le \mathrm{upper}(p).

    All functions of the shift take numbers or arrays that broadcast, and return float64 arrays.

    A new law with a certificate is one subclass with a ``name``, a ``norm``, :meth:`from_uniform`
    and :meth:`total_variation`; everything else follows from these. Defining the class makes it
    known by its name, so that saved certificates load.

    Attributes:
        name: the word for it in statements and saved files; its own, unlike any other law's.
        norm: the norm of the perturbations it answers for, such as ``"l2"`` or ``"l1"``.
        extra: columns drawn beyond the features.
        norm_shift_by_covariance: whether the shifted law has a density of finite variance with
            respect to the unshifted, so that a map's covariance bounds its move too.
        tight_pair: whether :meth:`lower` and :meth:`upper` are each other's inverse, upper(p) <= q
            where p <= lower(q), so that the angle constant follows from them.
    """

    name: ClassVar[str]
    norm: ClassVar[str]
    extra: ClassVar[int] = 0
    norm_shift_by_covariance: ClassVar[bool] = False
    tight_pair: ClassVar[bool] = False

    def __init_subclass__(cls, register: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if register and not inspect.isabstract(cls):
            _register(cls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    # -- sampling ---------------------------------------------------------------------------

    def sample(
        self,
        rows: int,
        dimension: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        streams: SampleStreams | None = None,
        samples: range = range(0),
    ) -> Tensor:
        """Draws noise of unit per-coordinate standard deviation, in float64, and rounds it once.

        Args:
            rows: number of independent draws; with ``streams``, examples times samples.
            dimension: number of features ``d``, all inputs of an example together.
            device: where the noise is drawn.
            dtype: of the noise; float16 and bfloat16 give float32 noise.
            streams: seeded streams; torch's global generator where ``None``.
            samples: the sample numbers of the draws, example-major, with ``streams``.

        Returns:
            Noise of shape ``(rows, d)``.
        """
        device = torch.device(device)
        dtype = torch.float32 if dtype in _HALF_PRECISION else dtype
        columns = dimension + self.extra
        bits = drawn_bits(rows, columns, drawing_device(device), streams, samples)
        return self.of_bits(bits, dimension).to(device=device, dtype=dtype)

    def of_bits(self, bits: Tensor, dimension: int) -> Tensor:
        """Noise ``(rows, d)`` in float64 from 53-bit integers ``(rows, d + extra)``."""
        return self.combined(self.from_uniform(centred(bits)), dimension)

    @abstractmethod
    def from_uniform(self, centred: Tensor) -> Tensor:
        r"""Turns uniform numbers into noise of unit standard deviation, element by element.

        .. math:: \eta = F^{-1}\big(\tfrac{1 + u}{2}\big)

        Accurate to 16 units in the last place of :math:`\eta`, or as well as u is known (see
        :mod:`captum_robust.noise.arithmetic`).

        Args:
            centred: float64 numbers u, uniform on (-1, 1); may be overwritten.

        Returns:
            Independent coordinates of the noise, float64, in the same shape.
        """

    def combined(self, raw: Tensor, dimension: int) -> Tensor:
        """Turns raw coordinates ``(rows, d + extra)`` into noise ``(rows, d)``; may overwrite."""
        return raw

    def sampling_error(self, dimension: int) -> float:
        r"""Expected error of the noise as computed, :math:`E\|\tilde\eta - \eta\|_1 / d`.

        In standard deviations. By default that of the inverse method, feature by feature; a law
        that overrides :meth:`combined` overrides this too.
        """
        return inverse_method_error(self._largest_draw())

    def rounding_distance(self, dimension: int) -> float:
        """Total variation between noisy inputs as computed and as in the books, bounded.

        See :mod:`captum_robust.noise.arithmetic`.
        """
        drawn = dimension + self.extra
        return rounding_distance(dimension, drawn, self.sampling_error(dimension))

    def _largest_draw(self) -> float:
        """The largest coordinate that the inverse method can draw."""
        ends = torch.tensor([UNIT - 1.0, 1.0 - UNIT], dtype=torch.float64)
        return float(self.from_uniform(ends).abs().max())

    @property
    def has_radius(self) -> bool:
        """Whether the law fills a body, so that its level can be given by a radius."""
        return type(self).radius_in_stdevs is not NoiseLaw.radius_in_stdevs

    def radius_in_stdevs(self, dimension: int) -> float:
        """The radius of the law's body, in per-coordinate standard deviations."""
        raise ValueError(
            f"`radius` needs a noise law with a body, got {self.name} noise; give `stdevs`."
        )

    # -- what a shift can do ----------------------------------------------------------------

    @abstractmethod
    def total_variation(self, shift: ArrayLike, dimension: int) -> Array:
        """Total variation distance between the noise and the noise moved by ``shift``."""

    def inverse_total_variation(self, distance: ArrayLike, dimension: int) -> Array:
        """The largest shift whose total variation is at most ``distance``; never rounded up.

        By bisection, since the total variation grows with the shift; laws with a closed form
        override it. Shifts beyond 1e9 are not looked for.
        """
        allowed = np.asarray(distance, float)

        def fits(shift: Array) -> NDArray[np.bool_]:
            return self.total_variation(shift, dimension) <= allowed

        safe, _ = bisect(fits, np.zeros_like(allowed), _FARTHEST, _HALVINGS)
        return safe

    def lower(self, mean: ArrayLike, shift: ArrayLike, dimension: int) -> Array:
        """Smallest mean of a [0, 1]-valued function after a shift, given its mean before it."""
        moved = np.asarray(mean, float) - self.total_variation(shift, dimension)
        return np.clip(moved, 0.0, 1.0)

    def upper(self, mean: ArrayLike, shift: ArrayLike, dimension: int) -> Array:
        """Largest mean of a [0, 1]-valued function after a shift, given its mean before it."""
        return 1.0 - self.lower(1.0 - np.asarray(mean, float), shift, dimension)

    def separation(
        self, lower: ArrayLike, upper: ArrayLike, dimension: int, margin: ArrayLike = 0.0
    ) -> Array:
        r"""The shift up to which one mean stays above another.

        Returns the largest :math:`t`, rounded down, with
        :math:`\mathrm{lower}(l, s) > \mathrm{upper}(u, s) + \text{margin}` for all :math:`s < t`.

        Args:
            lower: the first mean is at least this, in [0, 1].
            upper: the second mean is at most this, in [0, 1].
            dimension: number of features ``d``.
            margin: gap that has to remain, >= 0.

        Returns:
            Shifts in standard deviations; ``-inf`` where the order does not hold at shift 0.
        """
        gap = np.asarray(lower, float) - np.asarray(upper, float) - np.asarray(margin, float)
        # Rounded down: by what the difference and the inverse may be off.
        allowed = np.clip(gap - 1e-15, 0.0, None) / 2.0
        shift = self.inverse_total_variation(allowed, dimension) * (1.0 - 2e-13)
        return np.where(gap > 0.0, shift, -np.inf)

    def norm_shift(self, shift: ArrayLike, dimension: int, nonnegative: bool = False) -> Array:
        r"""Largest :math:`\|E\,G(x+\delta+\eta) - E\,G(x+\eta)\|_2` over maps of norm at most 1.

        .. math:: \Delta = 2\,\mathrm{TV}, \quad
                  \sqrt2\,\mathrm{TV} \text{ for maps without negative elements}

        Proof: for every unit :math:`w`, :math:`w\cdot G` lies in [-1, 1], or, if :math:`G \ge 0`,
        in [-a, b] with a and b the norms of the negative and positive parts of :math:`w`, so that
        :math:`a + b \le \sqrt2`. Its mean moves by at most the interval's length times the total
        variation; take :math:`w` along the difference. Attained; the second form is ours.
        """
        length = math.sqrt(2.0) if nonnegative else 2.0
        return length * self.total_variation(shift, dimension)

    def inverse_norm_shift(
        self, distance: ArrayLike, dimension: int, nonnegative: bool = False
    ) -> Array:
        """The largest shift whose :meth:`norm_shift` is at most ``distance``; not rounded up."""
        length = math.sqrt(2.0) if nonnegative else 2.0
        return self.inverse_total_variation(np.asarray(distance, float) / length, dimension)

    def angle_shift(self, shift: ArrayLike, dimension: int, nonnegative: bool = False) -> Array:
        r"""The constant :math:`A` of the cosine certificate, for maps of norm at most 1.

        For every unit :math:`w`: if :math:`w\cdot h(x) < -A` then
        :math:`w\cdot h(x+\delta) \le 0`. By total variation D alone it is

        .. math:: A = 2D, \quad\text{and for } G \ge 0\quad A = \begin{cases}\sqrt2\,D &
                  D \le \tfrac12 \\ D/\sqrt{D^2+(1-D)^2} & \text{above.}\end{cases}

        Proof of the second (ours): with a, b as in :meth:`norm_shift`,
        :math:`s = (w\cdot G + a)/(a+b)` is [0, 1]-valued, and its mean stays at most a/(a+b) if it
        is at most a/(a+b) - D before, that is :math:`w\cdot h \le -(a+b)D`; where that is below the
        least value -a nothing is left to show. So A is the largest of min(a, (a+b)D) over
        :math:`a^2+b^2 \le 1`, attained at a = b or where a = (a+b)D.
        """
        distance = self.total_variation(shift, dimension)
        if not nonnegative:
            return 2.0 * distance
        steep = distance / np.hypot(distance, 1.0 - distance)
        return np.where(distance <= 0.5, math.sqrt(2.0) * distance, steep)

    def inverse_angle_shift(
        self, constant: ArrayLike, dimension: int, nonnegative: bool = False
    ) -> Array:
        """The largest shift whose :meth:`angle_shift` is at most ``constant``; not rounded up."""
        wanted = np.clip(np.asarray(constant, float), 0.0, None)
        if not nonnegative:
            return self.inverse_total_variation(wanted / 2.0, dimension)
        sine = np.minimum(wanted, 1.0)
        steep = sine / (sine + np.sqrt(1.0 - sine**2))
        distance = np.where(sine <= math.sqrt(0.5), sine / math.sqrt(2.0), steep)
        return self.inverse_total_variation(distance, dimension)


_REGISTRY: Final[dict[str, type[NoiseLaw]]] = {}


def _register(law: type[NoiseLaw]) -> None:
    """Makes a law known by its own name.

    Raises:
        TypeError: if it has no name or norm of its own, or another law has the name.
    """
    name = vars(law).get("name")
    if not (isinstance(name, str) and name and isinstance(getattr(law, "norm", None), str)):
        raise TypeError(
            f"{law.__qualname__} must set `name` and `norm`, two strings, on the class: a saved "
            f"certificate is loaded by the law's own name; got name={name!r} and "
            f"norm={getattr(law, 'norm', None)!r}."
        )
    known = _REGISTRY.setdefault(name, law)
    if (known.__module__, known.__qualname__) != (law.__module__, law.__qualname__):
        raise TypeError(
            f"`name` of {law.__qualname__} must differ from that of every other noise law, got "
            f"{name!r}, the name of {known.__module__}.{known.__qualname__}."
        )
    _REGISTRY[name] = law  # a class defined again, as in a notebook, takes its own place


def known_laws() -> tuple[str, ...]:
    """The names of all noise laws whose classes have been defined.

    Example:
        >>> from captum_robust.noise import known_laws
        >>> "uniform ball" in known_laws()
        True
    """
    return tuple(sorted(_REGISTRY))


def law_named(name: str) -> NoiseLaw:
    """The noise law of a name.

    Args:
        name: as in ``NoiseLaw.name``.

    Raises:
        ValueError: if no class of this name has been defined; names those that have.

    Example:
        >>> from captum_robust.noise import law_named
        >>> law_named("Gaussian")
        GaussianNoise()
    """
    if name not in _REGISTRY:
        raise ValueError(
            f"`name` must be that of a noise law, {', '.join(map(repr, known_laws()))}, got "
            f"{name!r}; import the module that defines that law first."
        )
    return _REGISTRY[name]()


def checked_shifts(shift: ArrayLike) -> Array:
    """The shifts as a float64 array, refusing negative and undefined ones."""
    shift = np.asarray(shift, float)
    if not (shift >= 0.0).all():
        raise ValueError(f"`shift` must be >= 0, got {shift.min():g}.")
    return shift
