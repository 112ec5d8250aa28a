"""Measures of robustness: similarities of two maps, and evaluators like Captum's own metrics.

**Similarities** take two maps and return one value per example, ``(N,)``, in float64 (float32 on
MPS). The maps are tensors of equal shapes ``(N, *)`` or tuples of them, which count as one
concatenated vector. All share two options, both off by default, applied in this order:

* ``channels``: ``"sum"`` or ``"abs-sum"`` adds up dimension 1 of maps ``(N, C, *)``, or their
  magnitudes.
* ``normalize``: divides each map by its absolute sum (``"sum"``), largest magnitude (``"max"``) or
  l2 norm (``"l2"``); a zero map stays zero.

:data:`SIMILARITIES` lists them by name, and evaluators take the name as well as the function. One
of your own joins them by :func:`register_similarity`, which says its range and at which end of it
two maps are alike; :class:`Scale` tells that of any similarity.

Ties, constant and zero maps have the values that each docstring gives, never NaN; a map that is not
finite is an error.

**Evaluators** take an explanation function and inputs, as :func:`captum.metrics.sensitivity_max`
does, pass keywords they do not know on to the explanation function, expanded as Captum expands
them, and return one value per example. To give the explanation function a keyword of an evaluator's
own name, such as ``seed``, bind it by :func:`functools.partial`. Evaluators that perturb share:

* ``forward_func``: the model, to see where a perturbation changes the predicted class, the largest
  along dimension 1. The result is then an :class:`Evaluation` that says how often it did.
* ``on_prediction_change``: ``"keep"`` counts such perturbations like all others, ``"nan"`` does
  not: the value of an example is NaN where none is left.
* ``return_perturbed``: also returns perturbed inputs and maps, in an :class:`Evaluation`; of many
  draws, the one that did the map the most harm.
* ``max_examples_per_batch``: rows processed at once, any number from 1. By default
  perturbed inputs of half a million elements in all, or one perturbation of every example if that
  is more. Memory does not grow further with the number of perturbations, radii or points.
* ``seed``: fixes draw i of example j as a function of (seed, i, j) alone, however they are batched.
  Without it torch's global generator decides.
* ``show_progress``: shows a progress bar.
"""

from captum_robust.metrics.evaluators.attacks import (
    area_under_log_radius,
    attack_robustness,
    transfer_robustness,
)
from captum_robust.metrics.evaluators.certified import (
    CertifiedCurves,
    certified_cosine,
    certified_localization,
    certified_overlap,
    certified_share,
)
from captum_robust.metrics.evaluators.evaluation import Evaluation
from captum_robust.metrics.evaluators.hessian import hessian_norm
from captum_robust.metrics.evaluators.insertion import adversarial_insertion, deletion, insertion
from captum_robust.metrics.evaluators.sampling import (
    cosine_robust_criterion,
    l2_robust_criterion,
    local_lipschitz,
    random_perturbation_similarity,
)
from captum_robust.metrics.evaluators.sensitivity import avg_sensitivity, max_sensitivity
from captum_robust.metrics.intervals import Interval, bootstrap_interval
from captum_robust.metrics.similarities.images.mass_center_dislocation import (
    mass_center_dislocation,
)
from captum_robust.metrics.similarities.images.ssim import ssim
from captum_robust.metrics.similarities.ranks.kendall_tau import kendall_tau
from captum_robust.metrics.similarities.ranks.spearman_rho import spearman_rho
from captum_robust.metrics.similarities.similarity import SIMILARITIES, Scale, register_similarity
from captum_robust.metrics.similarities.top.topk_intersection import topk_intersection
from captum_robust.metrics.similarities.top.topk_mass import topk_mass
from captum_robust.metrics.similarities.values.cosine_distance import cosine_distance
from captum_robust.metrics.similarities.values.cosine_similarity import cosine_similarity
from captum_robust.metrics.similarities.values.lp_distance import lp_distance
from captum_robust.metrics.similarities.values.mse import mse
from captum_robust.metrics.similarities.values.pearson_correlation import pearson_correlation

__all__ = [
    "SIMILARITIES",
    "CertifiedCurves",
    "Evaluation",
    "Interval",
    "Scale",
    "adversarial_insertion",
    "area_under_log_radius",
    "attack_robustness",
    "avg_sensitivity",
    "bootstrap_interval",
    "certified_cosine",
    "certified_localization",
    "certified_overlap",
    "certified_share",
    "cosine_distance",
    "cosine_robust_criterion",
    "cosine_similarity",
    "deletion",
    "hessian_norm",
    "insertion",
    "kendall_tau",
    "l2_robust_criterion",
    "local_lipschitz",
    "lp_distance",
    "mass_center_dislocation",
    "max_sensitivity",
    "mse",
    "pearson_correlation",
    "random_perturbation_similarity",
    "register_similarity",
    "spearman_rho",
    "ssim",
    "topk_intersection",
    "topk_mass",
    "transfer_robustness",
]
