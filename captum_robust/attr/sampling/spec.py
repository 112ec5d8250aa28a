"""How a call samples, as one object that calls can share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

Clamp = tuple[float | Tensor, float | Tensor]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How noisy copies of an input are made and run; reusable between calls.

    Every field can also be given to ``attribute`` and ``certify`` as a keyword of its own, which
    then takes precedence.

    Args:
        nt_samples_batch_size: noisy copies of each example run together; chosen so that a pass
            stays small where ``None``.
        layer: a module of the net, called once: noise is put on its output and the map is of its
            output, all else as it is for these inputs. Then ``inputs`` may hold token numbers, and
            noise levels, perturbations, ``clamp`` and ``baselines`` are in units of the layer's
            output (``captum.attr.LayerActivation`` gives that of a baseline).
        clamp: ``(low, high)`` put on the noisy inputs; part of the explained function.
        example_ids: the number of each example that fixes its noise together with ``seed``,
            default ``0 .. N-1``.
        optimize_model: samples on a frozen copy of the net with batch normalisation folded into
            convolutions and channels last: the same function up to rounding, faster.
        show_progress: a progress bar over passes.
        eig_pairs: cap on the pairs of samples whose spectrum a certificate takes.
        memory_limit: bytes of pair differences that a certificate keeps in memory; beyond it they
            go to a temporary file.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import GaussianSmoothing, Sampling
        >>> from captum_robust.examples import example_model
        >>> unit = Sampling(clamp=(0.0, 1.0), nt_samples_batch_size=4)
        >>> smooth = GaussianSmoothing(Saliency(example_model()))
        >>> smooth.attribute(torch.rand(2, 4), target=0, stdevs=0.1, sampling=unit).shape
        torch.Size([2, 4])
    """

    nt_samples_batch_size: int | None = None
    layer: nn.Module | None = None
    clamp: Clamp | None = None
    example_ids: Sequence[int] | Tensor | None = None
    optimize_model: bool = False
    show_progress: bool = False
    eig_pairs: int | None = None
    memory_limit: int = 2**30
