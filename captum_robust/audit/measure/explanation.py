"""How the audit asks a method for maps, smoothed or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from captum.attr import Attribution, IntegratedGradients
from torch import Tensor

from captum_robust.attr import SmoothedAttribution
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject

_INTEGRATION_STEPS: Final = 50  # Captum's default
_SEEDS: Final = 2**62


def level(attribution: Attribution, plan: AuditPlan, samples: int) -> dict[str, Any]:
    """Keywords of ``attribute`` that say how to smooth; none where the method does not."""
    if not isinstance(attribution, SmoothedAttribution):
        return {}
    batch = {} if plan.batch_size is None else {"nt_samples_batch_size": plan.batch_size}
    return {"stdevs": plan.noise, "nt_samples": samples, **batch}


def explanation(
    attribution: Attribution, plan: AuditPlan, subject: Subject, samples: int, seed: int
) -> Callable[..., Tensor]:
    """The method as a function of inputs; ``seed`` fixes each example's draws."""
    keywords = level(attribution, plan, samples)
    if keywords:
        keywords |= {"seed": seed, "example_ids": subject.example_ids}
    elif isinstance(attribution, IntegratedGradients):
        keywords["internal_batch_size"] = plan.batch_size

    def explain(inputs: Tensor, target: Tensor | None = None) -> Tensor:
        leaves = inputs.detach().clone().requires_grad_()  # Captum warns where it has to do this
        target = subject.targets if target is None else target
        return attribution.attribute(leaves, target=target, **keywords).detach()

    return explain


def apart(seed: int, offset: int) -> int:
    """A seed for draws of another purpose, independent of those that ``seed`` makes."""
    return (seed + offset) % _SEEDS


def gradients_of_a_map(attribution: Attribution, samples: int) -> int:
    """Gradients of the model in one map of one example."""
    if isinstance(attribution, SmoothedAttribution):
        return samples
    return _INTEGRATION_STEPS if isinstance(attribution, IntegratedGradients) else 1
