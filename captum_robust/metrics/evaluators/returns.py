"""What evaluators return, for type checkers: values alone, or an evaluation that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from torch import Tensor

from captum_robust._base.vectors import Tensors
from captum_robust.metrics.evaluators.batch import Explain, Forward
from captum_robust.metrics.evaluators.evaluation import Evaluation

On = Literal[True]
Off = Literal[False]
Named = Mapping[str, Explain]
Arguments = ParamSpec("Arguments")
Values = TypeVar("Values", covariant=True)
More = TypeVar("More", covariant=True)


# The formal types of the first two arguments agree: one of type Any then leaves no ambiguity.


class Evaluator(Protocol[Arguments, Values, More]):
    """Returns ``More`` with a ``forward_func`` or ``return_perturbed``, ``Values`` without."""

    @overload
    def __call__(
        self, explanation_func: Explain, inputs: Tensors, *a: Any, return_perturbed: On, **k: Any
    ) -> More: ...
    @overload
    def __call__(
        self, explanation_func: Explain, inputs: Tensors, *a: Any, forward_func: Forward, **k: Any
    ) -> More: ...
    @overload
    def __call__(
        self, explanation_func: Explain, inputs: Tensors, *a: Any, return_perturbed: Off, **k: Any
    ) -> Values: ...
    @overload
    def __call__(
        self, explanation_func: Explain, inputs: Tensors, *a: Any, return_perturbed: bool, **k: Any
    ) -> Values | More: ...
    @overload
    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Values: ...


class CurveEvaluator(Protocol[Arguments, Values, More]):
    """Returns ``More`` with ``return_curve`` or ``return_perturbed``, ``Values`` without."""

    @overload
    def __call__(
        self, explanation_func: Explain, inputs: Tensors, *a: Any, return_perturbed: On, **k: Any
    ) -> More: ...
    @overload
    def __call__(
        self, explanation_func: Explain, inputs: Tensors, *a: Any, return_curve: On, **k: Any
    ) -> More: ...
    @overload
    def __call__(
        self, explanation_func: Explain, inputs: Tensors, *a: Any, return_curve: Off, **k: Any
    ) -> Values: ...
    @overload
    def __call__(
        self, explanation_func: Explain, inputs: Tensors, *a: Any, return_curve: bool, **k: Any
    ) -> Values | More: ...
    @overload
    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Values: ...


class NamedEvaluator(Protocol[Arguments, Values, More]):
    """An :class:`Evaluator` of several explanation functions."""

    @overload
    def __call__(
        self, explanation_funcs: Named, inputs: Tensors, *a: Any, return_perturbed: On, **k: Any
    ) -> More: ...
    @overload
    def __call__(
        self, explanation_funcs: Named, inputs: Tensors, *a: Any, forward_func: Forward, **k: Any
    ) -> More: ...
    @overload
    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Values: ...


# Each returns the function itself.


def evaluator(
    function: Callable[Arguments, Tensor | Evaluation],
) -> Evaluator[Arguments, Tensor, Evaluation]:
    """Of a function that evaluates one way of explaining."""
    return cast("Evaluator[Arguments, Tensor, Evaluation]", function)


def evaluator_by_name(
    function: Callable[Arguments, dict[str, Tensor | Evaluation]],
) -> NamedEvaluator[Arguments, dict[str, Tensor], dict[str, Evaluation]]:
    """Of a function that evaluates several ways of explaining."""
    return cast("NamedEvaluator[Arguments, dict[str, Tensor], dict[str, Evaluation]]", function)


def curve_evaluator(
    function: Callable[Arguments, Tensor | Evaluation],
) -> CurveEvaluator[Arguments, Tensor, Evaluation]:
    """Of a function that evaluates a curve."""
    return cast("CurveEvaluator[Arguments, Tensor, Evaluation]", function)
