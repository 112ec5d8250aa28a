"""What belongs to an example: which arguments have a row for each, and how rows are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_any, tree_map

from captum_robust._base.rows import Rows

# The arguments of an attribution or an attack that may have one row for each example.
BY_EXAMPLE: Final = ("baselines", "additional_forward_args", "feature_mask", "mask")


@dataclass(frozen=True, eq=False)
class Shared:
    """An argument that all examples share; made by :func:`shared`."""

    value: Any


@dataclass(frozen=True, eq=False)
class PerExample:
    """A tensor whose examples lie along ``dim``; made by :func:`per_example`."""

    value: Tensor
    dim: int


def shared(value: Any) -> Any:
    """Marks an argument that all examples share, so that it reaches the model as it is.

    Tensors whose first dimension is not the number of examples are shared anyway. The mark is
    needed where the two sizes coincide: three class vectors beside three examples.

    Args:
        value: one of ``additional_forward_args``, or ``baselines`` or ``feature_mask``.

    Returns:
        A mark that every function of this package understands in the argument's place.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import GaussianSmoothing, shared
        >>> net = lambda x, classes: x @ classes.T  # scores of a zero-shot net
        >>> classes = torch.eye(3)
        >>> GaussianSmoothing(Saliency(net)).attribute(
        ...     torch.zeros(3, 3), target=2, additional_forward_args=shared(classes)
        ... )[0]
        tensor([0., 0., 1.])
    """
    return value if isinstance(value, Shared) else Shared(value)


def per_example(value: Tensor, dim: int = 0) -> Any:
    """Marks a tensor that has its examples along another dimension than the first.

    Such as the hidden state ``(layers, N, H)`` of a recurrent net: ``per_example(hidden, dim=1)``.

    Args:
        value: one of ``additional_forward_args``.
        dim: the dimension of size N.

    Returns:
        A mark that every function of this package understands in the argument's place.

    Raises:
        TypeError: if ``value`` is not a Tensor.
        ValueError: if it has no such dimension.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import GaussianSmoothing, per_example
        >>> gru = torch.nn.GRU(4, 3, batch_first=True)
        >>> net = lambda x, hidden: gru(x, hidden)[0][:, -1]
        >>> hidden = per_example(torch.zeros(1, 2, 3), dim=1)
        >>> GaussianSmoothing(Saliency(net)).attribute(
        ...     torch.zeros(2, 5, 4), target=0, additional_forward_args=hidden
        ... ).shape
        torch.Size([2, 5, 4])
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"`value` must be a Tensor, got {type(value).__name__}.")
    if not -value.dim() <= dim < value.dim():
        raise ValueError(
            f"`dim` must be a dimension of `value`, got {dim} for shape {tuple(value.shape)}."
        )
    return PerExample(value, dim % value.dim())


def is_mark(value: Any) -> bool:
    """Whether a value is one of the two marks."""
    return isinstance(value, Shared | PerExample)


def has_rows(value: Any, count: int, ranks: set[int] | None = None) -> bool:
    """Whether a tensor has one row for each of ``count`` examples.

    Args:
        value: any argument.
        count: the number of examples N.
        ranks: numbers of dimensions that a tensor with rows can have; any where ``None``.
    """
    if not isinstance(value, Tensor) or value.dim() == 0 or value.shape[0] != count:
        return False
    return ranks is None or value.dim() in ranks


def settled(name: str, value: Any, count: int, ranks: set[int] | None = None) -> Any:
    """The argument with a mark on each tensor that has no rows, however deep it lies.

    Once settled for all examples, an argument is never mistaken when few of them are left.

    Raises:
        ValueError: if a tensor marked by :func:`per_example` has not ``count`` examples.
    """

    def settle(leaf: Any) -> Any:
        if isinstance(leaf, PerExample) and leaf.value.shape[leaf.dim] != count:
            raise ValueError(
                f"`{name}` must have {count} examples along dim={leaf.dim}, as the inputs have, "
                f"got shape {tuple(leaf.value.shape)}."
            )
        whole = isinstance(leaf, Tensor) and leaf.dim() > 0 and not has_rows(leaf, count, ranks)
        return Shared(leaf) if whole else leaf

    return tree_map(settle, value)


def chosen(value: Any, rows: Rows) -> Any:
    """The rows of a settled argument; what is shared stays whole."""
    if isinstance(rows, slice):
        return value

    def choose(leaf: Any) -> Any:
        if isinstance(leaf, PerExample):
            return PerExample(
                leaf.value.index_select(leaf.dim, rows.to(leaf.value.device)), leaf.dim
            )
        if isinstance(leaf, Tensor) and leaf.dim() > 0:
            return leaf[rows.to(leaf.device)]
        return leaf

    return tree_map(choose, value)


def unmarked(value: Any) -> Any:
    """The argument as a model takes it."""
    return tree_map(lambda leaf: leaf.value if is_mark(leaf) else leaf, value)


def marked(value: Any) -> bool:
    """Whether a mark lies anywhere in the argument."""
    return tree_any(is_mark, value)


def repeated(count: int, times: int) -> Tensor:
    """The numbers of ``count`` rows, each ``times`` times, example-major."""
    return torch.arange(count).repeat_interleave(times)


def settled_keywords(
    arguments: Mapping[str, Any], count: int, ranks: set[int] | None = None
) -> dict[str, Any]:
    """Keyword arguments of ``attribute`` with those of :data:`BY_EXAMPLE` settled.

    Args:
        arguments: the keywords.
        count: number of examples.
        ranks: numbers of dimensions of the inputs, which baselines and masks with rows have too.
    """
    found = dict(arguments)
    for name in BY_EXAMPLE:
        if name in found:
            own = None if name == "additional_forward_args" else ranks
            found[name] = settled(name, found[name], count, own)
    return found


def chosen_keywords(arguments: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
    """Settled keyword arguments of some rows."""
    found = dict(arguments)
    for name in BY_EXAMPLE:
        if name in found:
            found[name] = chosen(found[name], rows)
    return found
