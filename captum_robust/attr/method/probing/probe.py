"""A probe of two rows: does each have an answer of its own, and always the same?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from captum_robust.attr.method.probing.generators import (
    GeneratorStates,
    generators_kept,
    seed_generators,
)
from captum_robust.attr.method.probing.modules import ModelState, called_modules, mixes_examples

Answer = Callable[[list[int]], Any]  # of rows 0 and 1 of the probe, one row of output each

_SEED: Final = 20_260_101


@dataclass(frozen=True)
class Seen:
    """What a probe saw of a function of rows.

    Attributes:
        draws: it drew from a global random generator.
        changed: it gave one row two answers at different times.
        mixed: a row's answer changed with the row beside it.
        gap: the largest difference of two answers to one row, relative to the answers' size.
        rows: the first dimension of its answer to two rows, ``None`` where there is none.
        mixers: modules it called that mix examples in the mode they are in.
    """

    draws: bool = False
    changed: bool = False
    mixed: bool = False
    gap: float = 0.0
    rows: int | None = 2
    mixers: tuple[torch.nn.Module, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether each row has an answer of its own, always the same."""
        return not (self.draws or self.changed or self.mixed or self.mixers) and self.rows == 2


def probe(answer: Answer, root: Any, like: Iterable[Tensor]) -> Seen:
    r"""Asks for two rows alone, together, and again, and compares.

    Row 0, rows 1 and 0 together, row 1, row 0 again, and row 1 from the state at the beginning:
    six rows. Whatever draws from a global generator starts from the same seed each time. Answers
    count as equal if they differ by at most :math:`\sqrt\varepsilon` of the largest of them (3.5e-4
    in float32), since batches of other sizes are summed in another order: rounding of
    :math:`10^3 \varepsilon` and more is common in deep nets, and what mixes rows moves answers by
    more. The state of modules and generators is put back.

    Args:
        answer: gives one row of output for each of the rows 0 and 1 it is asked for.
        root: what modules are found behind.
        like: tensors on the devices that are worked on.
    """
    tensors = list(like)
    devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    state = ModelState(root)
    try:
        with generators_kept(tensors):
            return _looked(answer, state, tensors, devices)
    finally:
        state.restore()


def _looked(
    answer: Answer, state: ModelState, tensors: list[Tensor], devices: set[torch.device]
) -> Seen:
    def ask(rows: list[int]) -> tuple[Tensor, ...]:
        seed_generators(_SEED, devices)
        return parts_of(answer(rows))

    with called_modules() as called:
        seed_generators(_SEED, devices)
        before = GeneratorStates.of(tensors)
        try:
            first = parts_of(answer([0]))
        except (RuntimeError, ValueError):  # as batch normalisation does of a single row
            if not any(map(mixes_examples, called)):
                raise
            first = ()
        draws = before.moved()
    mixers = tuple(filter(mixes_examples, called))
    if mixers:
        return Seen(mixers=mixers)
    both = None if draws else ask([1, 0])
    if both is not None and any(part.shape[:1] != (2,) for part in both):
        return Seen(rows=both[0].shape[0] if both[0].dim() else None)
    second, again = ask([1]), ask([0])
    state.restore()
    fresh = ask([1])
    scale = max(_size(first), _size(second))
    allowed = tolerance(first) * scale
    changed = max(_gap(first, again), _gap(second, fresh))
    beside = max(_gap(first, _row(both, 1)), _gap(second, _row(both, 0))) if both else 0.0
    gap = max(changed, beside) / scale if scale else 0.0
    return Seen(draws, changed > allowed, beside > allowed, gap)


def tolerance(parts: tuple[Tensor, ...]) -> float:
    """The relative difference up to which two answers are equal: the root of the precision."""
    return max(math.sqrt(_precision(part)) for part in parts)


def _precision(part: Tensor) -> float:
    """Spacing of numbers near 1 in the arithmetic behind an answer."""
    if not part.is_floating_point():
        return 0.0
    if torch.is_autocast_enabled(part.device.type):
        return torch.finfo(torch.get_autocast_dtype(part.device.type)).eps
    short = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    if part.is_cuda and part.dtype == torch.float32 and short:
        return 2.0**-10  # TF32 has ten bits
    return torch.finfo(part.dtype).eps


def parts_of(output: Any) -> tuple[Tensor, ...]:
    """Tensors of an output, on memory of their own."""
    found = output if isinstance(output, tuple) else (output,)
    return tuple(part.detach().clone() for part in found)


def _row(parts: tuple[Tensor, ...], index: int) -> tuple[Tensor, ...]:
    return tuple(part[index : index + 1] for part in parts)


def _size(parts: tuple[Tensor, ...]) -> float:
    return max((float(part.abs().max()) for part in parts if part.numel()), default=0.0)


def _gap(these: tuple[Tensor, ...], those: tuple[Tensor, ...]) -> float:
    """The largest difference; infinite for other shapes, 0 for what is not finite in both."""
    if [part.shape for part in these] != [part.shape for part in those]:
        return math.inf
    pairs = [((a - b).abs().nan_to_num(nan=0.0)) for a, b in zip(these, those, strict=True)]
    return _size(tuple(pairs))
