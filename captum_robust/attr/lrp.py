"""Attributions that rewrite the backward pass, with a graph, through zennit (extra ``lrp``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final, Literal

import torch
from captum.attr import GradientAttribution
from torch import Tensor, nn

from captum_robust._base.captum_privates import (
    TargetType,
    _format_output,
    _format_tensor_into_tuples,
    _is_tuple,
    log_usage,
)
from captum_robust._base.checks import check_choice, check_number
from captum_robust.attr.method.activations import RECTIFIERS, refuse_hidden_activations
from captum_robust.attr.method.differentiable import gradients_with_graph

Bounds = tuple[float | Tensor, float | Tensor]
Start = Literal["logit", "one"]
STARTS: Final = ("logit", "one")


class RuleAttribution(GradientAttribution):
    """The gradient of a target output with zennit's rules in place of the layers' own.

    Maps are equal to zennit's; inside :func:`~captum_robust.attr.differentiable` they carry the
    graph of the rules' formulas. Captum's classes of this kind work by hooks whose results carry
    none. Rules see modules only: a rule for activations refuses a net that calls one as a function.

    Args:
        model: a net of modules.
        canonizers: zennit canonizers applied before the rules, for residual nets or batch norm.

    Raises:
        ImportError: if zennit is missing.
        TypeError: if ``model`` is not a module.

    Example:
        >>> import torch
        >>> from captum_robust.attr import RuleAttribution
        >>> class PlainGradient(RuleAttribution):
        ...     def composite(self):
        ...         from zennit.composites import LayerMapComposite
        ...         return LayerMapComposite([])  # no rule at all
        >>> PlainGradient(torch.nn.Linear(2, 1, bias=False)).attribute(torch.ones(1, 2)).shape
        torch.Size([1, 2])
    """

    gradient_func: Callable[..., Any]
    start: str = "one"
    """What is propagated from the output: 1, or ``"logit"``, the output's own value."""

    activations: tuple[type[nn.Module], ...] = ()
    """The activation modules that a rule of this method acts on."""

    def __init__(self, model: nn.Module, canonizers: Sequence[Any] | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"`model` must be a torch.nn.Module, got {type(model).__name__}.")
        super().__init__(model)
        self.canonizers = list(canonizers or [])
        _zennit()

    def composite(self) -> Any:
        """The zennit composite with this method's rules."""
        raise NotImplementedError(f"{type(self).__name__} must define `composite`.")

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        target: TargetType = None,
        additional_forward_args: object | None = None,
    ) -> Any:
        """Maps shaped like the inputs; words as for :meth:`captum.attr.Saliency.attribute`."""
        parts = _format_tensor_into_tuples(inputs)
        leaves = tuple(
            part if part.requires_grad else part.detach().requires_grad_() for part in parts
        )
        forward = self._halved_square if self.start == "logit" else self.forward_func
        hidden = refuse_hidden_activations(self) if self.activations else nullcontext()
        with hidden, self.composite().context(self.forward_func):
            maps = self.gradient_func(forward, leaves, target, additional_forward_args)
        return _format_output(_is_tuple(inputs), maps)

    def _halved_square(self, *args: Any) -> Tensor:
        """Outputs whose gradient is the output itself, so that relevance begins as its value."""
        return self.forward_func(*args).square() / 2

    @contextmanager
    def with_graph(self) -> Iterator[None]:
        """Keeps the graph of every map computed inside; what ``differentiable(self)`` enters."""
        original = self.gradient_func
        self.gradient_func = gradients_with_graph
        try:
            with torch.enable_grad():
                yield
        finally:
            self.gradient_func = original


class LRPZPlus(RuleAttribution):
    r"""Layer-wise relevance propagation by the z+ rule, and z^B at the first layer where bounded.

    .. math:: R_i = \sum_j \frac{x_i w_{ij}^+}{\sum_{i'} x_{i'} w_{i'j}^+} R_j

    Montavon et al. (2017). With ``bounds`` and ``start="one"`` this is the method that Dombrowski
    et al. (2019) attack and Joo et al. (2023) measure. Rules act on convolutions and linear layers;
    activations and batch norm pass relevance on, as in zennit.

    Args:
        model, canonizers: see :class:`RuleAttribution`.
        bounds: lowest and highest valid input, numbers or tensors such as ``(1, C, 1, 1)``, for the
            z^B rule; ``None`` uses z+ at the first layer too.
        start: relevance of the explained output: ``"logit"``, its value (Bach et al., 2015), or
            ``"one"`` (Joo et al., 2023). The maps differ by that factor, so a negative logit
            flips the sign.

    Example:
        >>> import torch
        >>> from captum_robust.attr import LRPZPlus
        >>> explained = LRPZPlus(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()))
        >>> explained.attribute(torch.ones(2, 4), target=0).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        model: nn.Module,
        bounds: Bounds | None = None,
        canonizers: Sequence[Any] | None = None,
        start: Start = "logit",
    ) -> None:
        super().__init__(model, canonizers)
        self.bounds = bounds
        self.start = check_choice("start", start, STARTS)

    def composite(self) -> Any:
        rules, types, composites = _zennit()
        layers = [((types.Convolution, nn.Linear), rules.ZPlus())]
        return _layerwise(composites, rules, types, layers, self.bounds, self.canonizers)


class LRPEpsilonPlus(RuleAttribution):
    r"""Relevance propagation by z+ on convolutions and the epsilon rule on linear layers.

    .. math:: R_i = \sum_j \frac{x_i w_{ij}}{z_j + \epsilon\,\mathrm{sign}(z_j)} R_j

    zennit's ``EpsilonPlus``. The LRP of Joo et al. (2023) is :class:`LRPZPlus` with ``bounds``.

    Args:
        model, canonizers: see :class:`RuleAttribution`.
        epsilon: stabiliser of the linear layers, > 0, in units of their outputs.
        bounds, start: see :class:`LRPZPlus`.

    Raises:
        ValueError: if ``epsilon`` is not positive.

    Example:
        >>> import torch
        >>> from captum_robust.attr import LRPEpsilonPlus
        >>> explained = LRPEpsilonPlus(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()))
        >>> explained.attribute(torch.ones(2, 4), target=0).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        model: nn.Module,
        epsilon: float = 1e-6,
        bounds: Bounds | None = None,
        canonizers: Sequence[Any] | None = None,
        start: Start = "logit",
    ) -> None:
        super().__init__(model, canonizers)
        self.start = check_choice("start", start, STARTS)
        self.epsilon = check_number("epsilon", epsilon, low=0, open_low=True)
        self.bounds = bounds

    def composite(self) -> Any:
        rules, types, composites = _zennit()
        layers = [
            (types.Convolution, rules.ZPlus()),
            ((nn.Linear,), rules.Epsilon(self.epsilon)),
        ]
        return _layerwise(composites, rules, types, layers, self.bounds, self.canonizers)


class DifferentiableGuidedBackprop(RuleAttribution):
    r"""Guided backpropagation whose maps can be differentiated (Springenberg et al., 2015).

    .. math:: \nabla_{z_i} = \nabla_{a_i}\, \mathbb 1[\nabla_{a_i} > 0]\, a'(z_i)

    for every activation module :math:`a`. For ReLU, :math:`a'(z)` is 1 where z > 0: the rule of Joo
    et al. (2023), and equal to :class:`captum.attr.GuidedBackprop`. Softplus, GELU, SiLU and the
    other stand-ins for a ReLU have their own slope there; Captum's class leaves them alone.

    Args:
        model, canonizers: see :class:`RuleAttribution`.

    Raises:
        TypeError: at the first call, if the net calls such an activation as a function, where no
            rule can act on it.

    Example:
        >>> import torch
        >>> from captum_robust.attr import DifferentiableGuidedBackprop
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> explained = DifferentiableGuidedBackprop(net)
        >>> explained.attribute(torch.ones(2, 4), target=0).shape
        torch.Size([2, 4])
    """

    activations = RECTIFIERS

    def composite(self) -> Any:
        rules, _, composites = _zennit()
        guided = [(self.activations, rules.ReLUGuidedBackprop())]
        return composites.LayerMapComposite(guided, canonizers=self.canonizers)


class DifferentiableDeconvolution(RuleAttribution):
    """Deconvolution maps that can be differentiated (Zeiler and Fergus, 2014).

    The rule acts on ReLU modules and on the smooth activations that stand for one. Equal to
    :class:`captum.attr.Deconvolution` on nets whose activations are ReLU modules.

    Args:
        model, canonizers: see :class:`RuleAttribution`.

    Raises:
        TypeError: see :class:`DifferentiableGuidedBackprop`.

    Example:
        >>> import torch
        >>> from captum_robust.attr import DifferentiableDeconvolution
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> explained = DifferentiableDeconvolution(net)
        >>> explained.attribute(torch.ones(2, 4), target=0).shape
        torch.Size([2, 4])
    """

    activations = RECTIFIERS

    def composite(self) -> Any:
        rules, _, composites = _zennit()
        deconvolved = [(self.activations, rules.ReLUDeconvNet())]
        return composites.LayerMapComposite(deconvolved, canonizers=self.canonizers)


def _zennit() -> tuple[Any, Any, Any]:
    """zennit's rules, layer types and composites."""
    try:
        from zennit import composites, rules, types
    except ImportError as error:
        raise ImportError(
            "this attribution needs zennit; install it with `pip install captum_robust[lrp]`."
        ) from error
    return rules, types, composites


def _layerwise(
    composites: Any,
    rules: Any,
    types: Any,
    layers: list[Any],
    bounds: Bounds | None,
    canonizers: list[Any],
) -> Any:
    """Rules by layer type, with z^B at the first weighted layer where bounds are given."""
    layer_map = [*composites.layer_map_base(), *layers]
    if bounds is None:
        return composites.LayerMapComposite(layer_map, canonizers=canonizers)
    low, high = bounds
    first = [((types.Convolution, nn.Linear), rules.ZBox(low=low, high=high))]
    return composites.SpecialFirstLayerMapComposite(layer_map, first, canonizers=canonizers)
