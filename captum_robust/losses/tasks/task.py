"""What a training loss has to know of a model's outputs."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

Net = Callable[..., Any]
Base = nn.Module | Callable[[Any, Any], Tensor] | None


class Task(nn.Module, ABC):
    """The loss of each example, the score that maps explain, and how far two outputs are apart.

    A criterion asks its task for all it does with outputs, so that it serves classes, several
    labels and numbers alike. A subclass names in :attr:`takes` the losses of torch it stands for.

    Args:
        base: the loss of the prediction; its ``reduction="sum"`` adds up the outputs of an example,
            all others average over them.
    """

    takes: ClassVar[tuple[type[nn.Module], ...]] = ()
    """Types of the loss that the task is chosen for."""
    name: ClassVar[str] = "base"
    """What the loss of the prediction is called in ``terms``."""
    known: ClassVar[list[type[Task]]] = []

    def __init__(self, base: Callable[..., Any]) -> None:
        super().__init__()
        self.sums = getattr(base, "reduction", "mean") == "sum"
        self.base: Any = copy.deepcopy(base) if isinstance(base, nn.Module) else base
        if hasattr(self.base, "reduction"):
            self.base.reduction = "none"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Task.known.append(cls)

    def check_target(self, target: Any, examples: int) -> Tensor:
        """The target in the type that the loss takes.

        Raises:
            TypeError: if it is no Tensor, or holds what the loss does not take.
            ValueError: if it is not one target an example.
        """
        if not isinstance(target, Tensor):
            raise TypeError(f"`target` must be a Tensor of classes, got {type(target).__name__}.")
        if target.dim() == 0 or len(target) != examples:
            raise ValueError(
                f"`target` must have shape ({examples},), one class an input, or one row an input, "
                f"got {tuple(target.shape)}."
            )
        return target

    def outputs(self, model: Net, inputs: Tensor, target: Tensor) -> Any:
        """The model's outputs, checked against the target."""
        outputs = self.run(model, inputs)
        self.check_pair(outputs, target)
        return outputs

    def run(self, model: Net, inputs: Tensor, name: str = "model") -> Any:
        """The model's outputs, checked; ``name`` is what errors call the model."""
        outputs = model(inputs)
        self.check_outputs(outputs, len(inputs), name)
        return outputs

    def check_outputs(self, outputs: Any, examples: int, name: str) -> None:
        """Refuses outputs that are not what the loss takes.

        Raises:
            TypeError: if they are no Tensor.
            ValueError: if their shape does not fit.
        """
        if not isinstance(outputs, Tensor):
            raise TypeError(
                f"`{name}` must return logits as a Tensor, got {type(outputs).__name__}; "
                "wrap it in a function that returns them alone."
            )
        if outputs.dim() == 0 or len(outputs) != examples:
            raise ValueError(
                f"`{name}` must return one row of outputs for each of the {examples} inputs, got "
                f"shape {tuple(outputs.shape)}."
            )

    def check_pair(self, outputs: Tensor, target: Tensor) -> None:
        """Refuses a target that does not belong to such outputs.

        Raises:
            ValueError: naming both shapes.
        """
        if target.shape != outputs.shape:
            raise ValueError(
                f"`target` must have the shape of the outputs, {tuple(outputs.shape)}, "
                f"got {tuple(target.shape)}."
            )

    @abstractmethod
    def loss(self, outputs: Any, target: Tensor) -> Tensor:
        """The loss of each example, ``(N,)``, in float32 or wider."""

    @abstractmethod
    def score(self, outputs: Any, target: Tensor) -> Tensor:
        """The score of each example whose gradient is its map, ``(N,)``."""

    @abstractmethod
    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        """How far other outputs are from the given ones, for each example, ``(N,)``."""

    @abstractmethod
    def average(self, outputs: Tensor) -> Tensor:
        """Outputs ``(N, *)`` that stand for the mean prediction of ``(draws, N, *)``."""

    @abstractmethod
    def entropy(self, outputs: Tensor) -> Tensor:
        """How undecided the predictions are, ``(N,)``; zero where that has no meaning."""

    def reduced(self, values: Tensor) -> Tensor:
        """Values ``(N, *)`` of an example's outputs, averaged or added up."""
        rows = values.reshape(len(values), -1)
        return rows.sum(1) if self.sums else rows.mean(1)

    def classes(self, outputs: Tensor, target: Tensor) -> Tensor:
        """The one true class of each example, ``(N,)``, for losses that are about classes alone.

        Raises:
            TypeError: if the task has none.
        """
        raise TypeError(
            f"this loss is about one true class an example, which {type(self).__name__} does not "
            "have; use a cross-entropy with integer targets."
        )

    def predicted(self, outputs: Tensor) -> Tensor:
        """The predicted class of each example, ``(N,)``.

        Raises:
            TypeError: if there is none.
        """
        return self.classes(outputs, outputs.detach())

    def selects(self, target: Tensor) -> bool:
        """Whether the target names one output of each example, as Captum's do."""
        return False

    def extra_repr(self) -> str:
        return "reduction='sum'" if self.sums else ""
