"""``--metrics``: the columns of two papers' first tables, for every method of the audit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust.attr import SmoothedAttribution
from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.explanation import apart, explanation, gradients_of_a_map, level
from captum_robust.metrics import (
    Evaluation,
    adversarial_insertion,
    area_under_log_radius,
    attack_robustness,
    cosine_distance,
    cosine_similarity,
    insertion,
    mass_center_dislocation,
    random_perturbation_similarity,
    spearman_rho,
    topk_mass,
)
from captum_robust.robust import ManipulateAttack, TopKAttack, frame_target

# The attacker's draws and the random perturbations are apart from those of the maps compared.
_ATTACKER: Final = 3_000_000_019
_PERTURBATION: Final = 4_000_000_007
_PIXELS: Final[Any] = "abs-sum"  # both papers compare magnitudes, channels added up


@dataclass(frozen=True)
class MetricSettings:
    """Radii and sizes of the measures; part of report.json.

    Attributes:
        attack_radii: linf radii of the top-k attack, in 1/255.
        random_radii: half sides of the box of random perturbations, in 1/255.
        insertion_radius: linf radius of the attack before adversarial insertion, in 1/255.
        random_draws: random perturbations of an example.
        map_samples: draws of a smoothed map that is compared; an example's maps share them.
        steps: of each attack.
        eval_every: steps between two judgements of an attack's points.
        attack_samples: draws of a smoothed map in one gradient.
        judge_samples: draws with which an attack chooses among its points.
    """

    attack_radii: tuple[int, ...] = (2, 4, 8, 16)
    random_radii: tuple[int, ...] = (4, 8, 16)
    insertion_radius: int = 4
    random_draws: int = 10
    map_samples: int = 512
    steps: int = 30
    eval_every: int = 3
    attack_samples: int = 32
    judge_samples: int = 64

    @property
    def judged(self) -> int:
        """Points that an attack judges; the last step is always among them."""
        return -(-self.steps // self.eval_every)


SETTINGS: Final = MetricSettings()


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        title: as the papers write it.
        source: the paper.
        about: what it measures, in a sentence.
        higher_is_better: which direction is better.
    """

    title: str
    source: str
    about: str
    higher_is_better: bool


_WANG: Final = "Wang et al. (2020), Table 1"
_JOO: Final = "Joo et al. (2023), Table 1"

COLUMNS: Final[dict[str, Column]] = {
    "k-in": Column(
        "k-in", _WANG, "mass that the attacked map keeps on the features that were the top k", True
    ),
    "cor": Column("cor", _WANG, "Spearman's rank correlation of the two maps", True),
    "cdl": Column("cdl", _WANG, "how far the map's centre of mass moves, in pixels", False),
    "cosd": Column("cosd", _WANG, "cosine distance of the two maps", False),
    **{
        f"rps-{radius}": Column(
            f"RPS {radius}/255",
            _JOO,
            f"mean cosine with the maps of inputs perturbed at random by up to {radius}/255",
            True,
        )
        for radius in SETTINGS.random_radii
    },
    "insertion": Column(
        "Ins", _JOO, "mean probability of the class while the map's features are put in", True
    ),
    "adversarial-insertion": Column(
        "A-Ins", _JOO, "the same, in the order of the attacked input's map", True
    ),
}


@dataclass(frozen=True, eq=False)
class MeasuredMethod:
    """All measures of one method.

    Attributes:
        values: of each column, ``(N,)`` float64.
        curves: of each column under attack, a value for each radius, ``(N, R)``.
        seconds: wall time.
    """

    values: dict[str, Tensor]
    curves: dict[str, Tensor]
    seconds: float


def measure_method(
    name: str, plan: AuditPlan, subject: Subject, show_progress: bool = False
) -> MeasuredMethod:
    """Every column of one method; at the same noise and samples for every method."""
    start = time.perf_counter()
    method = METHODS[name].build(subject.model, plan)
    explain = explanation(method, plan, subject, SETTINGS.map_samples, plan.seed)
    curves = _under_attack(method, explain, plan, subject, show_progress)
    values = {
        column: area_under_log_radius(curve, SETTINGS.attack_radii)
        for column, curve in curves.items()
    }
    values |= _at_random(explain, plan, subject, show_progress)
    values |= _insertions(method, explain, plan, subject, show_progress)
    return MeasuredMethod(
        {column: value.cpu() for column, value in values.items()},
        {column: curve.cpu() for column, curve in curves.items()},
        time.perf_counter() - start,
    )


def metric_cost(plan: AuditPlan, subject: Subject) -> int:
    """Gradients that ``--metrics`` takes; one with a graph counts twice."""
    each = 0
    for name in plan.methods:
        method = METHODS[name].build(subject.model, plan)
        climbed, judged, compared = (
            gradients_of_a_map(method, samples)
            for samples in (
                SETTINGS.attack_samples,
                SETTINGS.judge_samples,
                SETTINGS.map_samples,
            )
        )
        attacks = len(SETTINGS.attack_radii) + 1
        maps = attacks + 2 + len(SETTINGS.random_radii) * (SETTINGS.random_draws + 1)
        each += attacks * (SETTINGS.steps * 2 * climbed + SETTINGS.judged * judged)
        each += maps * compared
    return each * len(subject.inputs)


def _under_attack(
    method: Attribution,
    explain: Callable[..., Tensor],
    plan: AuditPlan,
    subject: Subject,
    show_progress: bool,
) -> dict[str, Tensor]:
    """Similarities ``(N, R)`` to the map under the top-k attack, attacked once for all columns."""
    attack = TopKAttack(
        subject.model, method, *subject.bounds, k=plan.k, reduction=_PIXELS, **_pieces(method, plan)
    )
    found = attack_robustness(
        explain,
        subject.inputs,
        attack,
        radii=[radius / 255 for radius in SETTINGS.attack_radii],
        attack_kwargs=_attack_kwargs(subject),
        return_perturbed=True,
        seed=apart(plan.seed, _ATTACKER),
        show_progress=show_progress,
        target=subject.targets,
    )
    before = explain(subject.inputs)
    maps: Any = found.perturbed_maps if isinstance(found, Evaluation) else None  # (N, R, *)
    return {
        column: torch.stack([measure(before, after) for after in maps.unbind(1)], dim=1)
        for column, measure in _similarities(plan).items()
    }


def _similarities(plan: AuditPlan) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The measures of Wang et al. (2020), appendix C1."""
    return {
        "k-in": partial(topk_mass, k=plan.k, channels=_PIXELS),
        "cor": partial(spearman_rho, channels=_PIXELS),
        "cdl": mass_center_dislocation,
        "cosd": partial(cosine_distance, channels=_PIXELS),
    }


def _at_random(
    explain: Callable[..., Tensor], plan: AuditPlan, subject: Subject, show_progress: bool
) -> dict[str, Tensor]:
    """Similarity under random perturbations, for each radius."""
    return {
        f"rps-{radius}": _values(
            random_perturbation_similarity(
                explain,
                subject.inputs,
                perturb_radius=radius / 255,
                n_perturb_samples=SETTINGS.random_draws,
                similarity=partial(cosine_similarity, channels=_PIXELS),
                clamp=subject.bounds,
                # Draws go by the place in the batch; the number sets those of examples apart.
                seed=apart(plan.seed, _PERTURBATION + subject.example_ids[0]),
                show_progress=show_progress,
                target=subject.targets,
            )
        )
        for radius in SETTINGS.random_radii
    }


def _insertions(
    method: Attribution,
    explain: Callable[..., Tensor],
    plan: AuditPlan,
    subject: Subject,
    show_progress: bool,
) -> dict[str, Tensor]:
    """Insertion in the order of the map, and of the map painted with a frame by an attack."""
    shape, radius = tuple(subject.inputs.shape[-2:]), SETTINGS.insertion_radius / 255
    attack = ManipulateAttack(
        subject.model,
        method,
        *subject.bounds,
        target_map=frame_target(shape, frame_width(shape)),
        variant="rescaled",
        **_pieces(method, plan),
    )
    plain = insertion(
        explain,
        subject.inputs,
        forward_func=subject.model,
        channels=_PIXELS,
        target=subject.targets,
    )
    attacked = adversarial_insertion(
        explain,
        subject.inputs,
        attack,
        forward_func=subject.model,
        radius=radius,
        # Adam's rate of the paper's code, for the steps taken here.
        attack_kwargs=_attack_kwargs(subject) | {"step_size": 4 * radius / SETTINGS.steps},
        channels=_PIXELS,
        seed=apart(plan.seed, _ATTACKER),
        show_progress=show_progress,
        target=subject.targets,
    )
    return {"insertion": _values(plain), "adversarial-insertion": _values(attacked)}


def frame_width(shape: tuple[int, ...]) -> int:
    """The frame of Joo et al. (2023), 5 pixels wide of 32, scaled to an image of this shape.

    Example:
        >>> from captum_robust.audit.measure.metrics import frame_width
        >>> frame_width((32, 32)), frame_width((8, 8))
        (5, 1)
    """
    return max(1, round(5 * min(shape) / 32))


def _pieces(method: Attribution, plan: AuditPlan) -> dict[str, Any]:
    """Keywords of an attack: how it climbs on smoothed maps, and by what it judges."""
    smoothed = isinstance(method, SmoothedAttribution)
    return {
        "attack_samples": SETTINGS.attack_samples if smoothed else None,
        "attribute_kwargs": level(method, plan, SETTINGS.judge_samples),
    }


def _attack_kwargs(subject: Subject) -> dict[str, Any]:
    return {
        "step_num": SETTINGS.steps,
        "eval_every": SETTINGS.eval_every,
        "example_ids": subject.example_ids,
    }


def _values(found: Tensor | Evaluation) -> Tensor:
    return found.values if isinstance(found, Evaluation) else found
