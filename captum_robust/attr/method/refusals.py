"""What a probe saw of a net, said to its user."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from captum_robust._base.modes import model_modules
from captum_robust.attr.method.forward import innermost
from captum_robust.attr.method.guards import described, remedy_for
from captum_robust.attr.method.probing.probe import Seen

_ORDER: Final = (
    "Recurrent and attention layers take (sequence, batch, features) unless built with "
    "batch_first=True."
)


def refuse_mixers(root: Any, seen: Seen, purpose: str) -> None:
    """Raises where modules were called that mix examples in the mode they are in.

    Args:
        root: what the modules lie behind.
        seen: by a probe.
        purpose: completes "the model must be in evaluation mode".

    Raises:
        RuntimeError: naming the first of them and the remedy.
    """
    for module in seen.mixers:
        name = next((n for n, m in model_modules(root) if m is module), "the model")
        raise RuntimeError(
            f"the model must be in evaluation mode {purpose}: {described(name, module)} "
            f"makes samples depend on the batch or on luck; {remedy_for(module)}."
        )


def refuse_unsound_net(root: Any, seen: Seen, purpose: str) -> None:
    """Raises where a net does not answer each row by itself, and always the same.

    Args:
        root, seen, purpose: see :func:`refuse_mixers`.

    Raises:
        RuntimeError: saying what was seen and what to do about it.
    """
    refuse_mixers(root, seen, purpose)
    if seen.sound:
        return
    if seen.draws:
        raise RuntimeError(
            "the model draws random numbers, so a map is not a function of its input; call "
            "model.eval(), and give functional.dropout training=self.training."
        )
    if seen.rows != 2:
        raise RuntimeError(
            f"the model gave {seen.rows if seen.rows is not None else 'no'} rows of output for 2 "
            f"rows of input: dimension 0 of `inputs` must count examples. {_ORDER}"
        )
    if seen.changed:
        refuse_memory(root, "because the model remembers earlier inputs")
    raise RuntimeError(
        f"the model's output for a row changed by {seen.gap:.1%} with the other row of the pass: "
        "it mixes examples, and each must be answered by itself. Look for statistics or a softmax "
        f"over dimension 0, and for the order of dimensions. {_ORDER} A graph net whose nodes are "
        "rows takes one graph as one example: add a dimension in front of the nodes."
    )


def refuse_memory(root: Any, when: str) -> NoReturn:
    """Raises for what gives one input two answers."""
    name = type(innermost(root)).__name__
    raise RuntimeError(
        f"{name} gave another answer {when}: what it computes depends on what was computed before, "
        "or on random numbers that are not drawn from torch's, numpy's or Python's global "
        "generators. Reset or remove running averages, caches and counters, or draw from torch's."
    )
