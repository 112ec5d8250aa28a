"""Certificates over a data set: one curve an example, and the band that papers draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.checks import check_count, check_number
from captum_robust._base.vectors import Tensors, flatten
from captum_robust.attr import SmoothedAttribution
from captum_robust.certificates import Certificate
from captum_robust.metrics.evaluators.batch import Batch


@dataclass(frozen=True, eq=False)
class CertifiedCurves:
    """Certified values of every example against the perturbation size.

    Attributes:
        epsilons: perturbation sizes ``(E,)``.
        values: certified values ``(N, E)``, float64; higher is more robust.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import CertifiedCurves
        >>> values = torch.tensor([[1.0, 0.5], [1.0, 0.3]])
        >>> CertifiedCurves(torch.tensor([0.0, 0.1]), values).band((0, 50, 100))
        tensor([[1.0000, 0.3000],
                [1.0000, 0.4000],
                [1.0000, 0.5000]])
    """

    epsilons: Tensor
    values: Tensor

    def band(self, percentiles: Sequence[float] = (48.0, 60.0, 72.0)) -> Tensor:
        """Percentiles over examples, ``(P, E)``; by default those of Levine et al. (2019), Fig. 4.

        So its appendix has them; its caption speaks of 60 % of images with values at least as
        large, which is the 40th percentile: give ``(28, 40, 52)`` for that reading.

        Args:
            percentiles: in [0, 100].
        """
        levels = [check_number("percentiles", level, low=0, high=100) for level in percentiles]
        shares = torch.tensor(levels, dtype=self.values.dtype) / 100.0
        return torch.quantile(self.values, shares.to(self.values.device), dim=0)


def certified_overlap(
    attribution: SmoothedAttribution,
    inputs: Tensors,
    *,
    epsilons: Sequence[float],
    k: int | float,
    max_examples_per_batch: int | None = None,
    example_ids: Sequence[int] | None = None,
    **certify_kwargs: Any,
) -> CertifiedCurves:
    r"""Certified overlap of the top k features against the perturbation size, example by example.

    See :meth:`captum_robust.certificates.Certificate.overlap`; Levine et al. (2019), Fig. 4. A
    bound, for each example with probability ``1 - alpha``; higher is more robust.

    Args:
        attribution: a smoothed attribution that answers the question.
        inputs: what is explained, ``(N, *)``, or a tuple.
        epsilons: perturbation sizes, >= 0.
        k: features compared, a share in ``(0, 1]`` or a count.
        max_examples_per_batch: examples certified at once; all where ``None``.
        example_ids: numbers of the examples in the seeded noise, default ``0 .. N-1``.
        **certify_kwargs: passed on to ``certify``, such as ``target``, ``stdevs``, ``nt_samples``,
            ``alpha`` and ``seed``.

    Returns:
        Curves in [0, 1].

    Raises:
        ValueError: as ``certify`` and the question do.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import SparsifiedSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.metrics import certified_overlap
        >>> model = example_model()
        >>> smooth = SparsifiedSmoothGrad(Saliency(model), keep=0.5)
        >>> certified_overlap(smooth, torch.randn(3, 4), epsilons=[0.0, 0.1], k=0.5, target=0,
        ...                   stdevs=0.5, nt_samples=64, seed=0).values.shape
        torch.Size([3, 2])
    """
    return _curves(
        _certificates(attribution, inputs, max_examples_per_batch, example_ids, certify_kwargs),
        lambda certificate: certificate.curve("overlap", epsilons, k=k),
        epsilons,
    )


def certified_cosine(
    attribution: SmoothedAttribution,
    inputs: Tensors,
    *,
    epsilons: Sequence[float],
    max_examples_per_batch: int | None = None,
    example_ids: Sequence[int] | None = None,
    **certify_kwargs: Any,
) -> CertifiedCurves:
    """Certified cosine similarity against the perturbation size, example by example.

    See :meth:`captum_robust.certificates.Certificate.cosine`. A bound, for each example with
    probability ``1 - alpha``; higher is more robust, -1 (0 for nonnegative maps) says nothing.

    Args:
        attribution, inputs, epsilons, max_examples_per_batch, example_ids, certify_kwargs: as in
            :func:`certified_overlap`.

    Returns:
        Curves in [-1, 1].

    Raises:
        ValueError: as ``certify`` and the question do.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import GaussianSmoothing, UnitNorm
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.metrics import certified_cosine
        >>> model = example_model()
        >>> smooth = GaussianSmoothing(Saliency(model), transform=UnitNorm())
        >>> certified_cosine(smooth, torch.randn(3, 4), epsilons=[0.0, 0.1], target=0,
        ...                  stdevs=0.5, nt_samples=64, seed=0).values.shape
        torch.Size([3, 2])
    """
    return _curves(
        _certificates(attribution, inputs, max_examples_per_batch, example_ids, certify_kwargs),
        lambda certificate: certificate.curve("cosine", epsilons),
        epsilons,
    )


def certified_share(
    attribution: SmoothedAttribution,
    inputs: Tensors,
    *,
    epsilons: Sequence[float],
    max_examples_per_batch: int | None = None,
    example_ids: Sequence[int] | None = None,
    **certify_kwargs: Any,
) -> CertifiedCurves:
    """Share of features certified to stay in, or out of, most samples' top.

    See :meth:`captum_robust.certificates.Certificate.certified_share`; Anani et al. (2025). A
    bound, for each example with probability ``1 - alpha``; higher is more robust.

    Args:
        attribution, inputs, epsilons, max_examples_per_batch, example_ids, certify_kwargs: as in
            :func:`certified_overlap`.

    Returns:
        Curves in [0, 1].

    Raises:
        ValueError: as ``certify`` and the question do.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import SparsifiedSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.metrics import certified_share
        >>> model = example_model()
        >>> smooth = SparsifiedSmoothGrad(Saliency(model), keep=0.5)
        >>> certified_share(smooth, torch.randn(3, 4), epsilons=[0.0, 0.1], target=0,
        ...                 stdevs=0.5, nt_samples=64, seed=0).values.shape
        torch.Size([3, 2])
    """
    return _curves(
        _certificates(attribution, inputs, max_examples_per_batch, example_ids, certify_kwargs),
        lambda certificate: certificate.curve("certified_share", epsilons),
        epsilons,
    )


def certified_localization(
    attribution: SmoothedAttribution,
    inputs: Tensors,
    masks: Tensors,
    *,
    epsilons: Sequence[float],
    max_examples_per_batch: int | None = None,
    example_ids: Sequence[int] | None = None,
    **certify_kwargs: Any,
) -> CertifiedCurves:
    r"""Share of the features certified important that lie inside a mask.

    .. math:: \frac{|\{j : j \text{ certified important at } \epsilon\} \cap \text{mask}|}
              {|\{j : j \text{ certified important at } \epsilon\}|}

    The certified pointing game of Anani et al. (2025). Every feature counted is certified,
    simultaneously, with probability ``1 - alpha``; the ratio is 0 where none is. Higher is more
    robust and better placed. The masks need not be fixed before sampling, as
    :meth:`~captum_robust.certificates.Certificate.region_mass` wants them to.

    Args:
        attribution, inputs, epsilons, max_examples_per_batch, example_ids, certify_kwargs: as in
            :func:`certified_overlap`.
        masks: boolean, of the maps' shape ``(N, *)``.

    Returns:
        Curves in [0, 1].

    Raises:
        ValueError: if masks do not fit the maps, and as ``certify`` and the question do.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import SparsifiedSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.metrics import certified_localization
        >>> model = example_model()
        >>> smooth = SparsifiedSmoothGrad(Saliency(model), keep=0.5)
        >>> x = torch.randn(3, 4)
        >>> certified_localization(smooth, x, x > 0, epsilons=[0.0], target=0,
        ...                        stdevs=0.5, nt_samples=64, seed=0).values.shape
        torch.Size([3, 1])
    """
    inside = flatten(masks if isinstance(masks, tuple) else (masks,)).bool()
    start = 0

    def localization(certificate: Certificate) -> Tensor:
        nonlocal start
        wanted = inside[start : start + len(certificate.mean)]
        start += len(certificate.mean)
        if wanted.shape != certificate.mean.shape:
            raise ValueError(
                f"`masks` must have a feature for each of the {certificate.features} of a map, "
                f"got {tuple(inside.shape)}."
            )
        return torch.stack(
            [_share_inside(certificate, wanted, epsilon) for epsilon in epsilons], dim=1
        )

    return _curves(
        _certificates(attribution, inputs, max_examples_per_batch, example_ids, certify_kwargs),
        localization,
        epsilons,
    )


def _share_inside(certificate: Certificate, inside: Tensor, epsilon: float) -> Tensor:
    """Share of certified important features inside, ``(N,)``; 0 where there are none."""
    decisions = certificate.pixels(epsilon)
    important = flatten(decisions if isinstance(decisions, tuple) else (decisions,)) == 1
    found = (important & inside.to(important.device)).sum(1).double()
    return found / important.sum(1).clamp(min=1)


def _curves(
    certificates: Iterator[Certificate],
    answer: Callable[[Certificate], Tensor],
    epsilons: Sequence[float],
) -> CertifiedCurves:
    """The answers of all certificates, one after the other."""
    values = torch.cat([answer(certificate) for certificate in certificates])
    return CertifiedCurves(torch.as_tensor(epsilons, dtype=torch.float64), values)


def _certificates(
    attribution: SmoothedAttribution,
    inputs: Tensors,
    size: int | None,
    example_ids: Sequence[int] | None,
    arguments: dict[str, Any],
) -> Iterator[Certificate]:
    """A certificate for each chunk of examples, each numbered as in the whole."""
    batch = Batch.of(attribution.attribute, inputs, arguments)
    examples = len(batch)
    ids = list(range(examples) if example_ids is None else example_ids)
    step = examples if size is None else check_count("max_examples_per_batch", size)
    for start in range(0, examples, step):
        chunk = batch.select(torch.arange(start, min(start + step, examples)))
        tensors = chunk.inputs if chunk.is_tuple else chunk.inputs[0]
        yield attribution.certify(tensors, example_ids=ids[start : start + step], **chunk.arguments)
