"""Losses that keep an attribution map similar to that of an adversarial input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captum.attr import IntegratedGradients
from torch import Tensor

from captum_robust.losses.attacked.adversarial import TRADES
from captum_robust.losses.criterion import Criterion, Model, bare, check_weight, logits
from captum_robust.losses.shared.adversarial import AdversarialCriterion, PenalisedCriterion, Raised
from captum_robust.losses.shared.maps import MakeAttribution, MapMaker, check_sharpness, smooth_twin
from captum_robust.metrics.similarities.shared.rows import correlation, cosine


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
    ) -> None:
        super().__init__()
        self.base = TRADES() if base is None else base
        if not isinstance(self.base, AdversarialCriterion):
            raise TypeError(
                "`base` must be an AdversarialCriterion such as TRADES(), "
                f"got {type(base).__name__}."
            )
        self.weights = {**self.base.weights, "dissimilarity": check_weight("weight", weight)}
        self.maps = MapMaker(attribution_method, attribute_kwargs)

    def values(self, model: Model, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The base's terms and one minus the cosine of the two maps, ``(N,)`` each."""
        return self.values_at(model, inputs, self.base.perturb(model, inputs, target), target)

    def values_at(
        self, model: Model, inputs: Tensor, perturbed: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Those terms at given perturbed inputs, which are held constant.

        Args:
            model: as for the criterion.
            inputs: clean inputs, ``(N, *)``.
            perturbed: perturbed inputs, ``(N, *)``.
            target: true classes, ``(N,)``.
        """
        found = self.base.values_at(model, inputs, perturbed, target)
        clean, moved = (self.maps(bare(model), each, target) for each in (inputs, perturbed))
        return {**found, "dissimilarity": 1 - cosine(clean, moved)}


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

    def penalty(self, net: Model, inputs: Tensor, perturbed: Tensor, target: Tensor) -> Tensor:
        """One minus the correlation of the two maps."""
        return 1 - correlation(*(self.maps(net, each, target) for each in (inputs, perturbed)))

    def raised_penalty(self, net: Model, inputs: Tensor, target: Tensor) -> Raised:
        """That of the twin's map and the net's clean one."""
        logits(net, inputs, target)  # refuses a wrong target before Captum meets it
        clean = self.maps(net, inputs, target).detach()
        twin = smooth_twin(net, self.surrogate)
        return lambda points: 1 - correlation(self.maps(twin, points, target), clean)


class AdvAAT(AAT):
    r"""Adversarial cross-entropy and the decorrelation of the map, raised together.

    .. math:: L = \max_{\lVert x' - x \rVert_\infty \le r} \bigl\{ \mathrm{CE}(f(x'), y)
        + \lambda\,(1 - r_{A(x), A(x')}) \bigr\}

    Ivankay et al. (2020), AdvAAT; see :class:`AAT`. The cross-entropy raised is the net's own, the
    map that of the twin.

    Args:
        radius, steps, step_size, weight: see :class:`AAT`.
        attribution_method, attribute_kwargs, surrogate: likewise.
        **inner: further keywords of :class:`AdversarialCriterion`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import AdvAAT
        >>> model = example_model()
        >>> criterion = AdvAAT(radius=0.1, steps=3)
        >>> loss = criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['adversarial', 'dissimilarity', 'total']
    """

    stationary = False
    jointly = True
