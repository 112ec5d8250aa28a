"""Any loss of the user's, of which nothing else is known."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_robust._base.precision import at_least_single
from captum_robust.losses.tasks.task import Task


class Function(Task):
    """A function of outputs, of whatever type, and target, with one value or row an example.

    The score explained is the negative loss. How far two outputs are apart is not known.
    """

    def check_outputs(self, outputs: Any, examples: int, name: str) -> None:
        """Leaves outputs to the function."""

    def check_pair(self, outputs: Any, target: Tensor) -> None:
        """Leaves the pair to the function."""

    def loss(self, outputs: Any, target: Tensor) -> Tensor:
        values = self.base(outputs, target)
        if not isinstance(values, Tensor) or values.dim() == 0 or len(values) != len(target):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"`base` must return one value or row for each of the {len(target)} examples, got "
                f"{got}; give it `reduction='none'`."
            )
        return self.reduced(at_least_single(values))

    def score(self, outputs: Any, target: Tensor) -> Tensor:
        return -self.loss(outputs, target)

    def divergence(self, outputs: Any, others: Any) -> Tensor:
        raise _unknown("compares two outputs")

    def average(self, outputs: Any) -> Tensor:
        raise _unknown("averages outputs")

    def entropy(self, outputs: Any) -> Tensor:
        raise _unknown("asks how undecided outputs are")


def _unknown(what: str) -> TypeError:
    return TypeError(
        f"this loss {what}, and of a function as `base` it is not known how; pass "
        "nn.CrossEntropyLoss, nn.BCEWithLogitsLoss, nn.MSELoss or a Task."
    )
