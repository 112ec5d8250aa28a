"""Keyword arguments on their way: into the specs of a call, or to the base method."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from captum.attr import Attribution, NoiseTunnel

from captum_robust.attr.sampling.spec import Sampling
from captum_robust.noise.levels import Levels

Spec = TypeVar("Spec")

_SYNONYMS: Final = {
    "sigma": "stdevs",
    "std": "stdevs",
    "stdev": "stdevs",
    "sd": "stdevs",
    "noise_level": "stdevs",
    "n_samples": "nt_samples",
    "num_samples": "nt_samples",
    "samples": "nt_samples",
    "batch_size": "nt_samples_batch_size",
    "internal_batch_size": "nt_samples_batch_size",
    "mask": "masks",
    "progress": "show_progress",
}


def routed(spec: Spec, words: dict[str, Any]) -> Spec:
    """The spec with those of its fields that stand among ``words``, which are taken out."""
    own = {field.name for field in fields(spec) if field.name in words}  # type: ignore[arg-type]
    return replace(spec, **{name: words.pop(name) for name in own})  # type: ignore[type-var]


def words_of(function: Any) -> set[str] | None:
    """The keyword arguments that a function names; ``None`` where it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return None
    return {one.name for one in parameters}


def words_of_method(attribution: Attribution) -> set[str] | None:
    """The keyword arguments of a method's ``attribute``, those of what it wraps included."""
    words: set[str] = set()
    while isinstance(attribution, NoiseTunnel):
        words |= set(inspect.signature(attribution.attribute).parameters)
        words |= {field.name for field in fields(Sampling)}
        attribution = attribution.attribution_method
    inner = words_of(attribution.attribute)
    return None if inner is None else words | inner


def refuse_unknown(
    smoothed: NoiseTunnel, call: str, given: Mapping[str, Any], *specs: type[Any]
) -> None:
    """Raises where a call got a word that neither it nor the base method takes.

    Args:
        smoothed: the smoothed attribution.
        call: the name of the method called.
        given: words left for the base method.
        *specs: dataclasses whose fields the call takes as words too.

    Raises:
        TypeError: naming the word and the nearest right one.
    """
    own = {*inspect.signature(getattr(smoothed, call)).parameters}
    own |= {field.name for spec in specs for field in fields(spec)}
    caller, attribution = f"{type(smoothed).__name__}.{call}", smoothed.attribution_method
    theirs = words_of_method(attribution)
    unknown = [] if theirs is None else [word for word in given if word not in theirs]
    if unknown:
        known = sorted({*own, *(theirs or ())} - {"self", "args", "kwargs", "attribute_kwargs"})
        word = unknown[0]
        raise TypeError(
            f"{caller} got `{word}`, which neither it nor {type(attribution).__name__}.attribute "
            f"takes; {_advice(word, known)}"
        )


def _advice(word: str, known: list[str]) -> str:
    """What was probably meant, or all that can be."""
    if word in ("nt_type", "create_graph", "draw_baseline_from_distrib"):
        return "it is an argument of `attribute`; a certificate is about the mean map."
    meant = _SYNONYMS.get(word.lower())
    near = [meant] if meant in known else difflib.get_close_matches(word, known, 1, 0.5)
    return f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(known)}."


def refuse_incomplete(
    stdevs: Levels | None,
    radius: Levels | None,
    nt_samples: int | None,
    until: Mapping[str, Any] | None,
    arguments: Mapping[str, Any],
) -> None:
    """Raises where a certificate is asked for without its noise or its samples."""
    if stdevs is None and radius is None:
        raise ValueError("exactly one of `stdevs` and `radius` must be given, got neither.")
    if (nt_samples is None) == (until is None):
        raise ValueError("exactly one of `nt_samples` and `until` must be given.")
    if arguments.get("return_convergence_delta"):
        raise ValueError("`return_convergence_delta` has no meaning for a certificate.")
