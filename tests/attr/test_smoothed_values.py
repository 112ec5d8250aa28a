"""What smoothed attributions return, against the noise that was really drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from captum.attr import NoiseTunnel, Saliency

from captum_robust import attr
from captum_robust.attr import (
    Abs,
    Chain,
    ClipNorm,
    GaussianSmoothing,
    QuadraticSmoothGrad,
    RelaxedSparsifiedSmoothGrad,
    ScaledSmoothGrad,
    SmoothedAttribution,
    SparsifiedSmoothGrad,
    SumChannels,
    UniformSmoothing,
    UniGrad,
    UnitNorm,
)
from captum_robust.noise import Relative, UniformBallNoise
from captum_robust.transforms import MapRange, Transform

FAMILY = {
    "Smoothed": lambda base: SmoothedAttribution(base),
    "Smoothed-ball": lambda base: SmoothedAttribution(base, UniformBallNoise(), UnitNorm()),
    "Gaussian": GaussianSmoothing,
    "Gaussian-clip": lambda base: GaussianSmoothing(base, transform=Abs() >> ClipNorm(0.5)),
    "Uniform": UniformSmoothing,
    "UniGrad": UniGrad,
    "Sparsified": lambda base: SparsifiedSmoothGrad(base, keep=0.3),
    "Relaxed": lambda base: RelaxedSparsifiedSmoothGrad(base, keep=0.5, clip=0.2),
    "Scaled": ScaledSmoothGrad,
    "Quadratic": QuadraticSmoothGrad,
}
MOMENTS = {
    "smoothgrad": lambda maps: maps.mean(1),
    "smoothgrad_sq": lambda maps: (maps**2).mean(1),
    "vargrad": lambda maps: maps.var(1),
}


def literal_moment(transform, noisy, moment):
    """Transforms every sample of every example by itself in float64, then takes numpy's moment."""
    examples, samples = noisy[0].shape[:2]
    maps = [[[] for _ in range(examples)] for _ in noisy]
    for example in range(examples):
        for sample in range(samples):
            row = tuple(part[example, sample].double().unsqueeze(0) for part in noisy)
            base = tuple(torch.sin(3 * part) + 0.5 * part for part in row)
            for index, part in enumerate(transform(base)):
                maps[index][example].append(part[0].numpy())
    return [MOMENTS[moment](np.array(part)) for part in maps]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", FAMILY)
def test_is_the_literal_moment_over_the_noise_drawn(recorder, name, moment):
    base = recorder()
    smooth = FAMILY[name](base)
    inputs = torch.randn(3, 2, 5, dtype=torch.float64)
    result = smooth.attribute(
        inputs, nt_type=moment, nt_samples=7, nt_samples_batch_size=3, stdevs=0.4
    )
    noisy = base.noisy(3)
    assert noisy[0].shape == (3, 7, 2, 5)
    (expected,) = literal_moment(smooth.transform, noisy, moment)
    assert result.shape == inputs.shape and result.dtype == torch.float64
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("moment", MOMENTS)
def test_tuples_are_smoothed_as_one_vector(recorder, moment):
    base = recorder()
    smooth = UniformSmoothing(base, transform=UnitNorm())
    inputs = (torch.randn(3, 4).double(), torch.randn(3, 2, 2).double())
    result = smooth.attribute(
        inputs, nt_type=moment, nt_samples=5, nt_samples_batch_size=2, stdevs=(0.2, 0.5)
    )
    assert isinstance(result, tuple)
    expected = literal_moment(smooth.transform, base.noisy(3), moment)
    for ours, theirs in zip(result, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("samples", [1, 5, 7])
def test_without_noise_it_is_the_transform_of_the_base_map(recorder, name, samples):
    base = recorder()
    smooth = FAMILY[name](base)
    inputs = torch.randn(3, 2, 5)
    result = smooth.attribute(inputs, stdevs=0, nt_samples=samples, nt_samples_batch_size=2)
    assert torch.equal(result, smooth.transform((base.attribute(inputs),))[0])
    spread = smooth.attribute(inputs, stdevs=0.0, nt_samples=samples, nt_type="vargrad")
    assert not spread.any()


def test_the_variance_survives_where_squares_would_cancel(recorder):
    base = recorder(lambda x: 1e8 + x)
    result = GaussianSmoothing(base).attribute(
        torch.zeros(2, 3, dtype=torch.float64),
        nt_type="vargrad",
        nt_samples=40,
        nt_samples_batch_size=7,
        stdevs=0.01,
    )
    expected = (1e8 + base.noisy(2)[0] - 1e8).numpy().var(1)
    # A mean near 1e8 is known to one unit in its last place; the gaps are of size 0.01.
    np.testing.assert_allclose(result.numpy(), expected, rtol=2 * np.spacing(1e8) / 0.01)
    naive = ((1e8 + base.noisy(2)[0]) ** 2).mean(1) - (1e8 + base.noisy(2)[0]).mean(1) ** 2
    assert (naive - result).abs().max() > 0.1  # what Captum's formula makes of it


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-30, 1e30, 16777217.0])
def test_the_variance_of_a_constant_is_zero(recorder, value):
    base = recorder(lambda x: torch.full_like(x, value))
    for dtype in (torch.float32, torch.float64):
        result = GaussianSmoothing(base).attribute(
            torch.zeros(2, 3, dtype=dtype), nt_type="vargrad", nt_samples=11
        )
        assert (result >= 0).all()
        assert result.max() <= (value * 2e-16) ** 2


def test_the_mean_of_many_half_precision_samples_does_not_round(recorder):
    base = recorder(lambda x: torch.full_like(x, 0.1))
    result = GaussianSmoothing(base).attribute(torch.zeros(1, 2).bfloat16(), nt_samples=3000)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, torch.full((1, 2), 0.1).bfloat16())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", FAMILY)
def test_maps_have_the_dtype_of_the_base_map(name, dtype):
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    saliency = Saliency(net.to(dtype).eval())
    inputs = torch.randn(3, 4, dtype=dtype)
    result = FAMILY[name](saliency).attribute(inputs, target=1, stdevs=0.1, seed=0)
    assert result.dtype == saliency.attribute(inputs.requires_grad_(), target=1).dtype == dtype
    assert torch.isfinite(result).all()


# -- the noise ---------------------------------------------------------------------------------

LAWS = {"Gaussian": GaussianSmoothing, "ball": UniformSmoothing, "box": UniGrad}


@pytest.mark.parametrize("law", LAWS)
def test_stdevs_is_the_standard_deviation_of_a_coordinate_under_every_law(recorder, law):
    base = recorder()
    inputs = torch.randn(2, 6)
    LAWS[law](base).attribute(inputs, stdevs=0.3, nt_samples=4000, seed=1)
    noise = (base.noisy(2)[0] - inputs.unsqueeze(1)).double()
    # A normal variable has the largest fourth moment of the three: its error serves all.
    assert (noise.mean(1).abs() < 4 * 0.3 / 4000**0.5).all()
    assert ((noise.var(1) / 0.09 - 1).abs() < 4 * math.sqrt(2 / 4000)).all()
    between = torch.stack([torch.corrcoef(row.T) for row in noise]) - torch.eye(6)
    assert between.abs().max() < 4.5 / 4000**0.5


@pytest.mark.parametrize(("law", "order"), [("ball", 2), ("box", math.inf)])
def test_radius_is_that_of_the_body_all_inputs_together(recorder, law, order):
    base = recorder()
    inputs = (torch.randn(2, 3), torch.randn(2, 2, 2))
    LAWS[law](base).attribute(inputs, radius=0.7, nt_samples=500, seed=1)
    noise = [
        (noisy - given.unsqueeze(1)).flatten(2).double()
        for noisy, given in zip(base.noisy(2), inputs, strict=True)
    ]
    norms = torch.linalg.vector_norm(torch.cat(noise, dim=2), ord=order, dim=2)
    assert norms.max() <= 0.7 * (1 + 1e-5) and norms.max() > 0.68


def test_radius_and_stdevs_are_two_words_for_one_noise(recorder):
    for make, radius in ((UniformSmoothing, math.sqrt(6.0)), (UniGrad, math.sqrt(3.0))):
        one, two = recorder(), recorder()
        make(one).attribute(torch.zeros(2, 4), stdevs=0.5, seed=3)
        make(two).attribute(torch.zeros(2, 4), radius=0.5 * radius, seed=3)
        torch.testing.assert_close(one.noisy(2)[0], two.noisy(2)[0])


LEVELS = {
    "int": (2, 2.0),
    "float": (0.5, 0.5),
    "numpy": (np.float32(0.5), 0.5),
    "scalar tensor": (torch.tensor(0.5), 0.5),
    "bfloat16 tensor": (torch.tensor(0.5).bfloat16(), 0.5),
    "feature tensor": (torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.1, 0.2, 0.3])),
    "example tensor": (
        torch.tensor([0.1, 0.2]).reshape(2, 1, 1),
        torch.tensor([0.1, 0.2]).reshape(2, 1, 1, 1),
    ),
    "full tensor": (
        torch.arange(12.0).reshape(2, 2, 3) / 9,
        torch.arange(12.0).reshape(2, 1, 2, 3) / 9,
    ),
    "relative": (Relative(0.1), torch.tensor([0.5, 0.2]).reshape(2, 1, 1, 1)),
    "tuple of one": ((0.5,), 0.5),
}


@pytest.mark.parametrize("form", LEVELS)
def test_every_form_of_noise_level(recorder, form):
    level, scale = LEVELS[form]
    inputs = torch.zeros(2, 2, 3)
    inputs[0, 0, 0], inputs[1, 1, 2] = 5.0, -2.0
    unit, base = recorder(), recorder()
    GaussianSmoothing(unit).attribute(torch.zeros_like(inputs), stdevs=1.0, seed=7)
    GaussianSmoothing(base).attribute(inputs, stdevs=level, seed=7)
    noise = base.noisy(2)[0] - inputs.unsqueeze(1)
    # Each is rounded to its grid, at most 2^-16 standard deviations wide, and to float32.
    gap = (noise - unit.noisy(2)[0] * scale).abs()
    assert (gap <= 2 * 2.0**-16 * torch.as_tensor(scale).clamp(min=0) + 6e-7).all()


def test_a_tuple_of_levels_goes_to_the_inputs_in_turn(recorder):
    base = recorder()
    inputs = (torch.tensor([[0.0, 10.0]]), torch.zeros(1, 3))
    GaussianSmoothing(base).attribute(inputs, stdevs=(Relative(0.0), 1.0), seed=7)
    first, second = base.noisy(1)
    assert torch.equal(first, inputs[0].expand(1, 5, 2)) and second.std() > 0.5


def test_the_default_level_is_captums(recorder):
    one, two = recorder(), recorder()
    GaussianSmoothing(one).attribute(torch.zeros(2, 3), seed=7)
    GaussianSmoothing(two).attribute(torch.zeros(2, 3), seed=7, stdevs=1.0)
    assert torch.equal(one.noisy(2)[0], two.noisy(2)[0])


@pytest.mark.parametrize(
    "clamp",
    [
        (0.0, 1.0),
        (-math.inf, 0.5),
        (0, math.inf),
        (torch.tensor([0.0, 0.1, 0.2]), torch.tensor([0.5, 0.6, 0.7])),
        (torch.zeros(1, 2, 1), 1.0),
    ],
    ids=str,
)
def test_clamp_bounds_the_noisy_inputs(recorder, clamp):
    inputs = torch.rand(4, 2, 3)
    free, bound = recorder(), recorder()
    GaussianSmoothing(free).attribute(inputs, stdevs=0.5, seed=2)
    result = GaussianSmoothing(bound).attribute(inputs, stdevs=0.5, seed=2, clamp=clamp)
    low, high = (torch.as_tensor(end, dtype=torch.float32) for end in clamp)
    expected = torch.maximum(torch.minimum(free.noisy(4)[0], high), low)
    assert torch.equal(bound.noisy(4)[0], expected)
    assert not torch.equal(free.noisy(4)[0], expected)
    torch.testing.assert_close(result, (torch.sin(3 * expected) + 0.5 * expected).mean(1))


def test_half_precision_inputs_get_float32_noise_and_are_rounded_once(recorder):
    inputs = torch.randn(2, 30)
    wide, narrow = recorder(), recorder()
    GaussianSmoothing(wide).attribute(inputs.bfloat16().float(), seed=2, stdevs=0.3)
    GaussianSmoothing(narrow).attribute(inputs.bfloat16(), seed=2, stdevs=0.3)
    assert narrow.noisy(2)[0].dtype == torch.bfloat16
    assert torch.equal(narrow.noisy(2)[0], wide.noisy(2)[0].bfloat16())


# -- passes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 1, 2, 3, 7, 100])
def test_passes_hold_as_many_samples_as_asked_and_no_more(recorder, batch):
    base = recorder()
    GaussianSmoothing(base).attribute(
        torch.zeros(3, 2), nt_samples=7, nt_samples_batch_size=batch, index=torch.arange(3)
    )
    step = min(7, batch or 7)
    rows = [parts[0].shape[0] for parts in base.passes]
    assert rows == [3 * min(step, 7 - start) for start in range(0, 7, step)]


@pytest.mark.parametrize(("examples", "features"), [(1, 4), (5, 7), (300, 3), (2, 10**6)])
def test_any_batch_fits_by_default(recorder, examples, features):
    base = recorder(remember=False)
    GaussianSmoothing(base).attribute(torch.zeros(examples, features), nt_samples=3, stdevs=0)
    GaussianSmoothing(base).attribute(torch.zeros(examples, 1), nt_samples=300, stdevs=0)
    assert max(base.alive) <= 2


def test_memory_does_not_grow_with_the_number_of_samples(recorder):
    base = recorder(remember=False)
    GaussianSmoothing(base).attribute(torch.zeros(4, 8), nt_samples=5000)
    assert len(base.alive) >= 5000 * 4 / 128 and max(base.alive) <= 2


@pytest.mark.parametrize(("examples", "rows"), [(1, 128), (4, 128), (100, 100), (300, 300)])
def test_default_passes_are_small(recorder, examples, rows):
    base = recorder()
    GaussianSmoothing(base).attribute(torch.zeros(examples, 1), nt_samples=200)
    assert max(parts[0].shape[0] for parts in base.passes) == rows


def test_default_passes_shrink_with_large_inputs(recorder):
    base = recorder()
    GaussianSmoothing(base).attribute(torch.zeros(2, 2**19), nt_samples=4)
    assert [parts[0].shape[0] for parts in base.passes] == [4, 4]


def test_channels_can_be_summed_away(recorder):
    base = recorder()
    inputs = torch.randn(3, 4, 2, 5).double()
    result = GaussianSmoothing(base, transform=SumChannels()).attribute(inputs, nt_samples=6)
    noisy = base.noisy(3)[0]
    expected = (torch.sin(3 * noisy) + 0.5 * noisy).sum(2, keepdim=True).mean(1)
    assert result.shape == (3, 1, 2, 5)
    torch.testing.assert_close(result, expected)


def test_examples_of_one_number_work(recorder):
    result = GaussianSmoothing(recorder()).attribute(torch.randn(5), stdevs=0)
    assert result.shape == (5,)


def test_it_is_a_noise_tunnel_over_the_same_method(recorder):
    base = recorder()
    for name in attr.__all__:
        kind = getattr(attr, name)
        if isinstance(kind, type) and issubclass(kind, SmoothedAttribution):
            smooth = kind(base)
            assert isinstance(smooth, NoiseTunnel) and smooth.attribution_method is base
            assert smooth.multiplies_by_inputs == NoiseTunnel(base).multiplies_by_inputs
            assert smooth.has_convergence_delta() is False
            assert isinstance(smooth.transform, Chain) or smooth.transform is not None


@pytest.mark.parametrize(
    ("forgets", "message"),
    [
        ("shapes", r"its `shapes` says \[\(4,\)\], and it gave \[\(2,\)\].*override `shapes`"),
        ("high", r"its `range` says values <= 0.5, and it gave .*correct its `range`"),
        ("low", r"its `range` says values >= 0.25, and it gave"),
        ("binary", "every value is 0 or 1, and it gave others"),
        ("total", "its `range` says sums <= 0.5, and it gave"),
        ("nothing", None),
    ],
)
def test_what_a_transform_declares_is_held_against_what_it_does(forgets, message):
    class Halves(Transform):
        def __call__(self, maps):
            return tuple(torch.sigmoid(part[:, :2]) for part in maps)

        def shapes(self, shapes):
            return shapes if forgets == "shapes" else [torch.Size([2]) for _ in shapes]

        def range(self, before, shapes):
            wrong = {"high": {"high": 0.5}, "low": {"low": 0.25}, "total": {"total": 0.5}}
            given = {"low": 0.0, "high": 1.0, "binary": forgets == "binary"}
            return MapRange(**given | wrong.get(forgets, {}))

    smooth = GaussianSmoothing(Saliency(lambda x: (3 * x.square()).sum(1)), transform=Halves())
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0], [-3.0, 1.0, 0.0, 2.0]])
    words = {"stdevs": 0.1, "nt_samples": 4, "abs": False}
    for explain in (lambda x, **w: smooth.attribute(x, **w), smooth.certify):
        if message is None:
            explain(x, **words)
            continue
        with pytest.raises(ValueError, match=message):
            explain(x, **words)
