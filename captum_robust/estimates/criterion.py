"""First-order bounds on the cosine robust criterion beside its measured value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust._base.captum_privates import TargetType
from captum_robust._base.checks import check_count, check_number
from captum_robust.estimates.jacobian import Array, Jacobian, studied
from captum_robust.estimates.spectrum import top_singular
from captum_robust.metrics.similarities.values.cosine_similarity import cosine_similarity


@dataclass(frozen=True, eq=False)
class CriterionBound:
    r"""The cosine robust criterion of a perturbation, and what bounds it to first order.

    Each is a tensor ``(N,)``, float64, without unit. :math:`\delta` is the perturbation,
    :math:`\epsilon = \|\delta\|_2`, J the Jacobian of g at x; ``sharp <= spectral <= frobenius`` up
    to the sampling error of the last. A bound can exceed 1, the criterion's maximum; all are
    infinite where the perturbed map is zero.

    Attributes:
        measured: :math:`\frac12(1 - \cos(g(x + \delta), g(x)))`, in [0, 1].
        leading: :math:`\|P_\perp J\delta\|^2 / (4\|g(x)\|^2)`, :math:`P_\perp` the projection off
            g(x): what the criterion is up to :math:`O(\epsilon^3)` (ours), no bound;
            infinite where g(x) is zero.
        sharp: :math:`\|J\delta\|_2 / \|g(x + \delta)\|_2`.
        spectral: :math:`\epsilon\,\xi / \|g(x + \delta)\|_2`, with the solver's residual added.
        frobenius: :math:`\epsilon\,\|J\|_F / \|g(x + \delta)\|_2`, the norm from random vectors.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.estimates import criterion_bound
        >>> square = Saliency(lambda x: x.square().sum(1) / 2)  # g = x, a right angle to x + delta
        >>> x, y = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> found = criterion_bound(square, x, y)
        >>> round(float(found.measured), 3), round(float(found.sharp), 3)
        (0.5, 1.414)
    """

    measured: Tensor
    leading: Tensor
    sharp: Tensor
    spectral: Tensor
    frobenius: Tensor

    @property
    def kind(self) -> str:
        """``"estimate"``: the bounds leave out terms of second order."""
        return "estimate"


def criterion_bound(
    attribution: Attribution,
    inputs: Tensor | tuple[Tensor, ...],
    perturbed: Tensor | tuple[Tensor, ...],
    target: TargetType = None,
    *,
    additional_forward_args: object = None,
    n_samples: int = 10,
    tolerance: float = 1e-3,
    max_products: int = 300,
    **attribute_kwargs: Any,
) -> CriterionBound:
    r"""Bounds the cosine robust criterion at perturbed inputs, such as an attack has found.

    .. math:: \Gamma(x, \delta) = \frac{1 - \cos(g(x + \delta), g(x))}{2} \le
              \frac{\|J\delta\|_2 + O(\epsilon^2)}{\|g(x + \delta)\|_2} \le
              \frac{\epsilon\,\|J\|_2 + O(\epsilon^2)}{\|g(x + \delta)\|_2}

    Joo et al. (2023), Theorem 6, whose proof passes through the first form; its statement has the
    Frobenius norm. The criterion is quadratic in :math:`\epsilon` and the bounds are linear, so
    they are loose where :math:`\epsilon` is small.

    Args:
        attribution: g, any method that :func:`captum_robust.attr.differentiable` takes; the
            gradient in the paper.
        inputs: x, ``(N, *)``; a tuple is one concatenated vector.
        perturbed: :math:`x + \delta`, shaped like ``inputs``.
        target, additional_forward_args: as in Captum.
        n_samples: random vectors for the Frobenius norm.
        tolerance, max_products: see :func:`first_order_deviation`.
        **attribute_kwargs: passed to ``attribute``.

    Returns:
        The criterion and its bounds.

    Raises:
        ValueError: if shapes differ, or the Jacobian of an example is zero, as for the gradient of
            a piecewise-linear net.
        TypeError: if the map cannot carry a graph.
        RuntimeError: if a map or a product is not finite.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.estimates import criterion_bound
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> x = torch.randn(2, 4)
        >>> found = criterion_bound(Saliency(model), x, x + 0.01, target=0, abs=False)
        >>> bool((found.measured <= found.sharp).all() and (found.sharp <= found.spectral).all())
        True
    """
    check_count("n_samples", n_samples)
    check_number("tolerance", tolerance, low=0, high=1, open_low=True, open_high=True)
    check_count("max_products", max_products, low=8)
    with studied(attribution, inputs, target, additional_forward_args, attribute_kwargs) as study:
        points = study.points(perturbed)
        deltas = points.cpu().double() - study.examples.clean.cpu().double()
        rows = range(len(study))
        moved, norms = [], []
        for row in rows:
            jacobian = study.jacobian(row)
            jacobian.refuse_zero()
            moved.append(torch.from_numpy(jacobian.matvec(deltas[row].numpy())))
            top = top_singular(
                jacobian, tolerance, max_products, jacobian.probe, jacobian.symmetric
            )
            norms.append([top.safe, _frobenius(jacobian, n_samples)])
        here, there = (
            torch.cat([study.values(where[row : row + 1], torch.tensor([row])) for row in rows])
            for where in (study.examples.clean, points)
        )
    sizes = torch.linalg.vector_norm(deltas, dim=1, keepdim=True) * torch.tensor(norms)
    return _assembled(here.cpu().double(), there.cpu().double(), torch.stack(moved), sizes)


def _assembled(here: Tensor, there: Tensor, moved: Tensor, sizes: Tensor) -> CriterionBound:
    """The answer from maps ``(N, m)``, J delta ``(N, m)`` and the two sizes epsilon ||J||."""
    length = torch.linalg.vector_norm(here, dim=1, keepdim=True)
    unit = here / torch.where(length > 0, length, 1.0)
    across = moved - (unit * moved).sum(1, keepdim=True) * unit
    bounds = torch.cat([torch.linalg.vector_norm(moved, dim=1, keepdim=True), sizes], dim=1)
    after = torch.linalg.vector_norm(there, dim=1, keepdim=True)
    sharp, spectral, frobenius = torch.where(after > 0, bounds / after, torch.inf).unbind(1)
    leading = across.square().sum(1, keepdim=True) / (4 * length.square())
    return CriterionBound(
        measured=(1 - cosine_similarity(there, here)) / 2,
        leading=torch.where(length > 0, leading, torch.inf).squeeze(1),
        sharp=sharp,
        spectral=spectral,
        frobenius=frobenius,
    )


def _frobenius(jacobian: Jacobian, n_samples: int) -> float:
    """The root of the mean of ||J^T u||^2 over normal u; Hutchinson (1990)."""
    draw = np.random.default_rng(1)
    pulls: list[Array] = [
        jacobian.rmatvec(draw.standard_normal(jacobian.shape[0])) for _ in range(n_samples)
    ]
    return float(np.sqrt(np.mean([pull @ pull for pull in pulls])))
