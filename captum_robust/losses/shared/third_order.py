"""Passes whose second derivatives in the input can be differentiated once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from captum_robust._base.modes import hides_modules, modules_with
from captum_robust._base.precision import at_least_single
from captum_robust.losses.criterion import Net, unwrapped
from captum_robust.losses.shared.gradients import SameDraws, pass_of
from captum_robust.losses.tasks.task import Task


class BatchStatistics(TorchFunctionMode):
    """Notes the mean and variance of every batch normalisation of a pass in training mode.

    Attributes:
        found: variance and mean over the batch, ``(C,)`` each, in the order of the layers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.batch_norm:
            self._note(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _note(self, input: Tensor, *others: Any, training: bool = False, **named: Any) -> None:
        # Positions after the input: running mean and variance, weight, bias, training.
        if training or (len(others) > 4 and others[4]):
            dims = [dim for dim in range(input.dim()) if dim != 1]
            variance, mean = torch.var_mean(at_least_single(input), dims, correction=0)
            self.found.append((variance, mean))


class ThreeTimes(TorchFunctionMode):
    """Normalises by operations that torch differentiates three times.

    Torch's own layers take the statistics of their forward pass as constants from the third
    derivative on. For batch and instance normalisation recent versions refuse that; for layer
    normalisation 2.15, and older versions for all of them, give wrong numbers without a word.
    Inside, each is written out.

    Args:
        statistics: what :class:`BatchStatistics` found in a pass over the same batch, taken by
            batch normalisations in training mode. They depend on the parameters, and not on this
            pass's inputs: each example has a Hessian of its own.
    """

    def __init__(self, statistics: Sequence[tuple[Tensor, Tensor]] = ()) -> None:
        super().__init__()
        self._statistics = iter(statistics)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return _WRITTEN_OUT.get(func, func)(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return functional.batch_norm(
                input, running_mean, running_var, weight, bias, False, momentum, eps
            )
        variance, mean = next(self._statistics)
        scale = torch.rsqrt(variance + eps) * (1 if weight is None else weight)
        shift = -mean * scale + (0 if bias is None else bias)
        shape = (-1, *[1] * (input.dim() - 2))
        return (input * scale.reshape(shape) + shift.reshape(shape)).to(input.dtype)


def uses_batch_statistics(model: Any) -> bool:
    """Whether a batch normalisation of the model does not use running statistics, or may not."""
    return hides_modules(model) or any(
        isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)
        for module in model.modules()
    )


def passes_apart(
    task: Task, model: Net, inputs: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A leaf, the logits of a training pass, and those of a second one, bent by the leaf alone.

    In the second pass batch statistics are those of the first, whatever the leaf: each example has
    derivatives of its own.

    Args:
        task: checks outputs and target.
        model: as for a criterion.
        inputs: ``(N, *)``.
        target: true classes, ``(N,)``.
    """
    draws = SameDraws(inputs)
    with BatchStatistics() as statistics:
        outputs = task.outputs(model, inputs, target)
    net = unwrapped(model)
    with (
        draws.again(),
        ThreeTimes(statistics.found),
        modules_with(net, _BatchNorm, "track_running_stats", False),  # it is no further batch
    ):
        leaf, bent = pass_of(task, net, inputs, target)
    return leaf, outputs, bent


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    normal = _standardised(input, list(range(-len(normalized_shape), 0)), eps)
    scaled = normal if weight is None else normal * weight
    return (scaled if bias is None else scaled + bias).to(input.dtype)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return functional.instance_norm(
            input, running_mean, running_var, weight, bias, False, momentum, eps
        )
    normal = _standardised(input, list(range(2, input.dim())), eps)
    shape = (-1, *[1] * (input.dim() - 2))
    scaled = normal if weight is None else normal * weight.reshape(shape)
    return (scaled if bias is None else scaled + bias.reshape(shape)).to(input.dtype)


def _standardised(values: Tensor, dims: list[int], eps: float) -> Tensor:
    """Less the mean and over the standard deviation of the given dimensions."""
    values = at_least_single(values)
    variance, mean = torch.var_mean(values, dims, correction=0, keepdim=True)
    return (values - mean) * torch.rsqrt(variance + eps)


_WRITTEN_OUT: dict[Any, Any] = {
    functional.layer_norm: _layer_norm,
    functional.instance_norm: _instance_norm,
}
