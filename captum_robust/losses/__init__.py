"""Training losses that make a model's maps robust.

Each is a module ``criterion(model, inputs, target) -> scalar`` that stands where the cross-entropy
is computed; it knows nothing of epochs or optimisers. After a call ``criterion.terms`` holds the
detached mean of each term and of the whole.
"""

from captum_robust.losses.attacked.adversarial import TRADES, AdversarialTraining
from captum_robust.losses.attacked.path import IGNorm, IGSumNorm
from captum_robust.losses.attacked.similarity import AAT, IGR, AdvAAT
from captum_robust.losses.attacked.triplet import ART, IGA
from captum_robust.losses.criterion import Criterion
from captum_robust.losses.gradients.alignment import GradientL2, LocalGradientAlignment
from captum_robust.losses.gradients.hessian import HessianNorm
from captum_robust.losses.gradients.smooth_surface import SmoothSurface
from captum_robust.losses.shared.adversarial import AdversarialCriterion, PenalisedCriterion
from captum_robust.losses.teaching.consistency import SaliencyConsistency
from captum_robust.losses.teaching.teacher import ATEX

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
