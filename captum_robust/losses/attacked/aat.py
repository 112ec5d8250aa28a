"""Losses that keep an attribution map similar to that of an adversarial input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captum.attr import IntegratedGradients
from torch import Tensor

from captum_robust.losses.criterion import Net
from captum_robust.losses.shared.adversarial import PenalisedCriterion, Raised
from captum_robust.losses.shared.maps import MakeAttribution, MapMaker, check_sharpness, smooth_twin
from captum_robust.metrics.similarities.shared.rows import correlation


class AAT(PenalisedCriterion):
    r"""Cross-entropy and how far the map can be decorrelated within the ball.

    .. math:: L = \mathrm{CE}(f(x), y)
        + \lambda \max_{\lVert x' - x \rVert_\infty \le r} \bigl\{1 - r_{A(x), A(x')}\bigr\}

    Ivankay et al. (2020), AAT, with Pearson's correlation over features and A integrated gradients.
    The ascent climbs on a softplus twin of the net, since the gradients of a ReLU net have no
    slope, against the net's own map of x; the loss takes the net's own maps. The sources at hand
    state no defaults of the paper; those here are the ones of :class:`AdversarialTraining` and
    :class:`IGR`. Maps are taken in evaluation mode and full precision.

    Args:
        radius, steps, step_size: of the ascent, see :class:`AdversarialCriterion`.
        weight: :math:`\lambda`, >= 0.
        attribution_method, attribute_kwargs: see :class:`IGR`.
        surrogate: sharpness of the softplus twin, > 0, in units of one over a pre-activation;
            ``None`` climbs on the net itself.
        **inner: further keywords of :class:`AdversarialCriterion`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import AAT
        >>> model = example_model()
        >>> criterion = AAT(radius=0.1, steps=3)
        >>> loss = criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['cross_entropy', 'dissimilarity', 'total']
    """

    stationary = True
    jointly = False
    penalty_name = "dissimilarity"

    def __init__(
        self,
        radius: float | Tensor = 8 / 255,
        steps: int = 7,
        step_size: float | Tensor | None = None,
        *,
        weight: float = 1.0,
        attribution_method: MakeAttribution = IntegratedGradients,
        attribute_kwargs: Mapping[str, Any] | None = None,
        surrogate: float | None = 50.0,
        **inner: Any,
    ) -> None:
        super().__init__(radius, steps, step_size, weight=weight, **inner)
        self.maps = MapMaker(attribution_method, attribute_kwargs)
        self.surrogate = check_sharpness(surrogate)

    def penalty(self, net: Net, inputs: Tensor, perturbed: Tensor, target: Tensor) -> Tensor:
        """One minus the correlation of the two maps."""
        return 1 - correlation(
            *(self.maps(self.task, net, each, target) for each in (inputs, perturbed))
        )

    def raised_penalty(self, net: Net, inputs: Tensor, target: Tensor) -> Raised:
        """That of the twin's map and the net's clean one."""
        self.task.outputs(net, inputs, target)  # refuses a wrong target before Captum meets it
        clean = self.maps(self.task, net, inputs, target).detach()
        twin = smooth_twin(net, self.surrogate)
        return lambda points: 1 - correlation(self.maps(self.task, twin, points, target), clean)
