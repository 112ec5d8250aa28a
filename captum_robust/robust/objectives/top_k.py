"""Drives the top features out of the top."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.checks import check_number, check_share_or_count, feature_count
from captum_robust._base.vectors import flatten, top_mask
from captum_robust.robust.objectives.objective import (
    Explain,
    Maps,
    Normalisation,
    Objective,
    Reduction,
)
from captum_robust.transforms.soft_marks import soft_top


class TopKObjective(Objective):
    r"""Lowers the attribution of the features that were the top k.

    .. math:: D(x') = -\sum_{i \in \mathrm{top}_k(h(x))} h_i(x')

    Ghorbani et al. (2019); Levine et al. (2019), Algorithm 1. Scored by the share of the top k that
    was displaced, in [0, 1]. D falls with every attribution of the old top k alike; with
    ``boundary`` w > 0, features near the threshold of the new top k count more, the old ones
    downwards and all others upwards (not in the papers):

    .. math:: D_w(x') = D(x') - w\, \frac{\lVert h(x') \rVert_1}{2k} \Bigl(
        \sum_{i \in \mathrm{top}_k(h(x))} \sigma_i - \sum_{i \notin \mathrm{top}_k(h(x))} \sigma_i
        \Bigr), \quad \sigma_i = \mathrm{sigmoid}\Bigl(\frac{h_i(x') - \theta}{s\, m}\Bigr)

    with :math:`\theta` halfway between the k-th and the next value of :math:`h(x')` and m the mean
    distance to it: a smooth form of what the score counts. :math:`\theta`, m and the norm, which
    gives both terms one unit, are constants to the gradient.

    Args:
        k: a count or a share in (0, 1] of all features of all maps.
        reduction, normalisation: see :class:`Objective`.
        boundary: w, >= 0, a weight without unit.
        width: s, > 0: how near the threshold a feature must be to count, without unit; the smaller,
            the closer to the score and the fewer features are pulled.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AttributionAttack, TopKObjective
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = AttributionAttack(model, Saliency(model), objective=TopKObjective(k=2))
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    ceiling = 1.0

    def __init__(
        self,
        k: int | float,
        reduction: Reduction = "none",
        normalisation: Normalisation = "none",
        boundary: float = 0.0,
        width: float = 0.2,
    ) -> None:
        super().__init__(reduction, normalisation)
        self.k = check_share_or_count("k", k)
        self.boundary = check_number("boundary", boundary, low=0)
        self.width = check_number("width", width, low=0, open_low=True)

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        flat = flatten(clean)
        return top_mask(flat, feature_count("k", self.k, flat.shape[1]))

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        flat = flatten(maps)
        lowered = -(flat * anchor).sum(1)
        count = feature_count("k", self.k, flat.shape[1])
        if self.boundary == 0 or count == flat.shape[1]:
            return lowered
        near = soft_top(flat, count, self.width)
        held = torch.where(anchor, near, -near).sum(1) / (2 * count)
        return lowered - self.boundary * flat.detach().abs().sum(1) * held

    def score(self, maps: Maps, clean: Maps, anchor: Tensor) -> Tensor:
        flat = flatten(maps)
        count = feature_count("k", self.k, flat.shape[1])
        return 1 - (top_mask(flat, count) & anchor).sum(1).to(flat.dtype) / count
