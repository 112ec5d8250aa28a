"""The Renyi comparator against brute-force minimisation over all maps that break the overlap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, special

from captum_robust.certificates.printed.renyi import renyi_displacement_shifts, renyi_threshold


def divergence(q: np.ndarray, p: np.ndarray, order: float) -> float:
    return float(np.log((q**order * p ** (1 - order)).sum()) / (order - 1))


def brute_threshold(p: np.ndarray, count: int, order: float, exchanges: int) -> float:
    """Minimises over q for every choice of features that leave and that enter."""
    best = np.inf
    for out in itertools.combinations(range(count), exchanges):
        for into in itertools.combinations(range(count, p.size), exchanges):
            order_of = [
                {"type": "ineq", "fun": lambda q, i=i, j=j: q[j] - q[i]} for i in out for j in into
            ]
            found = optimize.minimize(
                divergence,
                np.full(p.size, 1.0 / p.size),
                args=(p, order),
                bounds=[(1e-9, 1.0)] * p.size,
                constraints=[{"type": "eq", "fun": lambda q: q.sum() - 1.0}, *order_of],
                method="SLSQP",
                options={"maxiter": 500, "ftol": 1e-14},
            )
            if found.success:
                best = min(best, found.fun)
    return best


def exchanges_of(count: int, share: float) -> int:
    """Features that have to leave for the overlap to fall below a share."""
    return int(np.floor((1 - share) * count)) + 1


@pytest.mark.parametrize("features, count, share", [(3, 1, 1.0), (5, 2, 1.0), (6, 3, 0.5)])
@pytest.mark.parametrize("order", [1.5, 3.0, 8.0])
def test_threshold_is_the_minimum_over_all_maps_that_break_the_overlap(
    features, count, share, order
):
    rng = np.random.default_rng(features)
    p = np.sort(rng.dirichlet(np.ones(features)))[::-1]
    exchanges = exchanges_of(count, share)
    brute = brute_threshold(p, count, order, exchanges)
    assert renyi_threshold(p, count, order, exchanges) == pytest.approx(brute, abs=2e-6)


@pytest.mark.parametrize("order", [1.5, 3.0])
def test_printed_threshold_lies_above_the_minimum_where_two_features_leave(order):
    p = np.array([0.6, 0.1, 0.1, 0.1, 0.1])
    brute = brute_threshold(p, 2, order, 2)
    assert renyi_threshold(p, 2, order, 2) == pytest.approx(brute, abs=1e-6)
    assert renyi_threshold(p, 2, order, 2, published=True) > brute + 5e-3


def test_printed_threshold_is_the_minimum_where_one_feature_leaves():
    p = np.array([0.5, 0.3, 0.12, 0.05, 0.03])
    for count, order in itertools.product((1, 2, 3), (1.2, 4.0)):
        printed = renyi_threshold(p, count, order, published=True)
        assert renyi_threshold(p, count, order) == pytest.approx(printed, rel=1e-9)


def test_printed_example_of_one_pair():
    # k = 1, n = 2: pooled power mean of the two largest (Li et al., 2019).
    p, order = np.array([0.7, 0.2, 0.1]), 2.5
    mean = np.mean(p[:2] ** (1 - order)) ** (1 / (1 - order))
    expected = -np.log(1 - p[:2].sum() + 2 * mean)
    assert renyi_threshold(p, 1, order) == pytest.approx(expected, rel=1e-9)


def slow_gap(leaving: np.ndarray, entering: np.ndarray, order: float) -> float:
    """One exchange at a time, the root found by brentq."""

    def balance(u):
        rise = (entering[entering < u] ** (1 - order) - u ** (1 - order)).sum()
        return (u ** (1 - order) - leaving[leaving > u] ** (1 - order)).sum() - rise

    if leaving.max() <= entering.min():
        return 0.0
    u = optimize.brentq(balance, entering.min(), leaving.max(), xtol=1e-16, rtol=1e-14)
    return (leaving[leaving > u] - u).sum() - (u - entering[entering < u]).sum()


def test_shifts_agree_with_a_slow_search_over_orders():
    rng = np.random.default_rng(0)
    for _ in range(5):
        p = np.sort(rng.dirichlet(np.full(14, 0.4)))[::-1]
        shifts = renyi_displacement_shifts(p, p, p, 6)
        for n, shift in enumerate(shifts, start=1):
            slow = max(
                np.sqrt(-2 * np.log1p(-slow_gap(p[6 - n : 6], p[6 : 6 + n], order)) / order)
                for order in 1 + np.geomspace(1e-4, 30, 300)
            )
            assert shift <= slow * (1 + 1e-5)
            assert shift == pytest.approx(slow, rel=0.01)


def test_shifts_grow_with_the_number_of_features_that_leave():
    p = np.sort(np.random.default_rng(1).dirichlet(np.full(400, 0.3)))[::-1]
    shifts = renyi_displacement_shifts(p, p, p, 60)
    assert shifts.shape == (60,)
    assert (np.diff(shifts) >= 0).all()


def test_bounds_give_the_worst_case_over_the_box():
    rng = np.random.default_rng(2)
    mean = np.array([0.3, 0.22, 0.18, 0.1, 0.06, 0.05, 0.03])
    lower, upper = mean - 0.02, mean + 0.02
    worst = renyi_displacement_shifts(mean, lower, upper, 3)
    for _ in range(40):
        p = rng.uniform(lower, np.minimum(upper, 1.0 / upper.sum() * upper))
        exact = renyi_displacement_shifts(p, p, p, 3)
        assert (worst <= exact * (1 + 1e-8)).all()
    corner = np.where(np.arange(7) < 3, lower, upper)
    exact = renyi_displacement_shifts(corner, corner, corner, 3)
    assert worst == pytest.approx(exact, rel=1e-8)


def test_unknown_top_is_never_better():
    mean = np.array([0.3, 0.22, 0.18, 0.1, 0.06, 0.05, 0.03])
    lower, upper = mean - 0.02, mean + 0.02
    known = renyi_displacement_shifts(mean, lower, upper, 3)
    unknown = renyi_displacement_shifts(mean, lower, upper, 3, known_top=False)
    assert (unknown <= known + 1e-12).all()


def test_never_false_on_half_spaces():
    # Every sample's map is one-hot: feature i where the noise falls into the i-th slab. Slabs
    # moved by a shift t have known masses, so the true order at every shift is known.
    edges = np.array([-np.inf, -1.2, -0.4, 0.5, 1.0, np.inf])
    masses = [np.diff(special.ndtr(edges - t)) for t in np.linspace(-1.0, 1.0, 401)]
    p = masses[200]
    for count in (1, 2, 3):
        shifts = renyi_displacement_shifts(p, p, p, count)
        top = set(np.argsort(-p)[:count])
        for t, moved in zip(np.linspace(-1.0, 1.0, 401), masses, strict=True):
            certified = count - np.searchsorted(shifts, abs(t), side="right")
            assert len(top & set(np.argsort(-moved)[:count])) >= certified


def test_printed_shifts_are_too_large_where_two_features_leave():
    p = np.array([0.6, 0.1, 0.1, 0.1, 0.1])
    ours = renyi_displacement_shifts(p, p, p, 2)
    printed = renyi_displacement_shifts(p, p, p, 2, published=True)
    assert np.isneginf(ours[0]) and np.isneginf(printed[0])
    assert printed[1] > 1.02 * ours[1]


def test_edges():
    p = np.full(4, 0.25)
    assert np.isneginf(renyi_displacement_shifts(p, p, p, 2)).all()
    assert renyi_displacement_shifts(p, p, p, 4).size == 0
    sure = np.array([1.0, 0.0, 0.0])  # entering features of mass 0 cannot be reached by order > 1
    assert renyi_displacement_shifts(sure, sure, sure, 1)[0] > 4.0
    assert renyi_threshold(p, 2, 2.0, 2) == 0.0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"means": [0.9, 0.9], "count": 1, "order": 2.0}, "distribution over features"),
        ({"means": [0.9, 0.1], "count": 1, "order": 1.0}, "`order` must be in"),
        ({"means": [0.9, 0.1], "count": 2, "order": 2.0}, "`exchanges` must be in"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        renyi_threshold(**arguments)
