"""Where perturbed inputs come from: draws from a ball, or an attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any, Final

import torch
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust._base.per_example import unmarked
from captum_robust._base.streams import PERTURBATIONS, SampleStreams
from captum_robust._base.vectors import feature_shapes, unflatten
from captum_robust.metrics.evaluators.batch import Batch, select_arguments
from captum_robust.metrics.evaluators.run import Comparison, Options, Originals
from captum_robust.robust.template.attack import AttributionAttack

PerturbFunc = Callable[..., Tensor | tuple[Tensor, ...]]
AttackKwargs = Mapping[str, Any] | Callable[[float], Mapping[str, Any]] | None

# Without a limit from the user, a pass holds inputs of so many elements: enough for small nets to
# work at full speed, too few to matter in memory.
_ELEMENTS: Final = 2**19


class RandomPerturbation:
    """Draws perturbed inputs: uniformly in the l-infinity ball, or by the user's function.

    Args:
        perturb_func: takes inputs, and the radius if it takes a second argument.
        radius: of the ball, in input units, >= 0.
        clamp: bounds ``(low, high)`` put on the perturbed inputs, or ``None``.
        seed: fixes draw i of example j as a function of (seed, i, j) alone.
    """

    def __init__(
        self,
        perturb_func: PerturbFunc | None,
        radius: float,
        clamp: tuple[float, float] | None,
        seed: int | None,
    ) -> None:
        if perturb_func is not None and seed is not None:
            raise ValueError(
                "`seed` fixes the draws of the built-in perturbation and cannot reach into "
                "`perturb_func`; seed that function itself."
            )
        self._func = perturb_func
        self._radius = check_number("perturb_radius", radius, low=0, high=float("inf"))
        self._clamp = _checked_clamp(clamp)
        self._seed = seed

    def comparisons(
        self, chunk: Batch, originals: Originals, draws: int, options: Options
    ) -> Iterator[Comparison]:
        """Compares ``draws`` perturbations of each example with the original, pass by pass."""
        features = sum(part[0].numel() for part in chunk.inputs)
        for numbers in options.ranges(len(chunk), draws, max(len(chunk), _ELEMENTS // features)):
            rows = chunk.repeat(len(numbers))
            yield originals.compare(rows, self._perturbed(rows, chunk, numbers))

    def _perturbed(self, rows: Batch, chunk: Batch, numbers: range) -> tuple[Tensor, ...]:
        if self._func is None:
            perturbed = self._uniform(rows, chunk, numbers)
        else:
            perturbed = self._by_user(self._func, rows)
        if self._clamp is None:
            return perturbed
        return tuple(tensor.clamp(*self._clamp) for tensor in perturbed)

    def _by_user(self, func: PerturbFunc, rows: Batch) -> tuple[Tensor, ...]:
        given = rows.pack(tuple(tensor.clone() for tensor in rows.inputs))
        wants_radius = len(signature(func).parameters) > 1
        moved = func(given, self._radius) if wants_radius else func(given)
        return checked_perturbed("perturb_func", moved, rows)

    def _uniform(self, rows: Batch, chunk: Batch, numbers: range) -> tuple[Tensor, ...]:
        shapes = feature_shapes(rows.inputs)
        first = rows.inputs[0]
        dtype = torch.promote_types(first.dtype, torch.float32)
        features = sum(shape.numel() for shape in shapes)
        noise = torch.empty(len(rows), features, dtype=dtype, device=first.device)
        if self._seed is None:
            self._fill(noise, None)
        else:
            streams = SampleStreams(self._seed, chunk.ids.tolist(), PERTURBATIONS)
            streams.fill(noise, numbers, self._fill)
        return tuple(
            (tensor + part).to(tensor.dtype)
            for tensor, part in zip(rows.inputs, unflatten(noise, shapes), strict=True)
        )

    def _fill(self, out: Tensor, generator: torch.Generator | None) -> None:
        out.uniform_(-self._radius, self._radius, generator=generator)


class Attack:
    """Any attack with a ``perturb`` in the words of Captum's FGSM or PGD, or the function itself.

    Args:
        attack: the attack; its budget is the argument called ``radius`` or ``epsilon``.
        attack_kwargs: its other arguments, or a function of the radius that gives them. ``target``
            and ``additional_forward_args`` are those of the explanation unless given here.
        seed: passed on to an attack that takes one.
    """

    def __init__(self, attack: Any, attack_kwargs: AttackKwargs, seed: int | None = None) -> None:
        self._perturb = getattr(attack, "perturb", attack)
        if not callable(self._perturb):
            raise TypeError(
                "`attack` must have a `perturb` method or be a function, "
                f"got {type(attack).__name__}."
            )
        self._understands_marks = isinstance(attack, AttributionAttack)
        self._kwargs = attack_kwargs
        self._seed = seed
        parameters = signature(self._perturb).parameters
        self._takes_all = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
        self._words = set(parameters)
        budgets = [word for word in ("radius", "epsilon") if word in parameters]
        if not budgets and not self._takes_all:
            raise TypeError(
                "`attack` must take its budget as `radius` or `epsilon`, "
                f"got the arguments {', '.join(parameters)}."
            )
        self._budget = (budgets or ["radius"])[0]
        if seed is not None and not self._takes("seed"):
            raise ValueError(
                f"`seed` must be None for {type(attack).__name__}, whose `perturb` takes no seed, "
                f"got {seed}."
            )

    def _takes(self, word: str) -> bool:
        return self._takes_all or word in self._words

    def __call__(self, batch: Batch, radius: float, size: int) -> tuple[Tensor, ...]:
        """Inputs attacked within ``radius``; ``size`` is the number of examples in all chunks."""
        if radius == 0:
            return batch.inputs
        given = self._kwargs(radius) if callable(self._kwargs) else self._kwargs or {}
        words: dict[str, Any] = {
            name: batch.arguments[name]
            for name in ("target", "additional_forward_args")
            if name in batch.arguments and self._takes(name)
        }
        if self._seed is not None:
            words["seed"] = self._seed
        if "example_ids" in self._words:  # the attack's draws do not depend on the chunks either
            words["example_ids"] = batch.ids.tolist()
        words |= select_arguments(given, batch.ids, size)
        if self._budget in words:
            raise ValueError(
                f"`attack_kwargs` must leave `{self._budget}` to the evaluator, "
                f"got {words[self._budget]}."
            )
        if not self._understands_marks:
            words = {name: unmarked(value) for name, value in words.items()}
        words[self._budget] = radius
        moved = self._perturb(batch.pack(batch.inputs), **words)
        return checked_perturbed("attack", moved, batch)


def checked_perturbed(name: str, perturbed: Any, batch: Batch) -> tuple[Tensor, ...]:
    """The perturbed inputs as a tuple, once they have the inputs' shapes and are finite."""
    tensors = perturbed if isinstance(perturbed, tuple) else (perturbed,)
    shapes = [tuple(tensor.shape) for tensor in tensors if isinstance(tensor, Tensor)]
    wanted = [tuple(tensor.shape) for tensor in batch.inputs]
    if shapes != wanted or len(tensors) != len(wanted):
        raise ValueError(f"`{name}` must return perturbed inputs of shapes {wanted}, got {shapes}.")
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise ValueError(f"`{name}` must return finite inputs, got NaN or infinity.")
    return tuple(tensor.detach() for tensor in tensors)


def _checked_clamp(clamp: tuple[float, float] | None) -> tuple[float, float] | None:
    if clamp is None:
        return None
    if not isinstance(clamp, tuple) or len(clamp) != 2 or not clamp[0] < clamp[1]:
        raise ValueError(f"`clamp` must be a pair (low, high) with low < high, got {clamp!r}.")
    return clamp
