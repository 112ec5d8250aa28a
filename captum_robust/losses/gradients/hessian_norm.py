"""Cross-entropy and the size of the input Hessian of the true class's logit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captum_robust._base.modes import evaluation_mode
from captum_robust.losses.criterion import Criterion, Net, check_weight, unwrapped
from captum_robust.losses.shared.gradients import gradient_of, pass_of, rows, score_map
from captum_robust.losses.shared.third_order import ThreeTimes, passes_apart, uses_batch_statistics
from captum_robust.robust.surrogate import has_curvature

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_robust.losses.criterion import Common


class HessianNorm(Criterion):
    r"""Cross-entropy and the squared Frobenius norm of the input Hessian of the true logit.

    .. math:: L = \mathrm{CE}(f(x), y) + \lambda\, E_{v \sim N(0, I)} \|H v\|_2^2, \qquad
        H = \nabla_x^2 f_y(x), \quad E \|H v\|_2^2 = \|H\|_F^2

    Dombrowski et al. (2022), as Joo et al. (2023) compute it: Hutchinson's estimate with one v
    an example and step (Hutchinson, 1990), without bias and with variance
    :math:`2 \|H^2\|_F^2`. To first order the norm bounds how far the gradient map moves per unit
    of the perturbation. The net must have second derivatives, such as one of softplus units.
    Where it normalises by batch statistics, the Hessian is that of a second pass in which these
    do not depend on x: the released code differentiates through them, which makes one Hessian of
    the whole batch, whose derivatives torch refuses or, in older versions, gets wrong.

    Args:
        weight: :math:`\lambda`, >= 0. Joo et al. (2023) select 1e-3 for a LeNet on CIFAR-10, 1e-5
            for a ResNet-18 there and 1e-4 on ImageNet; their code's default is 1.
        generator: draws v, on the inputs' device; torch's global one by default.

    Raises:
        ValueError: if ``weight`` is negative or not finite.
        RuntimeError: in a call, if the Hessians of the whole batch are zero and nothing bends the
            net near it either.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import HessianNorm
        >>> model = example_model()
        >>> criterion = HessianNorm(weight=1e-3)
        >>> loss = criterion(model, torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> sorted(criterion.terms)
        ['cross_entropy', 'hessian', 'total']
    """

    def __init__(
        self,
        weight: float = 1e-3,
        *,
        generator: torch.Generator | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.weights = {self.task.name: 1.0, "hessian": check_weight("weight", weight)}
        self.generator = generator

    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cross-entropy and squared Hessian-vector product of each example, ``(N,)``."""
        direction = torch.empty_like(inputs).normal_(generator=self.generator)
        leaf, outputs, bent = self._passes(model, inputs, target)
        slope = score_map(self.task, bent, target, leaf, create_graph=True)
        product = gradient_of(slope, leaf, direction, create_graph=True)
        if not bool(product.any()):
            _refuse_straight(unwrapped(model), inputs)
        return {
            self.task.name: self.task.loss(outputs, target),
            "hessian": rows(product).square().sum(1),
        }

    def _passes(self, model: Net, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A leaf, the logits to classify by, and the logits to differentiate three times."""
        if uses_batch_statistics(model):
            return passes_apart(self.task, model, inputs, target)
        with ThreeTimes():
            leaf, outputs = pass_of(self.task, model, inputs, target)
        return leaf, outputs, outputs


def _refuse_straight(model: Net, inputs: Tensor) -> None:
    """Asks for second derivatives at the batch and near it, where a flat part of a net ends.

    Raises:
        RuntimeError: if there are none.
    """
    noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0)).to(inputs)
    with evaluation_mode(model):
        if not any(has_curvature(model, (points,)) for points in (inputs, inputs + noise)):
            raise RuntimeError(
                "HessianNorm needs a net with second derivatives, and those of `model` are zero "
                "(it is piecewise linear): train with nn.Softplus(beta=3) in place of nn.ReLU, or "
                "pass captum_robust.robust.softplus_surrogate(model, 3.0)."
            )
