"""Training losses that make a model's maps robust.

Each is a module ``criterion(model, inputs, target) -> scalar`` that stands where the cross-entropy
is computed; it knows nothing of epochs or optimisers. After a call ``criterion.terms`` holds the
detached mean of each term and of the whole.
"""

from captum_robust.losses.attacked.aat import AAT
from captum_robust.losses.attacked.adv_aat import AdvAAT
from captum_robust.losses.attacked.adversarial_training import AdversarialTraining
from captum_robust.losses.attacked.art import ART, IGA
from captum_robust.losses.attacked.ig_norm import IGNorm
from captum_robust.losses.attacked.ig_sum_norm import IGSumNorm
from captum_robust.losses.attacked.igr import IGR
from captum_robust.losses.attacked.trades import TRADES
from captum_robust.losses.criterion import Criterion
from captum_robust.losses.gradients.gradient_l2 import GradientL2
from captum_robust.losses.gradients.hessian_norm import HessianNorm
from captum_robust.losses.gradients.local_gradient_alignment import LocalGradientAlignment
from captum_robust.losses.gradients.smooth_surface import SmoothSurface
from captum_robust.losses.noisy.certified_margin import CertifiedMargin
from captum_robust.losses.noisy.noise_augmentation import NoiseAugmentation
from captum_robust.losses.noisy.noise_consistency import NoiseConsistency
from captum_robust.losses.noisy.smooth_adversarial_training import SmoothAdversarialTraining
from captum_robust.losses.shared.adversarial import AdversarialCriterion, PenalisedCriterion
from captum_robust.losses.teaching.atex import ATEX
from captum_robust.losses.teaching.saliency_consistency import SaliencyConsistency

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
    "CertifiedMargin",
    "Criterion",
    "GradientL2",
    "HessianNorm",
    "IGNorm",
    "IGSumNorm",
    "LocalGradientAlignment",
    "NoiseAugmentation",
    "NoiseConsistency",
    "PenalisedCriterion",
    "SaliencyConsistency",
    "SmoothAdversarialTraining",
    "SmoothSurface",
]
