"""The modules behind an attribution or a function: found, watched, and put back as they were."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from captum.attr import Attribution
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

_DEEP: Final = 500  # objects that a search looks into
_CROWDED: Final = 100  # entries of a list or dict beyond which it holds data, not modules
_LAW: Final = {"StochasticDepth", "DropPath", "DropBlock2d", "DropBlock3d"}  # draws by themselves


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


def mixes_examples(module: nn.Module) -> bool:
    """Whether a module, in the mode it is in, makes an example depend on the batch or on luck."""
    kind = getattr(module, "original_name", type(module).__name__)  # of a scripted module
    if isinstance(module, nn.modules.batchnorm._BatchNorm) or kind.startswith("BatchNorm"):
        return bool(module.training) or getattr(module, "running_mean", module) is None
    if not module.training:
        return False
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return module.dropout > 0
    if isinstance(module, nn.modules.dropout._DropoutNd) or kind in _LAW or "Dropout" in kind:
        share = getattr(module, "p", getattr(module, "drop_prob", 1.0))
        return not isinstance(share, int | float) or share > 0
    return kind == "RReLU"


@contextmanager
def called_modules() -> Iterator[dict[nn.Module, None]]:
    """Collects the modules that this thread calls inside, in the order of their first calls."""
    found: dict[nn.Module, None] = {}
    thread = threading.get_ident()

    def note(module: nn.Module, *_: Any) -> None:
        if threading.get_ident() == thread and module not in found:
            found.update(dict.fromkeys(module.modules() if _scripted(module) else (module,)))

    handle = register_module_forward_pre_hook(note)
    try:
        yield found
    finally:
        handle.remove()


def _scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


class ModelState:
    """Attributes and buffers of all modules that were found, to be put back."""

    def __init__(self, root: Any) -> None:
        self._modules = [m for _, m in model_modules(root) if not _scripted(m)]
        self._before = [dict(vars(module)) for module in self._modules]
        self._held = [_copies(vars(module)) for module in self._modules]
        self._buffers = [
            (buffer, buffer.detach().clone())
            for module in self._modules
            for buffer in module.buffers(recurse=False)
        ]

    def restore(self) -> None:
        """Puts everything back as it was when this was made."""
        for module, before, held in zip(self._modules, self._before, self._held, strict=True):
            attributes = vars(module)
            for name in [name for name in attributes if name not in before]:
                del attributes[name]
            attributes.update(before)
            for value, copy in held:
                _refill(value, copy)
        with torch.no_grad():
            for buffer, values in self._buffers:
                buffer.copy_(values)


def _copies(attributes: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Lists and dicts among a module's attributes, its own registers included, with a copy."""
    return [(value, value.copy()) for value in attributes.values() if type(value) in (list, dict)]


def _refill(value: Any, copy: Any) -> None:
    if isinstance(value, list):
        value[:] = copy
    else:
        value.clear()
        value.update(copy)
