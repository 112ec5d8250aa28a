"""Insertion and deletion: what the model makes of an input's most important features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import torch
from torch import Tensor

from captum_robust._base.captum_privates import _run_forward
from captum_robust._base.checks import check_choice, check_count, check_number
from captum_robust._base.per_example import unmarked
from captum_robust._base.precision import wide
from captum_robust._base.vectors import Tensors, feature_shapes, flatten, unflatten
from captum_robust.attr.method.outputs import checked_output
from captum_robust.metrics.evaluators.baselines import Baseline, filled
from captum_robust.metrics.evaluators.batch import Batch, Explain, Forward
from captum_robust.metrics.evaluators.evaluation import Evaluation, join
from captum_robust.metrics.evaluators.perturbation import Attack, AttackKwargs
from captum_robust.metrics.evaluators.returns import curve_evaluator
from captum_robust.metrics.evaluators.run import Options
from captum_robust.metrics.similarities.shared.maps import Channels, reduced

# Without a limit from the user, a pass holds so many rows: forward passes without graph are small.
_ROWS: Final = 32


@curve_evaluator
def insertion(
    explanation_func: Explain,
    inputs: Tensors,
    *,
    forward_func: Forward,
    baseline: Baseline = "zero",
    n_points: int = 21,
    area: Literal["mean", "trapezoid"] = "mean",
    softmax: bool = True,
    channels: Channels = None,
    return_curve: bool = False,
    max_examples_per_batch: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""Mean probability of the target while an input's most important features are put in.

    .. math:: \frac1P \sum_{\gamma} p_y\bigl(x \odot m_\gamma + x_0 \odot (1 - m_\gamma)\bigr),
              \quad \gamma \in \{0, \tfrac1{P-1}, \dots, 1\}

    with :math:`m_\gamma` the mask of the share :math:`\gamma` of features that the map values most,
    by value and not by magnitude. Joo et al. (2023), section Metrics, after Petsiuk et al. (2018).
    Each mask has exactly :math:`\gamma d` features, rounded half up; of tied ones, the first.
    It measures how faithful a map is, and does so exactly.

    Args:
        explanation_func: such as ``Saliency(model).attribute``; its maps have the inputs' shapes.
        inputs: what is explained, ``(N, *)``, or a tuple, whose features are ordered together.
        forward_func: the model, called with the inputs and ``additional_forward_args``.
        baseline: what stands where nothing is put in: ``"zero"``, ``"mean"`` of each example and
            channel, ``"blur"`` (images; Gaussian of 11 by 11 pixels and deviation 5, as in RISE), a
            number, or a tensor ``(N, *)`` or ``(1, *)``. Not the ``baselines`` of an explanation.
        n_points: number :math:`P` of shares, at least 2.
        area: ``"mean"`` of the points as above, or ``"trapezoid"`` over the share.
        softmax: whether ``forward_func`` gives logits, whose softmax over dimension 1 is taken; if
            not, its outputs are averaged as they are.
        channels: ``"sum"`` or ``"abs-sum"`` order pixels, all channels of one going together.
        return_curve: whether to return the curve too.
        max_examples_per_batch: rows processed at once; 32, or the batch if that is larger.
        show_progress: whether to show a progress bar.
        **kwargs: passed to ``explanation_func``; ``target`` also selects the output.

    Returns:
        Means in [0, 1] with ``softmax``, ``(N,)``, float64; higher is more faithful. An
        :class:`Evaluation` with ``return_curve``.

    Raises:
        ValueError: if an argument is out of range, a map is not finite or has not its input's
            shape, or ``target`` does not select one output per example.

    Example:
        >>> import torch
        >>> from captum.attr import InputXGradient
        >>> from captum_robust.metrics import insertion
        >>> model = torch.nn.Linear(4, 3)
        >>> insertion(InputXGradient(model).attribute, torch.ones(2, 4), target=1,
        ...           forward_func=model).shape
        torch.Size([2])
    """
    game = _Game(forward_func, baseline, n_points, area, softmax, channels, deletes=False)
    options = Options(max_examples_per_batch=max_examples_per_batch, show_progress=show_progress)
    return _play(game, Batch.of(explanation_func, inputs, kwargs), options, return_curve)


@curve_evaluator
def deletion(
    explanation_func: Explain,
    inputs: Tensors,
    *,
    forward_func: Forward,
    baseline: Baseline = "zero",
    n_points: int = 21,
    area: Literal["mean", "trapezoid"] = "mean",
    softmax: bool = True,
    channels: Channels = None,
    return_curve: bool = False,
    max_examples_per_batch: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""Mean probability of the target while an input's most important features are taken out.

    .. math:: \frac1P \sum_{\gamma} p_y\bigl(x_0 \odot m_\gamma + x \odot (1 - m_\gamma)\bigr)

    The counterpart of :func:`insertion`; Petsiuk et al. (2018).

    Args:
        explanation_func, inputs, forward_func, baseline, n_points, area: as in :func:`insertion`.
        softmax, channels, return_curve, max_examples_per_batch, show_progress, kwargs: likewise.

    Returns:
        Means in [0, 1] with ``softmax``, ``(N,)``, float64; lower is more faithful. An
        :class:`Evaluation` with ``return_curve``.

    Raises:
        ValueError: as in :func:`insertion`.

    Example:
        >>> import torch
        >>> from captum.attr import InputXGradient
        >>> from captum_robust.metrics import deletion
        >>> model = torch.nn.Linear(4, 3)
        >>> found = deletion(InputXGradient(model).attribute, torch.ones(2, 4), target=1,
        ...                  forward_func=model, return_curve=True)
        >>> found.curve.shape
        torch.Size([2, 21])
    """
    game = _Game(forward_func, baseline, n_points, area, softmax, channels, deletes=True)
    options = Options(max_examples_per_batch=max_examples_per_batch, show_progress=show_progress)
    return _play(game, Batch.of(explanation_func, inputs, kwargs), options, return_curve)


@curve_evaluator
def adversarial_insertion(
    explanation_func: Explain,
    inputs: Tensors,
    attack: Any,
    *,
    forward_func: Forward,
    radius: float,
    attack_kwargs: AttackKwargs = None,
    baseline: Baseline = "zero",
    n_points: int = 21,
    area: Literal["mean", "trapezoid"] = "mean",
    softmax: bool = True,
    channels: Channels = None,
    return_curve: bool = False,
    on_prediction_change: Literal["keep", "nan"] = "keep",
    return_perturbed: bool = False,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""Insertion in the order of the attacked input's map.

    .. math:: \frac1P \sum_{\gamma} p_y\bigl(x \odot m_\gamma + x_0 \odot (1 - m_\gamma)\bigr),
              \quad m_\gamma \text{ from } h(x_{adv})

    The features put in are those of the original :math:`x`; only their order is the attacked map's.
    Joo et al. (2023), section Metrics, with a targeted attack of 100 steps at 2 / 255 and 4 / 255.
    An upper bound on what the worst point in the ball would give, as good as the attack is.

    Args:
        explanation_func, inputs, forward_func, baseline, n_points, area: as in :func:`insertion`.
        softmax, channels, return_curve, max_examples_per_batch, show_progress, kwargs: likewise.
        attack, attack_kwargs, seed: as in :func:`attack_robustness`.
        radius: the attack's budget > 0, in input units.
        on_prediction_change, return_perturbed: shared by all evaluators, see
            :mod:`captum_robust.metrics`; the prediction is that of ``forward_func``.

    Returns:
        Means in [0, 1] with ``softmax``, ``(N,)``, float64; higher is more robust, beside
        :func:`insertion` at the same settings. An :class:`Evaluation` with ``return_curve`` or
        ``return_perturbed``.

    Raises:
        ValueError: as in :func:`insertion` and :func:`attack_robustness`.
        TypeError: if the attack takes neither ``radius`` nor ``epsilon``.

    Example:
        >>> import torch
        >>> from captum.attr import InputXGradient
        >>> from captum.robust import FGSM
        >>> from captum_robust.metrics import adversarial_insertion
        >>> model = torch.nn.Linear(4, 3)
        >>> attack = FGSM(model, loss_func=torch.nn.CrossEntropyLoss(reduction="none"))
        >>> adversarial_insertion(InputXGradient(model).attribute, torch.ones(2, 4), attack,
        ...                       target=torch.tensor([1, 2]), forward_func=model, radius=0.1).shape
        torch.Size([2])
    """
    budget = check_number("radius", radius, low=0, high=float("inf"), open_low=True, open_high=True)
    game = _Game(forward_func, baseline, n_points, area, softmax, channels, deletes=False)
    options = Options(
        forward_func, on_prediction_change, return_perturbed, max_examples_per_batch, show_progress
    )
    batch = Batch.of(explanation_func, inputs, kwargs)
    attacker = Attack(attack, attack_kwargs, seed)
    return _play(
        game,
        batch,
        options,
        return_curve,
        attack=lambda chunk: attacker(chunk, budget, len(batch)),
    )


@dataclass(frozen=True)
class _Game:
    """How features are put in or taken out, and what is read off the model."""

    forward_func: Forward
    baseline: Baseline
    n_points: int
    area: str
    softmax: bool
    channels: Channels
    deletes: bool

    def __post_init__(self) -> None:
        check_count("n_points", self.n_points, low=2)
        check_choice("area", self.area, ("mean", "trapezoid"))
        if not callable(self.forward_func):
            raise TypeError(
                f"`forward_func` must be callable, got {type(self.forward_func).__name__}."
            )

    def curve(
        self,
        batch: Batch,
        maps: tuple[Tensor, ...],
        baseline: tuple[Tensor, ...],
        options: Options,
    ) -> Tensor:
        """The model's output at every point, ``(N, P)``, for features ordered by ``maps``."""
        places, shapes = self._places(batch, maps)
        features = places.shape[1]
        last = self.n_points - 1
        counts = [(2 * point * features + last) // (2 * last) for point in range(self.n_points)]
        columns = []
        for points in options.ranges(len(batch), self.n_points, _ROWS):
            kept = places.new_tensor(counts[points.start : points.stop])
            inside = (places.unsqueeze(1) < kept[None, :, None]).flatten(0, 1)
            masks = unflatten(inside ^ self.deletes, shapes)
            rows = batch.repeat(len(points))
            others = [part.repeat_interleave(len(points), dim=0) for part in baseline]
            mixed = tuple(
                torch.where(mask, part, other)
                for mask, part, other in zip(masks, rows.inputs, others, strict=True)
            )
            columns.append(self._outputs(rows, mixed).reshape(len(batch), -1))
        return torch.cat(columns, dim=1)

    def _places(self, batch: Batch, maps: tuple[Tensor, ...]) -> tuple[Tensor, list[torch.Size]]:
        """The place of each feature from the most important, 0, on; and the masks' shapes."""
        scores = reduced(maps, self.channels)
        if self.channels is not None:
            scores = tuple(part.unsqueeze(1) for part in scores)
        _check_scores(scores, batch.inputs)
        order = flatten(scores).argsort(dim=1, descending=True, stable=True)
        place = torch.arange(order.shape[1], device=order.device).expand_as(order)
        places = torch.empty_like(order).scatter_(1, order, place)
        return places, list(feature_shapes(scores))

    def _outputs(self, rows: Batch, inputs: tuple[Tensor, ...]) -> Tensor:
        """One output of the model for each row."""
        arguments = rows.arguments
        with torch.no_grad():
            outputs = _run_forward(
                self._probabilities if self.softmax else self.forward_func,
                inputs,
                arguments.get("target"),
                unmarked(arguments.get("additional_forward_args")),
            )
        if outputs.shape[0] != len(rows) or outputs.numel() != len(rows):
            raise ValueError(
                "`target` must select one output for each example, "
                f"got outputs of shape {tuple(outputs.shape)} for {len(rows)} rows."
            )
        return wide(outputs.reshape(-1))

    def _probabilities(self, *inputs: Any) -> Tensor:
        outputs = checked_output(self.forward_func(*inputs))
        if outputs.dim() < 2 or outputs.shape[1] < 2:
            raise ValueError(
                "`softmax=True` needs scores of at least two classes, shape (N, classes), got "
                f"shape {tuple(outputs.shape)}; pass `softmax=False`."
            )
        return wide(outputs).softmax(dim=1)

    def reduce(self, curve: Tensor) -> Tensor:
        if self.area == "mean":
            return curve.mean(1)
        return torch.trapezoid(curve, dx=1 / (self.n_points - 1), dim=1)


def _check_scores(scores: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> None:
    """Refuses maps that do not say which features of the inputs come first."""
    shapes = [tuple(part.shape) for part in scores]
    wanted = [tuple(part.shape) for part in inputs]
    by_pixel = [(shape[0], 1, *shape[2:]) for shape in wanted]
    if len(shapes) != len(wanted) or any(
        shape not in choices for shape, *choices in zip(shapes, wanted, by_pixel, strict=True)
    ):
        raise ValueError(
            "`explanation_func` must return a map of each input's shape, or of one channel: "
            f"{wanted}, got {shapes}."
        )


def _play(
    game: _Game,
    batch: Batch,
    options: Options,
    return_curve: bool,
    attack: Callable[[Batch], tuple[Tensor, ...]] | None = None,
) -> Tensor | Evaluation:
    """Plays the game on each chunk, ordered by the map of the input or of the attacked one."""
    parts = []
    baseline = filled(game.baseline, batch.inputs)
    with options.progress(len(batch), "insertion") as bar:
        for chunk in options.chunks(batch):
            points = chunk.inputs if attack is None else attack(chunk)
            maps = chunk.maps(points)
            ground = tuple(part[chunk.ids.to(part.device)] for part in baseline)
            curve = game.curve(chunk, maps, ground, options)
            parts.append(_evaluation(game, chunk, points, maps, curve, options))
            bar.update(len(chunk))
    evaluation = join(parts)
    if not return_curve:
        evaluation = replace(evaluation, curve=None)
    if return_curve or options.return_perturbed:
        return options.result(evaluation, is_tuple=batch.is_tuple, in_full=True)
    return evaluation.values


def _evaluation(
    game: _Game,
    chunk: Batch,
    points: tuple[Tensor, ...],
    maps: tuple[Tensor, ...],
    curve: Tensor,
    options: Options,
) -> Evaluation:
    """One chunk's areas, and what became of its predictions where those are watched."""
    values, changes = game.reduce(curve), None
    if options.forward_func is not None:
        before, after = (
            chunk.predictions(options.forward_func, where) for where in (chunk.inputs, points)
        )
        moved = (after != before).reshape(len(chunk), -1).any(dim=1)
        changes = moved.to(torch.int64)
        if options.on_prediction_change == "nan":
            values = torch.where(moved, torch.nan, values)
    if not options.return_perturbed:
        return Evaluation(values, changes, curve=curve)
    return Evaluation(values, changes, points, maps, curve)
