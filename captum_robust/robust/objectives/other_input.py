"""Moves a map towards that of another input."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust._base.vectors import flatten
from captum_robust.robust.objectives.objective import (
    Explain,
    MapError,
    Maps,
    Normalisation,
    Objective,
    Reduction,
    squared_error,
)


class OtherInputObjective(Objective):
    r"""Makes the map look like that of other inputs: :math:`D(x') = -\mathrm{MSE}(h(x'), h(z))`.

    Dombrowski et al. (2019), whose targets are maps of second images, explained on the real net.

    Args:
        others: the inputs z, a Tensor or a tuple, shaped like the attacked ones (one for all, or
            one each).
        target: class explained at ``others``; ``None`` takes the attack's own.
        reduction, normalisation: see :class:`Objective`.
        error: ``"mean"`` of the squares over the map, or their ``"sum"``.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AttributionAttack, OtherInputObjective
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> objective = OtherInputObjective(others=torch.rand(1, 4))
        >>> attack = AttributionAttack(model, Saliency(model), objective=objective)
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    ceiling = 0.0

    def __init__(
        self,
        others: Tensor | Maps,
        target: Any = None,
        reduction: Reduction = "abs-sum",
        normalisation: Normalisation = "sum",
        error: MapError = "mean",
    ) -> None:
        super().__init__(reduction, normalisation)
        self.error = check_choice("error", error, get_args(MapError))
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
        return -squared_error(maps, anchor, self.error)
