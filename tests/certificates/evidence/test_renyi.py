"""The Renyi route of certify: maps as distributions, a zero map as an outcome of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust.attr import GaussianSmoothing, UniformSmoothing, UnitSum
from captum_robust.certificates import renyi_displacement_shifts
from captum_robust.certificates.confidence.elementwise.kl_chernoff import kl_chernoff
from captum_robust.certificates.evidence.norm import NORM_SLACK
from captum_robust.noise import GaussianNoise


class Fixed(Attribution):
    """One map for every input; a share of the rows, at random, is zero."""

    def __init__(self, values: list[float], zeros: float = 0.0) -> None:
        super().__init__(lambda x: x)
        self.values, self.zeros = torch.tensor(values), zeros

    def attribute(self, inputs: Tensor, **_: Any) -> Tensor:
        kept = inputs[:, :1] > torch.special.ndtri(torch.tensor(self.zeros))
        return self.values * kept


def test_without_zero_maps_it_is_the_pure_function() -> None:
    values = [5.0, 3.0, 1.0, 0.5, 0.5]
    smooth = GaussianSmoothing(Fixed(values), transform=UnitSum())
    certificate = smooth.certify(
        torch.zeros(1, 5), stdevs=1.0, nt_samples=4000, seed=0, route="renyi"
    )
    mean = np.array(values) / 10 / (1.0 + NORM_SLACK)
    outcomes = np.append(mean, 1.0 - mean.sum())
    bounds = kl_chernoff(outcomes, 4000, 0.05, 6)
    expected = renyi_displacement_shifts(outcomes, *bounds, 2)
    assert expected[0] > 0
    radius = certificate.certified_radius(overlap=1.0, k=2)
    assert float(radius) == pytest.approx(expected[0], rel=1e-6)


def test_zero_maps_are_an_outcome_of_their_own() -> None:
    values = [8.0, 1.0, 0.5, 0.5]
    smooth = GaussianSmoothing(Fixed(values, zeros=0.3), transform=UnitSum())
    certificate = smooth.certify(
        torch.zeros(1, 4), stdevs=1.0, nt_samples=4000, seed=0, route="renyi"
    )
    # What rounding can add to the sum of a map is taken off it, and belongs to no feature.
    mean = certificate.mean[0].numpy() / (1.0 + NORM_SLACK)
    outcomes = np.append(mean, 1.0 - mean.sum())
    assert outcomes[-1] == pytest.approx(0.3, abs=0.04)
    lower, upper = kl_chernoff(outcomes, 4000, 0.05, 5)
    off = GaussianNoise().rounding_distance(4)
    expected = renyi_displacement_shifts(outcomes, lower - off, upper + off, 1)
    assert float(certificate.certified_radius(overlap=1.0, k=1)) == pytest.approx(
        expected[0], rel=1e-9
    )
    # "No feature" is the second most frequent outcome: nothing can be said of the top two.
    assert float(certificate.overlap(0.0, k=2)) == 0.0


def test_it_says_less_than_the_elementwise_route_knows_exactly() -> None:
    # With 0/1 means known well both are valid; neither may exceed the truth, a shift of infinity.
    smooth = GaussianSmoothing(Fixed([9.0, 1.0]), transform=UnitSum())
    certificate = smooth.certify(
        torch.zeros(1, 2), stdevs=1.0, nt_samples=2000, seed=0, route="renyi"
    )
    assert 0 < float(certificate.certified_radius(overlap=1.0, k=1)) < 5


def test_what_it_refuses() -> None:
    x = torch.zeros(1, 2)
    terms: dict[str, Any] = {"stdevs": 1.0, "nt_samples": 50, "seed": 0, "route": "renyi"}
    plain = GaussianSmoothing(Fixed([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"needs maps that sum to one.*UnitSum\(\)"):
        plain.certify(x, norm_bound=10.0, **terms).overlap(0.0, k=1)
    ball = UniformSmoothing(Fixed([1.0, 2.0]), transform=UnitSum())
    with pytest.raises(ValueError, match="needs Gaussian noise"):
        ball.certify(x, **terms).overlap(0.0, k=1)
    unit = GaussianSmoothing(Fixed([1.0, 2.0]), transform=UnitSum())
    with pytest.raises(ValueError, match="'redrawn'"):
        unit.certify(x, claim="redrawn", **terms).overlap(0.0, k=1)


def test_the_statement_names_the_comparator() -> None:
    smooth = GaussianSmoothing(Fixed([9.0, 1.0]), transform=UnitSum())
    for route in ("renyi", "lecuyer"):
        certificate = smooth.certify(
            torch.zeros(1, 2), stdevs=1.0, nt_samples=2000, seed=0, route=route
        )
        assert certificate.winning_routes("overlap", 0.01, k=1) == [route]
        assert f"({route} route)" in certificate.statement(0.01, k=1)
