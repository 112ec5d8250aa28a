"""The largest first-order deviation among perturbations that keep the label, found numerically."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import scipy
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from captum_robust._base.checks import check_choice, check_count
from captum_robust._base.targets import class_targets
from captum_robust._base.vectors import flatten
from captum_robust.estimates.jacobian import Array, StudiedMap

Competing = int | Sequence[int] | str | None

_ROUNDS: Final = 20
_GAIN: Final = 1e-4  # relative; a round that gains less is the last
_TINY: Final = float(np.finfo(np.float64).tiny)


class HalfSpaces:
    """Perturbations with A delta <= b, where b > 0: those that keep the label to first order.

    Args:
        normals: A, ``(k, d)``.
        margins: b, ``(k,)``.
    """

    def __init__(self, normals: Array, margins: Array) -> None:
        lengths = np.linalg.norm(normals, axis=1)
        reach = lengths > 0  # a class whose lead cannot change constrains nothing
        self.normals = normals[reach] / lengths[reach, None]
        self.margins = margins[reach] / lengths[reach]
        self._gram = self.normals @ self.normals.T

    def shrunk(self, delta: Array) -> Array:
        """The longest multiple of ``delta``, at most itself, that lies in all half-spaces."""
        beyond = (self.normals @ delta) / self.margins
        most = float(beyond.max(initial=0.0))
        return delta if most <= 1.0 else delta * ((1 - 1e-12) / most)

    def furthest(self, along: Array, epsilon: float, norm: str) -> Array:
        """The point of the ball and the half-spaces that lies furthest along a vector."""
        if norm == "linf":
            bounds = (-epsilon, epsilon)
            found = scipy.optimize.linprog(
                -along, self.normals, self.margins, bounds=bounds, method="highs"
            )
            return self.shrunk(np.clip(found.x, -epsilon, epsilon))
        return self.shrunk(epsilon * self._ray(along / np.linalg.norm(along), epsilon))

    def _ray(self, along: Array, epsilon: float) -> Array:
        """Unit vector of the l2 ball's maximiser, by its dual in one number for each half-space."""
        lean = self.normals @ along

        def dual(prices: Array) -> tuple[float, Array]:
            pull = self._gram @ prices
            length = np.sqrt(max(1 - 2 * prices @ lean + prices @ pull, _TINY))
            value = epsilon * length + self.margins @ prices
            return value, epsilon * (pull - lean) / length + self.margins

        start, limits = np.zeros(len(lean)), [(0.0, None)] * len(lean)
        prices = scipy.optimize.minimize(dual, start, jac=True, bounds=limits, method="L-BFGS-B").x
        ray = along - prices @ self.normals
        return ray / max(np.linalg.norm(ray), _TINY)


def constrained_maximum(
    jacobian: LinearOperator, spaces: HalfSpaces, start: Array, epsilon: float, norm: str
) -> float:
    """A value of ||J delta|| in the ball and the half-spaces, at least that of ``start``.

    The objective is convex, so moving to the point furthest along its gradient never lowers it; a
    local maximum is found, from both signs of ``start``.

    Args:
        jacobian: J.
        spaces: the half-spaces.
        start: the unconstrained maximiser, in the ball.
        epsilon: radius of the ball.
        norm: ``"l2"`` or ``"linf"``.
    """
    best = 0.0
    for delta in (spaces.shrunk(start), spaces.shrunk(-start)):
        image = jacobian.matvec(delta)
        value = float(np.linalg.norm(image))
        best = max(best, value)
        for _ in range(_ROUNDS):
            if np.array_equal(np.abs(delta), np.abs(start)):  # nothing constrains it
                break
            delta = spaces.furthest(jacobian.rmatvec(image), epsilon, norm)
            image = jacobian.matvec(delta)
            value, before = float(np.linalg.norm(image)), value
            best = max(best, value)
            if value <= before * (1 + _GAIN):
                break
    return best


def half_spaces(study: StudiedMap, row: int, competing: Competing) -> HalfSpaces:
    """Where each competing class stays behind, to first order; Wang and Kong (2023), eq. (8).

    Completeness makes their condition the linearised margin of the two classes, which needs no
    Jacobian of a map and no completeness.
    """
    examples = study.examples
    point = examples.clean[row : row + 1].clone().requires_grad_()
    with torch.enable_grad():
        outputs = examples.outputs(study.forward_func, point, torch.tensor([row]))[0]
        label = _label(study, row, outputs)
        rivals = _rivals(competing, label, len(outputs))
        leads = [outputs[label] - outputs[rival] for rival in rivals]
        slopes = [
            torch.autograd.grad(lead, point, retain_graph=True, materialize_grads=True)[0]
            for lead in leads
        ]
    margins = torch.stack(leads).detach().cpu().double().numpy()
    if not (margins > 0).all():
        raise ValueError(
            f"`target` must be the predicted class where `competing` is given: example {row} is "
            f"not classified as {label} against {rivals[int((margins <= 0).argmax())]}."
        )
    normals = -flatten(slopes).cpu().double().numpy()
    return HalfSpaces(normals.reshape(len(rivals), -1), margins)


def check_competing(competing: Competing, norm: str) -> bool:
    """Whether several classes compete, so that a maximum has to be searched for."""
    if competing is None:
        return False
    if isinstance(competing, str):
        check_choice("competing", competing, ("all",))
    elif isinstance(competing, Sequence) and not competing:
        raise ValueError("`competing` must name at least one class, got an empty sequence.")
    several = isinstance(competing, str) or (isinstance(competing, Sequence) and len(competing) > 1)
    if several and norm not in ("l2", "linf"):
        raise ValueError(
            f"`competing` must be one class unless the norm is l2 or linf, got {norm}."
        )
    return several


def _label(study: StudiedMap, row: int, outputs: Tensor) -> int:
    classes = class_targets(study.examples.target, study.examples.count)
    if classes is None or outputs.dim() != 1:
        raise ValueError(
            "`competing` needs a `target` of one class an example and outputs (N, classes)."
        )
    return int(classes[row])


def _rivals(competing: Competing, label: int, classes: int) -> list[int]:
    """The classes that compete with the label."""
    if isinstance(competing, str):
        return [rival for rival in range(classes) if rival != label]
    named = [competing] if isinstance(competing, int) else list(competing or ())
    for rival in named:
        if check_count("competing", rival, low=0) >= classes or rival == label:
            raise ValueError(
                f"`competing` must name classes in [0, {classes - 1}] other than the target "
                f"{label}, got {rival}."
            )
    return named
