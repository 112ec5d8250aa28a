"""What is evaluated: inputs, the function that explains them, and the arguments it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from captum_robust._base.captum_privates import _is_tuple, _run_forward
from captum_robust._base.checks import check_inputs
from captum_robust._base.examples import usable
from captum_robust._base.per_example import (
    chosen_keywords,
    repeated,
    settled_keywords,
    shared,
    unmarked,
)
from captum_robust._base.targets import as_target, chosen_targets
from captum_robust._base.vectors import Tensors
from captum_robust.attr.explainer import explaining_rows
from captum_robust.attr.method.arguments import explained
from captum_robust.attr.method.guards import takes_many_baselines, warn_of_training_mode
from captum_robust.attr.method.outputs import checked_output
from captum_robust.attr.method.probing.generators import GeneratorStates, generators_kept
from captum_robust.attr.method.probing.modules import ModelState

_SEED = 0  # of the draws of explanations

Explain = Callable[..., Tensors]
Forward = Callable[..., Any]


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
        unsteady: whether the model is in a mode in which a pass can change it.
        times: how often each example is repeated.
        random: not empty once the explanation was seen to draw from a global generator; all
            explanations get the same random numbers, so that perturbations alone move maps.
    """

    explain: Explain
    inputs: tuple[Tensor, ...]
    arguments: dict[str, Any]
    ids: Tensor
    is_tuple: bool
    tracked: tuple[bool, ...]
    unsteady: bool = False
    times: int = 1
    random: list[bool] = field(default_factory=list)

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
        unsteady = warn_of_training_mode(explain)
        ranks = {tensor.dim() for tensor in tensors}
        arguments = _settled_arguments(explain, arguments, examples, ranks)
        with torch.inference_mode(False):  # maps need graphs
            return cls(
                explain,
                tuple(usable(tensor).detach() for tensor in tensors),
                usable(dict(arguments)),
                torch.arange(examples),
                _is_tuple(inputs),
                tuple(tensor.requires_grad for tensor in tensors),
                unsteady,
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
        return replace(self.select(repeated(len(self), times)), times=times)

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
        if self.times > 1 and self.random:
            return self._maps_by_copy(inputs)
        explain = explaining_rows(self.explain, self.ids)
        state = ModelState(self.explain) if self.unsteady else None
        with generators_kept(self.inputs, _SEED):
            seeded = GeneratorStates.of(self.inputs)
            maps = explained(explain, self.pack(inputs), self.arguments)
            if not self.random and seeded.moved():
                self.random.append(True)
        if state is not None:
            state.restore()
        return tuple(part.detach() for part in self.checked(maps))

    def _maps_by_copy(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps of one copy of each example at a time, which all get the same draws."""
        numbers = torch.arange(len(self)).reshape(-1, self.times)
        found = []
        for rows in numbers.unbind(1):
            part = replace(self.select(rows), times=1)
            found.append(part.maps(tuple(tensor[rows.to(tensor.device)] for tensor in inputs)))
        return tuple(torch.stack(parts, dim=1).flatten(0, 1) for parts in zip(*found, strict=True))

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
                forward_func, inputs, None, unmarked(self.arguments.get("additional_forward_args"))
            )
        output = checked_output(output)
        if output.dim() < 2 or output.shape[1] < 2:
            raise ValueError(
                "`forward_func` must return scores of at least two classes, shape (N, classes), "
                f"to see where the prediction changes, got shape {tuple(output.shape)}."
            )
        return output.argmax(dim=1)


def select_arguments(arguments: Mapping[str, Any], rows: Tensor, size: int) -> dict[str, Any]:
    """The arguments of these rows of ``size`` examples; what all examples share stays."""
    chosen = chosen_keywords(settled_keywords(arguments, size), rows)
    if "target" in chosen:
        chosen["target"] = chosen_targets(as_target(chosen["target"], size), rows, size)
    return chosen


def _settled_arguments(
    explain: Explain, arguments: Mapping[str, Any], examples: int, ranks: set[int]
) -> dict[str, Any]:
    """The arguments with marks on what all examples share, and the target checked."""
    found = dict(arguments)
    owner = getattr(explain, "__self__", None)
    if "baselines" in found and takes_many_baselines(getattr(owner, "attribution_method", owner)):
        found["baselines"] = tree_map(shared, found["baselines"])
    found = settled_keywords(found, examples, ranks)
    if "target" in found:
        found["target"] = as_target(found["target"], examples)
    return found
