"""Training the predictions at noisy copies of an input to agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust.losses.criterion import Criterion, Net, check_weight
from captum_robust.losses.shared.noise import NoiseDraws, at_draws, by_draw, for_draws
from captum_robust.noise.law import NoiseLaw

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_robust.losses.criterion import Common


class NoiseConsistency(Criterion):
    r"""The loss under noise, and how far each draw's prediction is from their mean.

    .. math:: L = \frac1m \sum_i \ell(f(x + \delta_i), y)
        + \frac{\lambda}{m} \sum_i \mathrm{KL}(\bar p \,\|\, p(x + \delta_i)) + \eta H(\bar p),
        \qquad \bar p = \frac1m \sum_i p(x + \delta_i)

    Jeong and Shin (2020), eq. 7, on top of :class:`NoiseAugmentation`; H is the entropy. Their
    :math:`\lambda` is 10 or 20 for :math:`\sigma` of 0.25 on CIFAR-10, and :math:`\eta` 0.5, with
    two draws. For several labels KL and H are those of each label; for numbers the mean squared
    distance to the mean output stands for KL, and H is left out.

    Args:
        stdevs: as in :class:`NoiseAugmentation`.
        draws: m, at least 2.
        weight: :math:`\lambda`, >= 0.
        entropy: :math:`\eta`, >= 0.
        noise, generator: as in :class:`NoiseAugmentation`.
        **common: ``base`` and ``reduction``, see :class:`Criterion`.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if ``noise`` is no noise law, or, in a call, if ``base`` is a function.

    Example:
        >>> import torch
        >>> from captum_robust.losses import NoiseConsistency
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3))
        >>> criterion = NoiseConsistency(0.25)
        >>> criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])).backward()
        >>> list(criterion.terms)
        ['cross_entropy', 'consistency', 'entropy', 'total']
    """

    def __init__(
        self,
        stdevs: float | Tensor | tuple[Any, ...] = 0.25,
        draws: int = 2,
        *,
        weight: float = 10.0,
        entropy: float = 0.5,
        noise: NoiseLaw | None = None,
        generator: torch.Generator | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.weights = {
            self.task.name: 1.0,
            "consistency": check_weight("weight", weight),
            "entropy": check_weight("entropy", entropy),
        }
        self.draws = NoiseDraws(stdevs, check_count("draws", draws, low=2), noise, generator)

    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The loss, the divergence from the mean and its entropy, of each example, ``(N,)``."""
        noise = self.draws.like(model, inputs)
        targets = for_draws(target, noise)
        outputs = self.task.outputs(model, at_draws(inputs, noise), targets)
        mean = self.task.average(by_draw(outputs, noise))
        apart = self.task.divergence(for_draws(mean, noise), outputs)
        return {
            self.task.name: by_draw(self.task.loss(outputs, targets), noise).mean(0),
            "consistency": by_draw(apart, noise).mean(0),
            "entropy": self.task.entropy(mean),
        }
