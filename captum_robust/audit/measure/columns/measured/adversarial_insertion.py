"""A-Ins: insertion in the order of a map that was painted over by an attack."""

from __future__ import annotations

from torch import Tensor

from captum_robust.audit.measure.columns.measured.measured import MeasuredColumn, Work
from captum_robust.audit.measure.columns.measured.measurement import (
    PIXELS,
    Measurement,
    values_of,
)
from captum_robust.metrics import adversarial_insertion
from captum_robust.robust import ManipulateAttack, frame_target


class AdversarialInsertion(MeasuredColumn):
    """Insertion in the order of the map that an attack has painted with a frame."""

    name = "adversarial-insertion"
    title = "A-Ins"
    about = "the same, in the order of the attacked input's map"
    source = "Joo et al. (2023), Table 1"

    def value(self, measurement: Measurement) -> Tensor:
        """A mean probability in [0, 1]."""
        subject, settings = measurement.subject, measurement.settings
        shape = tuple(subject.inputs.shape[-2:])
        attack = ManipulateAttack(
            subject.model,
            measurement.method,
            *subject.bounds,
            target_map=frame_target(shape, frame_width(shape)),
            variant="rescaled",
            **measurement.attack_pieces,
        )
        radius = settings.insertion_radius / 255
        # Adam's rate of the paper's code, for the steps taken here.
        step_size = 4 * radius / settings.steps
        found = adversarial_insertion(
            measurement.explain,
            subject.inputs,
            attack,
            forward_func=subject.model,
            radius=radius,
            attack_kwargs=measurement.attack_keywords | {"step_size": step_size},
            channels=PIXELS,
            seed=measurement.attack_seed,
            show_progress=measurement.show_progress,
            target=subject.targets,
        )
        return values_of(found)

    def work(self, measurement: Measurement) -> Work:
        """One attack, and the map where it ends."""
        return Work(attacks=1, maps=1)


def frame_width(shape: tuple[int, ...]) -> int:
    """The frame of Joo et al. (2023), 5 pixels wide of 32, scaled to an image of this shape.

    Example:
        >>> from captum_robust.audit.measure.columns.measured import adversarial_insertion
        >>> [adversarial_insertion.frame_width((side, side)) for side in (32, 8)]
        [5, 1]
    """
    return max(1, round(5 * min(shape) / 32))
