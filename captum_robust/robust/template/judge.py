"""What counts in the end: predictions and maps of the real net, and the best point found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.captum_privates import _format_output
from captum_robust._base.examples import Maps, usable
from captum_robust._base.rows import Rows
from captum_robust._base.targets import Prediction, class_targets, predicted
from captum_robust.attr.explainer import Explainer
from captum_robust.robust.objectives.objective import Objective

Similarity = Callable[[Any, Any], Tensor]


class Judge:
    """Judges points by the real net: is the prediction kept, and how far has the map moved.

    Args:
        forward_func: the net whose prediction must stay; ``None`` where none has to.
        explainer: maps of the real net.
        objective: gives the score and, among equal scores, the better point.
        evaluation: a similarity of two maps that replaces the objective's score; lower is better
            for the attacker.
        prediction: what the net predicts, as a function of its outputs; the largest of its scores
            where None.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any] | None,
        explainer: Explainer,
        objective: Objective,
        evaluation: Similarity | None,
        prediction: Prediction | None = None,
    ) -> None:
        self.forward_func, self.prediction = forward_func, prediction
        self.explainer = explainer
        self.objective = objective
        self.evaluation = evaluation
        self.examples = explainer.examples
        clean = self.examples.clean
        self.labels = self.predict(clean, slice(None))
        self._check_classes()
        self.clean_maps = explainer.maps(clean, slice(None))
        self.anchor = self.anchor_of(objective)

    def anchor_of(self, objective: Objective) -> Tensor:
        """What stays fixed while an objective is raised from the clean maps."""
        views = objective.view(self.clean_maps)
        anchor: Tensor = usable(objective.anchor(views, self._explain_others))
        return anchor

    def _check_classes(self) -> None:
        """Refuses a target beyond the explained net's columns, or none where it has several."""
        classes = class_targets(self.examples.target, self.examples.count)
        explained = getattr(self.explainer.attribution, "forward_func", None)
        absent = self.examples.target is None
        if (classes is None and not absent) or explained is None:
            return
        first = torch.zeros(1, dtype=torch.long, device=self.labels.device)
        with torch.no_grad():
            outputs = self.examples.outputs(explained, self.examples.clean[:1], first)
        if not isinstance(outputs, Tensor) or outputs.dim() != 2:
            return
        columns = outputs.shape[1]
        if absent and columns > 1:
            raise ValueError(
                f"`target` must be given: the explained net has {columns} outputs, and maps are "
                "of one of them; pass the predicted classes, model(inputs).argmax(1)."
            )
        if classes is None:
            return
        beyond = classes[(classes < 0) | (classes >= columns)]
        if beyond.numel():
            raise ValueError(
                f"`target` must be in [0, {columns - 1}] (the classes of the explained net), "
                f"got {int(beyond[0])}."
            )

    def _explain_others(self, inputs: Maps, target: Any) -> Maps:
        target = self.examples.target if target is None else target
        parts = self.examples.like_inputs("others", inputs)
        leaves = tuple(part.detach().clone().requires_grad_() for part in parts)
        return tuple(m.detach() for m in self.explainer.maps_of(leaves, target, slice(None)))

    @property
    def ceiling(self) -> float:
        """The score that nothing exceeds."""
        return float("inf") if self.evaluation is not None else self.objective.ceiling

    def predict(self, points: Tensor, rows: Rows) -> Tensor:
        """The predicted classes, ``(n,)``; all zero where no prediction has to stay."""
        if self.forward_func is None:
            return torch.zeros(points.shape[0], dtype=torch.long, device=points.device)
        with torch.no_grad():
            outputs = self.examples.outputs(self.forward_func, points, rows)
        return self._classes(outputs)

    def _classes(self, outputs: Any) -> Tensor:
        """The predicted classes of outputs ``(n, classes)``, or what the user's function gives."""
        if self.prediction is not None:
            return predicted(outputs, len(outputs), self.prediction)
        if not isinstance(outputs, Tensor) or outputs.dim() != 2 or outputs.shape[1] < 2:
            shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(
                "`forward_func` must give (N, classes), two classes or more, for a prediction to "
                f"be kept, got {shape}; pass a function of other outputs, such as "
                "keep_prediction=lambda out: out[:, 0] > 0 (or give a single logit z two columns, "
                "(0, z)), or pass keep_prediction=False to attack it without."
            )
        return outputs.argmax(1)

    def kept(self, points: Tensor, rows: Rows) -> Tensor:
        """Whether each of ``(n, d)`` points has the prediction of its clean input, ``(n,)``."""
        if self.forward_func is None:
            return torch.ones(points.shape[0], dtype=torch.bool, device=points.device)
        return self.predict(points, rows) == self.labels[rows]

    def score(
        self, points: Tensor, rows: Rows, seed: int | None = None, clean: Maps | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score and value of ``(n, d)`` points, ``(n,)`` each, larger for the attacker."""
        return self._compare(self.explainer.maps(points, rows, seed), rows, clean)

    def assess(self, points: Tensor, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Whether each point keeps the prediction, and score and value where it does, ``(n,)``.

        One forward pass serves the prediction and the map where the method asks the net for
        nothing else.
        """
        if self.explainer.asks_once(self.forward_func):
            maps, outputs = self.explainer.maps_and_outputs(points, rows)
            kept = self._classes(outputs) == self.labels[rows]
            return kept, *self._compare(maps, rows)
        kept = self.kept(points, rows)
        score = torch.full_like(points[:, 0], -torch.inf)
        value = score.clone()
        if bool(kept.all()):
            return kept, *self.score(points, rows)
        if bool(kept.any()):
            chosen = kept.nonzero().flatten() if isinstance(rows, slice) else rows[kept]
            score[kept], value[kept] = self.score(points[kept], chosen)
        return kept, score, value

    def _compare(self, maps: Maps, rows: Rows, clean: Maps | None = None) -> tuple[Tensor, Tensor]:
        objective, anchor = self.objective, self.anchor[rows]
        views = objective.view(maps)
        value = objective.value(views, anchor)
        reference = self.clean_maps if clean is None else clean
        reference = tuple(part[rows] for part in reference)
        if self.evaluation is None:
            score = objective.score(views, objective.view(reference), anchor)
        else:
            is_tuple = len(maps) > 1
            found = self.evaluation(
                _format_output(is_tuple, reference), _format_output(is_tuple, maps)
            )
            score = -_per_example("evaluation", found, len(value))
        return _finite(score), _finite(value)


def _per_example(name: str, values: Any, count: int) -> Tensor:
    """The values of a user's function if there is one for each example."""
    if not isinstance(values, Tensor):
        raise TypeError(f"`{name}` must return a Tensor (N,), got {type(values).__name__}.")
    if values.shape != (count,):
        raise ValueError(
            f"`{name}` must return one value for each example, ({count},), "
            f"got shape {tuple(values.shape)}."
        )
    return values


def _finite(scores: Tensor) -> Tensor:
    """Scores where a NaN is worse than everything."""
    return torch.where(torch.isnan(scores), -torch.inf, scores)


class Best:
    """The best valid point of each example so far; begins with the clean input.

    Attributes:
        points: ``(N, d)``.
        score, value: ``(N,)``; points are ordered by score, equal scores by value.
        evaluations: maps computed for each example, ``(N,)``.
    """

    def __init__(self, judge: Judge) -> None:
        self.points = judge.examples.clean.clone()
        self.score, self.value = judge.score(judge.examples.clean, slice(None))
        self.clean_score = self.score.clone()
        self.evaluations = torch.zeros_like(judge.labels)

    def offer(self, judge: Judge, points: Tensor, rows: Tensor) -> Tensor:
        """Judges points and remembers the better ones; which kept their prediction, ``(n,)``."""
        everything = rows.numel() == judge.examples.count
        kept, score, value = judge.assess(points, slice(None) if everything else rows)
        self.evaluations[rows[kept]] += 1
        better = (score > self.score[rows]) | (
            (score == self.score[rows]) & (value > self.value[rows])
        )
        better &= kept
        won = rows[better]
        self.points[won], self.score[won], self.value[won] = (
            points[better],
            score[better],
            value[better],
        )
        return kept
