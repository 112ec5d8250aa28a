"""The Renyi route of the overlap: a map as a distribution over features."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.evidence.elementwise import confidence_of
from captum_robust.certificates.evidence.norm import NORM_SLACK
from captum_robust.certificates.functionals.overlap import top_indices
from captum_robust.certificates.printed.renyi import renyi_displacement_shifts
from captum_robust.noise import GaussianNoise

Array = NDArray[np.float64]


def renyi_limits(certificate: CertificateData, count: int, alpha: float) -> Iterator[Array]:
    r"""Shifts from which on 1, 2, ... of each example's top ``count`` may leave, non-decreasing.

    A zero map sums to 0, not 1, and may come at a perturbed input even if none came at x. So an
    outcome "no feature" is added, which makes every sample's map a distribution over m + 1
    outcomes. It is never among the top here; where it enters the top there it pushes a feature out
    of them, so the overlap over features is at least that over outcomes.

    Raises:
        ValueError: if maps are not distributions, the law is not Gaussian, or the claim is about a
            fresh average.
    """
    if not (certificate.range.nonnegative and certificate.range.total <= 1.0):
        raise ValueError(
            f'`route` "renyi" needs maps that sum to one, which {certificate.terms.method} does '
            "not give; use transform=UnitSum()."
        )
    if certificate.shift.law != GaussianNoise() or certificate.claim == "redrawn":
        raise ValueError(
            '`route` "renyi" needs Gaussian noise and the claim "reported" or "population", got '
            f"{certificate.shift.law.name} noise and {certificate.claim!r}."
        )
    for example in range(len(certificate.mean)):
        build = partial(_limits_of, certificate, example, count, alpha)
        yield certificate.remembered.get(("renyi", count, alpha, example), build)


def _limits_of(certificate: CertificateData, example: int, count: int, alpha: float) -> Array:
    """The shifts of one example."""
    # What rounding can add to the sum of a map belongs to no feature either.
    mean = certificate.mean[example].numpy() / (1.0 + NORM_SLACK)
    outcomes = np.append(mean, max(0.0, 1.0 - mean.sum()))
    if mean.size in top_indices(outcomes, count):  # most samples marked nothing
        return np.full(count, -np.inf)
    confidence = confidence_of(certificate)
    if confidence.needs_variances:
        raise ValueError(
            f'`route` "renyi" has no variance of the outcome "no feature", which `confidence` '
            f'"{confidence.name}" needs; use "kl" or "hoeffding".'
        )
    lower, upper = confidence.bounds(outcomes, certificate.nt_samples, alpha, outcomes.size)
    # Samples are as computed; the expected map at the perturbed input is that of the ideal law.
    off = certificate.shift.slack
    lower, upper = np.clip(lower - off, 0.0, 1.0), np.clip(upper + off, 0.0, 1.0)
    return renyi_displacement_shifts(
        outcomes,
        lower,
        upper,
        count,
        known_top=certificate.claim != "population",
        published=certificate.terms.published,
    )
