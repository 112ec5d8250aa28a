"""The direction that raises an objective: derivatives of maps, on the twin where a net has none."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from captum.attr import Attribution
from torch import Tensor
from torch.nn import functional as F

from captum_robust._base.captum_privates import _run_forward
from captum_robust._base.checks import check_choice, check_number
from captum_robust._base.per_example import unmarked
from captum_robust._base.printed import Printed
from captum_robust._base.rows import Rows
from captum_robust.attr.explainer import Explainer, on_twin
from captum_robust.robust.objectives.objective import Objective
from captum_robust.robust.surrogate import Beta, SoftplusSurrogate, has_curvature
from captum_robust.robust.template.judge import Judge
from captum_robust.robust.template.region import slope

Outputs = Literal["softmax", "logits"]
Surrogate = Callable[..., Any] | Beta | str | None
# Grown over the steps: smooth enough at first to leave flat pieces, close to the net at the end.
DEFAULT_BETA = (3.0, 100.0)


class OutputMatch(Printed):
    r"""Keeps the outputs: subtracts :math:`w \cdot \mathrm{MSE}(p(f(x')), p(f(x)))`.

    Dombrowski et al. (2019) with softmax outputs, Joo et al. (2023) with logits.

    Args:
        weight: w, >= 0.
        outputs: ``"softmax"`` or ``"logits"``: what p is.

    Example:
        >>> import torch
        >>> from captum_robust.robust import OutputMatch
        >>> term = OutputMatch(weight=2.0, outputs="logits")
        >>> term.value(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([-1.])
    """

    def __init__(self, weight: float, outputs: Outputs = "softmax") -> None:
        self.weight = check_number("weight", weight, low=0, high=math.inf, open_high=True)
        self.outputs = check_choice("outputs", outputs, get_args(Outputs))

    def value(self, perturbed: Tensor, clean: Tensor) -> Tensor:
        """The term, ``(N,)``, from two outputs ``(N, classes)``."""
        if self.outputs == "softmax":
            perturbed, clean = F.softmax(perturbed, 1), F.softmax(clean, 1)
        return -self.weight * (perturbed - clean).square().flatten(1).mean(1)


class Twins:
    """The nets that gradients are taken of: of the method's net, and of the attacked one."""

    def __init__(
        self, surrogate: Surrogate, attribution: Attribution, forward_func: Callable[..., Any]
    ) -> None:
        explained = attribution.forward_func
        if surrogate is None:
            self.explained, self.attacked = None, forward_func
        elif callable(surrogate):
            self.explained = self.attacked = surrogate
        else:
            beta = DEFAULT_BETA if isinstance(surrogate, str) else surrogate
            self.explained = SoftplusSurrogate(explained, beta, strict=False)
            same = explained is forward_func
            self.attacked = (
                self.explained if same else SoftplusSurrogate(forward_func, beta, strict=False)
            )

    @property
    def grows(self) -> bool:
        """Whether the twin changes from step to step."""
        return isinstance(self.explained, SoftplusSurrogate) and self.explained.grows

    @property
    def replaced(self) -> bool:
        """Whether a twin stands in for the net and differs from it, as far as is known."""
        if isinstance(self.explained, SoftplusSurrogate):
            return bool(self.explained.replaced)
        return self.explained is not None

    def advance(self, progress: float) -> None:
        """Sets the sharpness for a share of the steps."""
        for twin in (self.explained, self.attacked):
            if isinstance(twin, SoftplusSurrogate):
                twin.advance(progress)


class Ascent:
    """Gradients of an attacked objective, example by example.

    Args:
        twins: nets to differentiate.
        explainer: asks for maps, with the draws meant for climbing.
        judge: knows the clean maps and predictions.
        objective: what is raised; the one that the judge scores by, or another.
        model_term: what is added to keep the outputs, or ``None``.
        weight: factor of the objective beside the model term.
        redraw: new draws of smoothed maps for every step.
    """

    def __init__(
        self,
        twins: Twins,
        explainer: Explainer,
        judge: Judge,
        objective: Objective,
        model_term: OutputMatch | None = None,
        weight: float = 1.0,
        redraw: bool = True,
    ) -> None:
        self.twins, self.explainer, self.judge = twins, explainer, judge
        self.objective, self.anchor = objective, judge.anchor_of(objective)
        self.model_term, self.weight, self.redraw = model_term, weight, redraw
        self.examples = explainer.examples
        self.lengths = torch.zeros(self.examples.count, device=judge.labels.device)
        self.wanted: Tensor | None = None
        self.checked = False

    def gradient(
        self, points: Tensor, rows: Tensor, lost: Tensor, number: int, progress: float
    ) -> Tensor:
        """Gradients ``(n, d)`` at points of the chosen rows.

        Of the objective; where the prediction is ``lost``, of the lead of the clean class.
        ``number`` counts the steps of all restarts and selects the draws, ``progress`` in [0, 1]
        the sharpness of a growing twin.
        """
        self.twins.advance(progress)
        if not bool(lost.any()):
            return self._upwards(points, rows, number)
        found = torch.zeros_like(points)
        found[lost] = self._way_back(points[lost], rows[lost])
        if not bool(lost.all()):
            found[~lost] = self._upwards(points[~lost], rows[~lost], number)
        return found

    def _upwards(self, points: Tensor, rows: Tensor, number: int) -> Tensor:
        """Gradients of the objective on the twin."""
        leaf = points.detach().clone().requires_grad_()
        with on_twin(self.explainer.attribution, self.twins.explained):
            gradient = slope(self._value(leaf, self._all_or(rows), number), leaf)
        self._warn_if_flat()
        self.lengths[rows] = _lengths(gradient).to(self.lengths)
        return gradient

    def _way_back(self, points: Tensor, rows: Tensor) -> Tensor:
        """Gradients of the lead of the clean class over the best other, on the real net.

        As long as the last gradient of the objective: a rule that remembers gradients, as Adam
        does, would take next to no step along one that is many orders of magnitude shorter.
        """
        judge, chosen = self.judge, self._all_or(rows)
        leaf = points.detach().clone().requires_grad_()
        with torch.enable_grad():
            outputs = self.examples.outputs(judge.forward_func, leaf, chosen)
            clean = F.one_hot(judge.labels[rows], outputs.shape[1]).bool()
            lead = outputs[clean] - outputs.masked_fill(clean, -torch.inf).amax(1)
            gradient = torch.autograd.grad(lead.sum(), leaf)[0]
        known, own = self.lengths[rows].to(gradient), _lengths(gradient)
        scale = torch.where((known > 0) & (own > 0), known / own, 1)
        return gradient * scale.unsqueeze(1)

    def _all_or(self, rows: Tensor) -> Rows:
        """All rows as a slice, which needs no copies."""
        return slice(None) if rows.numel() == self.examples.count else rows

    def _value(self, leaf: Tensor, rows: Rows, number: int) -> Tensor:
        examples, objective = self.examples, self.objective
        seed = self.explainer.seed + (number if self.redraw else 0)
        maps = self.explainer.maps_of(examples.inputs(leaf), examples.targets(rows), rows, seed)
        value = self.weight * objective.value(objective.view(maps), self.anchor[rows])
        if self.model_term is None:
            return value
        outputs = examples.outputs(self.twins.attacked, leaf, rows)
        return value + self.model_term.value(outputs, self._clean_outputs(rows))

    def _clean_outputs(self, rows: Rows) -> Tensor:
        """Outputs of the same twin at the clean inputs, once if its sharpness is fixed."""
        examples, everything = self.examples, slice(None)
        with torch.no_grad():
            if self.twins.grows:
                return examples.outputs(self.twins.attacked, examples.clean[rows], rows)
            if self.wanted is None:
                self.wanted = examples.outputs(self.twins.attacked, examples.clean, everything)
        return self.wanted[rows]

    def _warn_if_flat(self) -> None:
        """Warns, once, where the net has no second derivatives and no twin supplies them."""
        if self.checked or self.twins.replaced:
            return
        self.checked = True
        explained = self.explainer.attribution.forward_func
        examples = self.examples

        def selected(*inputs: Tensor) -> Tensor:
            extras = unmarked(examples.forward_args)
            return _run_forward(explained, inputs, examples.target, extras)

        if not has_curvature(selected, examples.inputs(examples.clean)):
            warnings.warn(
                "the net's second derivatives are zero at the inputs (it is piecewise linear) and "
                "no surrogate supplies any, so gradients of plain gradient maps vanish; pass "
                'surrogate="softplus" with a net whose activations torch can see, or a smooth '
                "net as `surrogate`.",
                UserWarning,
                stacklevel=5,
            )


def _lengths(gradient: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gradient, dim=1)
