"""Cross-entropy and how far the gradient map moves under a random perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice, check_number
from captum_robust._base.vectors import flatten
from captum_robust.losses.criterion import Criterion, Net, check_bound, check_weight, unwrapped
from captum_robust.losses.packing import as_inputs, examples_of
from captum_robust.losses.shared.gradients import SameDraws, pass_of, rows, score_map
from captum_robust.metrics.similarities.shared.rows import cosine
from captum_robust.robust.template.region import Region

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_robust.losses.criterion import Common

Perturbation = Literal["uniform", "gaussian", "grad", "grad_sign"]
PERTURBATIONS: Final = ("uniform", "gaussian", "grad", "grad_sign")


class LocalGradientAlignment(Criterion):
    r"""Cross-entropy and the cosine and l2 criteria between gradient maps of nearby inputs.

    .. math:: L = \mathrm{CE} + E_\delta\Bigl[\lambda_{\cos}
        \tfrac12\bigl(1 - \cos(g(x+\delta), g(x))\bigr)
        + \lambda_{\ell_2} \|g(x+\delta) - g(x)\|_2\Bigr], \qquad g = \nabla_x f_y

    Joo et al. (2023), eq. 5, with one :math:`\delta \sim U([-\epsilon, \epsilon]^d)` an example and
    step and with :math:`g(x)` held constant, as they train. Their released code penalises the
    squared l2 norm (``squared=True``), so weights do not carry over between the two. The cosine
    criterion does not change with the scale of the gradients, which the l2 one keeps from growing:
    with a large cosine weight alone, maps can be ruined while they look robust (their section
    Discussion).

    With :math:`g(x)` constant the step is not down the gradient of the loss: gradients at
    perturbed points follow those at the data, which grow meanwhile. Where radius and weights are
    large they run away (on 8 x 8 digits, weight 0.3 and radius 0.1 made them many times longer, and
    accuracy fell); ``detach_source=False`` gives the whole gradient and did not.

    The perturbed pass is one of its own and not a part of the first, since g(x) needs no second
    derivative and batch statistics stay those of each; dropout drops the same units in both.

    Args:
        weight_cosine, weight_l2: :math:`\lambda_{\cos}, \lambda_{\ell_2}`, >= 0; 1 and 0.1 are the
            paper's for CIFAR-10 with ``squared=True``, if the bold pair of its appendix A is meant.
        radius: :math:`\epsilon` in input units, a number or a tensor that broadcasts to the inputs;
            for inputs divided by a standard deviation, the radius divided by it.
        detach_source: whether :math:`g(x)` is held constant.
        squared: whether the l2 criterion is squared.
        perturbation: ``"uniform"``, or the released code's ``"gaussian"`` (sd ``radius``),
            ``"grad"`` and ``"grad_sign"``: a step of l2 length ``radius`` along :math:`g(x)` or
            along its sign.
        lower_bound, upper_bound: the box that perturbed inputs are clamped to; none by default,
            as in the code.
        generator: draws :math:`\delta`, on the inputs' device; torch's global one by default.

    Raises:
        ValueError: if a weight or the radius is negative or not finite, for another
            ``perturbation``, or, in a call, if the radius does not broadcast to the inputs or an
            input lies outside the box.
        TypeError: if a bound is neither a number nor a tensor.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import LocalGradientAlignment
        >>> model = example_model()
        >>> criterion = LocalGradientAlignment(weight_cosine=1.0, weight_l2=0.1, radius=4 / 255)
        >>> loss = criterion(model, torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['cross_entropy', 'cosine', 'l2', 'total']
    """

    def __init__(
        self,
        weight_cosine: float = 1.0,
        weight_l2: float = 0.1,
        radius: float | Tensor = 4 / 255,
        *,
        detach_source: bool = True,
        squared: bool = False,
        perturbation: Perturbation = "uniform",
        lower_bound: float | Tensor = -torch.inf,
        upper_bound: float | Tensor = torch.inf,
        generator: torch.Generator | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.weights = {
            self.task.name: 1.0,
            "cosine": check_weight("weight_cosine", weight_cosine),
            "l2": check_weight("weight_l2", weight_l2),
        }
        self.radius = _checked_radius(radius)
        self.detach_source = detach_source
        self.squared = squared
        self.perturbation = check_choice("perturbation", perturbation, PERTURBATIONS)
        self.lower_bound = check_bound("lower_bound", lower_bound)
        self.upper_bound = check_bound("upper_bound", upper_bound)
        self.generator = generator

    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cross-entropy and the weighted criteria of each example, ``(N,)``."""
        examples = examples_of(model, inputs)
        bounds = (self.lower_bound, self.upper_bound)
        region = Region.around(examples, self.radius, bounds, "Linf")
        draws = SameDraws(inputs)
        leaf, outputs = pass_of(self.task, model, inputs, target)
        source = score_map(self.task, outputs, target, leaf, create_graph=not self.detach_source)
        there = as_inputs(model, examples, self._perturbed(region, source.detach()))
        with draws.again():
            leaf, moved_outputs = pass_of(self.task, unwrapped(model), there, target)
        moved = rows(score_map(self.task, moved_outputs, target, leaf, create_graph=True))
        distance = torch.linalg.vector_norm(moved - rows(source), dim=1)
        found = {
            self.task.name: self.task.loss(outputs, target),
            "cosine": (1 - cosine(moved, rows(source))) / 2,
            "l2": distance.square() if self.squared else distance,
        }
        return {name: found[name] for name in self.weights}

    def _perturbed(self, region: Region, source: Tensor) -> Tensor:
        """One perturbed input an example in the box, ``(N, d)``."""
        there = region.clean + region.ball.radius * flatten((self._direction(source),))
        return region.box.clip(there, slice(None))

    def _direction(self, source: Tensor) -> Tensor:
        """The perturbation in radii."""
        if self.perturbation == "uniform":
            return torch.empty_like(source).uniform_(-1, 1, generator=self.generator)
        if self.perturbation == "gaussian":
            return torch.empty_like(source).normal_(generator=self.generator)
        direction = source.sign() if self.perturbation == "grad_sign" else source
        size = torch.linalg.vector_norm(direction.flatten(1), dim=1)
        size = torch.where(size > 0, size, 1)
        return direction / size.reshape(-1, *[1] * (source.dim() - 1))


def _checked_radius(radius: float | Tensor) -> float | Tensor:
    """The radius, finite and not negative anywhere."""
    if not isinstance(radius, Tensor):
        return check_number("radius", radius, low=0, high=torch.inf, open_high=True)
    if not bool((torch.isfinite(radius) & (radius >= 0)).all()):
        raise ValueError(
            f"`radius` must be finite and >= 0 everywhere, got {radius.flatten().tolist()[:8]}."
        )
    return radius
