"""What would make samples dependent, undefined or irreproducible, found before it does harm."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Iterator
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

from captum_robust.attr.method.forward import innermost

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


def takes_many_baselines(attribution: Attribution) -> bool:
    """Whether a method puts a whole set of baselines, of any number, to every row by itself."""
    return isinstance(attribution, _MANY_BASELINES)


def model_modules(attribution: Any) -> Iterator[tuple[str, nn.Module]]:
    """All modules that can be found behind an attribution or a function, each with a name."""
    seen: set[int] = set()
    roots: list[Any] = [attribution]
    while roots:
        root = roots.pop()
        if id(root) in seen or root is None:
            continue
        seen.add(id(root))
        if isinstance(root, nn.Module):
            yield from root.named_modules(prefix=type(root).__name__)
        elif isinstance(root, Attribution):
            names = ("attribution_method", "forward_func", "model", "layer")
            roots += [getattr(root, name, None) for name in names]
        elif isinstance(root, functools.partial):
            roots.append(root.func)
        else:
            roots.append(getattr(root, "__self__", None))
            roots += _held_modules(root)


def _held_modules(function: Any) -> list[nn.Module]:
    """The modules that a function names (a lambda around the model) or an object holds."""
    values: list[Any] = []
    if inspect.isfunction(function):
        try:
            named = inspect.getclosurevars(function)
            values = [*named.nonlocals.values(), *named.globals.values()]
        except ValueError:  # a variable of the closure that is not bound yet
            return []
    elif not inspect.isclass(function) and not inspect.ismodule(function):
        values = list(getattr(function, "__dict__", {}).values())
    return [value for value in values if isinstance(value, nn.Module)]


def mixes_examples(module: nn.Module) -> bool:
    """Whether a module, in the mode it is in, makes an example depend on the batch or on luck."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.training or module.running_mean is None
    drops = isinstance(module, nn.modules.dropout._DropoutNd | nn.RReLU)
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        drops = module.dropout > 0
    return module.training and drops


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
            remedies = ["call model.eval()"] if module.training else []
            if getattr(module, "running_mean", module) is None:
                remedies.append("give it running statistics (track_running_stats=True)")
            raise RuntimeError(
                f"the model must be in evaluation mode {purpose}: {name} "
                f"({type(module).__name__}) makes samples depend on the batch or on luck; "
                f"{' and '.join(remedies)}."
            )


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


def warn_of_own_randomness(attribution: Attribution) -> None:
    """Warns where the base method draws random numbers that no seed of ours reaches."""
    inner = attribution
    while isinstance(inner, NoiseTunnel):
        inner = inner.attribution_method
        own_noise = isinstance(inner, NoiseTunnel)
        # ShapleyValues inherits from its sampling variant, but goes over all permutations.
        random = isinstance(inner, _RANDOM_METHODS) and not isinstance(inner, ShapleyValues)
        if own_noise or random:
            warnings.warn(
                f"{type(inner).__name__} draws random numbers of its own that `seed` does not "
                "reach: results differ between runs, and draws shared within a pass make samples "
                "dependent; nt_samples_batch_size=1 keeps them independent.",
                UserWarning,
                stacklevel=4,
            )
            return


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
