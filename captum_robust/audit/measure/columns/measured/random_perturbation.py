"""RPS: the similarity under random perturbations."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from captum_robust.audit.measure.columns.measured.measured import MeasuredColumn, Work
from captum_robust.audit.measure.columns.measured.measurement import (
    PIXELS,
    Measurement,
    values_of,
)
from captum_robust.audit.measure.explanation import Purpose, seed_for
from captum_robust.metrics import cosine_similarity, random_perturbation_similarity


class RandomPerturbation(MeasuredColumn):
    """The mean cosine with maps of inputs perturbed at random.

    Args:
        radius: half side of the box of perturbations, in 1/255.
    """

    source = "Joo et al. (2023), Table 1"

    def __init__(self, radius: int) -> None:
        self.radius = radius
        self.name = f"rps-{radius}"
        self.title = f"RPS {radius}/255"
        self.about = (
            f"mean cosine with the maps of inputs perturbed at random by up to {radius}/255"
        )

    def value(self, measurement: Measurement) -> Tensor:
        """A mean cosine in [-1, 1]."""
        subject = measurement.subject
        # Draws go by the place in the batch; the number sets those of examples apart.
        seed = seed_for(measurement.plan.seed, Purpose.PERTURBATION, subject.example_ids[0])
        found = random_perturbation_similarity(
            measurement.explain,
            subject.inputs,
            perturb_radius=self.radius / 255,
            n_perturb_samples=measurement.settings.random_draws,
            similarity=partial(cosine_similarity, channels=PIXELS),
            clamp=subject.bounds,
            seed=seed,
            show_progress=measurement.show_progress,
            target=subject.targets,
        )
        return values_of(found)

    def work(self, measurement: Measurement) -> Work:
        """The map of each draw, and the clean one."""
        return Work(maps=measurement.settings.random_draws + 1)
