"""How much a map changes under random perturbations, relative to its own size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from captum_robust._base.checks import check_count, check_number
from captum_robust._base.precision import wide
from captum_robust._base.vectors import Tensors, flatten
from captum_robust.metrics.evaluators.batch import Batch, Explain, Forward
from captum_robust.metrics.evaluators.evaluation import Evaluation
from captum_robust.metrics.evaluators.perturbation import PerturbFunc, RandomPerturbation
from captum_robust.metrics.evaluators.returns import evaluator
from captum_robust.metrics.evaluators.run import Comparison, Options, over_comparisons


@evaluator
def max_sensitivity(
    explanation_func: Explain,
    inputs: Tensors,
    perturb_func: PerturbFunc | None = None,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    norm_ord: float | Literal["fro"] = "fro",
    *,
    clamp: tuple[float, float] | None = None,
    forward_func: Forward | None = None,
    on_prediction_change: Literal["keep", "nan"] = "keep",
    return_perturbed: bool = False,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""Largest change of the map under random perturbations, relative to the map.

    .. math:: \mathrm{SENS}_{\max}(x) = \max_{\delta} \frac{\|h(x + \delta) - h(x)\|}{\|h(x)\|}

    over the draws. Yeh et al. (2019); the values of :func:`captum.metrics.sensitivity_max` on the
    same perturbations, and of the metric of this name in Quantus up to its choice of norms. A lower
    bound on the largest change in the ball. A zero map is divided by 1.

    Args:
        explanation_func, inputs, perturb_func, perturb_radius, n_perturb_samples, clamp, kwargs: as
            in :func:`random_perturbation_similarity`.
        norm_ord: of both norms, at least 1; ``"fro"``, Captum's word, is 2.
        forward_func, on_prediction_change, return_perturbed: shared by all evaluators, see
            :mod:`captum_robust.metrics`.
        max_examples_per_batch, seed, show_progress: likewise.

    Returns:
        Values in [0, inf), ``(N,)``, float64; lower is more robust. An :class:`Evaluation` with
        ``forward_func`` or ``return_perturbed``.

    Raises:
        ValueError: as in :func:`random_perturbation_similarity`.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.metrics import max_sensitivity
        >>> saliency = Saliency(lambda x: x.square().sum(1) / 2)  # the map is the input
        >>> max_sensitivity(saliency.attribute, torch.ones(1, 4), lambda x: 3 * x)
        tensor([2.], dtype=torch.float64)
    """
    options = Options(
        forward_func, on_prediction_change, return_perturbed, max_examples_per_batch, show_progress
    )
    perturbation = RandomPerturbation(perturb_func, perturb_radius, clamp, seed)
    batch = Batch.of(explanation_func, inputs, kwargs)
    return _sensitivity(batch, perturbation, n_perturb_samples, norm_ord, options, "max")


@evaluator
def avg_sensitivity(
    explanation_func: Explain,
    inputs: Tensors,
    perturb_func: PerturbFunc | None = None,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    norm_ord: float | Literal["fro"] = "fro",
    *,
    clamp: tuple[float, float] | None = None,
    forward_func: Forward | None = None,
    on_prediction_change: Literal["keep", "nan"] = "keep",
    return_perturbed: bool = False,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""Mean change of the map under random perturbations, relative to the map.

    .. math:: \mathrm{SENS}_{\mathrm{avg}}(x) = E_\delta \frac{\|h(x + \delta) - h(x)\|}{\|h(x)\|}

    Yeh et al. (2019), as an estimate without bias over the draws; see :func:`max_sensitivity`.

    Args:
        explanation_func, inputs, perturb_func, perturb_radius, n_perturb_samples, norm_ord, clamp:
            as in :func:`max_sensitivity`.
        forward_func, on_prediction_change, return_perturbed: shared by all evaluators, see
            :mod:`captum_robust.metrics`.
        max_examples_per_batch, seed, show_progress, kwargs: likewise.

    Returns:
        Values in [0, inf), ``(N,)``, float64; lower is more robust. An :class:`Evaluation` with
        ``forward_func`` or ``return_perturbed``.

    Raises:
        ValueError: as in :func:`random_perturbation_similarity`.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.metrics import avg_sensitivity
        >>> saliency = Saliency(lambda x: x.square().sum(1) / 2)  # the map is the input
        >>> avg_sensitivity(saliency.attribute, torch.ones(1, 4), lambda x: 3 * x)
        tensor([2.], dtype=torch.float64)
    """
    options = Options(
        forward_func, on_prediction_change, return_perturbed, max_examples_per_batch, show_progress
    )
    perturbation = RandomPerturbation(perturb_func, perturb_radius, clamp, seed)
    batch = Batch.of(explanation_func, inputs, kwargs)
    return _sensitivity(batch, perturbation, n_perturb_samples, norm_ord, options, "mean")


def _sensitivity(
    batch: Batch,
    perturbation: RandomPerturbation,
    n_perturb_samples: int,
    norm_ord: float | Literal["fro"],
    options: Options,
    reduction: Literal["mean", "max"],
) -> Tensor | Evaluation:
    draws = check_count("n_perturb_samples", n_perturb_samples)
    order = 2.0 if norm_ord == "fro" else check_number("norm_ord", norm_ord, low=1)
    return over_comparisons(
        batch,
        lambda chunk, originals: perturbation.comparisons(chunk, originals, draws, options),
        _relative_change(order),
        options,
        total=len(batch) * draws,
        description="perturbations",
        reduction=reduction,
    )


def _relative_change(order: float) -> Callable[[Comparison], Tensor]:
    """The norm of a map's change over that of the map."""

    def change(comparison: Comparison) -> Tensor:
        maps = flatten([wide(part) for part in comparison.maps])
        size = torch.linalg.vector_norm(maps, order, dim=1)
        return comparison.map_distance(order) / torch.where(size > 0, size, 1.0)

    return change
