"""Modules behind a model: found, put into another mode for a while, and back."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from captum.attr import Attribution
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

_DEEP: Final = 500  # objects that a search looks into
_CROWDED: Final = 100  # entries of a list or dict beyond which it holds data, not modules


def model_modules(root: Any) -> Iterator[tuple[str, nn.Module]]:
    """All modules that can be found behind an attribution or a function, each with a name.

    Looks into closures, the globals that a function names, functions that it calls, partials,
    bound methods, objects, lists and dicts.
    """
    seen: set[int] = set()
    kept: list[Any] = []  # ids are of objects that live on
    waiting: list[Any] = [root]
    while waiting and len(kept) < _DEEP:
        found = waiting.pop(0)
        if id(found) in seen or found is None:
            continue
        seen.add(id(found))
        kept.append(found)
        if isinstance(found, nn.Module):
            for name, module in found.named_modules(prefix=type(found).__name__):
                if module is found or id(module) not in seen:
                    seen.add(id(module))
                    yield name, module
                waiting += _parts(vars(module))
        else:
            waiting += _behind(found)


def _behind(found: Any) -> list[Any]:
    """What an object that is no module may call."""
    if isinstance(found, Attribution):
        names = ("attribution_method", "forward_func", "model", "layer")
        return [getattr(found, name, None) for name in names]
    if isinstance(found, functools.partial):
        return [found.func, *found.args, *found.keywords.values()]
    if isinstance(found, Mapping | list | tuple | set):
        values = list(found.values() if isinstance(found, Mapping) else found)
        return [value for value in values if _may_hold(value)] if len(values) < _CROWDED else []
    if inspect.isfunction(found):
        return [value for value in _named_by(found) if _may_hold(value)]
    if inspect.isclass(found) or inspect.ismodule(found):
        return []
    owner = getattr(found, "__self__", None)
    code = [vars(type(found)).get("__call__"), getattr(found, "__func__", None)]
    return [owner, *filter(inspect.isfunction, code), *_parts(getattr(found, "__dict__", {}))]


def _parts(attributes: Mapping[str, Any]) -> list[Any]:
    """Attributes that may hold modules; a module's own registers are no such."""
    return [v for name, v in attributes.items() if not name.startswith("_") and _may_hold(v)]


def _named_by(function: Any) -> list[Any]:
    try:
        named = inspect.getclosurevars(function)
    except ValueError:  # a variable of the closure that is not bound yet
        return []
    return [*named.nonlocals.values(), *named.globals.values()]


def _may_hold(value: Any) -> bool:
    """Whether modules may lie behind a value."""
    if isinstance(value, nn.Module | Mapping | list | tuple | functools.partial | Attribution):
        return True
    if isinstance(value, Tensor) or inspect.isclass(value) or inspect.ismodule(value):
        return False
    kind = value if inspect.isroutine(value) else type(value)
    home = (getattr(kind, "__module__", None) or "").split(".")[0]
    return home not in ("builtins", "torch", "numpy", "captum", "typing", "collections")


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

    Of a function or an object that is no module, these are the modules found behind it and those
    called meanwhile.
    """
    before: dict[nn.Module, Any] = {}

    def change(module: Any, *_: Any) -> None:
        for part in module.modules():
            if isinstance(part, kind) and part not in before:
                before[part] = getattr(part, attribute)
                setattr(part, attribute, value)

    hook = None
    try:
        if isinstance(model, nn.Module):
            change(model)
        if hides_modules(model):
            # Guards look at modes before a call; only the call shows what the search overlooked.
            for _, module in model_modules(model):
                change(module)
            hook = register_module_forward_pre_hook(change)
        yield
    finally:
        if hook is not None:
            hook.remove()
        for part, former in before.items():
            setattr(part, attribute, former)
