"""The run of an evaluator: chunks of examples, draws of each, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_robust._base.checks import check_choice, check_count
from captum_robust._base.vectors import flatten
from captum_robust.metrics.evaluators.evaluation import Evaluation, join
from captum_robust.metrics.evaluators.subject import Forward, Subject
from captum_robust.metrics.similarities.maps import Maps, Similarity, wide


@dataclass(frozen=True)
class Comparison:
    """Perturbed rows beside the originals they came from, example-major."""

    inputs: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]
    perturbed_inputs: tuple[Tensor, ...]
    perturbed_maps: tuple[Tensor, ...]
    changed: Tensor

    def input_distance(self, p: float) -> Tensor:
        return _distance(self.inputs, self.perturbed_inputs, p)

    def map_distance(self, p: float) -> Tensor:
        return _distance(self.maps, self.perturbed_maps, p)


Statistic = Callable[[Comparison], Tensor]


@dataclass(frozen=True)
class Options:
    """The keywords that all evaluators share."""

    forward_func: Forward | None = None
    on_prediction_change: str = "keep"
    return_perturbed: bool = False
    max_examples_per_batch: int | None = None
    show_progress: bool = False

    def __post_init__(self) -> None:
        check_choice("on_prediction_change", self.on_prediction_change, ("keep", "nan"))
        if self.on_prediction_change == "nan" and self.forward_func is None:
            raise ValueError(
                '`on_prediction_change="nan"` needs `forward_func` to see the prediction, got None.'
            )
        if self.max_examples_per_batch is not None:
            check_count("max_examples_per_batch", self.max_examples_per_batch)

    def chunks(self, subject: Subject) -> Iterator[Subject]:
        """The examples in chunks of at most ``max_examples_per_batch``."""
        size = self.max_examples_per_batch or len(subject)
        if size >= len(subject):
            yield subject
            return
        for start in range(0, len(subject), size):
            yield subject.select(torch.arange(start, min(start + size, len(subject))))

    def ranges(self, examples: int, count: int, rows: int | None = None) -> Iterator[range]:
        """The numbers below ``count`` in passes of at most ``rows`` rows, one at least."""
        rows = self.max_examples_per_batch or rows or examples
        step = max(1, rows // examples)
        for start in range(0, count, step):
            yield range(start, min(start + step, count))

    def progress(self, total: int, description: str) -> tqdm:
        return tqdm(total=total, desc=description, disable=not self.show_progress)

    def result(
        self, evaluation: Evaluation, *, is_tuple: bool, in_full: bool = False
    ) -> Tensor | Evaluation:
        """The values alone, or with what the user asked for beside them."""
        if not (in_full or self.return_perturbed or self.forward_func is not None):
            return evaluation.values
        inputs, maps = evaluation.perturbed_inputs, evaluation.perturbed_maps
        return replace(
            evaluation,
            perturbed_inputs=inputs if is_tuple or inputs is None else inputs[0],
            perturbed_maps=maps if maps is None else as_given(maps),
        )


class Watch:
    """Sees which perturbed inputs a model predicts another class for; none without a model."""

    def __init__(self, forward_func: Forward | None, subject: Subject) -> None:
        self._forward_func = forward_func
        if forward_func is not None:
            self._before = subject.predictions(forward_func, subject.inputs)

    def changed(self, rows: Subject, perturbed: tuple[Tensor, ...]) -> Tensor:
        """Which rows, as many of each example, have another prediction than their original."""
        if self._forward_func is None:
            return torch.zeros(len(rows), dtype=torch.bool, device=perturbed[0].device)
        before = self._before.repeat_interleave(len(rows) // len(self._before), dim=0)
        differs = rows.predictions(self._forward_func, perturbed) != before
        return differs.reshape(len(rows), -1).any(dim=1)


class Reference:
    """One chunk's original maps, which those of perturbed inputs are compared with."""

    def __init__(self, subject: Subject, watch: Watch) -> None:
        self._watch = watch
        self._examples = len(subject)
        self._maps = subject.maps()

    def compare(
        self, rows: Subject, perturbed: tuple[Tensor, ...], changed: Tensor | None = None
    ) -> Comparison:
        """Explains the perturbed rows, as many of each example, and sets them side by side."""
        times = len(rows) // self._examples
        return Comparison(
            rows.inputs,
            tuple(part.repeat_interleave(times, dim=0) for part in self._maps),
            perturbed,
            rows.maps(perturbed),
            self._watch.changed(rows, perturbed) if changed is None else changed,
        )


class Tally:
    """Mean or largest value of each example over its draws, and the worst draw if wanted.

    Args:
        examples: number of examples.
        options: says which draws count and what is kept.
        reduction: ``"mean"`` or ``"max"``.
        largest_is_worst: which end the draw to keep is at.
    """

    def __init__(
        self, examples: int, options: Options, reduction: str, *, largest_is_worst: bool
    ) -> None:
        self._options = options
        self._reduction = reduction
        self._sign = 1.0 if largest_is_worst else -1.0
        self._examples = examples
        self._total: Tensor | float = 0.0
        self._count: Tensor | int = 0
        self._changed: Tensor | int = 0
        self._largest: Tensor | None = None
        self._worst: Tensor | None = None
        self._kept: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None = None

    def add(self, values: Tensor, comparison: Comparison) -> None:
        """Takes the values of some more draws of every example, example-major."""
        values = wide(values.detach()).reshape(self._examples, -1)
        changed = comparison.changed.reshape(self._examples, -1).to(values.device)
        counted = ~changed if self._options.on_prediction_change == "nan" else changed | True
        self._changed = self._changed + changed.sum(1)
        self._count = self._count + counted.sum(1)
        self._total = self._total + torch.where(counted, values, 0.0).sum(1)
        largest = torch.where(counted, values, -torch.inf).amax(1)
        self._largest = largest if self._largest is None else largest.maximum(self._largest)
        if self._options.return_perturbed:
            self._keep(torch.where(counted, self._sign * values, -torch.inf), comparison)

    def _keep(self, harm: Tensor, comparison: Comparison) -> None:
        """Holds on to each example's worst draw so far."""
        harm, draw = harm.max(dim=1)
        rows = torch.arange(self._examples, device=draw.device) * self._draws(comparison) + draw
        found = tuple(
            tuple(part[rows.to(part.device)] for part in parts)
            for parts in (comparison.perturbed_inputs, comparison.perturbed_maps)
        )
        if self._kept is None or self._worst is None:
            self._worst, self._kept = harm, (found[0], found[1])
            return
        better = harm > self._worst
        self._worst = torch.where(better, harm, self._worst)
        self._kept = (
            _where_rows(better, found[0], self._kept[0]),
            _where_rows(better, found[1], self._kept[1]),
        )

    def _draws(self, comparison: Comparison) -> int:
        return len(comparison.changed) // self._examples

    def evaluation(self) -> Evaluation:
        """The values so far, NaN where no draw of an example counted."""
        count = torch.as_tensor(self._count)
        mean = torch.as_tensor(self._total) / count
        values = mean if self._reduction == "mean" or self._largest is None else self._largest
        inputs, maps = self._kept or (None, None)
        return Evaluation(
            torch.where(count > 0, values, torch.nan),
            torch.as_tensor(self._changed) if self._options.forward_func is not None else None,
            inputs,
            maps,
        )


def over_comparisons(
    subject: Subject,
    comparisons: Callable[[Subject, Reference], Iterable[Comparison]],
    statistic: Statistic,
    options: Options,
    *,
    total: int,
    description: str,
    reduction: str = "mean",
    largest_is_worst: bool = True,
) -> Tensor | Evaluation:
    """Reduces a statistic of each example's comparisons, one bounded pass at a time.

    Args:
        subject: all the examples.
        comparisons: yields the comparisons of one chunk of examples.
        statistic: one value for each row of a comparison.
        options: the evaluator's shared keywords.
        total: rows in all, for the progress bar.
        description: of the bar.
        reduction, largest_is_worst: see :class:`Tally`.
    """
    parts = []
    with options.progress(total, description) as bar:
        for chunk in options.chunks(subject):
            reference = Reference(chunk, Watch(options.forward_func, chunk))
            tally = Tally(len(chunk), options, reduction, largest_is_worst=largest_is_worst)
            for comparison in comparisons(chunk, reference):
                tally.add(statistic(comparison), comparison)
                bar.update(len(comparison.changed))
            parts.append(tally.evaluation())
    return options.result(join(parts), is_tuple=subject.is_tuple)


def compare_by(similarity: Similarity) -> Statistic:
    """The statistic that a similarity is, checked to give one value for each pair of maps."""

    def statistic(comparison: Comparison) -> Tensor:
        values = similarity(as_given(comparison.maps), as_given(comparison.perturbed_maps))
        rows = len(comparison.changed)
        if not isinstance(values, Tensor) or values.shape != (rows,):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"`similarity` must return one value for each of the {rows} pairs of maps, "
                f"got {got}."
            )
        return values

    return statistic


def as_given(maps: Maps) -> Maps:
    """A tuple of one map as the map itself."""
    return maps[0] if isinstance(maps, tuple) and len(maps) == 1 else maps


def _distance(a: tuple[Tensor, ...], b: tuple[Tensor, ...], p: float) -> Tensor:
    difference = flatten([wide(first) - wide(second) for first, second in zip(a, b, strict=True)])
    return torch.linalg.vector_norm(difference, p, dim=1)


def _where_rows(
    rows: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    return tuple(
        torch.where(rows.to(a.device).reshape(-1, *[1] * (a.dim() - 1)), a, b)
        for a, b in zip(new, old, strict=True)
    )
