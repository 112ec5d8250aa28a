"""Ranks by counting and by conservation: literal counts, worst maps, the design's values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from captum_robust.certificates import certified_ranks, conserved_ranks, median_rank_bound
from captum_robust.certificates.confidence.elementwise.hoeffding import hoeffding_half_width


def worst_rank(values, j):
    """1 + how many others may stand at or above j: ties against it."""
    return 1 + sum(values[i] >= values[j] for i in range(len(values)) if i != j)


@pytest.mark.parametrize("block", range(2))
def test_counted_ranks_are_the_exact_worst_case_over_the_box(block):
    for seed in range(block * 120, block * 120 + 120):
        rng = np.random.default_rng(seed)
        means = rng.random(int(rng.integers(1, 9)))
        means = np.round(means, 1) if seed % 3 == 0 else means
        down, up = rng.random((2, means.size)) * rng.choice([0.0, 0.1, 0.5])
        lower, upper = np.clip(means - down, 0, 1), np.clip(means + up, 0, 1)
        for j, rank in enumerate(certified_ranks(lower, upper)):
            worst = upper.copy()
            worst[j] = lower[j]
            assert rank == worst_rank(worst, j)
            for _ in range(20):
                assert worst_rank(rng.uniform(lower, upper), j) <= rank


@pytest.mark.parametrize("seed", range(3))
def test_conserved_ranks_are_attained_and_never_beaten(seed):
    rng = np.random.default_rng(seed)
    for _ in range(80):
        size = int(rng.integers(1, 12))
        total = float(rng.integers(1, size + 1))
        values = rng.random(size) ** rng.choice([1, 4])
        values *= total / values.sum()
        lower = values * rng.random(size)
        ranks = conserved_ranks(lower, total)
        for j in range(size):
            assert worst_rank(values, j) <= ranks[j]
            if lower[j] > 0:  # as many features at l_j as there is mass for
                level = np.full(int(ranks[j]), lower[j])
                assert level.sum() <= total * (1 + 1e-9)
                one_more = lower[j] * (ranks[j] + 1) > total * (1 - 1e-9)
                assert one_more or ranks[j] == size
    with np.errstate(all="raise"):
        assert (conserved_ranks(np.zeros(4), 2.0) == 4).all()  # a zero map ranks nothing
        assert (conserved_ranks(np.zeros(4), math.inf) == 4).all()  # no total is known
        assert (conserved_ranks(np.full(4, 0.3), math.inf) == 4).all()
        assert (conserved_ranks([-0.2, 0.5], 1.0) == [2, 2]).all()


def test_exact_divisions_keep_their_rank():
    for rank in range(1, 50):
        assert conserved_ranks([10.0 / rank] + [0.0] * 99, 10.0)[0] == rank


def test_values_of_the_design():
    # m 1000, T 100, N 1000, eps/sigma 0.2, one scalar bound (Hoeffding) a feature.
    c = hoeffding_half_width(1000, 0.05, 1000)
    f = [1.0] * 100 + [0.0] * 900
    ours, theorem = [], []
    for mean in (0.5, 0.7, 0.9):
        lower = norm.cdf(norm.ppf(mean - c) - 0.2)
        ours.append(int(conserved_ranks([lower] + [0.0] * 999, 100.0)[0]))
    theorem = median_rank_bound(100, f, ratio=0.2, half_width=c)
    assert ours == sorted(ours, reverse=True)
    assert theorem > ours[0]
    exact = math.ceil(100 / norm.cdf(-0.4))
    assert median_rank_bound(100, f, ratio=0.2, half_width=0.0) == exact == 291


def test_median_rank_is_never_below_a_rank_that_a_half_space_reaches():
    # T features each 1 on the half-space, of mean exactly 1/2 at x: after the shift they hold
    # Phi(-t) each, and the mass they lose makes T / Phi(-t) features as large.
    for kept in (1, 5, 20):
        for ratio in (0.0, 0.1, 0.5):
            f = [1.0] * kept + [0.0] * 200
            bound = median_rank_bound(kept, f, ratio=ratio, half_width=0.0)
            reached = math.floor(kept / norm.cdf(-ratio))
            assert reached <= bound


def test_general_rank_values():
    f = np.array([1.0, 0.6, 0.3, 0.0])
    bound = median_rank_bound(2, f, ratio=0.0, half_width=0.0)
    assert bound == math.ceil(1.9 / 0.3 - 1e-9)
    assert median_rank_bound(4, f, ratio=0.0, half_width=0.0) == math.inf
    assert median_rank_bound(1, f, ratio=0.0, half_width=0.5) == math.inf
    assert median_rank_bound(1, f, ratio=9.0, half_width=0.1) == math.inf
    for bad in (0, 5):
        with pytest.raises(ValueError, match=r"`median_rank` must be in \[1, 4\]"):
            median_rank_bound(bad, f, ratio=0.1, half_width=0.0)


def test_monotone():
    rng = np.random.default_rng(0)
    means = rng.random(20)
    previous = np.ones(20, dtype=int)
    for half in (0.0, 0.05, 0.2, 0.6):
        ranks = certified_ranks(means - half, means + half)
        assert (ranks >= previous).all()
        previous = ranks
    assert (conserved_ranks(means, 5.0) <= conserved_ranks(means / 2, 5.0)).all()
