"""What is evaluated: inputs, the function that explains them, and the arguments it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from captum_robust._base.captum_privates import _is_tuple, _run_forward
from captum_robust._base.checks import check_inputs
from captum_robust._base.examples import usable
from captum_robust._base.vectors import Tensors
from captum_robust.attr.explainer import explaining_rows

Explain = Callable[..., Tensors]
Forward = Callable[..., Any]

# The arguments of an attribution or attack that may have one row for each example.
_BY_EXAMPLE: Final = ("target", "baselines", "additional_forward_args", "feature_mask", "mask")


@dataclass(frozen=True)
class Batch:
    """Inputs of one or many examples with the function that explains them.

    Attributes:
        explain: the explanation function.
        inputs: tensors ``(N, *)``, detached.
        arguments: keyword arguments of ``explain``.
        ids: the position of each row in the user's batch, ``(N,)``.
        is_tuple: whether the user gave a tuple.
        tracked: whether each of the user's inputs required gradients.
    """

    explain: Explain
    inputs: tuple[Tensor, ...]
    arguments: dict[str, Any]
    ids: Tensor
    is_tuple: bool
    tracked: tuple[bool, ...]

    @classmethod
    def of(cls, explain: Explain, inputs: Tensors, arguments: Mapping[str, Any]) -> Batch:
        """Checks what the user gave and leaves it unchanged."""
        if not callable(explain):
            raise TypeError(
                "`explanation_func` must be callable, such as `Saliency(model).attribute`, "
                f"got {type(explain).__name__}."
            )
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        examples = check_inputs(tensors)
        _check_target(arguments.get("target"), examples)
        with torch.inference_mode(False):  # maps need graphs
            return cls(
                explain,
                tuple(usable(tensor).detach() for tensor in tensors),
                usable(dict(arguments)),
                torch.arange(examples),
                _is_tuple(inputs),
                tuple(tensor.requires_grad for tensor in tensors),
            )

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Tensor) -> Batch:
        """The rows with these numbers, in this order and as often."""
        return replace(
            self,
            inputs=tuple(tensor[rows.to(tensor.device)] for tensor in self.inputs),
            arguments=select_arguments(self.arguments, rows, len(self)),
            ids=self.ids[rows],
        )

    def repeat(self, times: int) -> Batch:
        """Every row ``times`` times, example-major, as Captum expands its arguments."""
        if times == 1:
            return self
        return self.select(torch.arange(len(self)).repeat_interleave(times))

    def pack(self, tensors: tuple[Tensor, ...]) -> Tensors:
        """Inputs in the form the user gave them, detached from every graph but their own."""
        leaves = tuple(
            tensor.detach().requires_grad_(tracked)
            for tensor, tracked in zip(tensors, self.tracked, strict=True)
        )
        return leaves if self.is_tuple else leaves[0]

    def maps(self, inputs: tuple[Tensor, ...] | None = None) -> tuple[Tensor, ...]:
        """The maps of ``inputs``, by default of the batch's own; checked, without a graph."""
        inputs = self.inputs if inputs is None else inputs
        maps = explaining_rows(self.explain, self.ids)(self.pack(inputs), **self.arguments)
        return tuple(part.detach() for part in self.checked(maps))

    def checked(self, maps: Any) -> tuple[Tensor, ...]:
        """What the explanation function returned, as a tuple of one finite map for each row."""
        parts = maps if isinstance(maps, tuple) else (maps,)
        for part in parts:
            self._check_map(part)
        return parts

    def _check_map(self, part: Any) -> None:
        if not isinstance(part, Tensor):
            raise TypeError(
                "`explanation_func` must return a Tensor or a tuple of Tensors, "
                f"got {type(part).__name__}."
            )
        if part.dim() == 0 or part.shape[0] != len(self):
            raise ValueError(
                f"`explanation_func` must return one map for each of the {len(self)} inputs it "
                f"was given, got shape {tuple(part.shape)}."
            )
        finite = torch.isfinite(part.detach()).reshape(len(self), -1).all(dim=1).cpu()
        if not finite.all():
            example = int(self.ids[~finite][0])
            raise ValueError(
                f"`explanation_func` must return finite maps, got NaN or infinity for example "
                f"{example}."
            )

    def predictions(self, forward_func: Forward, inputs: tuple[Tensor, ...]) -> Tensor:
        """The predicted classes ``(N, *)``."""
        with torch.no_grad():
            output = _run_forward(
                forward_func, inputs, None, self.arguments.get("additional_forward_args")
            )
        if output.dim() < 2 or output.shape[1] < 2:
            raise ValueError(
                "`forward_func` must return scores of at least two classes, shape (N, classes), "
                f"to see where the prediction changes, got shape {tuple(output.shape)}."
            )
        return output.argmax(dim=1)


def select_arguments(arguments: Mapping[str, Any], rows: Tensor, size: int) -> dict[str, Any]:
    """The arguments of these rows of ``size`` examples; what all examples share stays."""
    chosen = dict(arguments)
    for name in _BY_EXAMPLE:
        if name in chosen:
            chosen[name] = _select(chosen[name], rows, size, is_target=name == "target")
    return chosen


def _select(value: Any, rows: Tensor, size: int, is_target: bool) -> Any:
    if isinstance(value, tuple) and not is_target:
        return tuple(_select(part, rows, size, is_target) for part in value)
    if isinstance(value, list) and is_target:
        return [value[row] for row in rows.tolist()]
    if not isinstance(value, Tensor) or value.dim() == 0 or value.shape[0] != size:
        return value
    if is_target and value.numel() == 1:  # one class for all, whatever their number
        return value
    return value[rows.to(value.device)]


def _check_target(target: Any, examples: int) -> None:
    if isinstance(target, Tensor):
        entries = examples if target.numel() == 1 else target.shape[0]
    else:
        entries = len(target) if isinstance(target, list) else examples
    if entries != examples:
        raise ValueError(
            f"`target` must be one for all or one for each of the {examples} examples, "
            f"got {entries}."
        )
