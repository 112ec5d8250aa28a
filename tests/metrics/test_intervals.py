import numpy as np
import pytest
import torch
from scipy import stats

from captum_robust.metrics import bootstrap_interval


def test_equals_scipy():
    values = torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = bootstrap_interval(values, n_resamples=500, seed=3)
    expected = stats.bootstrap(
        (values.numpy(),), np.mean, n_resamples=500, rng=np.random.default_rng(3)
    ).confidence_interval
    assert found.mean == pytest.approx(values.mean().item())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_columns_by_themselves():
    values = torch.rand(20, 3)
    found = bootstrap_interval(values, n_resamples=200, seed=0)
    for column in range(3):
        alone = bootstrap_interval(values[:, column], n_resamples=200, seed=0)
        assert [end[column] for end in found] == pytest.approx(list(alone))


def test_covers_the_mean_about_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    trials = 150
    hits = 0
    for seed in range(trials):
        values = torch.rand(40, generator=generator)
        low, high = bootstrap_interval(
            values, n_resamples=300, confidence_level=0.9, method="percentile", seed=seed
        )[1:]
        hits += low <= 0.5 <= high
    assert abs(hits / trials - 0.9) < 4 * (0.9 * 0.1 / trials) ** 0.5


def test_nan_is_left_out_and_constants_are_exact():
    assert bootstrap_interval(torch.tensor([1.0, torch.nan, 1.0])) == (1, 1, 1)
    gaps = bootstrap_interval(torch.tensor([1.0, torch.nan, 2.0, 4.0]), seed=0, n_resamples=99)
    plain = bootstrap_interval(torch.tensor([1.0, 2.0, 4.0]), seed=0, n_resamples=99)
    assert gaps == plain


def test_errors_say_what_came():
    with pytest.raises(ValueError, match=r"at least two finite values in each column"):
        bootstrap_interval(torch.tensor([1.0, torch.nan]))
    with pytest.raises(ValueError, match=r"`values` must have shape \(N,\) or \(N, R\)"):
        bootstrap_interval(torch.ones(2, 2, 2))
    with pytest.raises(ValueError, match=r"`confidence_level` must be in \(0, 1\), got 95."):
        bootstrap_interval(torch.ones(3), confidence_level=95)
    with pytest.raises(ValueError, match=r"`method` must be one of"):
        bootstrap_interval(torch.ones(3), method="exact")
