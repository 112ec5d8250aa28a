"""The modules behind an attribution or a function: judged, watched, and put back as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from captum_robust._base.modes import model_modules

_LAW: Final = {"StochasticDepth", "DropPath", "DropBlock2d", "DropBlock3d"}  # draws by themselves


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
