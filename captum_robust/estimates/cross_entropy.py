"""The input Hessian of the cross-entropy of a piecewise-linear net, by its closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.captum_privates import (
    _format_output,
    _format_tensor_into_tuples,
    _is_tuple,
    _run_forward,
)
from captum_robust._base.checks import check_inputs
from captum_robust._base.precision import wide
from captum_robust._base.vectors import feature_shapes, flatten, unflatten

Maps = tuple[Tensor, ...]
Forward = Callable[..., Any]


def cross_entropy_hessian_spectrum(
    model: Forward,
    inputs: Tensor | Maps,
    *,
    additional_forward_args: Any = None,
    create_graph: bool = False,
) -> Tensor:
    r"""Eigenvalues of the input Hessian of the cross-entropy, for a net linear around each input.

    .. math:: H = W\,(\mathrm{diag}(p) - p p^\top)\,W^\top = B B^\top, \quad
              B = W\,\mathrm{diag}(q)\,(I - q q^\top),\; q = \sqrt p

    W is the Jacobian of the c logits, d x c, and p their softmax. The d x d matrix H has the
    eigenvalues of the c x c matrix :math:`B^\top B` and zeros besides; it is the same for every
    label. Wang et al. (2020), Proposition 3; exact where the logits are linear around the input, as
    for a ReLU net off its kinks, and the Gauss-Newton part of the Hessian otherwise. By their
    Theorem 3 the loss gradient moves by at most the first eigenvalue times :math:`\epsilon` to
    first order, for :math:`\|\delta\|_2 \le \epsilon`.

    Args:
        model: a net from inputs ``(N, *)`` to logits ``(N, c)``, one example apart from the next:
            batch normalisation in training mode mixes them.
        inputs: floating point, ``(N, *)``; a tuple is one concatenated vector.
        additional_forward_args: passed on to ``model``, as in Captum.
        create_graph: keeps the graph, so that a loss can be made of the eigenvalues; c backward
            passes in any case.

    Returns:
        ``(N, c)``, descending, >= 0, in nats per squared input unit, float64; one of them is zero,
        and all beyond d.

    Raises:
        ValueError: if the inputs are not finite or the logits not finite and ``(N, c)``, c >= 2.
        TypeError: if the inputs are not floating point.

    Example:
        >>> import torch
        >>> from captum_robust.estimates import cross_entropy_hessian_spectrum
        >>> net = torch.nn.Linear(4, 2, bias=False)
        >>> weights = net.weight.data.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]))
        >>> cross_entropy_hessian_spectrum(net, torch.zeros(1, 4))  # p = 1/2, |w_1 - w_2|^2 / 4
        tensor([[0.5000, 0.0000]], dtype=torch.float64)
    """
    root = _hessian_root(
        model, _format_tensor_into_tuples(inputs), additional_forward_args, create_graph
    )
    return torch.linalg.eigvalsh(root @ root.mT).flip(1).clamp(min=0)


def cross_entropy_hessian_top(
    model: Forward, inputs: Tensor | Maps, *, additional_forward_args: Any = None
) -> tuple[Tensor, Any]:
    r"""The largest of these eigenvalues and the input direction in which the loss bends that much.

    .. math:: H u = \lambda_1 u, \quad u = B v / \|B v\|_2,\; B^\top B v = \lambda_1 v

    Wang et al. (2020), Proposition 3; the terms are those of
    :func:`cross_entropy_hessian_spectrum`.

    Args:
        model: a net from inputs ``(N, *)`` to logits ``(N, c)``.
        inputs: floating point, ``(N, *)``; a tuple is one concatenated vector.
        additional_forward_args: passed on to ``model``, as in Captum.

    Returns:
        The eigenvalues ``(N,)``, float64, and directions of unit length in the form and dtype of
        ``inputs``; zero where the eigenvalue is 0. Their sign means nothing.

    Raises:
        ValueError: if the inputs are not finite or the logits not finite and ``(N, c)``, c >= 2.
        TypeError: if the inputs are not floating point.

    Example:
        >>> import torch
        >>> from captum_robust.estimates import cross_entropy_hessian_top
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> value, direction = cross_entropy_hessian_top(model, torch.zeros(2, 4))
        >>> torch.allclose(direction.norm(dim=1), torch.ones(2))
        True
    """
    parts = _format_tensor_into_tuples(inputs)
    root = _hessian_root(model, parts, additional_forward_args, create_graph=False)
    values, vectors = torch.linalg.eigh(root @ root.mT)
    direction = (vectors[:, None, :, -1] @ root).squeeze(1)
    length = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
    unit = unflatten(direction / torch.where(length > 0, length, 1.0), feature_shapes(parts))
    shaped = tuple(u.to(part.dtype) for u, part in zip(unit, parts, strict=True))
    return values[:, -1].clamp(min=0), _format_output(_is_tuple(inputs), shaped)


def _hessian_root(model: Forward, parts: Maps, extra: Any, create_graph: bool) -> Tensor:
    """The transpose of B, ``(N, c, d)``, float64."""
    check_inputs(parts)
    leaves = tuple(part.detach().clone().requires_grad_() for part in parts)
    with torch.enable_grad():
        logits = _run_forward(model, leaves, None, extra)
    _check_logits(logits, len(leaves[0]))
    return root_of_pass(logits, leaves, create_graph)


def root_of_pass(logits: Tensor, leaves: Maps, create_graph: bool) -> Tensor:
    """The transpose of B, ``(N, c, d)``, float64, of a pass made before, whose graph it keeps."""
    with torch.enable_grad():
        rows = [
            flatten(_gradients(column, leaves, create_graph)) for column in logits.sum(0).unbind()
        ]
    with torch.set_grad_enabled(create_graph):
        # The exponential of half the logarithm has a gradient at p = 0, where the root has none.
        root_p = wide(logits if create_graph else logits.detach()).log_softmax(1).div(2).exp()
        scaled = wide(torch.stack(rows, dim=1)) * root_p.unsqueeze(2)
        along = torch.einsum("nc,ncd->nd", root_p, scaled)
        return scaled - root_p.unsqueeze(2) * along.unsqueeze(1)


def _gradients(value: Tensor, leaves: Maps, create_graph: bool) -> Maps:
    """Gradients of one logit, zero for an input that it does not depend on."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(
        value, leaves, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )


def _check_logits(logits: Any, examples: int) -> None:
    if logits.dim() != 2 or len(logits) != examples or logits.shape[1] < 2:
        raise ValueError(
            "`model` must return logits of shape (N, c), c >= 2, "
            f"got {tuple(logits.shape)} for {examples} inputs."
        )
    finite = torch.isfinite(logits.detach()).all(dim=1)
    if not finite.all():
        example = int((~finite).nonzero()[0])
        raise ValueError(
            f"`model` must return finite logits, got NaN or infinity for example {example}."
        )
