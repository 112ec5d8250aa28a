"""The decorrelation of the map and the adversarial loss, raised together."""

from __future__ import annotations

from captum_robust.losses.attacked.aat import AAT


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
