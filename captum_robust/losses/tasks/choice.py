"""Which task a loss of the prediction stands for."""

from __future__ import annotations

from captum_robust.losses.tasks.classes import Classes
from captum_robust.losses.tasks.function import Function
from captum_robust.losses.tasks.labels import Labels
from captum_robust.losses.tasks.task import Base, Task
from captum_robust.losses.tasks.values import Values

__all__ = ["Classes", "Function", "Labels", "Values", "task_of"]


def task_of(base: Base) -> Task:
    """The task of a loss, the latest defined first; cross-entropy where there is none.

    Raises:
        TypeError: if it is neither a module nor a function.
    """
    if base is None:
        return Classes()
    if isinstance(base, Task):
        return base
    if not callable(base) or isinstance(base, type):
        raise TypeError(
            "`base` must be a loss such as nn.CrossEntropyLoss(label_smoothing=0.1), or a function "
            f"of outputs and target, got {base!r}."
        )
    for kind in reversed(Task.known):
        if isinstance(base, kind.takes):
            return kind(base)
    return Function(base)
