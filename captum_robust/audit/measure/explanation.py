"""How the audit asks a method for maps, smoothed or not."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

from captum.attr import Attribution, IntegratedGradients
from torch import Tensor

from captum_robust.attr import SmoothedAttribution
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject

_INTEGRATION_STEPS: Final = 50  # Captum's default
_SEEDS: Final = 2**62


def smoothing_keywords(attribution: Attribution, plan: AuditPlan, samples: int) -> dict[str, Any]:
    """Keywords of ``attribute`` that say how to smooth; none where the method does not."""
    if not isinstance(attribution, SmoothedAttribution):
        return {}
    batch = {} if plan.batch_size is None else {"nt_samples_batch_size": plan.batch_size}
    return {"stdevs": plan.noise, "nt_samples": samples, **batch}


def explanation(
    attribution: Attribution, plan: AuditPlan, subject: Subject, samples: int, seed: int
) -> Callable[..., Tensor]:
    """The method as a function of inputs; ``seed`` fixes each example's draws."""
    keywords = smoothing_keywords(attribution, plan, samples)
    if keywords:
        keywords["seed"] = seed
    elif isinstance(attribution, IntegratedGradients):
        keywords["internal_batch_size"] = plan.batch_size

    def explain(inputs: Tensor, target: Tensor | None = None) -> Tensor:
        leaves = inputs.detach().clone().requires_grad_()  # Captum warns where it has to do this
        target = subject.targets if target is None else target
        own = dict(keywords)
        if "seed" in own:  # copies of an example, side by side, are explained by the same noise
            copies = len(leaves) // len(subject.example_ids)
            own["example_ids"] = [each for each in subject.example_ids for _ in range(copies)]
        return attribution.attribute(leaves, target=target, **own).detach()

    return explain


class Purpose(IntEnum):
    """What draws are for; each is a distance between seeds that no other purpose comes near."""

    ATTACK = 1_000_000_007  # of --attacks: the attacker's draws
    FRESH = 2_000_000_011  # of --attacks: those that judge the result
    METRIC_ATTACK = 3_000_000_019  # of --metrics: the attacker's draws
    PERTURBATION = 4_000_000_007  # of --metrics: random perturbations


def seed_for(seed: int, purpose: Purpose, example: int = 0) -> int:
    """A seed for draws of another purpose, independent of those that ``seed`` makes.

    Args:
        seed: of the plan.
        purpose: of the draws.
        example: its number, where streams do not tell examples apart themselves.
    """
    return (seed + purpose + example) % _SEEDS


def gradients_of_a_map(attribution: Attribution, samples: int) -> int:
    """Gradients of the model in one map of one example."""
    if isinstance(attribution, SmoothedAttribution):
        return samples
    return _INTEGRATION_STEPS if isinstance(attribution, IntegratedGradients) else 1
