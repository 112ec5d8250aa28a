"""Evaluators that draw perturbations at random: similarity, the robust criteria, Lipschitz."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice, check_count, check_number
from captum_robust._base.vectors import Tensors
from captum_robust.metrics.evaluators.batch import Batch, Explain, Forward
from captum_robust.metrics.evaluators.evaluation import Evaluation
from captum_robust.metrics.evaluators.perturbation import (
    Attack,
    AttackKwargs,
    PerturbFunc,
    RandomPerturbation,
)
from captum_robust.metrics.evaluators.returns import evaluator
from captum_robust.metrics.evaluators.run import (
    Comparison,
    Measure,
    Options,
    Originals,
    compare_by,
    over_comparisons,
)
from captum_robust.metrics.similarities.similarity import Scale, Similarity
from captum_robust.metrics.similarities.values.cosine_distance import cosine_distance
from captum_robust.metrics.similarities.values.cosine_similarity import cosine_similarity


@evaluator
def random_perturbation_similarity(
    explanation_func: Explain,
    inputs: Tensors,
    perturb_func: PerturbFunc | None = None,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    *,
    similarity: Similarity | str = cosine_similarity,
    clamp: tuple[float, float] | None = None,
    forward_func: Forward | None = None,
    on_prediction_change: Literal["keep", "nan"] = "keep",
    return_perturbed: bool = False,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""Mean similarity of an input's map to those of randomly perturbed inputs.

    .. math:: \mathrm{RPS}(x) = E_{\delta \sim U([-\epsilon, \epsilon]^d)}\,
              S\bigl(h(x + \delta), h(x)\bigr)

    Joo et al. (2023), section Metrics, who take ten draws at :math:`\epsilon` of 4, 8 and 16 / 255
    and cosine, Pearson's correlation and SSIM for :math:`S`. An estimate: unbiased for the mean
    over the ball, and no bound on the worst perturbation in it.

    Used like :func:`captum.metrics.sensitivity_max`, which explains the words not listed here.

    Args:
        explanation_func: such as ``Saliency(model).attribute``.
        inputs: what is explained, ``(N, *)``, or a tuple.
        perturb_func: draws perturbed inputs; the uniform law above where ``None``.
        perturb_radius: :math:`\epsilon`, in input units.
        n_perturb_samples: number of draws an example.
        similarity: a similarity of this module or its name, any other function of two maps; its
            own options are bound by :func:`functools.partial`. Called as
            ``similarity(original, perturbed)``. Of a distance the largest value is the worst.
        clamp: bounds ``(low, high)`` of valid inputs, put on every perturbed one.
        forward_func, on_prediction_change, return_perturbed: shared by all evaluators, see
            :mod:`captum_robust.metrics`.
        max_examples_per_batch, seed, show_progress: likewise.
        **kwargs: passed to ``explanation_func``.

    Returns:
        Values in the range of ``similarity``, ``(N,)``, float64; more robust at the end where maps
        are alike. An :class:`Evaluation` with ``forward_func`` or ``return_perturbed``.

    Raises:
        ValueError: if an argument is out of range, or a map or perturbed input is not finite.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.metrics import random_perturbation_similarity
        >>> saliency = Saliency(torch.nn.Linear(4, 3))
        >>> found = random_perturbation_similarity(saliency.attribute, torch.zeros(2, 4), target=1)
        >>> found.round(decimals=4)  # the map of a linear model does not move
        tensor([1., 1.], dtype=torch.float64)
    """
    options = Options(
        forward_func, on_prediction_change, return_perturbed, max_examples_per_batch, show_progress
    )
    return _over_draws(
        Batch.of(explanation_func, inputs, kwargs),
        RandomPerturbation(perturb_func, perturb_radius, clamp, seed),
        n_perturb_samples,
        compare_by(similarity),
        options,
        largest_is_worst=not Scale.of(similarity).higher_is_better,
    )


@evaluator
def cosine_robust_criterion(
    explanation_func: Explain,
    inputs: Tensors,
    perturb_func: PerturbFunc | None = None,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    *,
    reduction: Literal["mean", "max"] = "mean",
    clamp: tuple[float, float] | None = None,
    forward_func: Forward | None = None,
    on_prediction_change: Literal["keep", "nan"] = "keep",
    return_perturbed: bool = False,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""Half the cosine distance between the maps of an input and of perturbed ones.

    .. math:: \Gamma^{\cos}(x, \delta) = \tfrac12\Bigl(1 - \cos\bigl(h(x+\delta), h(x)\bigr)\Bigr)

    Joo et al. (2023), Definition 4, there for the gradient map ``Saliency(model, ...)`` with
    ``abs=False``; the mean over :math:`\delta` is the term of their loss (4). It does not depend on
    the scale of the map (Proposition 5). Its bound there (Theorem 6) holds but is loose.

    Args:
        explanation_func, inputs, perturb_func, perturb_radius, n_perturb_samples, clamp, kwargs: as
            in :func:`random_perturbation_similarity`.
        reduction: ``"mean"`` over the draws, or ``"max"``, a lower bound on the largest value.
        forward_func, on_prediction_change, return_perturbed: shared by all evaluators, see
            :mod:`captum_robust.metrics`.
        max_examples_per_batch, seed, show_progress: likewise.

    Returns:
        Estimates in [0, 1], ``(N,)``, float64; lower is more robust. An :class:`Evaluation` with
        ``forward_func`` or ``return_perturbed``.

    Raises:
        ValueError: as in :func:`random_perturbation_similarity`.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.metrics import cosine_robust_criterion
        >>> saliency = Saliency(lambda x: x.square().sum(1) / 2)  # the map is the input
        >>> cosine_robust_criterion(saliency.attribute, torch.ones(1, 2), lambda x: -x, abs=False)
        tensor([1.0000], dtype=torch.float64)
    """
    options = Options(
        forward_func, on_prediction_change, return_perturbed, max_examples_per_batch, show_progress
    )
    half = compare_by(cosine_distance)
    return _over_draws(
        Batch.of(explanation_func, inputs, kwargs),
        RandomPerturbation(perturb_func, perturb_radius, clamp, seed),
        n_perturb_samples,
        lambda comparison: half(comparison) / 2,
        options,
        reduction=reduction,
    )


@evaluator
def l2_robust_criterion(
    explanation_func: Explain,
    inputs: Tensors,
    perturb_func: PerturbFunc | None = None,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    *,
    reduction: Literal["mean", "max"] = "mean",
    clamp: tuple[float, float] | None = None,
    forward_func: Forward | None = None,
    on_prediction_change: Literal["keep", "nan"] = "keep",
    return_perturbed: bool = False,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""The l2 distance between the maps of an input and of perturbed ones.

    .. math:: \Gamma^{\ell_2}(x, \delta) = \|h(x+\delta) - h(x)\|_2

    Joo et al. (2023), section Adversarial attribution manipulation; a norm, as in their text, where
    their code takes its square. It grows with the scale of the map (Lemma 3): of two models it
    tells the more robust only if their maps are of like size.

    Args:
        explanation_func, inputs, perturb_func, perturb_radius, n_perturb_samples, clamp, kwargs: as
            in :func:`random_perturbation_similarity`.
        reduction: ``"mean"`` over the draws, or ``"max"``, a lower bound on the largest value.
        forward_func, on_prediction_change, return_perturbed: shared by all evaluators, see
            :mod:`captum_robust.metrics`.
        max_examples_per_batch, seed, show_progress: likewise.

    Returns:
        Estimates in [0, inf), in the map's units, ``(N,)``, float64; lower is more robust. An
        :class:`Evaluation` with ``forward_func`` or ``return_perturbed``.

    Raises:
        ValueError: as in :func:`random_perturbation_similarity`.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.metrics import l2_robust_criterion
        >>> saliency = Saliency(lambda x: x.square().sum(1) / 2)  # the map is the input
        >>> l2_robust_criterion(saliency.attribute, torch.ones(1, 4), lambda x: 3 * x)
        tensor([4.], dtype=torch.float64)
    """
    options = Options(
        forward_func, on_prediction_change, return_perturbed, max_examples_per_batch, show_progress
    )
    return _over_draws(
        Batch.of(explanation_func, inputs, kwargs),
        RandomPerturbation(perturb_func, perturb_radius, clamp, seed),
        n_perturb_samples,
        lambda comparison: comparison.map_distance(2),
        options,
        reduction=reduction,
    )


@evaluator
def local_lipschitz(
    explanation_func: Explain,
    inputs: Tensors,
    perturb_func: PerturbFunc | None = None,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    *,
    attack: Any = None,
    attack_kwargs: AttackKwargs = None,
    p: float = 2,
    clamp: tuple[float, float] | None = None,
    forward_func: Forward | None = None,
    on_prediction_change: Literal["keep", "nan"] = "keep",
    return_perturbed: bool = False,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""Largest change of the map per change of the input that was found nearby.

    .. math:: \hat\lambda(x) = \max_{x'} \frac{\|g(x) - g(x')\|_p}{\|x - x'\|_p}

    over the draws :math:`x'`, and over the point of an ``attack`` where one is given. A lower bound
    on the local Lipschitz constant :math:`\lambda` of Wang et al. (2020), Definition 6, and never
    an upper one. A perturbation that leaves the input as it was counts 0.

    Args:
        explanation_func, inputs, perturb_func, perturb_radius, clamp, kwargs: as in
            :func:`random_perturbation_similarity`.
        n_perturb_samples: number of draws an example; 0 for the attack alone.
        attack: an attack of this library or of Captum, run once with budget ``perturb_radius``.
        attack_kwargs: its arguments, see :func:`attack_robustness`.
        p: order of both norms, at least 1.
        forward_func, on_prediction_change, return_perturbed: shared by all evaluators, see
            :mod:`captum_robust.metrics`.
        max_examples_per_batch, seed, show_progress: likewise.

    Returns:
        Lower bounds in [0, inf), in map units per input unit, ``(N,)``, float64; lower is more
        robust. An :class:`Evaluation` with ``forward_func`` or ``return_perturbed``.

    Raises:
        ValueError: as in :func:`random_perturbation_similarity`, or if there is neither a draw nor
            an attack.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.metrics import local_lipschitz
        >>> saliency = Saliency(lambda x: x.square().sum(1))  # the map is twice the input
        >>> local_lipschitz(saliency.attribute, torch.ones(1, 4)).round(decimals=4)
        tensor([2.], dtype=torch.float64)
    """
    order = check_number("p", p, low=1)
    draws = check_count("n_perturb_samples", n_perturb_samples, low=1 if attack is None else 0)
    options = Options(
        forward_func, on_prediction_change, return_perturbed, max_examples_per_batch, show_progress
    )
    batch = Batch.of(explanation_func, inputs, kwargs)
    perturbation = RandomPerturbation(perturb_func, perturb_radius, clamp, seed)
    attacker = None if attack is None else Attack(attack, attack_kwargs)

    def comparisons(chunk: Batch, originals: Originals) -> Iterator[Comparison]:
        yield from perturbation.comparisons(chunk, originals, draws, options)
        if attacker is not None:
            moved = attacker(chunk, float(perturb_radius), len(batch))
            yield originals.compare(chunk, moved)

    return over_comparisons(
        batch,
        comparisons,
        lambda comparison: _slope(comparison, order),
        options,
        total=len(batch) * (draws + (attacker is not None)),
        description="local Lipschitz",
        reduction="max",
    )


def _slope(comparison: Comparison, p: float) -> Tensor:
    run = comparison.input_distance(p)
    rise = comparison.map_distance(p).to(run.device)
    return torch.where(run > 0, rise / torch.where(run > 0, run, 1.0), 0.0)


def _over_draws(
    batch: Batch,
    perturbation: RandomPerturbation,
    n_perturb_samples: int,
    measure: Measure,
    options: Options,
    *,
    reduction: Literal["mean", "max"] = "mean",
    largest_is_worst: bool = True,
) -> Tensor | Evaluation:
    draws = check_count("n_perturb_samples", n_perturb_samples)
    check_choice("reduction", reduction, ("mean", "max"))
    return over_comparisons(
        batch,
        lambda chunk, originals: perturbation.comparisons(chunk, originals, draws, options),
        measure,
        options,
        total=len(batch) * draws,
        description="perturbations",
        reduction=reduction,
        largest_is_worst=largest_is_worst,
    )
