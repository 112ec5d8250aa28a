"""Cross-entropy and how far an attack can move the saliency map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from captum.attr import Saliency
from torch import Tensor

from captum_robust._base.checks import check_choice, check_count, check_number, check_share_or_count
from captum_robust._base.modes import evaluation_mode
from captum_robust.losses.criterion import (
    Criterion,
    Net,
    check_bound,
    check_weight,
    drawn_seed,
    unwrapped,
)
from captum_robust.losses.shared.gradients import SameDraws, pass_of, rows, score_map
from captum_robust.metrics.similarities.shared.rows import Normalize, normalized
from captum_robust.robust import L2TopKAttack

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_robust.losses.criterion import Common


class SaliencyConsistency(Criterion):
    r"""Cross-entropy and the change of the saliency map under an l2 attack on it.

    .. math:: L = \mathrm{CE}(f(x), y) + \lambda\, \|g(x) - g(\tilde x)\|_2^2, \qquad
        g = \frac{|\nabla_x f_c|}{\max |\nabla_x f_c|}

    Levine et al. (2019), eq. 4.1; c is the predicted class, the maps are scaled to [0, 1] as in
    their section 1, and :math:`\tilde x` comes from
    :class:`~captum_robust.robust.L2TopKAttack`, with the model in evaluation mode and in full
    precision, and is held constant. The released code takes maps of unit l2 norm
    (``normalize="l2"``) and the mean over the d features: its :math:`\lambda` of 200 to 1000 is a
    weight of :math:`\lambda / d` here, 0.26 to 1.3 on MNIST. An attack costs about ``steps`` times
    ``restarts`` double backward passes a batch.

    Args:
        radius: largest l2 norm of the perturbation, in input units, > 0; the paper takes 10
            standard deviations of its pixels on MNIST.
        weight: :math:`\lambda`, >= 0; no value for this form is published.
        k: features whose saliency the attack lowers, a count or a share in (0, 1].
        steps, restarts, tries: (P, T, Q) of the attack; the paper's for MNIST.
        normalize: what g is divided by: ``"max"``, ``"l2"``, or ``None`` for the bare gradient,
            whose term also falls when all gradients shrink.
        lower_bound, upper_bound: box of valid inputs.
        generator: draws the attack's starts, on any device; torch's global one by default.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import SaliencyConsistency
        >>> model = example_model()
        >>> criterion = SaliencyConsistency(radius=0.5, steps=2, restarts=1)
        >>> loss = criterion(model, torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['cross_entropy', 'consistency', 'total']
    """

    def __init__(
        self,
        radius: float,
        weight: float = 0.01,
        *,
        k: int | float = 0.25,
        steps: int = 15,
        restarts: int = 3,
        tries: int = 100,
        normalize: Normalize = "max",
        lower_bound: float | Tensor = -torch.inf,
        upper_bound: float | Tensor = torch.inf,
        generator: torch.Generator | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.weights = {self.task.name: 1.0, "consistency": check_weight("weight", weight)}
        self.radius = check_number(
            "radius", radius, low=0, high=torch.inf, open_low=True, open_high=True
        )
        self.k = check_share_or_count("k", k)
        self.steps = check_count("steps", steps)
        self.restarts = check_count("restarts", restarts)
        self.tries = check_count("tries", tries)
        if normalize is not None:
            check_choice("normalize", normalize, ("max", "l2", "sum"))
        self.normalize = normalize
        self.lower_bound = check_bound("lower_bound", lower_bound)
        self.upper_bound = check_bound("upper_bound", upper_bound)
        self.generator = generator

    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cross-entropy and squared change of the map of each example, ``(N,)``."""
        there, predicted = self.attacked(model, inputs)
        draws = SameDraws(inputs)
        leaf, outputs = pass_of(self.task, model, inputs, target)
        clean = self._map(outputs, predicted, leaf)
        with draws.again():
            leaf, moved_outputs = pass_of(self.task, unwrapped(model), there, target)
        change = self._map(moved_outputs, predicted, leaf) - clean
        return {
            self.task.name: self.task.loss(outputs, target),
            "consistency": change.square().sum(1),
        }

    def attacked(self, model: Net, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The attacked inputs, ``(N, *)``, and the classes predicted and explained, ``(N,)``.

        Args:
            model: as for the criterion.
            inputs: clean examples, ``(N, *)``.
        """
        net = unwrapped(model)
        with evaluation_mode(net), torch.autocast(inputs.device.type, enabled=False):
            with torch.no_grad():
                predicted = self.task.predicted(self.task.run(net, inputs))
            attack = L2TopKAttack(
                net,
                Saliency(net),
                self.lower_bound,
                self.upper_bound,
                k=self.k,
                tries=self.tries,
                normalisation="none",
                boundary=0,
            )
            there = attack.perturb(
                inputs,
                self.radius,
                step_num=self.steps,
                restarts=self.restarts,
                target=predicted,
                seed=drawn_seed(self.generator),
            )
        return there, predicted

    def _map(self, outputs: Tensor, predicted: Tensor, leaf: Tensor) -> Tensor:
        """The scaled absolute gradient of the predicted class's logit, ``(N, d)``."""
        gradient = score_map(self.task, outputs, predicted, leaf, create_graph=True)
        return normalized(rows(gradient).abs(), self.normalize)
