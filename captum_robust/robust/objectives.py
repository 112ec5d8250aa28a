"""What an attribution attack raises: functions of the perturbed map, one value per example."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_robust._checks import (
    check_choice,
    check_count,
    check_number,
    check_share_or_count,
    feature_count,
)
from captum_robust._features import flatten, top_mask
from captum_robust.robust._soft_top import soft_top

Maps = tuple[Tensor, ...]
Explain = Callable[[Maps, Any], Maps]

REDUCTIONS: Final = ("none", "abs", "sum", "abs-sum")
NORMALISATIONS: Final = ("none", "sum", "max")


class Objective:
    """A function of the perturbed map that an attack raises; subclasses give ``value``.

    Args:
        reduction: what is done to the map first: ``"none"``, ``"abs"``, ``"sum"`` or ``"abs-sum"``
            over channels (dimension 1 of maps of four or more dimensions).
        normalisation: then divided by its ``"sum"`` or its ``"max"`` of absolute values; a map of
            zeros stays zero.

    Raises:
        ValueError: for another ``reduction`` or ``normalisation``.
    """

    stationary = False
    """Whether the gradient is zero at the clean input, so that a climb cannot start there."""
    ceiling = math.inf
    """The score that nothing exceeds: an example that reaches it is finished."""

    def __init__(self, reduction: str = "none", normalisation: str = "none") -> None:
        self.reduction = check_choice("reduction", reduction, REDUCTIONS)
        self.normalisation = check_choice("normalisation", normalisation, NORMALISATIONS)

    def view(self, maps: Maps) -> Maps:
        """The maps as this objective reads them, ``(N, *)`` each."""
        if self.reduction.startswith("abs"):
            maps = tuple(part.abs() for part in maps)
        if self.reduction.endswith("sum"):
            maps = tuple(part.sum(1) if part.dim() > 3 else part for part in maps)
        if self.normalisation == "none":
            return maps
        whole = flatten(maps).abs()
        scale = whole.sum(1) if self.normalisation == "sum" else whole.amax(1)
        scale = torch.where(scale > 0, scale, 1)
        return tuple(part / scale.reshape(-1, *[1] * (part.dim() - 1)) for part in maps)

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        """What stays fixed during the attack, ``(N, *)``, from the clean view; none by default."""
        return clean[0].new_empty(clean[0].shape[0], 0)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        """The differentiable value to raise, ``(N,)``, at views of perturbed maps."""
        raise NotImplementedError(f"{type(self).__name__} must define `value`.")

    def score(self, maps: Maps, clean: Maps, anchor: Tensor) -> Tensor:
        """The measure that picks the best iterate, ``(N,)``, larger for the attacker; ``value``."""
        return self.value(maps, anchor)


class TopKObjective(Objective):
    r"""Lowers the attribution of the features that were the top k.

    .. math:: D(x') = -\sum_{i \in \mathrm{top}_k(h(x))} h_i(x')

    Ghorbani et al. (2019); Levine et al. (2019), Algorithm 1. Scored by the share of the top k that
    was displaced, in [0, 1]. D falls with every attribution of the old top k alike; with
    ``boundary`` w > 0, features near the threshold of the new top k count more, the old ones
    downwards and all others upwards (not in the papers):

    .. math:: D_w(x') = D(x') - w\, \frac{\lVert h(x') \rVert_1}{2k} \Bigl(
        \sum_{i \in \mathrm{top}_k(h(x))} \sigma_i - \sum_{i \notin \mathrm{top}_k(h(x))} \sigma_i
        \Bigr), \quad \sigma_i = \mathrm{sigmoid}\Bigl(\frac{h_i(x') - \theta}{0.2\, m}\Bigr)

    with :math:`\theta` halfway between the k-th and the next value of :math:`h(x')` and m the mean
    distance to it: a smooth form of what the score counts. :math:`\theta`, m and the norm, which
    gives both terms one unit, are constants to the gradient.

    Args:
        k: a count or a share in (0, 1] of all features of all maps.
        reduction, normalisation: see :class:`Objective`.
        boundary: w, >= 0, a weight without unit.
    """

    ceiling = 1.0

    def __init__(
        self,
        k: int | float,
        reduction: str = "none",
        normalisation: str = "none",
        boundary: float = 0.0,
    ) -> None:
        super().__init__(reduction, normalisation)
        self.k = check_share_or_count("k", k)
        self.boundary = check_number("boundary", boundary, low=0)

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        flat = flatten(clean)
        return top_mask(flat, feature_count("k", self.k, flat.shape[1]))

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        flat = flatten(maps)
        lowered = -(flat * anchor).sum(1)
        count = feature_count("k", self.k, flat.shape[1])
        if self.boundary == 0 or count == flat.shape[1]:
            return lowered
        near = soft_top(flat, count)
        held = torch.where(anchor, near, -near).sum(1) / (2 * count)
        return lowered - self.boundary * flat.detach().abs().sum(1) * held

    def score(self, maps: Maps, clean: Maps, anchor: Tensor) -> Tensor:
        flat = flatten(maps)
        count = feature_count("k", self.k, flat.shape[1])
        return 1 - (top_mask(flat, count) & anchor).sum(1).to(flat.dtype) / count


class MassCenterObjective(Objective):
    r"""Moves the centre of mass of an image's map.

    .. math:: D(x') = \lVert C(x') - \lfloor C(x) \rfloor \rVert_2^2, \quad
        C = \sum_{ij} h_{ij}\,(i, j)

    Ghorbani et al. (2019), whose code cuts the clean centre to whole pixels. Scored by the distance
    of the centres in pixels. Needs maps ``(N, C, H, W)``; a map of zeros has its centre at (0, 0).

    Args:
        reduction, normalisation: see :class:`Objective`.
        reference: ``"pixel"`` is the formula above, which drives the centre to larger coordinates;
            ``"exact"`` leaves the clean centre uncut, goes wherever the start is, and needs a
            random one, since its gradient is zero at the clean input.
    """

    def __init__(
        self, reduction: str = "abs-sum", normalisation: str = "sum", reference: str = "pixel"
    ) -> None:
        super().__init__(reduction, normalisation)
        self.stationary = check_choice("reference", reference, ("pixel", "exact")) == "exact"

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        centre = _centre(clean)
        return centre if self.stationary else centre.trunc()

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        return (_centre(maps) - anchor).square().sum(1)

    def score(self, maps: Maps, clean: Maps, anchor: Tensor) -> Tensor:
        return torch.linalg.vector_norm(_centre(maps) - _centre(clean), dim=1)


def _centre(maps: Maps) -> Tensor:
    """Mean pixel position under one image map ``(N, *, H, W)``, ``(N, 2)`` in pixels."""
    if len(maps) != 1 or maps[0].dim() < 3:
        shapes = ", ".join(str(tuple(part.shape)) for part in maps)
        raise ValueError(f"a centre of mass needs one image map (N, C, H, W), got {shapes}.")
    image = maps[0].flatten(1, -3).sum(1) if maps[0].dim() > 3 else maps[0]
    rows = torch.arange(image.shape[1], dtype=image.dtype, device=image.device)
    columns = torch.arange(image.shape[2], dtype=image.dtype, device=image.device)
    return torch.stack([image.sum(2) @ rows, image.sum(1) @ columns], dim=1)


class RegionObjective(Objective):
    r"""Raises the attribution inside a region: :math:`D(x') = \sum_{i \in A} h_i(x')`.

    Ghorbani et al. (2019), targeted attack.

    Args:
        region: boolean mask, broadcast to the map as ``reduction`` leaves it, one for all examples
            ``(*map)`` or one each ``(N, *map)``.
        reduction, normalisation: see :class:`Objective`.
    """

    def __init__(
        self, region: Tensor, reduction: str = "abs-sum", normalisation: str = "sum"
    ) -> None:
        super().__init__(reduction, normalisation)
        if not isinstance(region, Tensor) or region.dtype != torch.bool:
            kind = region.dtype if isinstance(region, Tensor) else type(region).__name__
            raise TypeError(f"`region` must be a bool Tensor, got {kind}.")
        if not region.any():
            raise ValueError("`region` must mark at least one feature, got none.")
        self.region = region

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        return _like_map("region", self.region, clean)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        return (flatten(maps) * anchor).sum(1)


class TargetMapObjective(Objective):
    r"""Makes the map look like a given one: :math:`D(x') = -\mathrm{MSE}(h(x'), h_t)`.

    Dombrowski et al. (2019). The target goes through the same normalisation as the map.

    Args:
        target_map: the map :math:`h_t`, broadcast to the map as ``reduction`` leaves it; see
            :func:`frame_target`.
        reduction, normalisation: see :class:`Objective`.
    """

    ceiling = 0.0

    def __init__(
        self, target_map: Tensor, reduction: str = "abs-sum", normalisation: str = "sum"
    ) -> None:
        super().__init__(reduction, normalisation)
        if not isinstance(target_map, Tensor) or not target_map.is_floating_point():
            raise TypeError("`target_map` must be a floating-point Tensor.")
        if not bool(torch.isfinite(target_map).all()):
            raise ValueError("`target_map` must be finite, got NaN or infinity.")
        self.target_map = target_map

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        wanted = _like_map("target_map", self.target_map, clean)
        scaled = Objective(normalisation=self.normalisation)
        return flatten(scaled.view((wanted,))).to(clean[0].dtype)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        return -(flatten(maps) - anchor).square().mean(1)


class OtherInputObjective(Objective):
    r"""Makes the map look like that of other inputs: :math:`D(x') = -\mathrm{MSE}(h(x'), h(z))`.

    Dombrowski et al. (2019), whose targets are maps of second images, explained on the real net.

    Args:
        others: the inputs z, a Tensor or a tuple, shaped like the attacked ones (one for all, or
            one each).
        target: class explained at ``others``; ``None`` takes the attack's own.
        reduction, normalisation: see :class:`Objective`.
    """

    ceiling = 0.0

    def __init__(
        self,
        others: Tensor | Maps,
        target: Any = None,
        reduction: str = "abs-sum",
        normalisation: str = "sum",
    ) -> None:
        super().__init__(reduction, normalisation)
        self.others = others if isinstance(others, tuple) else (others,)
        for part in self.others:
            if not isinstance(part, Tensor) or not part.is_floating_point():
                kind = part.dtype if isinstance(part, Tensor) else type(part).__name__
                raise TypeError(
                    "`others` must be a floating-point Tensor or a tuple of these, one an input, "
                    f"got {kind}."
                )
            if not bool(torch.isfinite(part).all()):
                raise ValueError("`others` must be finite, got NaN or infinity.")
        self.target = target

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        return flatten(self.view(explain(self.others, self.target)))

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        return -(flatten(maps) - anchor).square().mean(1)


class CosineObjective(Objective):
    """Turns the map: one minus its cosine with the clean map, in [0, 2]; 0 for a map of zeros."""

    stationary = True
    ceiling = 2.0

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        return flatten(clean)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        # A map of zeros has no direction; calling it unchanged keeps the attack from aiming at it.
        cosine = F.cosine_similarity(flatten(maps), anchor, dim=1, eps=1e-30)
        empty = (flatten(maps) == 0).all(1) | (anchor == 0).all(1)
        return torch.where(empty, torch.zeros_like(cosine), 1 - cosine)


class L2Objective(Objective):
    r"""Moves the map: raises :math:`\lVert h(x') - h(x) \rVert_2^2`, scored by its root.

    Wang and Kong (2023), the deviation their bounds are measured against.
    """

    stationary = True

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        return flatten(clean)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        return (flatten(maps) - anchor).square().sum(1)

    def score(self, maps: Maps, clean: Maps, anchor: Tensor) -> Tensor:
        return torch.linalg.vector_norm(flatten(maps) - anchor, dim=1)


def frame_target(shape: tuple[int, ...], width: int) -> Tensor:
    """A map of ones along the border and zeros inside, the target of Joo et al. (2023).

    Args:
        shape: shape of the map, its last two dimensions are height and width.
        width: thickness of the frame in pixels, at most half the image; their code takes 5 at 32
            pixels and 35 at 224.

    Raises:
        ValueError: if the frame leaves no inside.

    Example:
        >>> frame_target((3, 4), width=1).tolist()
        [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    """
    width = check_count("width", width)
    if len(shape) < 2 or 2 * width >= min(shape[-2:]):
        raise ValueError(
            f"`width` must leave an inside in a map of shape {tuple(shape)}, got {width}."
        )
    frame = torch.ones(shape)
    frame[..., width:-width, width:-width] = 0
    return frame


def _like_map(name: str, value: Tensor, maps: Maps) -> Tensor:
    """Broadcasts ``value`` to one map and flattens it to ``(N, m)``."""
    if len(maps) != 1:
        raise ValueError(f"`{name}` fits attributions of one map, got {len(maps)} maps.")
    try:
        whole = value.to(maps[0].device).expand(maps[0].shape)
    except RuntimeError as error:
        raise ValueError(
            f"`{name}` must broadcast to the map {tuple(maps[0].shape)}, got {tuple(value.shape)}."
        ) from error
    return flatten((whole,))
