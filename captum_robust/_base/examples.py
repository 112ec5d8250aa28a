"""The inputs of one call as rows of one matrix, and all else that goes example by example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.captum_privates import (
    TargetType,
    _format_additional_forward_args,
    _format_output,
    _format_tensor_into_tuples,
    _is_tuple,
    _run_forward,
)
from captum_robust._base.checks import check_inputs
from captum_robust._base.per_example import (
    BY_EXAMPLE,
    chosen,
    chosen_keywords,
    has_rows,
    is_mark,
    settled,
    settled_keywords,
    unmarked,
)
from captum_robust._base.rows import Rows
from captum_robust._base.targets import as_target, chosen_targets
from captum_robust._base.vectors import feature_shapes, flatten, unflatten

Maps = tuple[Tensor, ...]


class Examples:
    """Clean inputs as ``(N, d)``, and the arguments that belong to some of their rows.

    Rows are in float32 or wider whatever the inputs' types, so that radii and steps are not rounded
    to half precision.

    Args:
        inputs: as the user gave them.
        target: classes explained, in any of Captum's forms.
        additional_forward_args: as for Captum; tensors go with the examples.
    """

    def __init__(
        self, inputs: Tensor | Maps, target: TargetType, additional_forward_args: object
    ) -> None:
        if not isinstance(inputs, Tensor | tuple):
            raise TypeError(
                f"`inputs` must be a Tensor or a tuple of Tensors, got {type(inputs).__name__}."
            )
        self.in_tuple = _is_tuple(inputs)
        parts = _format_tensor_into_tuples(inputs)
        self.count = check_inputs(parts)
        self.shapes = feature_shapes(parts)
        self.dtypes = [part.dtype for part in parts]
        self.ranks = {part.dim() for part in parts}
        clean = flatten([part.detach() for part in parts])
        self.clean = clean.to(torch.promote_types(clean.dtype, torch.float32), copy=True)
        self.target = usable(as_target(target, self.count))
        extras = _format_additional_forward_args(additional_forward_args)
        self.forward_args = usable(settled("additional_forward_args", extras, self.count))

    @property
    def rounding(self) -> float:
        """The largest relative rounding error of the inputs' types."""
        return max(torch.finfo(dtype).eps for dtype in self.dtypes) / 2

    @property
    def rounds(self) -> bool:
        """Whether an input's type cannot hold every value of a row."""
        return any(dtype != self.clean.dtype for dtype in self.dtypes)

    def nearest(self, points: Tensor) -> Tensor:
        """The nearest points that the inputs' types can hold, ``(n, d)``."""
        return flatten(self.inputs(points)).to(points)

    def inwards(self, points: Tensor, reach: Tensor, rows: Rows) -> Tensor:
        """Points that the inputs' types can hold, each value between the given and the clean one.

        Args:
            points: of the chosen rows, ``(n, d)``.
            reach: largest distance from the clean value, feature by feature, ``(n, d)``.
            rows: the rows.
        """
        split = (unflatten(value, self.shapes) for value in (points, reach, self.clean[rows]))
        each = zip(*split, self.dtypes, strict=True)
        return flatten([_rounded_inwards(*one).to(points) for one in each])

    def inputs(self, points: Tensor) -> Maps:
        """Rows ``(n, d)`` in the shapes and types of the inputs; keeps a graph."""
        parts = unflatten(points, self.shapes)
        return tuple(part.to(dtype) for part, dtype in zip(parts, self.dtypes, strict=True))

    def output(self, points: Tensor) -> Any:
        """Rows in the format the user gave, on memory of their own."""
        parts = tuple(part.clone() for part in self.inputs(points.detach()))
        return _format_output(self.in_tuple, parts)

    def spread(self, name: str, value: Any) -> Tensor:
        """A number, or tensors that broadcast to the inputs, as ``(N or 1, d or 1)``."""
        values = value if isinstance(value, tuple) else (value,) * len(self.shapes)
        if len(values) != len(self.shapes):
            raise ValueError(
                f"`{name}` must be one value or one for each of the {len(self.shapes)} inputs, "
                f"got {len(values)}."
            )
        for part in values:
            if not isinstance(part, Tensor | Real):
                raise TypeError(
                    f"`{name}` must be a number, a Tensor that broadcasts to the input, or a "
                    f"tuple of these, one an input, got {type(part).__name__}."
                )
        if not isinstance(value, (Tensor, tuple)):
            return self.clean.new_full((1, 1), value)
        return flatten(
            [self._expand(name, v, shape) for v, shape in zip(values, self.shapes, strict=True)]
        )

    def _expand(self, name: str, value: Any, shape: torch.Size) -> Tensor:
        whole = torch.as_tensor(value).to(self.clean)
        try:
            return whole.expand(self.count, *shape)
        except RuntimeError as error:
            raise ValueError(
                f"`{name}` must broadcast to the input {(self.count, *shape)}, "
                f"got shape {tuple(whole.shape)}."
            ) from error

    def like_inputs(self, name: str, others: Maps) -> Maps:
        """Other inputs, one for all examples or one each, as one each."""
        shapes = tuple(part.shape[1:] for part in others)
        counts = {part.shape[0] for part in others if part.dim()}
        if shapes != self.shapes or not counts <= {1, self.count}:
            wanted = ", ".join(str((self.count, *shape)) for shape in self.shapes)
            given = ", ".join(str(tuple(part.shape)) for part in others)
            raise ValueError(
                f"`{name}` must have the shape of the inputs, {wanted}, with one row for all "
                f"examples or one each, got {given}."
            )
        return tuple(part.expand(self.count, *part.shape[1:]) for part in others)

    def targets(self, rows: Rows) -> TargetType:
        """The targets of some rows."""
        return chosen_targets(self.target, rows, self.count)

    def extras(self, rows: Rows) -> tuple[Any, ...] | None:
        """The additional forward arguments of some rows, marked where all examples share them."""
        return chosen(self.forward_args, rows)

    def keywords(self, kwargs: Mapping[str, Any], rows: Rows) -> dict[str, Any]:
        """Keyword arguments of ``attribute`` for some rows; baselines may go with the examples."""
        found = chosen_keywords(settled_keywords(kwargs, self.count, self.ranks), rows)
        if isinstance(rows, slice):
            return found
        return {
            name: value if name in BY_EXAMPLE else self._choose(value, rows)
            for name, value in found.items()
        }

    def _choose(self, value: Any, rows: Tensor) -> Any:
        if isinstance(value, tuple):
            return tuple(self._choose(part, rows) for part in value)
        return value[rows] if has_rows(value, self.count, self.ranks) else value

    def outputs(self, forward_func: Any, points: Tensor, rows: Rows) -> Tensor:
        """What ``forward_func`` gives at ``(n, d)`` points of the chosen rows."""
        return _run_forward(forward_func, self.inputs(points), None, unmarked(self.extras(rows)))


def _rounded_inwards(points: Tensor, reach: Tensor, clean: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest values of ``dtype``, or the next towards ``clean`` where those lie beyond."""
    rounded = points.to(dtype)
    limit = torch.minimum(reach, (points - clean).abs())
    beyond = (rounded.to(points) - clean).abs() > limit
    return torch.where(beyond, torch.nextafter(rounded, clean.to(dtype)), rounded)


def usable(value: Any) -> Any:
    """The value with copies of tensors made in inference mode, which no graph can keep."""
    if isinstance(value, Tensor):
        return value.clone() if value.is_inference() else value
    if is_mark(value):
        return replace(value, value=usable(value.value))
    if type(value) in (tuple, list):
        return type(value)(usable(part) for part in value)
    if type(value) is dict:
        return {key: usable(part) for key, part in value.items()}
    return value
