"""What a certificate says, in plain English."""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

from captum_robust._base.checks import feature_count

if TYPE_CHECKING:
    from captum_robust.certificates.certificate import Certificate

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
    certificate: Certificate, epsilon: float, k: int | float | None, example: int | None
) -> str:
    """The whole statement; see :meth:`Certificate.statement`."""
    examples = range(len(certificate.mean)) if example is None else [example]
    lines = [
        f"{certificate.terms.method}, {certificate.nt_samples} samples an example, "
        f"{certificate.noise}.",
        _probability(certificate, epsilon),
    ]
    answers = _answers(certificate, epsilon, k)
    for index in examples:
        about = f"  example {index}{_target(certificate.target, index)}: "
        lines.append(about + "; ".join(say(index) for say in answers) + ".")
    lines.append(
        "This is about the smoothed map of that target. "
        "The model's prediction is not certified: it may change."
    )
    return "\n".join(lines)


def describe_noise(certificate: Certificate) -> str:
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


def _probability(certificate: Certificate, epsilon: float) -> str:
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
        size += f" (so every one whose {shift.law.norm} norm is at most {_floored(least)})"
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
        f"With probability at least {_confidence(certificate.alpha)} % over the noise drawn, "
        f"{together}, for {size}, between {first} and {second}:"
    )


def _answers(certificate: Certificate, epsilon: float, k: int | float | None) -> list[Any]:
    """One function of the example for each question that the certificate can answer."""
    asked = certificate.terms.questions or certificate.terms.offered
    if k is not None and "overlap" not in asked:
        raise ValueError(
            f"`k` must be None where the overlap was not asked for, got {k}; the questions were "
            f"{', '.join(asked)}."
        )
    answers = []
    if k is not None and "overlap" in asked and certificate.range.bounded:
        count = feature_count("k", k, certificate.features)
        overlap = certificate.overlap(epsilon, k)
        ways = certificate.winning_routes("overlap", epsilon, k)
        answers.append(
            lambda index: _overlap(float(overlap[index]), count, certificate.features, ways[index])
        )
    if "cosine" in asked and math.isfinite(certificate.range.norm):
        cosine = certificate.cosine(epsilon)
        turns = certificate.winning_routes("cosine", epsilon)
        nothing = 0.0 if certificate.range.nonnegative else -1.0
        answers.append(lambda index: _cosine(float(cosine[index]), nothing, turns[index]))
    if "region_mass" in asked and certificate.shares is not None:
        mass = certificate.region_mass(epsilon)
        answers.append(lambda index: _region(float(mass[index])))
    if not answers:
        raise ValueError(
            "there is nothing to state: give `k` for an overlap, or certify with a transform "
            "of bounded norm such as UnitNorm() for a cosine."
        )
    return answers


def _overlap(share: float, count: int, features: int, route: str) -> str:
    if share <= 0.0:
        return (
            f"nothing is certified of the top {count} of {features} features "
            "(a smaller epsilon, more noise or more samples may help)"
        )
    kept = round(share * count)
    return (
        f"at least {kept} of the top {count} of {features} features ({_percent(share)}) stay there "
        f"({route} route)"
    )


def _cosine(cosine: float, nothing: float, route: str) -> str:
    if cosine <= nothing:
        return (
            "nothing is certified of the cosine "
            "(a smaller epsilon, more noise or more samples may help)"
        )
    degrees = math.ceil(math.degrees(math.acos(cosine)) * 10) / 10
    floored = math.floor(cosine * 1e4) / 1e4
    return (
        f"the cosine is at least {floored:.4f}, an angle of at most {degrees:.1f} degrees "
        f"({route} route)"
    )


def _region(share: float) -> str:
    if share <= 0.0:
        return "nothing is certified of the region"
    return f"at least {_percent(share)} of the features marked lie inside the region on average"


def _confidence(alpha: float) -> str:
    """1 - alpha in percent, exact: a rounded one would promise more, 100 % for a small alpha."""
    percent = 100 - 100 * Decimal(repr(alpha))
    return f"{percent.normalize():f}"


def _floored(size: float) -> str:
    """Four significant digits, rounded down."""
    return f"{float(Context(prec=4, rounding=ROUND_FLOOR).create_decimal(size)):.4g}"


def _percent(share: float) -> str:
    """A share in percent, rounded down."""
    return f"{math.floor(share * 1000 + 1e-9) / 10:g} %"


def _target(target: Any, index: int) -> str:
    if target is None:
        return ""
    if isinstance(target, Tensor):
        target = target.tolist()
    if isinstance(target, list):
        target = target[index] if len(target) > 1 else target[0]
    return f", target {target}"
