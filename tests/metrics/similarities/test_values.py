import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from captum_robust.metrics import (
    cosine_distance,
    cosine_similarity,
    lp_distance,
    mse,
    pearson_correlation,
    ssim,
)

ROWS = st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=6)


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def maps(features, seed=0, kind="continuous"):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(2, features, generator=generator, dtype=torch.float64)
    b = a + torch.randn(2, features, generator=generator, dtype=torch.float64)
    return ((2 * a).round(), (2 * b).round()) if kind == "tied" else (a, b)


def test_cosine_by_hand():
    assert cosine_similarity(row(1, 0), row(3, 4)).item() == pytest.approx(0.6, abs=1e-15)
    assert cosine_distance(row(1, 0), row(3, 4)).item() == pytest.approx(0.4, abs=1e-15)


def test_distances_by_hand():
    a, b = row(0, 0, 1), row(3, 4, 1)
    assert lp_distance(a, b).item() == 5
    assert lp_distance(a, b, 1).item() == 7
    assert lp_distance(a, b, math.inf).item() == 4
    assert mse(a, b).item() == pytest.approx(25 / 3)


@pytest.mark.parametrize("kind", ["continuous", "tied"])
@pytest.mark.parametrize("features", [2, 7, 150_528])
def test_pearson_equals_scipy(features, kind):
    a, b = maps(features, seed=4, kind=kind)
    expected = [stats.pearsonr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    np.testing.assert_allclose(pearson_correlation(a, b), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_angles_do_not_depend_on_scale(scale):
    a, b = maps(50)
    for measure in (cosine_similarity, pearson_correlation):
        torch.testing.assert_close(measure(a * scale, b), measure(a, b))
        torch.testing.assert_close(measure(a * scale, b * scale), measure(a, b))


@settings(deadline=None, max_examples=50)
@given(ROWS, ROWS)
def test_ranges_and_symmetry(x, y):
    a, b = row(*x), row(*y)
    for measure in (cosine_similarity, pearson_correlation):
        value = measure(a, b)
        assert -1 <= value <= 1
        torch.testing.assert_close(value, measure(b, a))
    assert 0 <= cosine_distance(a, b) <= 2
    assert lp_distance(a, b) == lp_distance(b, a)


@settings(deadline=None, max_examples=50)
@given(ROWS, ROWS, st.floats(0.5, 3), st.floats(-100, 100))
def test_pearson_ignores_shift_and_scale(x, y, factor, shift):
    a, b = row(*x), row(*y)
    if a.std() > 1e-3 and b.std() > 1e-3:
        moved = pearson_correlation(a * factor + shift, b)
        torch.testing.assert_close(moved, pearson_correlation(a, b), rtol=0, atol=1e-9)


def test_zero_and_constant_maps_have_their_documented_values():
    zero, ones, other = torch.zeros(1, 4), torch.full((1, 4), 0.1), torch.arange(4.0)[None]
    assert cosine_similarity(zero, zero) == 1
    assert cosine_similarity(zero, other) == 0
    assert cosine_distance(zero, other) == 1
    assert pearson_correlation(ones, other) == 0
    assert pearson_correlation(ones, 3 * ones) == 1
    assert pearson_correlation(zero, ones) == 1
    assert lp_distance(zero, zero) == 0


def test_gradients_agree_with_finite_differences():
    a, b = (part.requires_grad_() for part in maps(6))
    for measure in (cosine_similarity, cosine_distance, pearson_correlation, mse):
        assert torch.autograd.gradcheck(measure, (a, b))
        assert torch.autograd.gradcheck(lambda a, b, m=measure: m(a, b, normalize="l2"), (a, b))
    for p in (1, 1.5, 2, 3, math.inf):
        assert torch.autograd.gradcheck(lambda a, b, p=p: lp_distance(a, b, p), (a, b))


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, math.inf])
def test_gradient_of_distance_is_zero_where_maps_agree(p):
    a = torch.ones(2, 3, requires_grad=True)
    lp_distance(a, torch.ones(2, 3), p).sum().backward()
    assert torch.equal(a.grad, torch.zeros(2, 3))


@pytest.mark.parametrize("measure", [cosine_similarity, pearson_correlation, mse, ssim])
@pytest.mark.parametrize("normalize", [None, "sum", "max", "l2"])
def test_gradients_at_zero_maps_are_numbers(measure, normalize):
    for other in (torch.zeros(2, 1, 8, 8), torch.randn(2, 1, 8, 8)):
        a, b = torch.zeros(2, 1, 8, 8, requires_grad=True), other.requires_grad_()
        measure(a, b, normalize=normalize).sum().backward()
        assert torch.isfinite(a.grad).all()
        assert torch.isfinite(b.grad).all()


def test_order_below_one_is_refused():
    with pytest.raises(ValueError, match=r"`p` must be in \[1, inf\], got 0.5."):
        lp_distance(row(1), row(1), 0.5)
