"""Arguments on their way through Captum, which repeats every tensor it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from captum.attr import Attribution
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from captum_robust._base.captum_privates import _format_additional_forward_args
from captum_robust._base.per_example import PerExample, Shared, marked, settled, unmarked
from captum_robust._base.targets import as_target
from captum_robust.attr.method.forward import explaining, innermost

_ARGS = "additional_forward_args"


@contextmanager
def travelling(
    attribution: Attribution, inputs: Any, arguments: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    r"""Lets shared arguments and those along other dimensions through Captum unchanged.

    Captum repeats all tensors among ``additional_forward_args`` along dimension 0, in NoiseTunnel
    as in integrated gradients and ablations. Inside this context what is shared travels in a box
    that Captum does not open, a tensor with examples along another dimension travels with that
    dimension in front, and the net's arguments are put together again where it is called.

    Args:
        attribution: the method whose innermost net is called.
        inputs: of the net, N rows.
        arguments: keyword arguments of ``attribute``; marks and nested containers may be among
            the additional forward arguments.

    Yields:
        The arguments to pass to ``attribute``, the target checked.
    """
    given, count = dict(arguments), _examples(inputs)
    if "target" in given:
        given["target"] = as_target(given["target"], count)
    extras = settled(_ARGS, _format_additional_forward_args(given.get(_ARGS)), count)
    leaves, spec = tree_flatten(extras)
    flat = isinstance(extras, tuple) and len(leaves) == len(extras)
    if extras is None or (flat and not marked(extras)):
        yield given
        return
    opened = _Opened(leaves, spec, count)
    with _calling(attribution, opened):
        yield given | {_ARGS: tuple(_packed(leaf) for leaf in leaves)}


def attributed(attribution: Attribution, inputs: Any, arguments: Mapping[str, Any]) -> Any:
    """What ``attribution.attribute`` gives for arguments that may hold marks."""
    if getattr(attribution, "understands_marks", False):
        return attribution.attribute(inputs, **arguments)
    with travelling(attribution, inputs, arguments) as given:
        return attribution.attribute(inputs, **_unmarked_but_args(given))


def explained(explain: Callable[..., Any], inputs: Any, arguments: Mapping[str, Any]) -> Any:
    """What an explanation function gives for arguments that may hold marks.

    The ``attribute`` of an attribution treats them as :func:`attributed` does; any other function
    gets the plain values.
    """
    method = explain
    while isinstance(method, partial):
        method = method.func
    owner = getattr(method, "__self__", None)
    if not isinstance(owner, Attribution):
        return explain(inputs, **{name: unmarked(value) for name, value in arguments.items()})
    if getattr(owner, "understands_marks", False):
        return explain(inputs, **arguments)
    with travelling(owner, inputs, arguments) as given:
        return explain(inputs, **_unmarked_but_args(given))


def _examples(inputs: Any) -> int:
    """The number of examples, 0 where the inputs are such that they will be refused."""
    first = inputs[0] if isinstance(inputs, tuple) and inputs else inputs
    return first.shape[0] if isinstance(first, Tensor) and first.dim() else 0


def _unmarked_but_args(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value if name == _ARGS else unmarked(value) for name, value in given.items()}


def _packed(leaf: Any) -> Any:
    return leaf.value.movedim(leaf.dim, 0) if isinstance(leaf, PerExample) else leaf


class _Opened:
    """Puts a net's additional arguments together again from what travelled through Captum."""

    def __init__(self, leaves: list[Any], spec: TreeSpec, count: int) -> None:
        self._dims = [leaf.dim if isinstance(leaf, PerExample) else 0 for leaf in leaves]
        self._spec = spec
        self._hint = _hint(leaves, count)

    def __call__(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """All arguments of the net: its inputs and, opened, what follows them."""
        inputs = len(given) - len(self._dims)
        leaves = [
            leaf.value
            if isinstance(leaf, Shared)
            else (leaf.movedim(0, dim) if dim and isinstance(leaf, Tensor) else leaf)
            for leaf, dim in zip(given[inputs:], self._dims, strict=True)
        ]
        return (*given[:inputs], *tree_unflatten(leaves, self._spec))

    def calling(self, forward: Callable[..., Any], *given: Any) -> Any:
        """What the net gives for arguments that travelled."""
        try:
            return forward(*self(given))
        except RuntimeError as error:
            if self._hint is None:
                raise
            raise RuntimeError(f"{error} {self._hint}") from error


def _hint(leaves: list[Any], count: int) -> str | None:
    """What to do about a shared tensor that seems to have its examples elsewhere."""
    if count == 1:
        return None
    for leaf in leaves:
        if isinstance(leaf, Shared) and isinstance(leaf.value, Tensor):
            shape = tuple(leaf.value.shape)
            if count in shape[1:]:
                dim = shape.index(count, 1)
                return (
                    f"An additional argument of shape {shape} has no {count} rows and was passed "
                    f"whole; if its examples lie along dimension {dim}, pass "
                    f"per_example(value, dim={dim}) in its place."
                )
    return None


@contextmanager
def _calling(attribution: Attribution, opened: _Opened) -> Iterator[None]:
    """Has the innermost method's net called with opened arguments."""
    method = innermost(attribution)
    model = getattr(method, "model", None)
    if not isinstance(model, nn.Module):
        with explaining(attribution, partial(opened.calling, method.forward_func)):
            yield
        return
    thread = threading.get_ident()

    def open_here(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return opened(given) if threading.get_ident() == thread else None

    handle = model.register_forward_pre_hook(open_here)
    try:
        yield
    finally:
        handle.remove()
