"""Several inputs as one row an example, so that no loss has to know of more than one tensor."""

from __future__ import annotations

from typing import Any

from torch import Size, Tensor, dtype, nn

from captum_robust._base.examples import Examples
from captum_robust._base.vectors import feature_shapes, flatten, unflatten


class Packed(nn.Module):
    """A model of several inputs as one of rows ``(N, d)``, which hold one input after the other.

    Args:
        net: takes the inputs, one argument each.
        shapes, dtypes: of one example of each input.
    """

    def __init__(self, net: Any, shapes: tuple[Size, ...], dtypes: tuple[dtype, ...]) -> None:
        super().__init__()
        self.net, self.shapes, self.dtypes = net, shapes, dtypes

    def forward(self, rows: Tensor) -> Any:
        """What the model gives for rows ``(N, d)``."""
        return self.net(*self.split(rows))

    def split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """The inputs that the rows hold."""
        parts = unflatten(rows, self.shapes)
        return tuple(part.to(kind) for part, kind in zip(parts, self.dtypes, strict=True))


def pack(model: Any, inputs: tuple[Tensor, ...]) -> tuple[Packed, Tensor]:
    """A model of rows, and the rows that hold the inputs."""
    dtypes = tuple(part.dtype for part in inputs)
    return Packed(model, feature_shapes(inputs), dtypes), flatten(inputs)


def beside(model: Any, net: Any) -> Any:
    """Another net in the form that the model takes inputs in."""
    return Packed(net, model.shapes, model.dtypes) if isinstance(model, Packed) else net


def examples_of(model: Any, inputs: Tensor) -> Examples:
    """The inputs, several where the model takes several: bounds and radii go with each of them."""
    return Examples(model.split(inputs) if isinstance(model, Packed) else inputs, None, None)


def as_inputs(model: Any, examples: Examples, points: Tensor) -> Tensor:
    """Points ``(N, d)`` in the form that the model takes."""
    return points if isinstance(model, Packed) else examples.inputs(points)[0]


def as_maps(model: Any, rows: Tensor, inputs: Tensor) -> tuple[Tensor, ...]:
    """Maps in rows ``(N, d)`` in the shapes of the inputs."""
    shapes = model.shapes if isinstance(model, Packed) else (inputs.shape[1:],)
    return unflatten(rows, shapes)
