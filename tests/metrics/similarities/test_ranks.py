import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from captum_robust.metrics import kendall_tau, spearman_rho
from captum_robust.metrics.similarities.ranks import kendall_tau as kendall

INTS = st.lists(st.integers(-3, 3), min_size=9, max_size=9)


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def random_maps(features, kind, examples=2):
    generator = torch.Generator().manual_seed(features)
    a = torch.randn(examples, features, generator=generator, dtype=torch.float64)
    b = a + torch.randn(examples, features, generator=generator, dtype=torch.float64)
    return ((2 * a).round(), (2 * b).round()) if kind == "tied" else (a, b)


def printed_kendall(a, b):
    """The double sum of [WK24] B.2, literally, over the number of pairs."""
    pairs = list(itertools.combinations(range(len(a)), 2))
    return sum(a[i] > a[j] and b[i] > b[j] for i, j in pairs) / len(pairs)


@pytest.fixture
def by_bits(monkeypatch):
    """Counts inversions bit by bit, as on other devices than the CPU, at any size."""
    monkeypatch.setattr(kendall, "_SCIPY_FEATURES", 10**9)


def test_spearman_by_hand():
    # d^2 = 1 each: 1 - 6 * 4 / (4 * 15)
    assert spearman_rho(row(1, 2, 3, 4), row(2, 1, 4, 3)).item() == pytest.approx(0.6)


def test_kendall_by_hand():
    # of the pairs (0,1), (0,2), (1,2) only (0,2) is ordered alike
    a, b = row(3, 1, 2), row(2, 3, 1)
    assert kendall_tau(a, b).item() == pytest.approx(-1 / 3)
    assert kendall_tau(a, b, variant="concordant").item() == pytest.approx(1 / 3)
    assert kendall_tau(row(1, 2, 3), row(1, 2, 3), variant="concordant").item() == 0
    assert kendall_tau(row(3, 2, 1), row(3, 2, 1), variant="concordant").item() == 1


@pytest.mark.parametrize("kind", ["continuous", "tied"])
@pytest.mark.parametrize("features", [2, 3, 64, 65, 1200, 150_528])
def test_equal_to_scipy(features, kind):
    a, b = random_maps(features, kind)
    pairs = list(zip(a.numpy(), b.numpy(), strict=True))
    tau = [stats.kendalltau(x, y).statistic for x, y in pairs]
    rho = [stats.spearmanr(x, y).statistic for x, y in pairs]
    np.testing.assert_allclose(kendall_tau(a, b), tau, rtol=0, atol=1e-9)
    np.testing.assert_allclose(spearman_rho(a, b), rho, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["continuous", "tied"])
@pytest.mark.parametrize("features", [1023, 1024, 1025, 50_176])
def test_counting_by_bits_equals_scipy(by_bits, features, kind):
    a, b = random_maps(features, kind, examples=3)
    pairs = zip(a.numpy(), b.numpy(), strict=True)
    tau = [stats.kendalltau(x, y).statistic for x, y in pairs]
    np.testing.assert_allclose(kendall_tau(a, b), tau, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(INTS, INTS)
def test_printed_variant_equals_the_literal_double_sum(x, y):
    value = kendall_tau(row(*x), row(*y), variant="concordant").item()
    assert value == pytest.approx(printed_kendall(x, y), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(INTS, INTS)
def test_symmetric_and_unchanged_by_increasing_maps(x, y):
    a, b = row(*x), row(*y)
    for measure in (kendall_tau, spearman_rho):
        value = measure(a, b)
        assert -1 <= value <= 1
        torch.testing.assert_close(value, measure(b, a))
        torch.testing.assert_close(value, measure(a.exp(), b**3))
        torch.testing.assert_close(measure(a, a), torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize("features", [1, 5, 2000])
@pytest.mark.parametrize("measure", [kendall_tau, spearman_rho])
def test_constant_maps_have_their_documented_values(measure, features):
    constant = torch.full((1, features), 0.3)
    assert measure(constant, 2 * constant) == 1
    if features > 1:
        assert measure(constant, torch.arange(float(features))[None]) == 0


def test_each_row_by_itself():
    a, b = random_maps(1500, "tied", examples=4)
    a[1] = 1.0
    for measure in (kendall_tau, spearman_rho):
        alone = torch.cat([measure(a[i : i + 1], b[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(measure(a, b), alone)


def test_unknown_variant():
    with pytest.raises(ValueError, match=r"`variant` must be one of 'b', 'concordant', got 'c'."):
        kendall_tau(row(1, 2), row(1, 2), variant="c")
