"""A twice-differentiable twin of a piecewise-linear net, sharing its weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from captum_robust._base.attention import plain_attention
from captum_robust._base.checks import check_number
from captum_robust._base.examples import usable
from captum_robust._base.modes import evaluation_mode

Beta = float | tuple[float, float]


class SoftplusSurrogate(nn.Module):
    """The twin that :func:`softplus_surrogate` returns; called like the net itself.

    It calls the net's own modules, so weights, mode, device and hooks are those of the net, always.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_robust.robust import SoftplusSurrogate, softplus_surrogate
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> twin = softplus_surrogate(net, beta=10)
        >>> isinstance(twin, SoftplusSurrogate), twin(torch.rand(2, 4)).shape, twin.replaced
        (True, torch.Size([2, 3]), 1)
    """

    def __init__(
        self, model: Callable[..., Any], beta: Beta = 30.0, *, strict: bool = True
    ) -> None:
        super().__init__()
        if not callable(model):
            raise TypeError(f"`model` must be a net or a function, got {type(model).__name__}.")
        # nn.Module.__setattr__ registers a module and stores any other callable as it is.
        self.net = model
        self.training = getattr(model, "training", False)
        self.first_beta, self.last_beta = check_beta("beta", beta)
        self.beta = self.first_beta
        self.replaced: int | None = None
        self.strict = strict

    @property
    def grows(self) -> bool:
        """Whether beta differs between the first and the last step."""
        return self.first_beta != self.last_beta

    def advance(self, progress: float) -> None:
        r"""Sets :math:`\beta = \beta_0 (\beta_1/\beta_0)^t` for ``progress`` t in [0, 1]."""
        self.beta = self.first_beta * (self.last_beta / self.first_beta) ** progress

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The net's output, with softplus in place of each kink."""
        with _Softened(self.beta) as softened:
            output = self.net(*args, **kwargs)
        first, self.replaced = self.replaced is None, softened.replaced
        if first and self.strict and not self.replaced:
            self._refuse_straight(args, kwargs, softened.kept)
        return output

    def _refuse_straight(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], kept: set[str]
    ) -> None:
        """Raises if the net, in evaluation mode, has no curvature of its own."""
        with evaluation_mode(self.net):
            if has_curvature(self.net, args, kwargs):
                return
        start = (
            "`model` must call ReLU, LeakyReLU, ReLU6, Hardtanh, Hardsigmoid or Hardswish where "
            "Python can see it: nothing was replaced and its second derivatives are zero. "
        )
        if kept:
            raise RuntimeError(
                f"{start}It calls {', '.join(sorted(kept))}, which has no twin here: put LeakyReLU "
                "or a smooth activation in its place, or pass strict=False."
            )
        raise RuntimeError(
            f"{start}TorchScript and compiled nets hide their activations; pass the eager net."
        )


def softplus_surrogate(
    model: Callable[..., Any], beta: Beta = 30.0, *, strict: bool = True
) -> SoftplusSurrogate:
    r"""Gives a twice-differentiable twin of ``model`` that shares its weights.

    .. math:: \mathrm{relu}(z) \;\to\; \tfrac{1}{\beta} \log(1 + e^{\beta z})

    The second derivatives of a ReLU net are zero almost everywhere, so attacks on its maps climb
    on this twin. ReLU, LeakyReLU, ReLU6, Hardtanh, Hardsigmoid and Hardswish are replaced, as
    modules, as functions and in place; max-pooling stays. Ghorbani et al. (2019),
    Dombrowski et al. (2019, beta grown from 10 to 100). Their code copies the net with other
    layers; here the net itself runs under a ``TorchFunctionMode``, so layers keep their identity
    and hooks set on them fire.

    Args:
        model: a net or any function that calls one.
        beta: sharpness, > 0, in units of one over a pre-activation; a pair grows geometrically
            over the steps of an attack (``advance``).
        strict: refuse, at the first call, a net where nothing was replaced and which has no
            curvature of its own.

    Returns:
        The twin; ``twin.beta`` is the present sharpness.

    Raises:
        TypeError: if ``model`` cannot be called.
        ValueError: if a ``beta`` is not positive.
        RuntimeError: at the first call, as ``strict`` says.

    Example:
        >>> import torch
        >>> from captum_robust.robust import softplus_surrogate
        >>> twin = softplus_surrogate(torch.nn.ReLU(), beta=1.0)
        >>> twin(torch.zeros(1))
        tensor([0.6931])
    """
    return SoftplusSurrogate(model, beta, strict=strict)


def has_curvature(
    function: Callable[..., Any],
    inputs: Iterable[Any],
    keywords: Mapping[str, Any] | None = None,
) -> bool:
    """Whether the summed outputs have a second derivative in the inputs that is not zero.

    Asks one Hessian-vector product, in one fixed direction for each input. True where no input is
    floating point: there is nothing to differentiate by, and nothing is known.
    """
    with torch.inference_mode(False), torch.enable_grad(), plain_attention():
        points = [_as_leaf(x) for x in inputs]
        named = {name: _as_leaf(x) for name, x in (keywords or {}).items()}
        leaves = [x for x in (*points, *named.values()) if _is_real(x)]
        if not leaves:
            return True
        outputs = [x for x in tree_leaves(function(*points, **named)) if _is_real(x)]
        slopes = _gradients(_along(outputs), leaves) if outputs else None
        bends = None if slopes is None else _gradients(_along(slopes), leaves)
    return bends is not None and any(bool((bend != 0).any()) for bend in bends)


def _as_leaf(value: Any) -> Any:
    return value.detach().clone().requires_grad_() if _is_real(value) else usable(value)


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _gradients(value: Tensor, leaves: list[Tensor]) -> list[Tensor] | None:
    """Gradients with a graph; None where the value depends on no leaf."""
    if not value.requires_grad:
        return None
    found = torch.autograd.grad(value, leaves, create_graph=True, allow_unused=True)
    return [gradient for gradient in found if gradient is not None] or None


def _along(values: list[Tensor]) -> Tensor:
    """The values summed along a fixed direction that no symmetry of a net is likely to meet."""
    ramps = [torch.arange(1, v.numel() + 1, dtype=v.dtype, device=v.device) for v in values]
    parts = [
        (v.flatten() * ramp.mul(0.7).cos()).sum() for v, ramp in zip(values, ramps, strict=True)
    ]
    return torch.stack(parts).sum()


def check_beta(name: str, beta: Any) -> tuple[float, float]:
    """The first and the last sharpness, from a number or a pair of numbers > 0."""
    pair = beta if isinstance(beta, tuple) else (beta, beta)
    if len(pair) != 2:
        raise ValueError(f"`{name}` must be one sharpness or a pair, first and last, got {beta}.")
    first, last = (
        check_number(name, each, low=0, open_low=True, high=math.inf, open_high=True)
        for each in pair
    )
    return first, last


class _Softened(TorchFunctionMode):
    """Runs softplus wherever torch is asked for a kinked activation."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.replaced = 0
        self.kept: set[str] = set()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        soften = _SOFTENED.get(func)
        if soften is None:
            self.kept |= {_KEPT[func]} if func in _KEPT else set()
            return func(*args, **kwargs)
        self.replaced += 1
        z, *rest = args if args else (kwargs.pop("input"),)
        inplace = kwargs.pop("inplace", rest[-1:] == [True] and rest[-1] is True)
        inplace = inplace or func in _IN_PLACE
        # The graph of the softplus must keep the value that an in-place call overwrites.
        smooth = soften(z.clone() if inplace else z, self.beta, *rest, **kwargs)
        return z.copy_(smooth) if inplace else smooth


def _relu(z: Tensor, beta: float, inplace: bool = False) -> Tensor:
    return F.softplus(z, beta)


def _leaky_relu(
    z: Tensor, beta: float, negative_slope: float = 0.01, inplace: bool = False
) -> Tensor:
    return negative_slope * z + (1 - negative_slope) * F.softplus(z, beta)


def _hardtanh(
    z: Tensor, beta: float, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    return min_val + F.softplus(z - min_val, beta) - F.softplus(z - max_val, beta)


def _relu6(z: Tensor, beta: float, inplace: bool = False) -> Tensor:
    return _hardtanh(z, beta, 0.0, 6.0)


def _hardsigmoid(z: Tensor, beta: float, inplace: bool = False) -> Tensor:
    return _relu6(z + 3, beta) / 6


def _hardswish(z: Tensor, beta: float, inplace: bool = False) -> Tensor:
    return z * _hardsigmoid(z, beta)


_IN_PLACE = {torch.relu_, Tensor.relu_, F.leaky_relu_, F.hardtanh_}
_SOFTENED: dict[Any, Callable[..., Tensor]] = {
    **dict.fromkeys((F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _relu),
    **dict.fromkeys((F.leaky_relu, F.leaky_relu_), _leaky_relu),
    **dict.fromkeys((F.hardtanh, F.hardtanh_), _hardtanh),
    F.relu6: _relu6,
    F.hardsigmoid: _hardsigmoid,
    F.hardswish: _hardswish,
}
# Kinks without a twin, named where a net is refused.
_KEPT: dict[Any, str] = {
    F.prelu: "PReLU",
    F.rrelu: "RReLU",
    F.threshold: "Threshold",
    F.hardshrink: "Hardshrink",
    F.softshrink: "Softshrink",
}
