"""What would make samples dependent, undefined or irreproducible, found before it does harm."""

from __future__ import annotations

import warnings
from typing import Any, Final

import torch
from captum.attr import (
    Attribution,
    DeepLiftShap,
    FeaturePermutation,
    GradientShap,
    KernelShap,
    LayerGradientShap,
    Lime,
    LimeBase,
    NeuronDeepLiftShap,
    NeuronGradientShap,
    NoiseTunnel,
    ShapleyValues,
    ShapleyValueSampling,
)
from torch import Tensor, nn

from captum_robust._base.modes import model_modules
from captum_robust.attr.method.forward import innermost
from captum_robust.attr.method.probing.modules import mixes_examples

_GRADIENT_SHAP: Final = (GradientShap, LayerGradientShap, NeuronGradientShap)
_MANY_BASELINES: Final = (*_GRADIENT_SHAP, DeepLiftShap, NeuronDeepLiftShap)
_RANDOM_METHODS: Final = (
    *_GRADIENT_SHAP,
    FeaturePermutation,
    KernelShap,
    Lime,
    LimeBase,
    ShapleyValueSampling,
)


def checked_method(method: Any) -> Attribution:
    """Returns an attribution method.

    Raises:
        TypeError: if it is a net, a class or anything else.
    """
    if isinstance(method, type) or not callable(getattr(method, "attribute", None)):
        came = f"the class {method.__name__} itself" if isinstance(method, type) else None
        raise TypeError(
            "`attribution_method` must be an Attribution object such as Saliency(model), "
            f"got {came or type(method).__name__}."
        )
    return method


def takes_many_baselines(attribution: Attribution) -> bool:
    """Whether a method puts a whole set of baselines, of any number, to every row by itself."""
    return isinstance(attribution, _MANY_BASELINES)


def draws_for_itself(attribution: Attribution) -> bool:
    """Whether a method may draw random numbers: one known to, or one that is not Captum's."""
    inner = attribution
    while isinstance(inner, NoiseTunnel):
        if not getattr(inner, "understands_marks", False):
            return True
        inner = inner.attribution_method
    known = type(inner).__module__.split(".")[0] in ("captum", "captum_robust")
    return not known or (isinstance(inner, _RANDOM_METHODS) and not goes_over_all(inner))


def draws_row_by_row(attribution: Attribution) -> bool:
    """Whether a method that draws is known to draw for each row of a pass by itself."""
    inner = innermost(attribution)
    known = isinstance(inner, (*_GRADIENT_SHAP, KernelShap, Lime))
    own_noise = isinstance(attribution, NoiseTunnel)
    still = type(inner).__module__.startswith("captum.") and not isinstance(inner, _RANDOM_METHODS)
    return known or (own_noise and (still or goes_over_all(inner)))


def goes_over_all(method: Attribution) -> bool:
    """Whether it is ShapleyValues, which inherits from its sampling variant but draws nothing."""
    return isinstance(method, ShapleyValues)


def refuse_mixing(function: Any, purpose: str) -> None:
    """Raises where a module behind ``function`` mixes examples or draws random numbers.

    Args:
        function: an attribution, a net or a function that calls one.
        purpose: completes "the model must be in evaluation mode".

    Raises:
        RuntimeError: naming the module, and the remedy.
    """
    for name, module in model_modules(function):
        if mixes_examples(module):
            raise RuntimeError(
                f"the model must be in evaluation mode {purpose}: {described(name, module)} "
                f"makes samples depend on the batch or on luck; {remedy_for(module)}."
            )


def described(name: str, module: nn.Module) -> str:
    """A module's place and kind."""
    return f"{name} ({getattr(module, 'original_name', type(module).__name__)})"


def remedy_for(module: nn.Module) -> str:
    """What to do about a module that mixes examples."""
    remedies = ["call model.eval()"] if module.training else []
    if getattr(module, "running_mean", module) is None:
        remedies.append("give it running statistics (track_running_stats=True)")
    return " and ".join(remedies)


def refuse_dependent_samples(attribution: Attribution) -> None:
    """Raises where a method or a module in training mode makes samples depend on each other.

    Raises:
        RuntimeError: naming what does so, and the remedy.
    """
    inner = innermost(attribution)
    if isinstance(inner, FeaturePermutation):
        raise RuntimeError(
            f"{type(inner).__name__} mixes the examples of a batch, so nothing can be certified "
            "of its map; use FeatureAblation."
        )
    refuse_mixing(attribution, "for a certificate")


def warn_of_dependence(attribution: Attribution) -> None:
    """Warns where the base method or the model makes the samples of a pass depend on each other."""
    _warn_of_shared_draws(attribution)
    warn_of_training_mode(attribution)


def warn_of_training_mode(function: Any) -> bool:
    """Warns where a module behind a method or a function mixes examples; whether it did."""
    for name, module in model_modules(function):
        if mixes_examples(module):
            warnings.warn(
                f"{described(name, module)} makes maps depend on the batch or on luck; "
                f"{remedy_for(module)}.",
                UserWarning,
                stacklevel=5,
            )
            return True
    return False


def _warn_of_shared_draws(attribution: Attribution) -> None:
    inner = innermost(attribution)
    if isinstance(inner, FeaturePermutation):
        shares = "permutes features among the rows of a pass"
    elif isinstance(inner, ShapleyValueSampling) and not goes_over_all(inner):
        shares = "draws one set of permutations for all rows of a pass"
    else:
        return
    warnings.warn(
        f"{type(inner).__name__} {shares}, so samples of one pass depend on each other; pass one "
        "example and nt_samples_batch_size=1 to keep them independent.",
        UserWarning,
        stacklevel=4,
    )


def refuse_non_finite(maps: tuple[Tensor, ...], samples: range) -> None:
    """Raises if a map ``(N, b, *)`` is not finite, naming sample and example.

    Raises:
        RuntimeError: naming the first example and sample with a NaN or an infinity.
    """
    for index, part in enumerate(maps):
        if torch.isfinite(part.sum()):  # what is not finite never sums to a finite number
            continue
        finite = torch.isfinite(part)
        if not finite.all():
            bad = (~finite).flatten(2).any(2) if part.dim() > 2 else ~finite
            example, sample = bad.nonzero()[0].tolist()
            raise RuntimeError(
                f"attributions must be finite: map {index} of example {example} is not in sample "
                f"{samples[sample]}; check the model there, or lower the noise."
            )
