"""An adversarial loss and the angle between the maps of its two inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captum.attr import IntegratedGradients
from torch import Tensor

from captum_robust.losses.attacked.trades import TRADES
from captum_robust.losses.criterion import Criterion, Net, Reduction, check_weight, unwrapped
from captum_robust.losses.shared.adversarial import AdversarialCriterion
from captum_robust.losses.shared.maps import MakeAttribution, MapMaker
from captum_robust.metrics.similarities.shared.rows import cosine


class IGR(Criterion):
    r"""An adversarial loss and the angle between the maps of its two inputs.

    .. math:: L = L_{\mathrm{base}}(x, x', y)
        + \lambda\,\bigl(1 - \cos(\mathrm{IG}(x), \mathrm{IG}(x'))\bigr)

    Wang & Kong (2022); Wang & Kong (2024), eq. 39, with :class:`TRADES` as the base. The perturbed
    input x' is the base's own, which is :class:`TRADES`, :class:`AdversarialTraining`, that with
    ``clean=1`` for the plain cross-entropy, or any other criterion of the kind. The sources at hand
    state neither :math:`\lambda` nor the baseline and steps of the integrated gradients; here these
    are 1, zeros, and 10 nodes of the Gauss-Legendre rule. Maps are taken in evaluation mode and
    full precision.

    Args:
        base: an :class:`AdversarialCriterion`, :class:`TRADES` by default.
        weight: :math:`\lambda`, >= 0.
        attribution_method: makes the attribution of a model: a class, or any function of the model
            whose result :func:`~captum_robust.attr.differentiable` takes.
        attribute_kwargs: passed to ``attribute``; ``{"n_steps": 10}`` for integrated gradients.
        reduction: see :class:`Criterion`.

    Raises:
        ValueError: if the weight is negative or not finite.
        TypeError: if the base is no adversarial criterion.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import IGR, TRADES
        >>> model = example_model()
        >>> criterion = IGR(TRADES(radius=0.1, steps=3), weight=1.0)
        >>> loss = criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['cross_entropy', 'divergence', 'dissimilarity', 'total']
    """

    def __init__(
        self,
        base: AdversarialCriterion | None = None,
        weight: float = 1.0,
        *,
        attribution_method: MakeAttribution = IntegratedGradients,
        attribute_kwargs: Mapping[str, Any] | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.base = TRADES() if base is None else base
        if not isinstance(self.base, AdversarialCriterion):
            raise TypeError(
                "`base` must be an AdversarialCriterion such as TRADES(), "
                f"got {type(base).__name__}."
            )
        self.task = self.base.task
        self.weights = {**self.base.weights, "dissimilarity": check_weight("weight", weight)}
        self.maps = MapMaker(attribution_method, attribute_kwargs)

    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The base's terms and one minus the cosine of the two maps, ``(N,)`` each."""
        return self.values_at(model, inputs, self.base.perturb(model, inputs, target), target)

    def values_at(
        self, model: Net, inputs: Tensor, perturbed: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Those terms at given perturbed inputs, which are held constant.

        Args:
            model: as for the criterion.
            inputs: clean inputs, ``(N, *)``.
            perturbed: perturbed inputs, ``(N, *)``.
            target: true classes, ``(N,)``.
        """
        found = self.base.values_at(model, inputs, perturbed, target)
        clean, moved = (
            self.maps(self.task, unwrapped(model), each, target) for each in (inputs, perturbed)
        )
        return {**found, "dissimilarity": 1 - cosine(clean, moved)}
