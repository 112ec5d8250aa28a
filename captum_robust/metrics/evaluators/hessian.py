"""The norm of the Hessian, or of any attribution's Jacobian, by random directions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust._base.checks import check_choice, check_count, check_number
from captum_robust._base.precision import wide
from captum_robust._base.streams import DIRECTIONS, SampleStreams
from captum_robust._base.vectors import Tensors, feature_shapes, flatten, unflatten
from captum_robust.attr.method.arguments import explained
from captum_robust.attr.method.differentiable import differentiable
from captum_robust.metrics.evaluators.batch import Batch, Explain
from captum_robust.metrics.evaluators.run import Options


def hessian_norm(
    explanation_func: Explain,
    inputs: Tensors,
    *,
    n_samples: int = 10,
    method: Literal["autograd", "finite-difference"] = "autograd",
    step: float = 1e-3,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor:
    r"""Estimate of the Frobenius norm of a map's Jacobian; for the gradient map, of the Hessian.

    .. math:: \|J\|_F^2 = E_{v \sim N(0, I)} \|J^\top v\|_2^2

    Dombrowski et al. (2022), as used by Joo et al. (2023), eq. (1): to first order it bounds the l2
    criterion per unit of the perturbation. The square is estimated without bias, with variance
    :math:`2 \|J J^\top\|_F^2` over the number of draws; its root is not a bound.

    Nets of ReLU type have Hessian 0 almost everywhere, and so says ``"autograd"``; a finite
    difference sees the kinks within its step.

    Args:
        explanation_func: for ``"autograd"`` the ``attribute`` of a method that
            :func:`captum_robust.attr.differentiable` knows, such as ``Saliency(model).attribute``;
            for ``"finite-difference"`` any function.
        inputs: what is explained, ``(N, *)``, or a tuple.
        n_samples: number of directions.
        method: ``"autograd"``, exact products with :math:`J^\top`; or ``"finite-difference"``,
            the centred quotient :math:`(g(x + hv) - g(x - hv)) / 2h`, which estimates
            :math:`\|Jv\|_2^2`, of the same mean.
        step: length :math:`h \|v\|_2` of the finite difference, in input units, > 0.
        max_examples_per_batch: examples processed at once; all by default.
        seed: fixes direction i of example j as a function of (seed, i, j) alone.
        show_progress: whether to show a progress bar.
        **kwargs: passed to ``explanation_func``.

    Returns:
        Estimates in [0, inf), in map units per input unit, ``(N,)``, float64; lower is more robust.

    Raises:
        ValueError: if an argument is out of range or a map is not finite.
        TypeError: if ``"autograd"`` is asked of a map that cannot be differentiated.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.metrics import hessian_norm
        >>> saliency = Saliency(lambda x: x.square().sum(1))  # the Hessian is twice the identity
        >>> norm = hessian_norm(saliency.attribute, torch.ones(1, 4), n_samples=1000, seed=0)
        >>> bool((norm - 4).abs() < 0.2)
        True
    """
    check_choice("method", method, ("autograd", "finite-difference"))
    check_count("n_samples", n_samples)
    length = check_number("step", step, low=0, high=float("inf"), open_low=True, open_high=True)
    options = Options(max_examples_per_batch=max_examples_per_batch, show_progress=show_progress)
    batch = Batch.of(explanation_func, inputs, kwargs)
    parts = []
    with options.progress(len(batch) * n_samples, "directions") as bar:
        for chunk in options.chunks(batch):
            directions = _Directions(chunk, n_samples, seed)
            squares = (
                _transposed_products(chunk, directions)
                if method == "autograd"
                else _difference_quotients(chunk, directions, length)
            )
            total: Tensor | float = 0.0
            for square in squares:
                total = total + square
                bar.update(len(chunk))
            parts.append(torch.as_tensor(total / n_samples).sqrt())
    return torch.cat(parts)


class _Directions:
    """Standard normal directions ``(N, m)``, one after the other."""

    def __init__(self, chunk: Batch, count: int, seed: int | None) -> None:
        self._count = count
        self._examples = len(chunk)
        self._streams = (
            None if seed is None else SampleStreams(seed, chunk.ids.tolist(), DIRECTIONS)
        )

    def like(self, vectors: Tensor) -> Iterator[Tensor]:
        for number in range(self._count):
            out = torch.empty_like(vectors)
            if self._streams is None:
                out.normal_()
            else:
                self._streams.fill(out, range(number, number + 1), _fill_normal)
            yield out


def _fill_normal(out: Tensor, generator: torch.Generator | None) -> None:
    out.normal_(generator=generator)


def _transposed_products(chunk: Batch, directions: _Directions) -> Iterator[Tensor]:
    """Squared norms of the Jacobian's transpose times each direction."""
    leaves = tuple(part.clone().requires_grad_() for part in chunk.inputs)
    with _graph(chunk.explain), torch.enable_grad():
        given = leaves if chunk.is_tuple else leaves[0]
        maps = explained(chunk.explain, given, chunk.arguments)
    vector = flatten(chunk.checked(maps))
    for direction in directions.like(vector.detach()):
        if not vector.requires_grad:  # a map that does not depend on the input
            yield wide(torch.zeros_like(vector[:, 0]).detach())
            continue
        products = torch.autograd.grad(
            vector, leaves, direction, retain_graph=True, materialize_grads=True
        )
        yield wide(flatten(products)).square().sum(1)


def _difference_quotients(chunk: Batch, directions: _Directions, length: float) -> Iterator[Tensor]:
    """Squared norms of the centred difference quotient along each direction."""
    shapes = feature_shapes(chunk.inputs)
    dtype = torch.promote_types(chunk.inputs[0].dtype, torch.float32)
    for direction in directions.like(flatten(chunk.inputs).to(dtype)):
        size = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        steps = unflatten(direction * (length / size), shapes)
        ahead, behind = (
            tuple(
                (part + sign * step).to(part.dtype)
                for part, step in zip(chunk.inputs, steps, strict=True)
            )
            for sign in (1, -1)
        )
        rise = flatten([wide(part) for part in chunk.maps(ahead)]) - flatten(
            [wide(part) for part in chunk.maps(behind)]
        )
        yield rise.square().sum(1) * (wide(size).squeeze(1) / (2 * length)) ** 2


@contextmanager
def _graph(explain: Explain) -> Iterator[None]:
    """Lets the attribution that ``explain`` is a method of keep the graph of its maps."""
    attribution = getattr(explain, "__self__", None)
    if not isinstance(attribution, Attribution):
        raise TypeError(
            '`method="autograd"` needs the `attribute` of a Captum attribution, '
            f'got {explain!r}; use `method="finite-difference"`.'
        )
    with differentiable(attribution):
        yield
