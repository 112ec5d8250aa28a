"""Attribution attacks as Captum perturbations, and the softplus twin they climb on."""

import importlib
import warnings

from captum_robust.robust.attacks.auto import AutoTopKAttack
from captum_robust.robust.attacks.ghorbani import (
    IFIA,
    MassCenterAttack,
    RandomAttack,
    TargetedRegionAttack,
    TopKAttack,
)
from captum_robust.robust.attacks.l2 import L2DeviationAttack, L2TopKAttack
from captum_robust.robust.attacks.manipulate import ManipulateAttack
from captum_robust.robust.balls.ball import Ball
from captum_robust.robust.balls.l1 import L1Ball
from captum_robust.robust.balls.l2 import L2Ball
from captum_robust.robust.balls.linf import LinfBall
from captum_robust.robust.objectives.cosine import CosineObjective
from captum_robust.robust.objectives.l2 import L2Objective
from captum_robust.robust.objectives.mass_center import MassCenterObjective
from captum_robust.robust.objectives.objective import Objective
from captum_robust.robust.objectives.other_input import OtherInputObjective
from captum_robust.robust.objectives.region import RegionObjective
from captum_robust.robust.objectives.target_map import TargetMapObjective, frame_target
from captum_robust.robust.objectives.top_k import TopKObjective
from captum_robust.robust.steps.adam import AdamStep
from captum_robust.robust.steps.fixed import FixedStep
from captum_robust.robust.steps.momentum import MomentumStep
from captum_robust.robust.steps.random_step import RandomStep
from captum_robust.robust.steps.shrinking import ShrinkingStep
from captum_robust.robust.steps.step import StepRule
from captum_robust.robust.surrogate import SoftplusSurrogate, softplus_surrogate
from captum_robust.robust.template.ascent import OutputMatch
from captum_robust.robust.template.attack import AttributionAttack
from captum_robust.robust.template.run import AttackResult

__all__ = [
    "IFIA",
    "AdamStep",
    "AttackResult",
    "AttributionAttack",
    "AutoTopKAttack",
    "Ball",
    "CosineObjective",
    "FixedStep",
    "L1Ball",
    "L2Ball",
    "L2DeviationAttack",
    "L2Objective",
    "L2TopKAttack",
    "LinfBall",
    "ManipulateAttack",
    "MassCenterAttack",
    "MassCenterObjective",
    "MomentumStep",
    "Objective",
    "OtherInputObjective",
    "OutputMatch",
    "RandomAttack",
    "RandomStep",
    "RegionObjective",
    "ShrinkingStep",
    "SoftplusSurrogate",
    "StepRule",
    "TargetMapObjective",
    "TargetedRegionAttack",
    "TopKAttack",
    "TopKObjective",
    "frame_target",
    "softplus_surrogate",
]


def __getattr__(name: str) -> object:
    """Forwards ``transfer``, now :func:`captum_robust.metrics.transfer_robustness`, until 0.3."""
    if name != "transfer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "captum_robust.robust.transfer became captum_robust.metrics.transfer_robustness, which "
        "takes several radii; the old name goes in version 0.3.",
        DeprecationWarning,
        stacklevel=2,
    )
    return importlib.import_module("captum_robust.metrics.evaluators.attacks").transfer
