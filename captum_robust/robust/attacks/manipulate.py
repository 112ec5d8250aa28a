"""The attack that paints a given map, in the three forms that circulate under one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust.robust.objectives.objective import MapError, Normalisation
from captum_robust.robust.objectives.other_input import OtherInputObjective
from captum_robust.robust.objectives.target_map import TargetMapObjective
from captum_robust.robust.steps.adam import AdamStep
from captum_robust.robust.steps.fixed import FixedStep
from captum_robust.robust.steps.step import StepRule
from captum_robust.robust.surrogate import Beta
from captum_robust.robust.template.ascent import DEFAULT_BETA, OutputMatch, Outputs
from captum_robust.robust.template.attack import AttributionAttack


@dataclass(frozen=True)
class _Variant:
    """The constants of one form of the attack."""

    weight: float
    output_weight: float
    outputs: Outputs
    normalisation: Normalisation
    rule: StepRule
    beta: Beta
    step_num: int
    error: MapError = "mean"


Variant = Literal["dombrowski", "linf", "rescaled"]
_VARIANTS: Mapping[Variant, _Variant] = {
    "dombrowski": _Variant(1e11, 1e6, "softmax", "sum", AdamStep(), (10.0, 100.0), 1500),
    "linf": _Variant(1e11, 1e6, "softmax", "sum", FixedStep(), DEFAULT_BETA, 50),
    "rescaled": _Variant(
        0.5, 0.5, "logits", "max", AdamStep(relative_step=4 / 100), DEFAULT_BETA, 100, "sum"
    ),
}


class ManipulateAttack(AttributionAttack):
    r"""Makes the map look like a target map while the outputs stay what they are.

    .. math:: \min\; w_h\,\mathrm{MSE}(h(x'), h_t) + w_f\,\mathrm{MSE}(p(f(x')), p(f(x)))

    ==============  ===========  =========  =========  ==================  ===================
    variant         w_h, w_f     p          map over   steps               ball
    ==============  ===========  =========  =========  ==================  ===================
    ``dombrowski``  1e11, 1e6    softmax    its sum    Adam 2e-4, 1500     none, or ``radius``
    ``linf``        1e11, 1e6    softmax    its sum    signs of r/8, 50    Linf
    ``rescaled``    1/2, 1/2     logits     its max    Adam 4r/100, 100    Linf
    ==============  ===========  =========  =========  ==================  ===================

    The first error is a mean over the features of the map, in ``rescaled`` their sum: as in the
    code of Joo et al. (2023), whose text has the norm of the difference, and gives the map as many
    times the weight as it has features. ``map_error`` chooses the other.

    Dombrowski et al. (2019), beta grown from 10 to 100; Wang et al. (2020); Joo et al. (2023),
    whose text says PGD where their code runs Adam. All three return the last iterate; here the best
    one that keeps the prediction counts, by the distance of the maps on the real net.

    Args:
        forward_func, attribution_method, lower_bound, upper_bound: see :class:`AttributionAttack`.
        target_map: the map :math:`h_t`, see :func:`frame_target`; or give ``others``.
        others: inputs whose maps are the target; ``other_target`` is their class.
        variant: one of the three above.
        map_error: ``"mean"`` or ``"sum"`` of the squared differences of the maps.
        **pieces: further keywords of :class:`AttributionAttack`.

    Raises:
        ValueError: for another variant, or unless exactly one of ``target_map`` and ``others``.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.robust import ManipulateAttack, frame_target
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 8), torch.nn.ReLU(),
        ...     torch.nn.Linear(8, 3))
        >>> x = torch.rand(2, 1, 3, 3)
        >>> frame = frame_target((3, 3), width=1)
        >>> attack = ManipulateAttack(net, Saliency(net), 0, 1, target_map=frame, variant="linf")
        >>> attack.perturb(x, radius=0.1, step_num=5, target=net(x).argmax(1)).shape
        torch.Size([2, 1, 3, 3])
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        attribution_method: Attribution,
        lower_bound: Any = -torch.inf,
        upper_bound: Any = torch.inf,
        *,
        target_map: Tensor | None = None,
        others: Any = None,
        other_target: Any = None,
        variant: Variant = "dombrowski",
        map_error: MapError | None = None,
        **pieces: Any,
    ) -> None:
        chosen = _VARIANTS[check_choice("variant", variant, tuple(_VARIANTS))]
        self.variant: Variant = variant
        self.step_num = chosen.step_num
        super().__init__(
            forward_func,
            attribution_method,
            lower_bound,
            upper_bound,
            objective=_objective(
                target_map, others, other_target, chosen.normalisation, map_error or chosen.error
            ),
            model_term=OutputMatch(chosen.output_weight, chosen.outputs),
            weight=chosen.weight,
            step_rule=chosen.rule,
            **{"surrogate": chosen.beta, **pieces},
        )

    def default_step_size(self, radius: Tensor) -> Any:
        """2e-4 for the variant without a ball, a share of the radius for the others."""
        return 2e-4 if self.variant == "dombrowski" else super().default_step_size(radius)


def _objective(
    target_map: Tensor | None,
    others: Any,
    other_target: Any,
    normalisation: Normalisation,
    error: MapError,
) -> TargetMapObjective | OtherInputObjective:
    if (target_map is None) == (others is None):
        given = "neither" if target_map is None else "both"
        raise ValueError(f"exactly one of `target_map` and `others` must be given, got {given}.")
    if target_map is not None:
        return TargetMapObjective(target_map, normalisation=normalisation, error=error)
    return OtherInputObjective(others, other_target, normalisation=normalisation, error=error)
