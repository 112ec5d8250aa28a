"""Activations that stand for a ReLU, as modules and as functions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from captum.attr import Attribution
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

RECTIFIERS: Final[tuple[type[nn.Module], ...]] = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Softplus,
    nn.Hardswish,
)

_FUNCTIONS: Final[dict[Any, str]] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_), "relu"),
    **dict.fromkeys((Tensor.relu, Tensor.relu_), "relu"),
    F.relu6: "relu6",
    F.leaky_relu: "leaky_relu",
    F.prelu: "prelu",
    F.rrelu: "rrelu",
    F.elu: "elu",
    F.celu: "celu",
    F.selu: "selu",
    F.gelu: "gelu",
    F.silu: "silu",
    F.mish: "mish",
    F.softplus: "softplus",
    F.hardswish: "hardswish",
}


@contextmanager
def refuse_hidden_activations(attribution: Attribution) -> Iterator[None]:
    """Raises where the net calls a rectifier outside a module, so that no rule can act on it.

    Raises:
        TypeError: names the function, and the module to put in its place.
    """
    watch = _Watch(type(attribution).__name__)
    hooks = (
        register_module_forward_pre_hook(watch.enter),
        register_module_forward_hook(watch.leave, always_call=True),
    )
    try:
        with watch:
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _Watch(TorchFunctionMode):
    """Sees every function that torch is asked for, and whether a rectifier module asked."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method
        self.inside = 0

    def enter(self, module: nn.Module, *_: Any) -> None:
        self.inside += isinstance(module, RECTIFIERS)

    def leave(self, module: nn.Module, *_: Any) -> None:
        self.inside -= isinstance(module, RECTIFIERS)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _FUNCTIONS and not self.inside:
            name = _FUNCTIONS[func]
            raise TypeError(
                f"{self.method} needs every activation to be a module, but the net calls `{name}` "
                "as a function, where no rule can act; use a module such as torch.nn.ReLU()."
            )
        return func(*args, **(kwargs or {}))
