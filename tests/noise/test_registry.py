"""Noise laws are found by their names, whoever defines them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from captum.attr import Saliency

from captum_robust.attr import SmoothedAttribution, Sparsify, UnitNorm
from captum_robust.certificates import Certificate
from captum_robust.noise import GaussianNoise, NoiseLaw, UniformBoxNoise, known_laws, law_named
from captum_robust.noise.law import _REGISTRY


@pytest.fixture(autouse=True)
def only_our_laws():
    before = dict(_REGISTRY)
    yield
    _REGISTRY.clear()
    _REGISTRY.update(before)


def test_our_laws_are_known_by_name():
    assert {"Gaussian", "uniform ball", "uniform box"} <= set(known_laws())
    assert law_named("Gaussian") == GaussianNoise()
    with pytest.raises(ValueError, match=r"'Gaussian'.*got 'Gauss'.*import the module"):
        law_named("Gauss")


def test_a_name_belongs_to_one_law_and_a_class_may_be_defined_again():
    with pytest.raises(TypeError, match=r"must set `name` and `norm`.*name=None"):

        class Nameless(GaussianNoise):
            pass

    with pytest.raises(TypeError, match=r"must differ.*'uniform box'.*UniformBoxNoise"):

        class Copy(GaussianNoise):
            name = "uniform box"

    assert law_named("uniform box") == UniformBoxNoise()

    def again():
        class Mine(GaussianNoise):
            name = "mine"

        return Mine

    first, second = again(), again()
    assert first is not second and type(law_named("mine")) is second


class Slabs(NoiseLaw):
    """Uniform on two slabs, [-b, -b/2] and [b/2, b]; total variation by the union bound."""

    name = "test slabs"
    norm = "l1"
    reach = math.sqrt(12 / 7)

    def from_uniform(self, centred):
        return self.reach * torch.sign(centred) * (1 + centred.abs()) / 2

    def total_variation(self, shift, dimension):
        return np.minimum(2 * np.asarray(shift, float) / self.reach, 1.0)


def test_a_law_of_four_lines_samples_bounds_certifies_states_saves_and_loads(tmp_path):
    _REGISTRY[Slabs.name] = Slabs
    law = Slabs()
    noise = law.sample(4000, 3, dtype=torch.float64)
    assert noise.abs().min() >= law.reach / 2 and noise.abs().max() <= law.reach
    assert float(noise.square().mean()) == pytest.approx(1, abs=5 * 0.5 / math.sqrt(12000))
    assert not law.has_radius
    with pytest.raises(ValueError, match="`radius` needs a noise law with a body"):
        law.radius_in_stdevs(3)
    shifts = law.inverse_total_variation([0.0, 0.2, 0.5], 3)
    assert (law.total_variation(shifts, 3) <= [0.0, 0.2, 0.5]).all()
    assert shifts == pytest.approx(np.array([0.0, 0.1, 0.25]) * law.reach, rel=1e-12, abs=1e-15)
    assert law.separation(0.9, 0.3, 3) == pytest.approx(0.15 * law.reach, rel=1e-12)

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Softplus(), torch.nn.Linear(4, 2))
    inputs = torch.randn(2, 3)
    for transform in (Sparsify(1), UnitNorm()):
        smooth = SmoothedAttribution(Saliency(model), noise=law, transform=transform)
        certificate = smooth.certify(inputs, target=0, stdevs=0.5, nt_samples=400, seed=0)
        text = certificate.statement(epsilon=0.01, k=1)
        assert "test slabs noise" in text and "l1 norm" in text and "radius" not in text
        certificate.save(tmp_path / "one.npz")
        loaded = Certificate.load(tmp_path / "one.npz")
        assert loaded.shift.law == law
        assert torch.equal(loaded.overlap(0.01, k=1), certificate.overlap(0.01, k=1))
        assert torch.equal(loaded.cosine(0.01), certificate.cosine(0.01))
    del _REGISTRY[Slabs.name]
    with pytest.raises(ValueError, match="got 'test slabs'; import the module"):
        Certificate.load(tmp_path / "one.npz")
