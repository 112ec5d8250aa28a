"""The path attribution of the loss and the adversarial loss, raised together."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_robust.losses.attacked.ig_norm import IGNorm


class IGSumNorm(IGNorm):
    r"""Adversarial cross-entropy and the path attribution of its change, raised together.

    .. math:: L = \max_{\lVert x' - x \rVert_\infty \le r} \bigl\{ \ell(x', y)
        + \lambda \lVert \mathrm{IG}^\ell(x, x') \rVert_1 \bigr\}

    Chen et al. (2019), IG-SUM-NORM: the attribution's size is its sum, which is the change of the
    loss, plus :math:`\lambda` times its l1 norm. With a weight of 0 this is
    :class:`AdversarialTraining`. They take a weight of 0.1 on MNIST, Fashion-MNIST and Flower,
    and 1 on GTSRB.

    Args:
        radius, steps, step_size, path_steps, approx_factor: see :class:`IGNorm`.
        weight: :math:`\lambda`, >= 0.
        **inner: further keywords of :class:`AdversarialCriterion`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import IGSumNorm
        >>> model = example_model()
        >>> criterion = IGSumNorm(radius=0.1, steps=5, path_steps=10, approx_factor=2)
        >>> loss = criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['adversarial', 'path', 'total']
    """

    stationary = False
    jointly = True

    def __init__(
        self,
        radius: float | Tensor = 0.3,
        steps: int = 40,
        step_size: float | Tensor | None = None,
        *,
        weight: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(radius, steps, step_size, weight=weight, **options)
