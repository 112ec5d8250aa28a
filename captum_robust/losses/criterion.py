"""What every loss shares: terms added with weights, checks, and a model left as it was found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_robust._base.checks import check_inputs, check_number
from captum_robust._base.examples import usable
from captum_robust._base.precision import at_least_single

Net = Callable[[Tensor], Tensor]


class Criterion(nn.Module, ABC):
    r"""A training loss ``criterion(model, inputs, target) -> scalar`` made of weighted terms.

    .. math:: L = \frac1N \sum_{n=1}^N \sum_t w_t\, l_t(x_n, y_n)

    A subclass gives the terms of each example in :meth:`values` and their weights in
    :attr:`weights`. Examples never see each other, unless the model itself mixes them: batch
    normalisation in training mode makes one function of a batch, here as in the papers' code. After
    a call :attr:`terms` holds the detached mean of each term, unweighted, and of the whole, for
    logging.
    """

    weights: Mapping[str, float]

    def __init__(self) -> None:
        super().__init__()
        self.terms: dict[str, Tensor] = {}

    @abstractmethod
    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Each term of each example, ``(N,)``, with the graph of the model's parameters."""

    def forward(self, model: Net, inputs: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            model: a net from ``(N, *)`` to logits ``(N, classes)``, at least two classes, in
                training mode or not; or any function or object that calls one.
            inputs: floating point, finite, ``(N, *)``.
            target: true classes, ``(N,)``, integers in ``[0, classes)``.

        Returns:
            A scalar with a graph of the model's parameters; without one under ``torch.no_grad``
            and ``torch.inference_mode``, which may be on.

        Raises:
            ValueError: if the inputs are not finite, a target is out of range, or the model has a
                single class.
            TypeError: if inputs are not floating point, targets not integers, or outputs no Tensor.
            RuntimeError: if a term is not finite, which the message names, or if the loss needs
                second derivatives and the model is piecewise linear.
        """
        _check_examples(inputs, target)
        with_graph = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            points, classes = usable(inputs.detach()), usable(target).long()
            values = self.values(model, points, classes)
            means = {name: value.mean() for name, value in values.items()}
            parts = [self.weights[name] * mean for name, mean in means.items()]
            total = torch.stack(parts).sum()
        self.terms = {name: mean.detach() for name, mean in means.items()}
        self.terms["total"] = total.detach()
        _check_finite(self.terms)
        return total if with_graph else total.detach()

    if TYPE_CHECKING:  # nn.Module declares that a call returns anything

        def __call__(self, model: Net, inputs: Tensor, target: Tensor) -> Tensor:
            """The loss of a batch."""

    def extra_repr(self) -> str:
        """The weights, for printing."""
        return ", ".join(f"{name}={weight:g}" for name, weight in self.weights.items())


def logits(model: Net, inputs: Tensor, target: Tensor) -> Tensor:
    """The model's outputs, of which ``target`` selects one an example.

    Raises:
        TypeError: if the model returns no Tensor.
        ValueError: if the outputs are not ``(N, classes)`` with two classes or more, or a target is
            not among them.
    """
    outputs = all_logits(model, inputs)
    classes = outputs.shape[1]
    if bool(((target < 0) | (target >= classes)).any()):
        raise ValueError(
            f"`target` must be in [0, {classes - 1}] (the model's classes), "
            f"got values from {int(target.min())} to {int(target.max())}."
        )
    return outputs


def all_logits(model: Net, inputs: Tensor, name: str = "model") -> Tensor:
    """The outputs of a model, checked; ``name`` is what errors call it."""
    outputs = model(inputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"`{name}` must return logits as a Tensor, got {type(outputs).__name__}; "
            "wrap it in a function that returns them alone."
        )
    if outputs.dim() != 2 or len(outputs) != len(inputs):
        raise ValueError(
            f"`{name}` must return logits of shape (N, classes), "
            f"got {tuple(outputs.shape)} for {len(inputs)} inputs."
        )
    if outputs.shape[1] < 2:  # the softmax of one logit is 1, whatever the net
        raise ValueError(
            f"`{name}` must have at least two classes, got logits of shape "
            f"{tuple(outputs.shape)}; give a binary net one logit a class, such as (0, z)."
        )
    return outputs


def cross_entropy(outputs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of each example, ``(N,)``, in float32 or wider."""
    return functional.cross_entropy(at_least_single(outputs), target, reduction="none")


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
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def drawn_seed(generator: torch.Generator | None) -> int:
    """A seed for a smoothed map or an attack, from a loss's generator or torch's global one."""
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**40, (), generator=generator, device=device))


def _check_examples(inputs: Any, target: Any) -> None:
    check_inputs((inputs,))
    if not isinstance(target, Tensor):
        raise TypeError(f"`target` must be a Tensor of classes, got {type(target).__name__}.")
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"`target` must hold integers, got {target.dtype}.")
    if target.shape != inputs.shape[:1]:
        raise ValueError(
            f"`target` must have shape ({len(inputs)},), one class an input, "
            f"got {tuple(target.shape)}."
        )


def _check_finite(terms: Mapping[str, Tensor]) -> None:
    """Raises for the first term that is not finite, the total after its parts."""
    for name, value in terms.items():
        if not bool(torch.isfinite(value)):
            raise RuntimeError(
                f"the term {name!r} of the loss is {float(value)}: lower the learning rate or "
                "the term's weight, and look at the batch; nothing was stepped."
            )
