"""Adversarial training of the smoothed net."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_robust.losses.criterion import Net
from captum_robust.losses.shared.adversarial import AdversarialCriterion, Raised
from captum_robust.losses.shared.noise import NoiseDraws, at_draws, by_draw, for_draws
from captum_robust.noise.law import NoiseLaw


class SmoothAdversarialTraining(AdversarialCriterion):
    r"""The loss under noise at the point of a ball where the smoothed net is worst.

    .. math:: L = \frac1m \sum_i \ell(f(x' + \delta_i), y), \qquad
        x' = \arg\max_{\lVert x' - x \rVert_2 \le r}
        -\log \Bigl(\frac1m \sum_i p_y(x' + \delta_i)\Bigr)

    Salman et al. (2019), eq. 5 to 7: the ascent sees the mean prediction of m draws, which stay,
    and the loss is taken at the same draws. They try radii of 0.25, 0.5, 1 and 2 in images of
    [0, 1], 2 to 10 steps of length 2r over their number, and m of 1, 2, 4 and 8. Other bases raise
    their loss of the mean prediction.

    Args:
        stdevs: as in :class:`NoiseAugmentation`.
        draws: m.
        radius, steps, step_size: of the ascent, see :class:`AdversarialCriterion`.
        noise: as in :class:`NoiseAugmentation`.
        norm: of the ball.
        **inner: further keywords of :class:`AdversarialCriterion`, ``base`` and ``reduction`` among
            them; its generator draws the noise, too.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if ``noise`` is no noise law, or, in a call, if ``base`` is a function.

    Example:
        >>> import torch
        >>> from captum_robust.losses import SmoothAdversarialTraining
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3))
        >>> criterion = SmoothAdversarialTraining(0.25, radius=0.5)
        >>> criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])).backward()
        >>> list(criterion.terms)
        ['adversarial', 'total']
    """

    def __init__(
        self,
        stdevs: float | Tensor | tuple[Any, ...] = 0.25,
        draws: int = 2,
        *,
        radius: float | Tensor = 0.25,
        steps: int = 4,
        step_size: float | Tensor | None = None,
        noise: NoiseLaw | None = None,
        norm: Any = "L2",
        **inner: Any,
    ) -> None:
        super().__init__(radius, steps, step_size, norm=norm, **inner)
        self.weights = {"adversarial": 1.0}
        self.draws = NoiseDraws(stdevs, draws, noise, self.generator)
        self._noise: Tensor | None = None

    @property
    def relative_step(self) -> float:  # type: ignore[override]
        """Two radii over the number of steps."""
        return 2 / self.steps

    def objective(self, net: Net, inputs: Tensor, target: Tensor, start: Tensor) -> Raised:
        """The loss of the mean prediction over draws that stay until the loss is taken."""
        noise = self._noise = self.draws.like(net, inputs)

        def raised(points: Tensor) -> Tensor:
            outputs = self.task.run(net, at_draws(points, noise))
            mean = self.task.average(by_draw(outputs, noise))
            self.task.check_pair(mean, target)
            return self.task.loss(mean, target)

        return raised

    def values_at(
        self, model: Net, inputs: Tensor, perturbed: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """The mean loss over the draws at the perturbed inputs, ``(N,)``."""
        noise, self._noise = self._noise, None
        if noise is None or noise.shape[1:] != perturbed.shape:  # not from the last ascent
            noise = self.draws.like(model, inputs)
        targets = for_draws(target, noise)
        outputs = self.task.outputs(model, at_draws(perturbed, noise), targets)
        return {"adversarial": by_draw(self.task.loss(outputs, targets), noise).mean(0)}
