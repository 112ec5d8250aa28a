"""What a certificate says, in plain English."""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor

from captum_robust._base.numbers.rounding import confidence_percent, down
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.question import Question

_MAPS: Final = {
    "reported": (
        "the map computed here",
        "the expected map at the perturbed input",
    ),
    "population": (
        "the expected map at the input",
        "the expected map at the perturbed input",
    ),
    "redrawn": (
        "the map computed here",
        "a map computed anew, from as many fresh samples, at the perturbed input",
    ),
}


def statement(
    certificate: CertificateData, epsilon: float, example: int | None, arguments: dict[str, Any]
) -> str:
    """The whole statement; see :meth:`Certificate.statement`."""
    examples = range(len(certificate.mean)) if example is None else [example]
    lines = [
        f"{certificate.terms.method}, {certificate.nt_samples} samples an example, "
        f"{describe_noise(certificate)}.",
        _probability(certificate, epsilon),
    ]
    sentences = _sentences(certificate, epsilon, arguments)
    for index in examples:
        about = f"  example {index}{_target(certificate.target, index)}: "
        lines.append(about + "; ".join(said[index] for said in sentences) + ".")
    lines.append(
        "This is about the smoothed map of that target. "
        "The model's prediction is not certified: it may change."
    )
    return "\n".join(lines)


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
    return f"{name} of per-coordinate standard deviation {level}{body}"


def _probability(certificate: CertificateData, epsilon: float) -> str:
    first, second = _MAPS[certificate.claim]
    shift = certificate.shift
    layer = certificate.terms.layer
    where = "" if layer is None else f" of the output of {layer}"
    each = f"every perturbation{where}"
    if certificate.kind == "pointwise":
        each = f"each perturbation{where} by itself, chosen without the fresh samples,"
    size = f"{each} whose {shift.norm} is at most {float(epsilon)!r}"
    if shift.weighted:
        least = epsilon * float(shift.smallest.min())
        size += f" (so every one whose {shift.law.norm} norm is at most {down(least)})"
    if certificate.kind == "as-published":
        return (
            f"By printed formulas, which are not valid bounds, for {size}, "
            f"between {first} and {second}:"
        )
    if certificate.kind == "estimate":
        return (
            "If the averages of these samples were the expectations, an estimate and no "
            f"certificate, for {size}, between {first} and {second}:"
        )
    together = "jointly" if certificate.terms.questions else "each by itself"
    return (
        f"With probability at least {confidence_percent(certificate.alpha)} over the noise drawn, "
        f"{together}, for {size}, between {first} and {second}:"
    )


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
    sentences = []
    for kind in asked:
        own = {name: arguments[name] for name in arguments if name in kind.parameters()}
        said = kind.stated or terms.questions is not None
        if said and kind.takes(own) and kind.admits(certificate):
            sentences.append(kind(**own).sentences(certificate, shifts))
    if not sentences:
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
