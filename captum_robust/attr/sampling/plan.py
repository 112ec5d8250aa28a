"""Everything one call samples: which noise on which inputs, in passes of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from numbers import Real
from typing import Any, Final

import torch
from torch import Size, Tensor

from captum_robust._base.checks import check_count
from captum_robust._base.per_example import chosen, repeated, settled, unmarked
from captum_robust._base.streams import BASELINES, METHOD, NOISE, SampleStreams, resolved_seed
from captum_robust._base.targets import chosen_targets
from captum_robust._base.vectors import feature_shapes, unflatten
from captum_robust.attr.method.groups import Groups
from captum_robust.attr.method.watch import OutputWatch
from captum_robust.attr.sampling.spec import Clamp
from captum_robust.noise.arithmetic import NoisyFeatures, dither, drawing_device, drawn_bits
from captum_robust.noise.law import NoiseLaw
from captum_robust.noise.levels import NoiseLevel
from captum_robust.transforms.transform import Transform

# A pass holds at most so many rows and so many input elements, unless the batch itself is larger.
_ROWS: Final = 128
_ELEMENTS: Final = 2**21


@dataclass
class SamplingPlan:
    """The noisy inputs of one call and the arguments that go with them.

    Rows of a pass are example-major, as in Captum: all samples of the first example, then all of
    the second.

    Attributes:
        inputs: tensors ``(N, *)``.
        is_tuple: whether the user gave a tuple.
        law, level: the noise.
        samples: number of samples an example.
        stops: numbers of samples at which a pass must end.
        batch: samples an example and pass; chosen so that any batch fits where ``None``.
        seed, example_ids: streams of the noise; one seed is drawn where ``seed`` is None.
        clamp: bounds put on the noisy inputs.
        arguments: keyword arguments of the base method's ``attribute``.
        draw_baseline: whether each row takes a random row of the baselines.
        own_baselines: whether the base method puts all baselines to every row by itself.
        draws: whether the base method draws random numbers of its own.
        one_row: whether it gets one row at a time, so that no two share its draws.
        watch: sees what the net predicts at the noisy inputs.
        groups: the groups of a method's own ``feature_mask``, which are the features then.
    """

    inputs: tuple[Tensor, ...]
    is_tuple: bool
    law: NoiseLaw
    level: NoiseLevel
    samples: int
    stops: tuple[int, ...] = ()
    batch: int | None = None
    seed: int | None = None
    example_ids: Sequence[int] | Tensor | None = None
    clamp: Clamp | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    draw_baseline: bool = False
    own_baselines: bool = False
    draws: bool = False
    one_row: bool = False
    watch: OutputWatch | None = None
    groups: Groups | None = None

    def __post_init__(self) -> None:
        self.samples = check_count("nt_samples", self.samples)
        examples = self.inputs[0].shape[0]
        if self.batch is None:
            room = min(_ROWS, _ELEMENTS // max(self.level.dimension, 1)) // examples
            self.batch = max(1, room)
        self.batch = min(check_count("nt_samples_batch_size", self.batch), self.samples)
        ids = range(examples) if self.example_ids is None else self.example_ids
        ids = ids.tolist() if isinstance(ids, Tensor) else ids
        if len(ids) != examples:
            raise ValueError(
                f"`example_ids` must have one entry for each of the {examples} examples, "
                f"got {len(ids)}."
            )
        self.seed = resolved_seed(self.seed)
        self._streams = SampleStreams(self.seed, ids, NOISE)
        self._baseline_streams = SampleStreams(self.seed, ids, BASELINES)
        self._draw_streams = SampleStreams(self.seed, ids, METHOD)
        pairs = zip(self.inputs, self.level.scales, strict=True)
        self._features = [NoisyFeatures(tensor, scale) for tensor, scale in pairs]
        self._expanded: dict[int, dict[str, Any]] = {}
        _check_clamp(self.clamp, self.inputs)

    def applied(self, transform: Transform) -> Transform:
        """What is done with each map: one value a group first, where there are groups."""
        return transform if self.groups is None else self.groups >> transform

    def passes(self) -> list[range]:
        """The sample numbers of each pass."""
        step = self.batch or 1
        ends = sorted({*self.stops, self.samples})
        return [
            range(start, min(start + step, end))
            for begin, end in pairwise([0, *ends])
            for start in range(begin, end, step)
        ]

    def noisy_inputs(self, samples: range, graph: bool = False) -> tuple[Tensor, ...]:
        """The inputs with noise, ``(N * b, *)``, rounded to the inputs' dtype and clamped.

        How they are rounded is told in :mod:`captum_robust.noise.arithmetic`.
        """
        features, drawn = self.level.dimension, self.level.dimension + self.law.extra
        rows = self.inputs[0].shape[0] * len(samples)
        device = drawing_device(self.inputs[0].device)
        bits = drawn_bits(rows, drawn + features, device, self._streams, samples)
        noise = self.law.of_bits(bits[:, :drawn], features)
        shapes = feature_shapes(self.inputs)
        chances = unflatten(dither(bits[:, drawn:]), shapes)
        apart = (-1, len(samples))
        noisy = (
            one.rounded(part.unflatten(0, apart), chance.unflatten(0, apart), graph).flatten(0, 1)
            for one, part, chance in zip(
                self._features, unflatten(noise, shapes), chances, strict=True
            )
        )
        if self.clamp is None:
            return tuple(noisy)
        return tuple(part.clamp(*_as_bounds(self.clamp, part)) for part in noisy)

    def expanded_arguments(self, count: int) -> dict[str, Any]:
        """The keyword arguments for ``count`` samples an example; what is shared stays whole."""
        if count not in self._expanded:
            examples = self.inputs[0].shape[0]
            self._expanded[count] = self.arguments_for(repeated(examples, count))
        return self._expanded[count]

    def draw_seed(self, example: int, sample: int) -> int:
        """What a base method's own draws are seeded with for a pass that begins there."""
        return self._draw_streams.seed_of(example, sample)

    def arguments_for(self, rows: Tensor) -> dict[str, Any]:
        """The keyword arguments of the examples with these numbers."""
        examples, ranks = self.inputs[0].shape[0], {tensor.dim() for tensor in self.inputs}
        found = dict(self.arguments)
        if "target" in found:
            found["target"] = chosen_targets(found["target"], rows, examples)
        if "additional_forward_args" in found:
            found["additional_forward_args"] = chosen(found["additional_forward_args"], rows)
        for name in ("baselines", "feature_mask"):
            if found.get(name) is None:
                continue
            whole = name == "baselines" and (self.draw_baseline or self.own_baselines)
            value = found[name] if whole else settled(name, found[name], examples, ranks)
            found[name] = unmarked(value if whole else chosen(value, rows))
        return found

    def arguments_of(self, samples: range) -> dict[str, Any]:
        """The keyword arguments of one pass, with baselines drawn where that is wanted."""
        arguments = self.expanded_arguments(len(samples))
        drawn_here = self.draw_baseline and not self.own_baselines
        if drawn_here and arguments.get("baselines") is not None:
            return arguments | {"baselines": self._drawn_baselines(samples)}
        return arguments

    def _drawn_baselines(self, samples: range) -> Any:
        """A random row of each baseline tensor for each row of the pass."""
        given = self.arguments["baselines"]
        baselines = given if isinstance(given, tuple) else (given,)
        rows = self.inputs[0].shape[0] * len(samples)
        chance = torch.empty(rows, len(baselines), dtype=torch.float64)
        self._baseline_streams.fill(
            chance, samples, lambda out, generator: out.uniform_(generator=generator)
        )
        drawn = tuple(
            baseline[(column * baseline.shape[0]).long().to(baseline.device)]
            if isinstance(baseline, Tensor)
            else baseline
            for baseline, column in zip(baselines, chance.unbind(1), strict=True)
        )
        return drawn if isinstance(given, tuple) else drawn[0]


def _as_bounds(clamp: Clamp, noisy: Tensor) -> tuple[Tensor, Tensor]:
    low, high = (torch.as_tensor(bound, dtype=noisy.dtype, device=noisy.device) for bound in clamp)
    return low, high


def _check_clamp(clamp: Clamp | None, inputs: tuple[Tensor, ...]) -> None:
    if clamp is None:
        return
    pair = isinstance(clamp, tuple) and len(clamp) == 2
    if not pair or not all(isinstance(bound, Real | Tensor) for bound in clamp):
        raise TypeError(
            f"`clamp` must be a pair (low, high) of numbers or tensors, got {clamp!r}; "
            "an infinite number leaves a side open."
        )
    low, high = (torch.as_tensor(bound) for bound in clamp)
    if not (low < high).all():
        raise ValueError(f"`clamp` must be a pair with low < high, got {clamp!r}.")
    for bound, tensor in product((low, high), inputs):
        example = Size((1, *tensor.shape[1:]))
        try:
            fits = torch.broadcast_shapes(bound.shape, example) == example
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"`clamp` must broadcast to an example of shape {tuple(example)}, "
                f"got shape {tuple(bound.shape)}."
            )
