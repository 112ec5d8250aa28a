"""What holds for every similarity, discovered from the public names."""

import inspect

import pytest
import torch

from captum_robust import metrics


def is_similarity(function):
    return inspect.isfunction(function) and [*inspect.signature(function).parameters][:2] == [
        "a",
        "b",
    ]


SIMILARITIES = [
    getattr(metrics, name) for name in metrics.__all__ if is_similarity(getattr(metrics, name))
]
VECTORS = [f for f in SIMILARITIES if f not in (metrics.ssim, metrics.mass_center_dislocation)]

every = pytest.mark.parametrize("measure", SIMILARITIES, ids=lambda f: f.__name__)


def pair(dtype=torch.float32):
    generator = torch.Generator().manual_seed(6)
    return torch.randn(2, 3, 4, 9, 8, generator=generator, dtype=torch.float64).to(dtype).unbind()


def test_all_are_found():
    assert len(SIMILARITIES) == 11


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_one_double_for_each_example(measure, dtype):
    a, b = pair(dtype)
    copies = a.clone(), b.clone()
    values = measure(a, b)
    assert values.shape == (3,)
    assert values.dtype == torch.float64
    assert torch.equal(a, copies[0]) and torch.equal(b, copies[1])
    torch.testing.assert_close(values, measure(a.double(), b.double()))


@every
@pytest.mark.parametrize("channels", ["sum", "abs-sum"])
def test_channels_are_summed(measure, channels):
    a, b = (part.double() for part in pair())
    by_hand = [part.abs().sum(1) if channels == "abs-sum" else part.sum(1) for part in (a, b)]
    torch.testing.assert_close(measure(a, b, channels=channels), measure(*by_hand))


@every
@pytest.mark.parametrize("normalize", ["sum", "max", "l2"])
def test_maps_are_normalized(measure, normalize):
    a, b = (part.double() for part in pair())
    order = {"sum": 1, "max": torch.inf, "l2": 2}[normalize]
    by_hand = [
        part / torch.linalg.vector_norm(part.flatten(1), order, dim=1).reshape(-1, 1, 1, 1)
        for part in (a, b)
    ]
    torch.testing.assert_close(measure(a, b, normalize=normalize), measure(*by_hand))
    scaled = measure(7 * a, b / 3, normalize=normalize)
    torch.testing.assert_close(scaled, measure(a, b, normalize=normalize))


@every
@pytest.mark.parametrize("normalize", [None, "sum", "max", "l2"])
def test_no_nan_for_degenerate_maps(measure, normalize):
    zero, one = torch.zeros(2, 1, 9, 9), torch.ones(2, 1, 9, 9)
    tiny = 1e-40 * torch.randn(2, 1, 9, 9)
    for a in (zero, one, tiny):
        for b in (zero, one, tiny):
            assert torch.isfinite(measure(a, b, normalize=normalize)).all()


@pytest.mark.parametrize("measure", VECTORS, ids=lambda f: f.__name__)
def test_a_tuple_is_one_concatenated_vector(measure):
    a, b = torch.randn(3, 4, 2), torch.randn(3, 5)
    c, d = torch.randn(3, 4, 2), torch.randn(3, 5)
    joined = [torch.cat([x.flatten(1), y], dim=1) for x, y in ((a, b), (c, d))]
    torch.testing.assert_close(measure((a, b), (c, d)), measure(*joined))


@every
def test_only_distances_call_themselves_so(measure):
    a, b = pair()
    grows = measure(a, b).mean() > measure(a, a).mean()
    assert grows == (not getattr(measure, "higher_is_better", True))


@every
def test_errors_say_what_came(measure):
    a = torch.ones(3, 9, 9)
    with pytest.raises(ValueError, match=r"same shapes, got \(3, 9, 9\) and \(3, 9, 8\)"):
        measure(a, torch.ones(3, 9, 8))
    with pytest.raises(ValueError, match=r"`a` must hold at least one .* got shape \(0, 9, 9\)"):
        measure(a[:0], a[:0])
    bad = a.clone()
    bad[1, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"`b` must be finite, got NaN or infinity in example 1"):
        measure(a, bad)
    with pytest.raises(TypeError, match=r"`a` must be a Tensor or a tuple of Tensors, got list"):
        measure([1.0], a)
    with pytest.raises(TypeError, match=r"`a` must be real, got torch.complex64"):
        measure(a.to(torch.complex64), a)
    with pytest.raises(ValueError, match=r"`a` must hold at least one map, got an empty tuple"):
        measure((), ())
    with pytest.raises(ValueError, match=r"`channels` must be one of 'sum', 'abs-sum', got 'max'"):
        measure(a, a, channels="max")
    with pytest.raises(ValueError, match=r"`normalize` must be one of .* got 'min'"):
        measure(a, a, normalize="min")
    with pytest.raises(ValueError, match=r"`channels` sums dimension 1 .* shape \(3, 9\)"):
        measure(a[0, :3], a[0, :3], channels="sum")


def test_batches_of_a_tuple_must_agree():
    pair = (torch.ones(3, 2), torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"same batch size, got 3 and 4"):
        metrics.cosine_similarity(pair, pair)
