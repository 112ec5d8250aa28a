"""From sines to cosines and back."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from captum_robust.certificates import cosine_from_sine
from captum_robust.certificates.functionals.angle import sine_from_cosine
from captum_robust.certificates.printed.formulas import published_cosine, published_ratio


@pytest.mark.parametrize(
    "length, reach, truth", [(1, 0.3, 0.95394), (1, 0.7, 0.71414), (2, 1.9, 0.31225), (1, 1.5, -1)]
)
def test_examples_of_the_correction(length, reach, truth):
    assert float(cosine_from_sine(reach / length)) == pytest.approx(truth, abs=5e-6)
    assert float(published_cosine(reach / length)) > truth  # what is printed is no bound


def test_nothing_beyond_a_sine_of_one():
    assert cosine_from_sine([1.0, 1.5, np.inf]).tolist() == [-1.0] * 3
    assert cosine_from_sine([1.0, 1.5, np.inf], nonnegative=True).tolist() == [0.0] * 3
    assert float(cosine_from_sine(1 - 1e-16 * 2, nonnegative=True)) >= 0.0
    assert float(cosine_from_sine(0.0)) <= 1.0


def test_never_rounded_up():
    mp.mp.dps = 40
    sines = np.concatenate([np.linspace(0, 0.999, 50), 1 - np.geomspace(1e-15, 1e-3, 60)])
    for sine, cosine in zip(sines, cosine_from_sine(sines), strict=True):
        exact = mp.sqrt(1 - mp.mpf(float(sine)) ** 2)
        assert cosine <= exact and cosine >= exact - mp.mpf("1e-7")


def test_inverse():
    cosines = np.linspace(0, 1, 101)
    sines = sine_from_cosine(cosines)
    back = cosine_from_sine(sines)
    np.testing.assert_allclose(back[1:], cosines[1:], atol=1e-5)
    assert (back >= cosines - 1e-11)[1:].all()
    np.testing.assert_allclose(published_cosine(published_ratio(cosines[1:])), cosines[1:])
