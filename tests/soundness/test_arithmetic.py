"""Methods that try to read the clean input out of the low-order bits of the noisy one.

Each is deterministic, as a certificate demands. ``single`` draws and adds noise as it was done
before, in the input's own precision: there the attacks succeed, which shows that they are attacks.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust.attr import GaussianSmoothing, Sparsify, UniformSmoothing, UniGrad, UnitNorm
from captum_robust.attr.sampling.plan import SamplingPlan
from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise
from captum_robust.noise.levels import resolve_level

LAWS = {"Gaussian": GaussianNoise, "ball": UniformBallNoise, "box": UniformBoxNoise}
SMOOTHED = {"Gaussian": GaussianSmoothing, "ball": UniformSmoothing, "box": UniGrad}


class Reader(Attribution):
    """Marks feature 0 where every element of the noisy input passes a test, else feature 1."""

    is_gradient_method = False

    def __init__(self, passes: Any) -> None:
        super().__init__(lambda x: x)
        self.passes = passes

    def attribute(self, inputs: Tensor, **_: Any) -> Tensor:
        is_clean = self.passes(inputs).flatten(1).all(1)
        maps = torch.zeros_like(inputs)
        maps[:, 0], maps[:, 1] = is_clean, ~is_clean
        return maps


def noisy(law: Any, clean: Tensor, stdev: float, samples: int, clamp: Any = None) -> Tensor:
    """Noisy inputs as the library makes them."""
    level = resolve_level(law, (clean,), stdev, None)
    plan = SamplingPlan((clean,), False, law, level, samples, batch=samples, seed=7, clamp=clamp)
    return plan.noisy_inputs(range(samples))[0]


def single(law: Any, clean: Tensor, stdev: float, samples: int) -> Tensor:
    """Noisy inputs as they were made before: everything in the input's precision."""
    torch.manual_seed(0)
    noise = torch.empty(samples, clean.shape[1], dtype=clean.dtype)
    if isinstance(law, UniformBoxNoise):
        noise.uniform_(-1.0, 1.0).mul_(math.sqrt(3))
    else:
        noise.normal_()
    return clean + noise * stdev


def reachable(clean: Tensor, stdev: float, bits: int = 23) -> Any:
    """Whether z can be clean + stdev * sqrt(3) * u with u a multiple of 2^-bits, in float32."""
    scale = torch.tensor(math.sqrt(3), dtype=torch.float32)

    def passes(z: Tensor) -> Tensor:
        steps = ((z - clean).double() / float(scale) / stdev * 2**bits).round()
        tries = torch.stack([steps + offset for offset in range(-3, 4)])
        made = clean + (tries / 2**bits).float() * scale * stdev
        return (made == z).any(0)

    return passes


def test_a_box_of_sixteen_features_no_longer_tells_where_its_centre_is():
    """Issue: delta of 1e-4 a coordinate, certified overlap 1.0, the map other in every draw."""
    clean, delta, stdev = torch.full((1, 16), 0.01), 1e-4, 0.25
    moved = clean + delta
    reader = reachable(clean, stdev)
    before = [
        reader(single(UniformBoxNoise(), point, stdev, 1000)).all(1).double().mean()
        for point in (clean, moved)
    ]
    assert before[0] == 1.0 and before[1] <= 0.01  # it used to know
    smooth = UniGrad(Reader(reader), transform=Sparsify(1))
    certificate = smooth.certify(clean, stdevs=stdev, nt_samples=4000, alpha=1e-3, seed=0)
    there = smooth.attribute(moved, stdevs=stdev, nt_samples=4000, seed=1)
    here = smooth.attribute(clean, stdevs=stdev, nt_samples=4000, seed=2)
    size = float((moved - clean).abs().sum())
    claimed = float(certificate.overlap(size, k=1))
    actual = float(there[0].argmax() == certificate.attributions[0].argmax())
    assert claimed <= actual
    assert (here - there).abs().max() <= size / (2 * stdev * math.sqrt(3)) + 4 * math.sqrt(1 / 4000)


@pytest.mark.parametrize(
    "d, shift, samples", [(3072, 0.7, 400), pytest.param(150_528, 0.1, 64, marks=pytest.mark.slow)]
)
def test_gaussian_noise_at_zero_no_longer_tells_where_its_centre_is(d, shift, samples):
    """Issue: at x = 0 noise has digits far below those that survive a sum with x + delta."""
    clean, stdev = torch.zeros(1, d), 0.25
    count = d // 4
    moved = clean.clone()
    moved[0, :count] = shift * stdev / math.sqrt(count)

    def passes(z: Tensor) -> Tensor:
        """Whether z - moved lost digits: then z was not moved + noise, so it is clean + noise."""
        part = z[:, :count]
        return ((part - moved[:, :count]) + moved[:, :count] != part).any(1, keepdim=True)

    before = [
        passes(single(GaussianNoise(), point, stdev, samples)).double().mean()
        for point in (clean, moved)
    ]
    assert before[0] >= 0.9 and before[1] <= 0.05
    law = GaussianNoise()
    here, there = (passes(noisy(law, point, stdev, samples)) for point in (clean, moved))
    rates = [float(part.double().mean()) for part in (here, there)]
    allowed = float(law.total_variation(shift, d)) + 2 * law.rounding_distance(d)
    assert abs(rates[0] - rates[1]) <= allowed + 4 * math.sqrt(0.5 / samples)
    smooth = GaussianSmoothing(Reader(passes), transform=Sparsify(1))
    certificate = smooth.certify(clean, stdevs=stdev, nt_samples=samples, alpha=1e-3, seed=0)
    fresh = smooth.attribute(moved, stdevs=stdev, nt_samples=samples, seed=3)
    if certificate.precedes(0, 1, shift * stdev)[0]:
        assert fresh[0, 0] > fresh[0, 1]
    if certificate.precedes(1, 0, shift * stdev)[0]:
        assert fresh[0, 1] > fresh[0, 0]


OFFSETS = {
    "zero": (0.0, torch.float32),
    "negative zero": (-0.0, torch.float32),
    "denormal": (1e-42, torch.float32),
    "a third": (1 / 3, torch.float32),
    "a large offset": (1e4 + 1 / 3, torch.float32),
    "integers": (200.0, torch.float32),
    "bfloat16": (0.3, torch.bfloat16),
    "half": (0.3, torch.float16),
    "double": (1 / 3, torch.float64),
    "double with a large offset": (1e9 + 1 / 3, torch.float64),
}
BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def fingerprints(z: Tensor) -> list[Tensor]:
    """Statistics of low-order digits in [0, 1], each of which may know the clean input."""
    wide = z.double()
    kinds = [
        torch.signbit(z) & (z == 0),
        (wide * 2**10) % 1 == 0,
        (wide * 2**16) % 1 < 0.5,
        (wide * 2**18) % 2 < 1,
        (wide * 3e5) % 1 < 0.5,
    ]
    if z.dtype in BITS:
        patterns = z.view(BITS[z.dtype])
        kinds += [(patterns >> bit) & 1 == 1 for bit in (0, 1, 2, 5)]
    return [kind.double() for kind in kinds]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", OFFSETS)
def test_digits_of_noisy_inputs_differ_by_no_more_than_the_laws_do(law, kind):
    """x and its neighbour on other digits: every statistic of digits moves by TV at most."""
    value, dtype = OFFSETS[kind]
    stdev, samples, d = 0.25, 20_000, 4
    clean = torch.full((1, d), value, dtype=dtype)
    moved = torch.nextafter(clean.clone(), torch.full_like(clean, math.inf))
    if kind in ("integers",):
        moved = clean + 2.0**-10
    size = (moved - clean).double()
    noise = LAWS[law]()
    shift = float(size.abs().sum() if noise.norm == "l1" else size.norm()) / stdev
    for one, two in zip(
        *(fingerprints(noisy(noise, point, stdev, samples)) for point in (clean, moved)),
        strict=True,
    ):
        # Means over d features of a statistic in [0, 1]; equal seeds do no harm.
        allowed = float(noise.total_variation(shift, d)) + 2 * noise.rounding_distance(d)
        assert abs(float(one.mean() - two.mean())) <= allowed + 5 * math.sqrt(0.5 / samples)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_clamped_noise_stays_inside_and_keeps_its_law(dtype):
    clean = torch.tensor([[0.1, 0.9, 0.5]], dtype=dtype)
    z = noisy(GaussianNoise(), clean, 0.5, 4000, clamp=(0.0, 1.0))
    assert z.dtype == dtype and z.min() >= 0 and z.max() <= 1
    expected = [0.5 * math.erfc(value / 0.5 / math.sqrt(2)) for value in clean[0].tolist()]
    assert (z == 0).double().mean(0).numpy() == pytest.approx(np.array(expected), abs=0.04)


def test_every_noisy_input_lies_on_a_grid_that_does_not_depend_on_the_input():
    for value in (0.0, -0.0, 1e-30, 1 / 3, -0.7, 77.7):
        z = noisy(GaussianNoise(), torch.full((1, 50), value, dtype=torch.float64), 0.3, 40)
        steps = z / 2.0**-18  # 0.3 lies in [2^-2, 2^-1), 2^17 steps below 2^-1
        assert torch.equal(steps, steps.round())
        assert not (torch.signbit(z) & (z == 0)).any()


def test_the_rounding_is_right_on_average():
    for value in (0.0, 2.0**-20, 0.3):
        clean = torch.full((1, 2), value, dtype=torch.float64)
        z = noisy(UniformBoxNoise(), clean, 1e-3, 100_000)
        tolerance = 5e-3 / math.sqrt(200_000)
        assert float((z - clean).mean()) == pytest.approx(0, abs=tolerance)
        assert float((z - clean).std()) == pytest.approx(1e-3, rel=0.01)


def test_the_allowance_is_paid_at_both_inputs_by_every_answer():
    law = GaussianNoise()
    allowance = law.rounding_distance(6)
    assert 0 < allowance < 1e-8
    inputs = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    method = Reader(lambda z: z[:, :1] > 0)
    settings: dict[str, Any] = {"stdevs": 0.5, "nt_samples": 400, "seed": 0, "alpha": 0.1}
    masks = torch.arange(6) < 1
    sparse = GaussianSmoothing(method, transform=Sparsify(1))
    unit = GaussianSmoothing(method, transform=UnitNorm())
    from dataclasses import replace

    for smooth, given in ((sparse, {"masks": masks}), (unit, {}), (unit, {"route": "hcr"})):
        certificate = smooth.certify(inputs, **settings, **given)
        assert certificate.shift.allowance == allowance
        ideal = replace(certificate, shift=replace(certificate.shift, allowance=0.0))
        worse = replace(certificate, shift=replace(certificate.shift, allowance=0.02))
        asked = [("cosine", ()), ("l2_deviation", ())]
        if "masks" in given:
            asked += [("region_mass", ())]
        for question, more in asked:
            exact, paid, much = (
                getattr(one, question)(0.05, *more) for one in (ideal, certificate, worse)
            )
            sign = -1 if question == "l2_deviation" else 1
            assert (sign * exact >= sign * paid).all() and (sign * paid >= sign * much).all()
            assert torch.allclose(exact, paid, atol=1e-6) and not torch.allclose(exact, much)
        for radius in ({"overlap": 1.0, "k": 1},) if smooth is sparse else ({"cosine": 0.5},):
            exact, paid, much = (
                one.certified_radius(**radius) for one in (ideal, certificate, worse)
            )
            assert (exact >= paid).all() and (paid >= much).all() and (exact > much).any()
        if smooth is sparse:
            assert (ideal.pixel_radius() > worse.pixel_radius()).any()
        assert (ideal.rank(0.05) <= worse.rank(0.05)).all()


def test_the_statement_says_so_and_old_files_say_that_they_do_not(tmp_path):
    from dataclasses import replace

    from captum_robust.certificates import Certificate

    method = Reader(lambda z: z[:, :1] > 0)
    certificate = GaussianSmoothing(method, transform=Sparsify(1)).certify(
        torch.ones(1, 4), stdevs=0.5, nt_samples=400, seed=0
    )
    assert "Rounding is included" in certificate.statement(0.01, k=1)
    certificate.save(tmp_path / "new.npz")
    loaded = Certificate.load(tmp_path / "new.npz")
    assert loaded.shift.allowance == certificate.shift.allowance
    old = replace(certificate, shift=replace(certificate.shift, allowance=None))
    assert "took it for exact" in old.statement(0.01, k=1) and old.kind == "certified"
