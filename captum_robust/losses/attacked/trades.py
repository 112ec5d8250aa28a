"""Training the prediction not to move within a ball."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_robust.losses.criterion import Net, check_weight, unwrapped
from captum_robust.losses.shared.adversarial import AdversarialCriterion, Raised
from captum_robust.robust.balls.draws import Draws
from captum_robust.robust.template.region import Region


class TRADES(AdversarialCriterion):
    r"""Cross-entropy and how far the predicted distribution can move within the ball.

    .. math:: L = \mathrm{CE}(f(x), y) + \beta\, \mathrm{KL}(p(x) \,\|\, p(x')), \qquad
        x' = \arg\max_{\lVert x' - x \rVert_\infty \le r} \mathrm{KL}(p(x) \,\|\, p(x'))

    Zhang et al. (2019), Algorithm 1, p the softmax. The ascent begins at x + 0.001 z with standard
    normal z, since its gradient is zero at x; here that point, too, lies in ball and box. The
    defaults are theirs for CIFAR-10; for MNIST they take radius 0.3, 40 steps of 0.01 and
    :math:`\beta = 1`.

    Args:
        radius, steps, step_size: of the ascent, see :class:`AdversarialCriterion`.
        beta: :math:`\beta`, >= 0.
        **inner: further keywords of :class:`AdversarialCriterion`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import TRADES
        >>> model = example_model()
        >>> criterion = TRADES(radius=0.1, beta=6.0, lower_bound=0, upper_bound=1)
        >>> loss = criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['cross_entropy', 'divergence', 'total']
    """

    relative_step = 7 / 31
    stationary = True
    start_stdev = 1e-3
    """Standard deviation of the first perturbation in input units."""

    def __init__(
        self,
        radius: float | Tensor = 0.031,
        steps: int = 10,
        step_size: float | Tensor | None = None,
        *,
        beta: float = 6.0,
        **inner: Any,
    ) -> None:
        super().__init__(radius, steps, step_size, **inner)
        self.weights = {self.task.name: 1.0, "divergence": check_weight("beta", beta)}

    def _start(self, region: Region, draws: Draws) -> Tensor:
        everything = slice(None)
        return region.limit(self.start_stdev * draws.normal(everything, 0), everything)

    def objective(self, net: Net, inputs: Tensor, target: Tensor, start: Tensor) -> Raised:
        """The divergence of the outputs from those of the inputs."""
        # With a graph: some versions of autocast would keep the casts of a pass without one.
        with torch.enable_grad():
            clean = self.task.outputs(net, inputs, target).detach()
        return lambda points: self.task.divergence(clean, net(points))

    def values_at(
        self, model: Net, inputs: Tensor, perturbed: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Cross-entropy of the inputs, and the divergence at the perturbed ones."""
        outputs = self.task.outputs(model, inputs, target)
        moved = self.task.outputs(unwrapped(model), perturbed, target)
        return {
            self.task.name: self.task.loss(outputs, target),
            "divergence": self.task.divergence(outputs, moved),
        }
