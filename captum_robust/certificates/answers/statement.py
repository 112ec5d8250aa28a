"""What a certificate says, in plain English."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust._base.numbers.rounding import (
    confidence_percent,
    down,
    percent_down,
    percent_up,
    up,
)
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.prediction import predicted_interval
from captum_robust.certificates.questions.question import Question
from captum_robust.noise.shift import WeightedShift

_COMPARED: Final = {
    "reported": "The map computed here is compared with the expected map at the perturbed input",
    "population": (
        "The expected map at the input is compared with the expected map at the perturbed input"
    ),
    "redrawn": (
        "The map computed here is compared with a map computed anew at the perturbed input, from "
        "as many fresh samples"
    ),
}


def statement(
    certificate: CertificateData, epsilon: float, example: int | None, arguments: dict[str, Any]
) -> str:
    """The whole statement; see :meth:`Certificate.statement`."""
    examples = _examples(certificate, example)
    sentences = _sentences(certificate, epsilon, arguments)
    lines = [
        f"{certificate.terms.method}: {certificate.nt_samples} samples per example; "
        f"{describe_noise(certificate)}.",
        *([certificate.words.note] if certificate.words.note else []),
        f"{_probability(certificate, len(examples), len(sentences))} the following holds for "
        f"{_perturbations(certificate, epsilon)}. {_COMPARED[certificate.claim]}:",
    ]
    for index in examples:
        about = f"  example {index}{_target(certificate.target, index)}: "
        said = "; ".join(said[index] for said in sentences)
        if not certificate.mean[index].any():
            said = "the smoothed map is zero, so it ranks no features and has no direction"
        lines.append(f"{about}{said}.")
    lines += _under_noise(certificate, examples)
    lines += _arithmetic(certificate)
    lines.append(
        "This is about the smoothed map of that target. "
        "The model's prediction is not certified: it may change."
        if certificate.votes is None
        else "This is about the smoothed map of that target and, where named, the smoothed "
        "classifier. The model's prediction is not certified: it may change."
    )
    return "\n".join(lines)


def _examples(certificate: CertificateData, example: int | None) -> list[int]:
    """The examples that are spoken of."""
    count = len(certificate.mean)
    if example is None:
        return list(range(count))
    if check_count("example", example, low=0) >= count:
        raise ValueError(f"`example` must be in [0, {count - 1}], got {example}.")
    return [example]


def _under_noise(certificate: CertificateData, examples: Iterable[int]) -> list[str]:
    """How often the net predicts what the maps explain, and what follows where it seldom does."""
    votes = certificate.votes
    if votes is None:
        return []
    lower, upper = predicted_interval(certificate)
    percent = confidence_percent(certificate.alpha)
    lines = [f"Under this noise the net predicts what the map explains ({percent} intervals):"]
    seldom = []
    for index in examples:
        share = float(votes.shares[index])
        bounds = f"{percent_down(lower[index])} to {percent_up(upper[index])}"
        line = f"  example {index}: at {percent_down(share)} of the noisy copies ({bounds})"
        if votes.other_counts[index]:
            other = percent_down(votes.other_counts[index] / votes.samples)
            line += f"; next comes label {votes.others[index]}, at {other}"
        lines.append(f"{line}.")
        seldom += [index] if share < 0.5 else []
    if seldom:
        several = f"s {', '.join(map(str, seldom))}" if len(seldom) > 1 else f" {seldom[0]}"
        lines.append(
            f"In example{several} the map explains a label that the net mostly does not see under "
            "this noise. Less noise, a net trained under noise, or a map of the label that it does "
            "see would help."
        )
    return lines


def describe_noise(certificate: CertificateData) -> str:
    """The noise law and its level."""
    shift = certificate.shift
    name = f"{shift.law.name} noise"
    low, high = (float(bound) for bound in (shift.smallest.min(), shift.smallest.max()))
    level = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g} across examples"
    if shift.weighted:
        return f"{name} with a standard deviation for each feature, the smallest {level}"
    body = ""
    if shift.law.has_radius and low == high:
        body = f" (radius {low * shift.law.radius_in_stdevs(shift.dimension):.4g})"
    return f"{name} with a standard deviation of {level} per coordinate{body}"


def _probability(certificate: CertificateData, examples: int, answers: int) -> str:
    """With what probability, and of what; the words in front of the statement."""
    if certificate.kind == "as-published":
        return "By printed formulas, which are not valid bounds,"
    if certificate.kind == "estimate":
        return (
            "If the averages of these samples were the expectations (an estimate and no "
            "certificate),"
        )
    terms = certificate.terms
    whose = []
    if terms.examples > 1:
        whose.append(f"for all {terms.examples} examples together")
    elif examples > 1:
        whose.append("for each example by itself")
    if answers > 1:
        whose.append("all answers together" if terms.questions else "for each answer by itself")
    percent = confidence_percent(certificate.alpha)
    return ", ".join([f"With probability at least {percent} over the noise drawn", *whose]) + ","


def _perturbations(certificate: CertificateData, epsilon: float) -> str:
    """For which perturbations."""
    shift, layer = certificate.shift, certificate.terms.layer
    where = "" if layer is None else f" of the output of {layer}"
    each = f"every perturbation{where}"
    if certificate.kind == "pointwise":
        each = (
            f"each perturbation{where} that is chosen without the fresh samples, taken by itself,"
        )
    size = f"{each} whose {shift.norm} is at most {float(epsilon)!r}"
    if isinstance(shift, WeightedShift):
        least = epsilon * float(shift.smallest.min())
        size += f" (so every one whose {shift.law.norm} norm is at most {down(least)})"
    elif shift.weighted:
        least = epsilon / float(shift.smallest.max())
        size += f" (and every one whose {shift.law.norm} norm of delta / stdev is at most "
        size += f"{down(least)})"
    return size


def _arithmetic(certificate: CertificateData) -> list[str]:
    """What is said of rounding."""
    allowance = certificate.shift.allowance
    if allowance is None:
        return [
            "This certificate was saved by an earlier version, which drew and added noise in the "
            "input's own precision and took it for exact: nothing is left for rounding."
        ]
    if certificate.kind in ("as-published", "estimate") or allowance == 0:
        return []
    return [
        "Rounding is included: drawn and added in floating point, the noise changes no probability "
        f"by more than {float(up(allowance, 2)):.1e}."
    ]


def _sentences(
    certificate: CertificateData, epsilon: float, arguments: dict[str, Any]
) -> list[list[str]]:
    """For each question that the certificate can state, a sentence for each example."""
    terms, known = certificate.terms, Question.known()
    asked = [known[name] for name in terms.questions or terms.offered if name in known]
    for name in arguments:
        if not any(name in kind.parameters() for kind in asked):
            raise ValueError(
                f"`{name}` must be None where no question takes it, got {arguments[name]}; the "
                f"questions were {', '.join(kind.name for kind in asked)}."
            )
    shifts = certificate.shift.of_epsilon(epsilon)
    sentences, about_map = [], terms.questions is not None
    for kind in asked:
        own = {name: arguments[name] for name in arguments if name in kind.parameters()}
        said = kind.stated or terms.questions is not None
        if said and kind.takes(own) and kind.admits(certificate):
            sentences.append(kind(**own).sentences(certificate, shifts))
            about_map |= kind.about_map
    if not sentences or not about_map:
        raise ValueError(
            "there is nothing to state: give `k` for an overlap, or certify with a transform "
            "of bounded norm such as UnitNorm() for a cosine."
        )
    return sentences


def _target(target: Any, index: int) -> str:
    if target is None:
        return ""
    if isinstance(target, Tensor):
        target = target.tolist()
    if isinstance(target, list):
        target = target[index] if len(target) > 1 else target[0]
    return f", target {target}"
