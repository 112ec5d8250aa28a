"""What exchanging top features costs: literal minimisation, ties, and every small map."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize

from captum_robust.certificates.functionals.exchange import ExchangeCosts


def literal_cost(leaving, entering):
    """The cheapest common level by a search, from every kink on."""
    leaving, entering = np.asarray(leaving), np.asarray(entering)

    def square(level):
        above, below = np.clip(leaving - level, 0, None), np.clip(level - entering, 0, None)
        return above @ above + below @ below

    values = np.concatenate([leaving, entering])
    found = optimize.minimize_scalar(
        square,
        bounds=(values.min() - 1e-9, values.max() + 1e-9),
        method="bounded",
        options={"xatol": 1e-12},
    )
    return np.sqrt(min([found.fun, *map(square, values)]))


def random_map(seed):
    rng = np.random.default_rng(seed)
    means = rng.normal(size=int(rng.integers(1, 12)))
    if seed % 3 == 0:
        means = np.round(means, 1)  # ties
    return means * rng.choice([1e-6, 1.0, 1e3]), int(rng.integers(1, means.size + 1))


@pytest.mark.parametrize("block", range(3))
def test_cost_is_the_literal_minimum_and_never_above_it(block):
    for seed in range(block * 60, block * 60 + 60):
        means, count = random_map(seed)
        costs = ExchangeCosts(means, count)
        order = np.argsort(-means, kind="stable")
        assert costs.most == min(count, means.size - count)
        scale = np.abs(means).max()
        for exchanged in range(costs.most + 1):
            leaving = means[order[count - exchanged : count]]
            entering = means[order[count : count + exchanged]]
            cost = costs.cost(exchanged)
            if not exchanged:
                assert cost == 0.0
                continue
            wanted = literal_cost(leaving, entering)
            assert cost <= wanted * (1 - 0.5e-9) + 1e-14 * scale
            assert cost >= wanted * (1 - 1e-6) - 1e-9 * scale
        rising = [costs.cost(n) for n in range(costs.most + 1)]
        assert (np.diff(rising) >= -1e-12 * scale).all()  # what bisection rests on


@pytest.mark.parametrize("block", range(4))
def test_displaced_is_the_exact_worst_case_over_all_sets(block):
    """Every other top set, at the distance of the nearest map that has it."""
    for seed in range(500 + block * 60, 500 + block * 60 + 60):
        means, count = random_map(seed)
        means = means[:7] / max(np.abs(means).max(), 1e-12)
        count = min(count, means.size)
        costs = ExchangeCosts(means, count)
        top = set(np.argsort(-means, kind="stable")[:count])
        distances = []
        for chosen in itertools.combinations(range(means.size), count):
            inside = np.isin(range(means.size), chosen)
            if inside.all():
                distances.append((0.0, 0))
                continue
            # Those chosen must rise to a common level, all others fall to it.
            cost = literal_cost(means[~inside], means[inside])
            distances.append((cost, count - len(top & set(chosen))))
        for distance in (0.0, 0.05, 0.2, 0.5, 1.0, 3.0):
            lost = max(n for cost, n in distances if cost <= distance + 1e-12)
            surely = max((n for cost, n in distances if cost <= distance - 1e-7), default=0)
            assert surely <= costs.displaced(distance)  # never false
            assert costs.displaced(distance) <= max(
                lost, max(n for cost, n in distances if cost <= distance + 1e-6)
            )  # and nothing given away


def test_ties_k_of_one_and_all_features():
    assert ExchangeCosts([1.0, 1.0, 0.0], 1).displaced(0.0) == 1  # a tie may go either way
    assert ExchangeCosts([2.0, 1.0, 0.0], 3).displaced(1e9) == 0
    one = ExchangeCosts([2.0, 1.0], 1)
    assert one.displaced(0.7) == 0 and one.displaced(0.7072) == 1
    assert ExchangeCosts(np.zeros(6), 4).displaced(0.0) == 2
    crowded = ExchangeCosts([5.0, 4.0, 3.0, 2.0, 1.0], 4)  # K > m/2: only one can leave
    assert crowded.most == 1 and crowded.displaced(100.0) == 1


def test_values_far_from_zero_lose_no_digits():
    """The spread is a billionth of the values; literally, on the spread alone."""
    rng = np.random.default_rng(3)
    small = rng.integers(0, 1_000, size=40) / 2.0**30  # exact after adding 1
    near, far = ExchangeCosts(small, 15), ExchangeCosts(small + 1.0, 15)
    for exchanged in range(16):
        assert far.cost(exchanged) == pytest.approx(near.cost(exchanged), rel=1e-9)


def test_large_maps_agree_with_the_search():
    rng = np.random.default_rng(0)
    means = rng.random(20_000)
    costs = ExchangeCosts(means, 2_000)
    order = np.sort(means)[::-1]
    for exchanged in (1, 50, 2_000):
        wanted = literal_cost(order[2_000 - exchanged : 2_000], order[2_000 : 2_000 + exchanged])
        assert wanted * (1 - 2e-9) - 1e-12 <= costs.cost(exchanged) <= wanted


def test_sums_of_a_million_values_stay_below_the_exact_cost():
    """All active, by exactly rounded sums of the squared gaps to the common level."""
    rng = np.random.default_rng(1)
    top, rest = 1.0 + 0.3 * rng.random(10**6), 0.3 * rng.random(10**6)
    costs = ExchangeCosts(np.concatenate([top, rest]), 10**6)
    level = math.fsum(np.concatenate([top, rest])) / (2 * 10**6)
    exact = math.sqrt(math.fsum(np.concatenate([(top - level) ** 2, (level - rest) ** 2])))
    assert exact * (1 - 1e-8) <= costs.cost(10**6) < exact
