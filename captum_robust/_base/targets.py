"""Targets: which outputs are explained, in any of Captum's forms; and what a net predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_robust._base.captum_privates import TargetType
from captum_robust._base.rows import Rows

Prediction = Callable[[Any], Tensor]


def as_target(target: Any, count: int) -> Any:
    """The target in a form that Captum takes: numpy's integers and arrays and small dtypes too.

    Args:
        target: one class, an index ``(i, j)`` of an output with more dimensions, or a list, array
            or Tensor with one for each example.
        count: number of examples.

    Returns:
        ``None``, an int, a tuple, a list of ints or tuples, or an int64 Tensor.

    Raises:
        TypeError: if it holds anything but integers.
        ValueError: if one is negative, or there is neither one class nor one for each example.
    """
    if target is None:
        return None
    if isinstance(target, np.ndarray | Tensor):
        found: Any = _as_tensor(target)
        length = found.numel() if found.dim() < 2 else None
        least = int(found.min()) if found.numel() else 0
    else:
        found = _as_integers(target)
        length = len(found) if isinstance(found, list) else 1
        least = min(_flat(found), default=0)
    _check_length(found, length, count)
    if least < 0:
        raise ValueError(
            f"`target` must hold classes >= 0, got {least}; for the last class pass its number, "
            "and leave out examples without a class."
        )
    return found


def _as_tensor(target: Any) -> Tensor:
    tensor = torch.as_tensor(target)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        remedy = "; convert it by .long()" if tensor.is_floating_point() else ""
        raise TypeError(
            "`target` must hold integer classes: an int, a tuple, a list or a Tensor with one for "
            f"each example, got {tensor.dtype}{remedy}."
        )
    return tensor.long()


def _as_integers(target: Any) -> Any:
    """Python's integers in place of numpy's, in the same tuples and lists."""
    if isinstance(target, tuple | list):
        return type(target)(_as_integers(part) for part in target)
    if isinstance(target, Tensor | np.ndarray) and target.ndim == 0:
        return int(_as_tensor(target))
    if isinstance(target, bool) or not isinstance(target, Integral):
        raise TypeError(
            "`target` must hold integer classes: an int, a tuple, a list or a Tensor with one for "
            f"each example, got {type(target).__name__}."
        )
    return int(target)


def _flat(target: Any) -> list[int]:
    parts = target if isinstance(target, tuple | list) else [target]
    return [
        one for part in parts for one in (_flat(part) if isinstance(part, tuple | list) else [part])
    ]


def _check_length(target: Any, length: int | None, count: int) -> None:
    one_for_all = length == 1 and not isinstance(target, list)
    if not one_for_all and length != count:
        shape = tuple(target.shape) if isinstance(target, Tensor) else (length,)
        raise ValueError(
            f"`target` must be one class or one for each of the {count} examples, "
            f"got shape {shape}."
        )


def chosen_targets(target: TargetType, rows: Rows, count: int) -> TargetType:
    """The targets of some of ``count`` examples, of a target that :func:`as_target` returned."""
    if isinstance(rows, slice):
        return target
    if isinstance(target, Tensor):
        own = target.numel() > 1 or (target.dim() == 1 and count == 1)
        return target[rows.to(target.device)] if own else target
    if isinstance(target, list):
        return [target[row] for row in rows.tolist()]
    return target


def class_targets(target: TargetType, count: int) -> Tensor | None:
    """The target as one class an example, ``(N,)``; None where it is none or no plain class."""
    if target is None or isinstance(target, tuple):
        return None
    if isinstance(target, Sequence) and any(isinstance(part, tuple) for part in target):
        return None
    classes = torch.as_tensor(target).flatten()
    return classes.expand(count) if classes.numel() in (1, count) else None


def predicted(outputs: Any, rows: int, prediction: Prediction | None = None) -> Tensor:
    """The label of each row, ``(rows,)`` int64.

    Args:
        outputs: what the net gave.
        rows: number of rows that the net was given.
        prediction: turns outputs into integers or booleans, one a row; the largest of
            ``(rows, classes)`` scores by default.

    Raises:
        ValueError: if the outputs are no class scores, or a function of the user's does not give
            one label for each row.
        TypeError: if its labels are neither integers nor booleans.
    """
    if prediction is None:
        if not has_classes(outputs):
            shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(
                "the net must give class scores (N, classes), two classes or more, for a "
                f"prediction, got {shape}; for other outputs give a function of them, such as "
                "prediction=lambda outputs: outputs[:, 0] > 0."
            )
        return outputs.argmax(1)
    labels = prediction(outputs)
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"`prediction` must return a Tensor of integers or booleans, got {kind}.")
    if labels.shape != (rows,):
        raise ValueError(
            f"`prediction` must return one label for each of {rows} rows, ({rows},), got shape "
            f"{tuple(labels.shape)}."
        )
    return labels.to(torch.int64)


def has_classes(outputs: Any) -> bool:
    """Whether outputs are scores of two classes or more, ``(rows, classes)``."""
    return isinstance(outputs, Tensor) and outputs.dim() == 2 and outputs.shape[1] > 1
