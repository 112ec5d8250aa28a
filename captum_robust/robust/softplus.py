"""A twice-differentiable twin of a piecewise-linear net, sharing its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from captum_robust._attention import plain_attention
from captum_robust._checks import check_number

Beta = float | tuple[float, float]


class SoftplusSurrogate(nn.Module):
    """The twin that :func:`softplus_surrogate` returns; called like the net itself.

    It calls the net's own modules, so weights, mode, device and hooks are those of the net, always.
    """

    def __init__(
        self, model: Callable[..., Any], beta: Beta = 30.0, *, strict: bool = True
    ) -> None:
        super().__init__()
        # nn.Module.__setattr__ registers a module and stores any other callable as it is.
        self.net = model
        self.training = getattr(model, "training", False)
        self.first_beta, self.last_beta = _check_beta(beta)
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
        if first and self.strict and not self.replaced and not has_curvature(self.net, args):
            raise RuntimeError(
                "`model` must call ReLU, LeakyReLU, ReLU6 or Hardtanh where Python can see it: "
                "nothing was replaced and its second derivatives are zero. TorchScript and "
                "compiled nets hide their activations; pass the eager net."
            )
        return output


def softplus_surrogate(
    model: Callable[..., Any], beta: Beta = 30.0, *, strict: bool = True
) -> SoftplusSurrogate:
    r"""Gives a twice-differentiable twin of ``model`` that shares its weights.

    .. math:: \mathrm{relu}(z) \;\to\; \tfrac{1}{\beta} \log(1 + e^{\beta z})

    The second derivatives of a ReLU net are zero almost everywhere, so attacks on its maps climb
    on this twin. ReLU, LeakyReLU, ReLU6 and Hardtanh are replaced, as modules, as functions and in
    place; max-pooling stays. Ghorbani et al. (2019), Dombrowski et al. (2019, beta grown from 10 to
    100). Their code copies the net with other layers; here the net itself runs under a
    ``TorchFunctionMode``, so layers keep their identity and hooks set on them fire.

    Args:
        model: a net or any function that calls one.
        beta: sharpness, > 0, in units of one over a pre-activation; a pair grows geometrically
            over the steps of an attack (``advance``).
        strict: refuse, at the first call, a net where nothing was replaced and which has no
            curvature of its own.

    Returns:
        The twin; ``twin.beta`` is the present sharpness.

    Raises:
        ValueError: if a ``beta`` is not positive.
        RuntimeError: at the first call, as ``strict`` says.

    Example:
        >>> twin = softplus_surrogate(torch.nn.ReLU(), beta=1.0)
        >>> twin(torch.zeros(1))
        tensor([0.6931])
    """
    return SoftplusSurrogate(model, beta, strict=strict)


def has_curvature(function: Callable[..., Any], inputs: Iterable[Any]) -> bool:
    """Whether the summed output has a second derivative in the inputs that is not zero.

    Asks one Hessian-vector product, in one fixed direction for each input.
    """
    with torch.enable_grad(), plain_attention():
        points = [x.detach().clone().requires_grad_() if _is_real(x) else x for x in inputs]
        leaves = [x for x in points if _is_real(x)]
        slopes = _gradients(_along([function(*points)]), leaves)
        bends = None if slopes is None else _gradients(_along(slopes), leaves)
    return bends is not None and any(bool((bend != 0).any()) for bend in bends)


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


def _check_beta(beta: Beta) -> tuple[float, float]:
    first, last = beta if isinstance(beta, tuple) else (beta, beta)
    return (
        check_number("beta", first, low=0, open_low=True, high=float("inf"), open_high=True),
        check_number("beta", last, low=0, open_low=True, high=float("inf"), open_high=True),
    )


class _Softened(TorchFunctionMode):
    """Runs softplus wherever torch is asked for a kinked activation."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.replaced = 0

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


_IN_PLACE = {torch.relu_, Tensor.relu_, F.leaky_relu_, F.hardtanh_}
_SOFTENED: dict[Any, Callable[..., Tensor]] = {
    **dict.fromkeys((F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _relu),
    **dict.fromkeys((F.leaky_relu, F.leaky_relu_), _leaky_relu),
    **dict.fromkeys((F.hardtanh, F.hardtanh_), _hardtanh),
    F.relu6: _relu6,
}
