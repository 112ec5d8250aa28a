"""Modules behind a model put into another mode for a while, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook


def hides_modules(model: Any) -> bool:
    """Whether modules may lie behind a function or an object that does not list them.

    A module may itself call a function that it holds as ``net``: a softplus twin of a function.
    """
    while isinstance(model, nn.Module) and "net" in vars(model):
        model = model.net
    return not isinstance(model, nn.Module)


def evaluation_mode(model: Any) -> AbstractContextManager[None]:
    """Puts every module in evaluation mode, and back into the mode it had."""
    return modules_with(model, nn.Module, "training", False)


@contextmanager
def modules_with(model: Any, kind: type[nn.Module], attribute: str, value: Any) -> Iterator[None]:
    """Gives an attribute of all modules of a kind another value, and back the one it had.

    Of a function or an object that is no module, these are the modules called meanwhile.
    """
    before: dict[nn.Module, Any] = {}

    def change(module: Any, *_: Any) -> None:
        for part in module.modules():
            if isinstance(part, kind) and part not in before:
                before[part] = getattr(part, attribute)
                setattr(part, attribute, value)

    if isinstance(model, nn.Module):
        change(model)
    # A hook finds what no search through closures and attributes can be sure of.
    hook = register_module_forward_pre_hook(change) if hides_modules(model) else None
    try:
        yield
    finally:
        if hook is not None:
            hook.remove()
        for part, former in before.items():
            setattr(part, attribute, former)
