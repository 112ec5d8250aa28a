"""The run of an evaluator: chunks of examples, draws of each, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_robust._base.checks import check_choice, check_count
from captum_robust._base.precision import wide
from captum_robust._base.vectors import Tensors, flatten
from captum_robust.metrics.evaluators.batch import Batch, Forward
from captum_robust.metrics.evaluators.evaluation import Evaluation, join
from captum_robust.metrics.similarities.similarity import Similarity, by_name


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


Measure = Callable[[Comparison], Tensor]


@dataclass(frozen=True)
class Options:
    """The keywords that all evaluators share."""

    forward_func: Forward | None = None
    on_prediction_change: Literal["keep", "nan"] = "keep"
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

    def chunks(self, batch: Batch) -> Iterator[Batch]:
        """The examples in chunks of at most ``max_examples_per_batch``."""
        size = self.max_examples_per_batch or len(batch)
        if size >= len(batch):
            yield batch
            return
        for start in range(0, len(batch), size):
            yield batch.select(torch.arange(start, min(start + size, len(batch))))

    def ranges(self, examples: int, count: int, rows: int | None = None) -> Iterator[range]:
        """The numbers below ``count`` in passes of at most ``rows`` rows, one at least."""
        rows = self.max_examples_per_batch or rows or examples
        step = max(1, rows // examples)
        for start in range(0, count, step):
            yield range(start, min(start + step, count))

    @contextmanager
    def progress(self, total: int, description: str) -> Iterator[tqdm]:
        """A progress bar; inside it maps have graphs, also in the caller's inference mode."""
        with (
            torch.inference_mode(False),
            tqdm(total=total, desc=description, disable=not self.show_progress) as bar,
        ):
            yield bar

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


class Originals:
    """What a chunk of examples is before it is perturbed: its maps, and its predicted classes.

    Args:
        chunk: the examples.
        forward_func: the model whose predictions are watched, or ``None``.
    """

    def __init__(self, chunk: Batch, forward_func: Forward | None) -> None:
        self._examples = len(chunk)
        self._maps = chunk.maps()
        self._forward_func = forward_func
        if forward_func is not None:
            self._classes = chunk.predictions(forward_func, chunk.inputs)

    def changed(self, rows: Batch, perturbed: tuple[Tensor, ...]) -> Tensor:
        """Which rows, as many of each example, have another predicted class than the original."""
        if self._forward_func is None:
            return torch.zeros(len(rows), dtype=torch.bool, device=perturbed[0].device)
        before = self._classes.repeat_interleave(len(rows) // self._examples, dim=0)
        differs = rows.predictions(self._forward_func, perturbed) != before
        return differs.reshape(len(rows), -1).any(dim=1)

    def compare(
        self, rows: Batch, perturbed: tuple[Tensor, ...], changed: Tensor | None = None
    ) -> Comparison:
        """Explains the perturbed rows, as many of each example, and sets them side by side."""
        times = len(rows) // self._examples
        return Comparison(
            rows.inputs,
            tuple(part.repeat_interleave(times, dim=0) for part in self._maps),
            perturbed,
            rows.maps(perturbed),
            self.changed(rows, perturbed) if changed is None else changed,
        )


class RunningResult:
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
            self._keep_worst(torch.where(counted, self._sign * values, -torch.inf), comparison)

    def _keep_worst(self, harm: Tensor, comparison: Comparison) -> None:
        """Holds on to each example's worst draw so far."""
        draws = harm.shape[1]
        harm, worst = harm.max(dim=1)
        rows = torch.arange(self._examples, device=worst.device) * draws + worst
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
    batch: Batch,
    comparisons: Callable[[Batch, Originals], Iterable[Comparison]],
    measure: Measure,
    options: Options,
    *,
    total: int,
    description: str,
    reduction: Literal["mean", "max"] = "mean",
    largest_is_worst: bool = True,
) -> Tensor | Evaluation:
    """Reduces a measure of each example's comparisons, one bounded pass at a time.

    Args:
        batch: all the examples.
        comparisons: yields the comparisons of one chunk of examples.
        measure: one value for each row of a comparison.
        options: the evaluator's shared keywords.
        total: rows in all, for the progress bar.
        description: of the bar.
        reduction, largest_is_worst: see :class:`RunningResult`.
    """
    parts = []
    with options.progress(total, description) as bar:
        for chunk in options.chunks(batch):
            originals = Originals(chunk, options.forward_func)
            found = RunningResult(len(chunk), options, reduction, largest_is_worst=largest_is_worst)
            for comparison in comparisons(chunk, originals):
                found.add(measure(comparison), comparison)
                bar.update(len(comparison.changed))
            parts.append(found.evaluation())
    return options.result(join(parts), is_tuple=batch.is_tuple)


def compare_by(similarity: Similarity | str) -> Measure:
    """The measure that a similarity is, checked to give one value for each pair of maps."""
    function = by_name(similarity)

    def measure(comparison: Comparison) -> Tensor:
        values = function(as_given(comparison.maps), as_given(comparison.perturbed_maps))
        rows = len(comparison.changed)
        if not isinstance(values, Tensor) or values.shape != (rows,):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"`similarity` must return one value for each of the {rows} pairs of maps, "
                f"got {got}."
            )
        return values

    return measure


def as_given(maps: Tensors) -> Tensors:
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
