"""Training losses that make a model's maps robust.

Each is a module ``criterion(model, inputs, target) -> scalar`` that stands where the cross-entropy
is computed; it knows nothing of epochs or optimisers. After a call ``criterion.terms`` holds the
detached mean of each term and of the whole.
"""

from captum_robust.losses._adversarial import AdversarialCriterion, PenalisedCriterion
from captum_robust.losses._criterion import Criterion
from captum_robust.losses.adversarial import TRADES, AdversarialTraining
from captum_robust.losses.alignment import GradientL2, LocalGradientAlignment
from captum_robust.losses.consistency import SaliencyConsistency
from captum_robust.losses.hessian import HessianNorm
from captum_robust.losses.path import IGNorm, IGSumNorm
from captum_robust.losses.similarity import AAT, IGR, AdvAAT
from captum_robust.losses.smooth_surface import SmoothSurface
from captum_robust.losses.teacher import ATEX
from captum_robust.losses.triplet import ART, IGA

__all__ = [
    "AAT",
    "ART",
    "ATEX",
    "IGA",
    "IGR",
    "TRADES",
    "AdvAAT",
    "AdversarialCriterion",
    "AdversarialTraining",
    "Criterion",
    "GradientL2",
    "HessianNorm",
    "IGNorm",
    "IGSumNorm",
    "LocalGradientAlignment",
    "PenalisedCriterion",
    "SaliencyConsistency",
    "SmoothSurface",
]
