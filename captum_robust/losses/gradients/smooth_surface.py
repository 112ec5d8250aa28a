"""Cross-entropy and the largest eigenvalue of its own input Hessian, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice, check_number
from captum_robust._base.precision import at_least_single
from captum_robust.estimates.cross_entropy import root_of_pass
from captum_robust.losses.criterion import Criterion, Net, check_weight
from captum_robust.losses.shared.gradients import gradient_of, pass_of, rows
from captum_robust.losses.shared.third_order import passes_apart, uses_batch_statistics
from captum_robust.losses.tasks.classes import Classes

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_robust.losses.criterion import Common


class SmoothSurface(Criterion):
    r"""Cross-entropy and the largest eigenvalue of its input Hessian (SSR).

    .. math:: L = \mathrm{CE} + \beta\, s\, \lambda_{\max}(\tilde H), \qquad
        \tilde H = W\,(\mathrm{diag}(p) - p p^\top)\,W^\top

    Wang et al. (2020), Definition 7 with Proposition 3: W is the Jacobian of the logits, d x c, and
    p their softmax; exact for a net that is linear around x, so ReLU nets will do. As in
    :func:`~captum_robust.estimates.cross_entropy_hessian_spectrum`, the eigenvector comes from a
    c x c matrix, in c backward passes without a graph; its eigenvalue, from one more with a graph:

    .. math:: \lambda_{\max} = \|W m\|_2^2, \quad m = \mathrm{diag}(q)(I - q q^\top)\,v,\;
        q = \sqrt p

    of which the derivative at the unit eigenvector v, held constant, is that of
    :math:`\lambda_{\max}`. Where the net normalises by batch statistics, W is that of a second
    pass in which these do not depend on x, as in :class:`HessianNorm`: each example has a
    Hessian of its own.

    Args:
        beta: :math:`\beta`, >= 0; the paper takes 0.3 of 0.3, 0.5, 0.7 and 0.9.
        scale: s, >= 0, in squared input units per nat: the paper's 1e6 is for inputs in [0, 255];
            the default is the same for inputs in [0, 1]. It advises to look at the term first.
        convex: weigh cross-entropy by :math:`1 - \beta`, as the released code does.
        channels: ``"all"``; or ``"mean"``, with which the released code averages W over dimension 1
            of the inputs and so takes the spectrum of another matrix.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import SmoothSurface
        >>> model = example_model()
        >>> criterion = SmoothSurface(beta=0.3, scale=1.0)
        >>> loss = criterion(model, torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['cross_entropy', 'curvature', 'total']
    """

    def __init__(
        self,
        beta: float = 0.3,
        scale: float = 1e6 / 255**2,
        *,
        convex: bool = False,
        channels: Literal["all", "mean"] = "all",
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if not isinstance(self.task, Classes):
            raise TypeError(
                "`base` must be a cross-entropy for SmoothSurface, whose closed form it is, "
                f"got {type(self.task.base).__name__}."
            )
        high = 1.0 if convex else torch.inf
        beta = check_number("beta", beta, low=0, high=high, open_high=not convex)
        self.weights = {
            self.task.name: 1 - beta if convex else 1.0,
            "curvature": beta * check_weight("scale", scale),
        }
        self.channels = check_choice("channels", channels, ("all", "mean"))

    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Cross-entropy and largest eigenvalue of each example, ``(N,)``."""
        if uses_batch_statistics(model):
            leaf, outputs, bent = passes_apart(self.task, model, inputs, target)
        else:
            leaf, outputs = pass_of(self.task, model, inputs, target)
            bent = outputs
        if outputs.dim() != 2:
            raise ValueError(
                f"`model` must return logits of shape (N, classes), got {tuple(outputs.shape)}."
            )
        mass = self.task.mass(outputs, target) if isinstance(self.task, Classes) else 1.0
        along = _root_times(bent, self._top(bent, leaf)).to(bent.dtype)
        slope = gradient_of(bent, leaf, along, create_graph=True)
        return {
            self.task.name: self.task.loss(outputs, target),
            "curvature": mass * rows(self._reduced(slope)).square().sum(1),
        }

    def _top(self, outputs: Tensor, leaf: Tensor) -> Tensor:
        """The eigenvector of the largest eigenvalue of :math:`B^T B`, ``(N, c)``."""
        with torch.autocast(leaf.device.type, enabled=False):
            root = root_of_pass(outputs, (leaf,), create_graph=False)
        root = self._reduced(root.reshape(*root.shape[:2], *leaf.shape[1:]), 2).flatten(2)
        # What is not finite shows in the terms themselves, which the criterion names.
        gram = torch.nan_to_num(root @ root.mT, 0.0, 0.0, 0.0)
        return torch.linalg.eigh(gram).eigenvectors[..., -1]

    def _reduced(self, maps: Tensor, dim: int = 1) -> Tensor:
        return maps.mean(dim) if self.channels == "mean" and maps.dim() > dim + 1 else maps


def _root_times(outputs: Tensor, vector: Tensor) -> Tensor:
    r"""The product :math:`\mathrm{diag}(q)(I - q q^T)\,v`, ``(N, c)``, with the logits' graph."""
    # The exponential of half the logarithm has a gradient at p = 0, where the root has none.
    root_p = at_least_single(outputs).log_softmax(1).div(2).exp()
    vector = vector.to(root_p.dtype)
    return root_p * (vector - root_p * (root_p * vector).sum(1, keepdim=True))
