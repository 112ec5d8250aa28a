"""Products with the Jacobian of any map that carries a graph, without ever forming it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from captum.attr import Attribution, Saliency
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from captum_robust._base.captum_privates import TargetType, _format_tensor_into_tuples
from captum_robust._base.checks import check_inputs
from captum_robust._base.examples import Examples
from captum_robust._base.vectors import flatten
from captum_robust.attr.explainer import Explainer, is_smoothed
from captum_robust.attr.method.differentiable import differentiable
from captum_robust.attr.method.guards import refuse_dependent_samples

Array = NDArray[np.float64]

_SYMMETRIC: Final = 1e-3  # relative; float32 products of a symmetric matrix agree to about 1e-5
_ELEMENTS: Final = 2**19  # input elements of one block of rows of a dense Jacobian
_ROWS: Final = 16  # and rows, each with the graph of all samples or path steps of its map


class StudiedMap:
    """An attribution at a batch of inputs with everything but the inputs frozen.

    Build it by :func:`studied`. Draws of a smoothed map are fixed by one seed, so that its Jacobian
    is one matrix.

    Args:
        attribution: the method, inside ``differentiable(attribution)``.
        examples: inputs, targets and further forward arguments.
        kwargs: for ``attribution.attribute``.
        seed: of the draws of smoothed maps.
    """

    def __init__(
        self, attribution: Attribution, examples: Examples, kwargs: Mapping[str, Any], seed: int
    ) -> None:
        self.attribution, self.examples = attribution, examples
        ids = kwargs.get("example_ids")
        numbers = list(range(examples.count)) if ids is None else list(ids)
        given = {name: value for name, value in kwargs.items() if name != "example_ids"}
        self._values = Explainer(attribution, given, examples, seed, numbers)
        self.takes_abs = isinstance(attribution, Saliency) and given.get("abs", True)
        # |g| moves as g does, sign by sign, and only the signed gradient has a symmetric Jacobian.
        signed = given | {"abs": False} if self.takes_abs else given
        self._signed = Explainer(attribution, signed, examples, seed, numbers)
        self.is_gradient = _is_gradient(attribution, signed)

    def __len__(self) -> int:
        return self.examples.count

    @property
    def forward_func(self) -> Any:
        """The net behind the method, under whatever smooths it."""
        inner = self.attribution
        while hasattr(inner, "attribution_method"):
            inner = inner.attribution_method
        return inner.forward_func

    def values(self, points: Tensor, rows: Tensor) -> Tensor:
        """Maps at points ``(n, d)`` of some examples, ``(n, m)`` in their dtype; checked."""
        found = flatten(self._values.maps(points, rows))
        _check_finite("attributions", found, rows)
        return found

    def jacobian(self, row: int, copies: int = 1) -> Jacobian:
        """The Jacobian at one example, for ``copies`` products at a time."""
        rows = torch.full((copies,), row)
        leaves = tuple(
            part.detach().requires_grad_()
            for part in self.examples.inputs(self.examples.clean[rows])
        )
        maps = self._signed.maps_of(leaves, self.examples.targets(rows), rows)
        vector = flatten(_format_tensor_into_tuples(maps))
        _check_finite("attributions", vector, rows)
        return Jacobian(vector, leaves, row, self.takes_abs, self.is_gradient)

    def dense(self, row: int, outputs: int | None = None) -> Array:
        """The Jacobian of one example, m x d or its first rows, a product a row, in blocks."""
        copies = max(1, min(_ROWS, _ELEMENTS // self.examples.clean.shape[1]))
        jacobian = self.jacobian(row, copies)
        units = np.eye(jacobian.shape[0])[:outputs]
        blocks = np.array_split(units, range(copies, len(units), copies))
        return np.concatenate([jacobian.transposed_rows(block) for block in blocks])

    def points(self, perturbed: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Perturbed inputs as ``(N, d)``.

        Raises:
            ValueError: if they are not shaped like the inputs.
        """
        parts = _format_tensor_into_tuples(perturbed)
        check_inputs(parts)
        wanted = self.examples.inputs(self.examples.clean)
        if [part.shape for part in parts] != [part.shape for part in wanted]:
            raise ValueError(
                f"`perturbed` must be shaped like `inputs`, {[tuple(p.shape) for p in wanted]}, "
                f"got {[tuple(p.shape) for p in parts]}."
            )
        return flatten([part.detach() for part in parts])


class Jacobian(LinearOperator):  # type: ignore[misc, unused-ignore]
    """The Jacobian J, m x d, of one example's map, known by its products.

    Args:
        vector: the map with its graph, ``(copies, m)``.
        leaves: the inputs it hangs on, ``(copies, *)``.
        row: the example, named in errors.
        takes_abs: whether the map is the absolute value of ``vector``.
        is_gradient: whether ``vector`` is the gradient of a scalar, so that J is symmetric.
    """

    def __init__(
        self,
        vector: Tensor,
        leaves: tuple[Tensor, ...],
        row: int,
        takes_abs: bool = False,
        is_gradient: bool = False,
    ) -> None:
        self._vector, self._leaves, self._row = vector, leaves, row
        self.products = 0
        features = sum(leaf[0].numel() for leaf in leaves)
        super().__init__(np.float64, (vector.shape[1], features))
        self._signs = np.where(_array(vector)[0] >= 0, 1.0, -1.0) if takes_abs else None
        self._bent: tuple[Tensor, Tensor] | None = None
        self.symmetric: LinearOperator | None = None
        self.probe = self._probed(is_gradient)

    def refuse_zero(self) -> None:
        """Raises if J is zero, seen by a product with a random vector.

        Raises:
            ValueError: naming the example and the remedy.
        """
        if not self.probe.any():
            raise ValueError(
                "`attribution` must change with its input to first order: its Jacobian is zero "
                f"for example {self._row}, as for the gradient of a piecewise-linear net; explain "
                "captum_robust.robust.softplus_surrogate(model) in place of the model."
            )

    def _matvec(self, x: Array) -> Array:
        """J v, ``(d,) -> (m,)``, by double backward, which every map with a graph allows."""
        direction = x.ravel()
        if self.symmetric is not None:
            return self._unsigned(self._product(direction[None]))[0]
        self.products += 1
        if not self._vector.requires_grad:
            return np.zeros(self.shape[0])
        weights, bent = self._transposed_with_graph()
        if not bent.requires_grad:
            return np.zeros(self.shape[0])
        with torch.enable_grad():
            (found,) = torch.autograd.grad(
                bent,
                weights,
                self._like(direction[None], bent),
                retain_graph=True,
                materialize_grads=True,
            )
        return self._unsigned(self._checked(found))[0]

    def _rmatvec(self, x: Array) -> Array:
        """J^T u, ``(m,) -> (d,)``, by one reverse pass."""
        return self.transposed_rows(x.reshape(1, -1))[0]

    def transposed_rows(self, weights: Array) -> Array:
        """J^T of each row of ``(n, m)``, n at most ``copies``, in one pass: ``(n, d)``."""
        return self._product(self._unsigned(weights))

    def _product(self, weights: Array) -> Array:
        """The transposed Jacobian of the signed map times each row."""
        self.products += len(weights)
        if not self._vector.requires_grad:
            return np.zeros((len(weights), self.shape[1]))
        padded = torch.zeros_like(self._vector)
        padded[: len(weights)] = self._like(weights, self._vector)
        found = torch.autograd.grad(
            self._vector, self._leaves, padded, retain_graph=True, materialize_grads=True
        )
        return self._checked(flatten(found)[: len(weights)])

    def _transposed_with_graph(self) -> tuple[Tensor, Tensor]:
        """A dummy u and J^T u as a function of it: linear, so that its derivative is J."""
        if self._bent is None:
            weights = torch.zeros_like(self._vector, requires_grad=True)
            with torch.enable_grad():
                found = torch.autograd.grad(
                    self._vector, self._leaves, weights, create_graph=True, materialize_grads=True
                )
                self._bent = weights, flatten(found)
        return self._bent

    def _probed(self, is_gradient: bool) -> Array:
        """J^T u for a fixed random u; where J should be symmetric, asks whether it is."""
        draw = np.random.default_rng(0)
        u, v = draw.standard_normal(self.shape[0]), draw.standard_normal(self.shape[0])
        first = self._product(u[None])[0]
        if is_gradient and self.shape[0] == self.shape[1]:
            second = self._product(v[None])[0]
            scale = np.linalg.norm(first) * np.linalg.norm(v)
            if abs(v @ first - u @ second) <= _SYMMETRIC * scale:
                self.symmetric = self._signed()
        return first

    def _signed(self) -> LinearOperator:
        """The Jacobian before absolute values: that of a gradient is symmetric."""
        return LinearOperator(
            self.shape, lambda vector: self._product(vector.reshape(1, -1))[0], dtype=self.dtype
        )

    def _unsigned(self, rows: Array) -> Array:
        return rows if self._signs is None else rows * self._signs

    def _like(self, rows: Array, tensor: Tensor) -> Tensor:
        return torch.tensor(rows, dtype=tensor.dtype).to(tensor.device)

    def _checked(self, product: Tensor) -> Array:
        found = _array(product)
        if not np.isfinite(found).all():
            raise RuntimeError(
                f"Jacobian products must be finite, got NaN or infinity for example {self._row}; "
                "look at the model there, or use float64."
            )
        return found


@contextmanager
def studied(
    attribution: Attribution,
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType,
    additional_forward_args: object,
    kwargs: Mapping[str, Any],
) -> Iterator[StudiedMap]:
    """Freezes a map and keeps its graph for as long as the context lasts.

    Raises:
        TypeError: if the method cannot carry a graph; says why.
        RuntimeError: if a module in training mode makes examples depend on each other.
    """
    with differentiable(attribution):
        refuse_dependent_samples(attribution)
        examples = Examples(inputs, target, additional_forward_args)
        drawn = is_smoothed(attribution) and "seed" not in kwargs
        seed = int(torch.randint(2**40, ()).item()) if drawn else 0
        yield StudiedMap(attribution, examples, kwargs, seed)


def per_example(name: str, value: float | Tensor | Sequence[float], count: int) -> Tensor:
    """A number for all or one for each example, ``(N,)`` float64, finite and > 0."""
    if isinstance(value, bool):
        raise TypeError(f"`{name}` must be a number or a tensor, got bool.")
    sizes = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
    if sizes.shape not in ((), (count,)):
        raise ValueError(
            f"`{name}` must be a number or have shape ({count},), got {tuple(sizes.shape)}."
        )
    wrong = ~((sizes > 0) & sizes.isfinite())
    if wrong.any():
        raise ValueError(f"`{name}` must be > 0 and finite, got {float(sizes[wrong][0]):g}.")
    return sizes.expand(count).clone()


def _is_gradient(attribution: Attribution, kwargs: Mapping[str, Any]) -> bool:
    """Whether the map is the gradient of a scalar: signed saliency, or the plain mean of some."""
    inner = attribution
    while is_smoothed(inner):
        plain = kwargs.get("nt_type", "smoothgrad") == "smoothgrad" and "clamp" not in kwargs
        if not plain or getattr(inner.transform, "links", None) != ():
            return False
        inner = inner.attribution_method
    return isinstance(inner, Saliency) and kwargs.get("abs", True) is False


def _array(tensor: Tensor) -> Array:
    """Rows as float64 on the CPU."""
    return tensor.detach().cpu().double().numpy()


def _check_finite(what: str, rows: Tensor, examples: Tensor) -> None:
    finite = torch.isfinite(rows.detach()).all(dim=1).cpu()
    if not finite.all():
        example = int(examples[~finite][0])
        raise RuntimeError(f"{what} must be finite, got NaN or infinity for example {example}.")
