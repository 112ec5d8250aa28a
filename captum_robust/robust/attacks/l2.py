"""Attacks in an l2 ball: Algorithm 1 of Levine et al. (2019), and PGD-20 on the l2 deviation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum.attr import Attribution

from captum_robust.robust.objectives.l2 import L2Objective
from captum_robust.robust.objectives.objective import Normalisation, Reduction
from captum_robust.robust.objectives.top_k import TopKObjective
from captum_robust.robust.steps.momentum import MomentumStep
from captum_robust.robust.steps.shrinking import ShrinkingStep
from captum_robust.robust.template.attack import AttributionAttack


class L2TopKAttack(AttributionAttack):
    r"""Lowers the attribution of the top k by gradient ascent in an l2 ball.

    Levine et al. (2019), Algorithm 1, with (Q, P, T) = (``tries``, ``step_num``, ``restarts``) =
    (100, 20, 5) as for CIFAR-10; they take (100, 15, 3) on MNIST. Every restart begins on the
    sphere at a point that keeps the prediction; :class:`ShrinkingStep` has the step, so that
    ``perturb`` refuses a ``step_size``. As printed, D is the plain sum of the map over the top k:
    ``normalisation="none"``, ``boundary=0``; the released code divides the map by its sum first, as
    is done here, where features near the threshold also count more. The paper climbs relaxed maps
    in the place of sparsified ones, ``relaxation="linear"``, and keeps the iterate with the best D;
    here the one with the smallest intersection counts, equal ones told apart by D: ``evaluation``
    can be changed.

    Args:
        forward_func, attribution_method, lower_bound, upper_bound: see :class:`AttributionAttack`.
        k: a count or a share in (0, 1]; the paper takes a quarter on CIFAR-10.
        tries: most random starts of one example over all restarts (``start_tries`` elsewhere).
        reduction, normalisation, boundary: see :class:`TopKAttack`.
        **pieces: further keywords of :class:`AttributionAttack`.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import L2TopKAttack
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = L2TopKAttack(model, Saliency(model), k=2)
        >>> attack.perturb(x, radius=0.1, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    step_num = 20
    restarts = 5

    def __init__(
        self,
        forward_func: Callable[..., Any],
        attribution_method: Attribution,
        lower_bound: Any = -torch.inf,
        upper_bound: Any = torch.inf,
        *,
        k: int | float = 0.25,
        tries: int = 100,
        reduction: Reduction = "none",
        normalisation: Normalisation = "sum",
        boundary: float = 1.0,
        **pieces: Any,
    ) -> None:
        if "start_tries" in pieces:
            raise TypeError("`start_tries` must be passed as `tries` to L2TopKAttack.")
        defaults = {"norm": "L2", "start": "surface", "step_rule": ShrinkingStep()}
        super().__init__(
            forward_func,
            attribution_method,
            lower_bound,
            upper_bound,
            objective=TopKObjective(k, reduction, normalisation, boundary),
            start_tries=tries,
            **{**defaults, **pieces},
        )


class L2DeviationAttack(AttributionAttack):
    r"""Raises :math:`\lVert h(x') - h(x) \rVert_2` by 20 projected gradient steps.

    The PGD-20 that Wang and Kong (2023) set their bounds against; no code is released and step size
    and start are not stated. Here: a uniform start, since the gradient is zero at the clean input,
    and steps that shrink from half the radius (:class:`MomentumStep`), since 20 are few.

    Args:
        forward_func, attribution_method, lower_bound, upper_bound: see :class:`AttributionAttack`.
        **pieces: further keywords of :class:`AttributionAttack`.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import L2DeviationAttack
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = L2DeviationAttack(model, Saliency(model))
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    step_num = 20

    def __init__(
        self,
        forward_func: Callable[..., Any],
        attribution_method: Attribution,
        lower_bound: Any = -torch.inf,
        upper_bound: Any = torch.inf,
        **pieces: Any,
    ) -> None:
        rule = MomentumStep(0.75, 1 / 2)
        defaults = {"norm": "L2", "start": "uniform", "step_rule": rule}
        super().__init__(
            forward_func,
            attribution_method,
            lower_bound,
            upper_bound,
            objective=L2Objective(),
            **{**defaults, **pieces},
        )
