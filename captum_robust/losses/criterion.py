"""What every loss shares: terms added with weights, checks, and a model left as it was found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import torch
from torch import Tensor, nn

from captum_robust._base.checks import check_choice, check_inputs, check_number
from captum_robust._base.examples import usable
from captum_robust._base.vectors import Tensors
from captum_robust.losses.packing import Packed, beside, pack
from captum_robust.losses.tasks.choice import task_of
from captum_robust.losses.tasks.task import Base, Net

Reduction = Literal["mean", "sum", "none"]


class Common(TypedDict, total=False):
    """The keywords of every criterion, see :class:`Criterion`."""

    base: Base
    reduction: Reduction


class Criterion(nn.Module, ABC):
    r"""A training loss ``criterion(model, inputs, target) -> scalar`` made of weighted terms.

    .. math:: L = \frac1N \sum_{n=1}^N \sum_t w_t\, l_t(x_n, y_n)

    A subclass gives the terms of each example in :meth:`values` and their weights in
    :attr:`weights`. It asks :attr:`task` for what depends on the meaning of the outputs: their
    loss, the score whose gradient is a map, how far two outputs are apart. Examples never see each
    other, unless the model itself mixes them: batch normalisation in training mode makes one
    function of a batch, here as in the papers' code. After a call :attr:`terms` holds the detached
    mean of each term, unweighted, and of the whole, for logging.

    Args:
        base: the loss of the prediction: ``nn.CrossEntropyLoss`` by default, with its label
            smoothing, class weights and ``ignore_index``; ``nn.BCEWithLogitsLoss`` for several
            labels or one logit; ``nn.MSELoss`` and its like for numbers; or a function of outputs
            and target with one value or row an example, whose negative the maps then explain.
        reduction: ``"mean"`` or ``"sum"`` of the examples' losses, or ``"none"`` for each of them,
            ``(N,)``, to be weighted by the caller.

    Raises:
        TypeError: if ``base`` is neither a module nor a function.
    """

    weights: Mapping[str, float]

    def __init__(self, *, base: Base = None, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.task = task_of(base)
        self.reduction = check_choice("reduction", reduction, ("mean", "sum", "none"))
        self.terms: dict[str, Tensor] = {}

    @abstractmethod
    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Each term of each example, ``(N,)``, with the graph of the model's parameters.

        Several inputs come as rows ``(N, d)``, with a model that takes such rows.
        """

    def forward(self, model: Net, inputs: Tensors, target: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            model: a net from ``(N, *)``, or several inputs, to what the base takes, logits ``(N,
                classes)`` by default; in training mode or not; or any function or object that calls
                one.
            inputs: floating point, finite, ``(N, *)``, or a tuple of such tensors.
            target: true classes, ``(N,)``, integers in ``[0, classes)``; shares of the classes,
                ``(N, classes)``; for dense outputs ``(N, classes, *)`` with a place for each of
                theirs; or what another base takes.

        Returns:
            A scalar, or ``(N,)`` with ``reduction="none"``, with a graph of the model's parameters;
            without one under ``torch.no_grad`` and ``torch.inference_mode``, which may be on.

        Raises:
            ValueError: if the inputs are not finite, a target is out of range, or shapes differ.
            TypeError: if inputs are not floating point, or target or outputs of another type than
                the base takes.
            RuntimeError: if a term is not finite, which the message names, or if the loss needs
                second derivatives and the model is piecewise linear.
        """
        examples = check_inputs(inputs if isinstance(inputs, tuple) else (inputs,))
        target = self.task.check_target(target, examples)
        with_graph = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            loss = self._loss(model, _detached(inputs), usable(target))
        return loss if with_graph else loss.detach()

    def _loss(self, model: Net, inputs: Tensors, target: Tensor) -> Tensor:
        """The reduced loss, with every term noted."""
        net, points = pack(model, inputs) if isinstance(inputs, tuple) else (model, inputs)
        values = self.values(net, points, target)
        parts = {name: self.weights[name] * value for name, value in values.items()}
        means = {name: value.mean() for name, value in parts.items()}
        total = torch.stack([*means.values()]).sum()
        self.terms = {name: value.detach().mean() for name, value in values.items()}
        self.terms["total"] = total.detach()
        _check_finite(self.terms)
        if self.reduction == "none":
            return torch.stack([*parts.values()]).sum(0)
        return total if self.reduction == "mean" else total * len(target)

    if TYPE_CHECKING:  # nn.Module declares that a call returns anything

        def __call__(self, model: Net, inputs: Tensors, target: Tensor) -> Tensor:
            """The loss of a batch."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """The weights, for printing."""
        return ", ".join(f"{name}={weight:g}" for name, weight in self.weights.items())


def check_weight(name: str, value: Any) -> float:
    """Returns the weight of a term as a float, finite and not negative."""
    return check_number(name, value, low=0, high=float("inf"), open_high=True)


def check_bound(name: str, value: Any) -> Any:
    """Returns a bound of valid inputs, a number or a tensor, infinite for none."""
    return value if isinstance(value, Tensor) else check_number(name, value)


def unwrapped(model: Any) -> Any:
    """The net inside DistributedDataParallel, for passes after the first of a step.

    A second pass through the wrapper would broadcast buffers that the first pass still needs.
    Gradients meet at the parameters, where the wrapper sees those of every pass.
    """
    if isinstance(model, Packed):
        return beside(model, unwrapped(model.net))
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def drawn_seed(generator: torch.Generator | None) -> int:
    """A seed for a smoothed map or an attack, from a loss's generator or torch's global one."""
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**40, (), generator=generator, device=device))


def _detached(inputs: Tensors) -> Tensors:
    if isinstance(inputs, tuple):
        return tuple(usable(part.detach()) for part in inputs)
    return usable(inputs.detach())


def _check_finite(terms: Mapping[str, Tensor]) -> None:
    """Raises for the first term that is not finite, the total after its parts."""
    for name, value in terms.items():
        if not bool(torch.isfinite(value)):
            raise RuntimeError(
                f"the term {name!r} of the loss is {float(value)}: lower the learning rate or "
                "the term's weight, and look at the batch; nothing was stepped."
            )
