"""What an evaluator returns when it is asked for more than its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.vectors import Tensors


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluator's values, and what else was asked for; the rest is ``None``.

    Attributes:
        values: one value per example, ``(N,)``, or ``(N, R)`` over several radii, float64.
        prediction_changes: how many of an example's perturbations moved the predicted class, shape
            of ``values``, int64; known where a ``forward_func`` was given.
        perturbed_inputs: the perturbed inputs, ``(N, *)`` or ``(N, R, *)``: of many draws, the one
            that did the map the most harm.
        perturbed_maps: their maps, likewise.
        curve: the curve whose area ``values`` is, ``(N, n_points)``, float64.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import Evaluation
        >>> Evaluation(torch.tensor([0.5, 1.0])).values.mean()
        tensor(0.7500)
    """

    values: Tensor
    prediction_changes: Tensor | None = None
    perturbed_inputs: Tensors | None = None
    perturbed_maps: Tensors | None = None
    curve: Tensor | None = None


def join(parts: Sequence[Evaluation], dim: int = 0, *, stack: bool = False) -> Evaluation:
    """Evaluations of several chunks as one, or of several radii stacked along ``dim``."""
    merge = torch.stack if stack else torch.cat
    merged: dict[str, Any] = {}
    for field in fields(Evaluation):
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], tuple):
            columns = zip(*values, strict=True)
            merged[field.name] = tuple(merge(list(column), dim) for column in columns)
        elif values[0] is not None:
            merged[field.name] = merge(values, dim)
    return Evaluation(**merged)
