"""Attribution attacks as Captum perturbations, and the softplus twin they climb on."""

from captum_robust.robust._ascent import OutputMatch
from captum_robust.robust._run import AttackResult
from captum_robust.robust.attack import AttributionAttack
from captum_robust.robust.ghorbani import (
    IFIA,
    MassCenterAttack,
    RandomAttack,
    TargetedRegionAttack,
    TopKAttack,
)
from captum_robust.robust.l2 import L2DeviationAttack, L2TopKAttack
from captum_robust.robust.manipulate import ManipulateAttack
from captum_robust.robust.objectives import (
    CosineObjective,
    L2Objective,
    MassCenterObjective,
    Objective,
    OtherInputObjective,
    RegionObjective,
    TargetMapObjective,
    TopKObjective,
    frame_target,
)
from captum_robust.robust.softplus import SoftplusSurrogate, softplus_surrogate
from captum_robust.robust.steps import (
    AdamStep,
    FixedStep,
    MomentumStep,
    RandomStep,
    ShrinkingStep,
    StepRule,
)
from captum_robust.robust.transfer import transfer

__all__ = [
    "IFIA",
    "AdamStep",
    "AttackResult",
    "AttributionAttack",
    "CosineObjective",
    "FixedStep",
    "L2DeviationAttack",
    "L2Objective",
    "L2TopKAttack",
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
    "transfer",
]
