"""Training at noisy inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_robust.losses.criterion import Criterion, Net
from captum_robust.losses.shared.noise import NoiseDraws, at_draws, by_draw, for_draws
from captum_robust.noise.law import NoiseLaw

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_robust.losses.criterion import Common


class NoiseAugmentation(Criterion):
    r"""The loss of the prediction under noise.

    .. math:: L = E_{\delta \sim N(0, \sigma^2 I)}\, \ell(f(x + \delta), y)

    Cohen et al. (2019), section 4, with one draw an example and step, and the sd that will be
    certified. A net that has not seen the noise explains the noise: this is the least that a
    certificate of its maps asks for.

    Args:
        stdevs: :math:`\sigma`, in input units, >= 0: a number, a tensor that broadcasts to the
            inputs, or a tuple of these, one an input; they take 0.25 for images in [0, 1].
        draws: number of draws an example and step.
        noise: the law that will be certified, Gaussian where ``None``.
        generator: draws the noise, on any device; torch's global one by default.
        **common: ``base`` and ``reduction``, see :class:`Criterion`.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if ``noise`` is no noise law.

    Example:
        >>> import torch
        >>> from captum_robust.losses import NoiseAugmentation
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3))
        >>> loss = NoiseAugmentation(0.25)(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
    """

    def __init__(
        self,
        stdevs: float | Tensor | tuple[Any, ...] = 0.25,
        draws: int = 1,
        *,
        noise: NoiseLaw | None = None,
        generator: torch.Generator | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.weights = {self.task.name: 1.0}
        self.draws = NoiseDraws(stdevs, draws, noise, generator)

    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The mean loss of each example over its draws, ``(N,)``."""
        noise = self.draws.like(model, inputs)
        targets = for_draws(target, noise)
        outputs = self.task.outputs(model, at_draws(inputs, noise), targets)
        return {self.task.name: by_draw(self.task.loss(outputs, targets), noise).mean(0)}
