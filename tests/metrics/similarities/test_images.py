import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from captum_robust.metrics import mass_center_dislocation, ssim

OPTIONS = [
    {},
    {"win_size": 5},
    {"use_sample_covariance": False},
    {"gaussian_weights": True, "use_sample_covariance": False},
    {"gaussian_weights": True, "sigma": 0.8},
]


def random_images(*shape):
    generator = torch.Generator().manual_seed(5)
    a = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return a, a + torch.randn(*shape, generator=generator, dtype=torch.float64)


def joint_range(x, y):
    return float(max(x.max(), y.max()) - min(x.min(), y.min()))


def test_center_by_hand():
    a, b = torch.zeros(2, 1, 5, 6)
    a[0, 1, 1] = 2.0
    b[0, 4, 5] = -0.5
    assert mass_center_dislocation(a, b).item() == 5
    b[0, 0, 5] = 1.5  # a quarter of the mass at row 4, the rest at row 0
    assert mass_center_dislocation(a, b).item() == pytest.approx(4.0)


def test_printed_index_form_by_hand():
    a, b = torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[2.0, 1, 4, 3]])
    # (1-2)*1 + (2-1)*2 + (3-4)*3 + (4-3)*4
    assert mass_center_dislocation(a, b, variant="index").item() == 2
    normalized = mass_center_dislocation(a, b, variant="index", normalize="sum")
    assert normalized.item() == pytest.approx(0.2)


def test_center_equals_scipy():
    a, b = random_images(3, 7, 9)
    expected = [
        math.dist(ndimage.center_of_mass(x), ndimage.center_of_mass(y))
        for x, y in zip(a.abs().numpy(), b.abs().numpy(), strict=True)
    ]
    np.testing.assert_allclose(mass_center_dislocation(a, b), expected, atol=1e-12)


def test_channels_of_a_pixel_add_up():
    a, b = random_images(3, 2, 7, 9)
    expected = mass_center_dislocation(a.abs().sum(1), b.abs().sum(1))
    torch.testing.assert_close(mass_center_dislocation(a, b), expected)
    by_option = mass_center_dislocation(a, b, channels="abs-sum")
    torch.testing.assert_close(by_option, expected)


def test_a_zero_map_is_centred():
    a = torch.zeros(1, 5, 5)
    a[0, 2, 0] = 1.0
    assert mass_center_dislocation(a, torch.zeros(1, 5, 5)) == 2
    assert mass_center_dislocation(torch.zeros(1, 5, 5), torch.zeros(1, 5, 5)) == 0


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(2, 31), (2, 15, 17), (2, 3, 15, 17), (1, 2, 13, 11, 12)])
def test_ssim_equals_scikit_image(shape, options):
    metrics = pytest.importorskip("skimage.metrics")
    a, b = random_images(*shape)
    expected = [
        metrics.structural_similarity(
            x,
            y,
            data_range=joint_range(x, y),
            channel_axis=0 if len(shape) > 3 else None,
            **options,
        )
        for x, y in zip(a.numpy(), b.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ssim(a, b, **options), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["continuous", "tied", "small"])
def test_ssim_equals_scikit_image_on_large_maps(kind):
    metrics = pytest.importorskip("skimage.metrics")
    a, b = random_images(2, 3, 224, 224)  # 150,528 features
    if kind == "tied":
        a, b = (2 * a).round(), (2 * b).round()
    if kind == "small":
        a, b = 1e-9 * a, 1e-9 * b
    expected = [
        metrics.structural_similarity(x, y, data_range=joint_range(x, y), channel_axis=0)
        for x, y in zip(a.numpy(), b.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ssim(a, b), expected, rtol=0, atol=1e-9)


def test_ssim_with_a_given_range_equals_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = random_images(2, 15, 17)
    b[1] = 0.25  # a constant map
    expected = [
        metrics.structural_similarity(x, y, data_range=3.0, K1=0.05, K2=0.1)
        for x, y in zip(a.numpy(), b.numpy(), strict=True)
    ]
    found = ssim(a, b, data_range=3.0, k1=0.05, k2=0.1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_ssim_of_equal_maps_is_one():
    a, _ = random_images(2, 9, 9)
    for maps in (a, torch.zeros(2, 9, 9), torch.full((2, 9, 9), 0.3), 1e-200 * a):
        torch.testing.assert_close(ssim(maps, maps.clone()), torch.ones(2, dtype=torch.float64))


def test_ssim_is_symmetric_and_ignores_scale_and_batch():
    a, b = random_images(4, 9, 9)
    value = ssim(a, b)
    torch.testing.assert_close(value, ssim(b, a))
    torch.testing.assert_close(value, ssim(1e-200 * a, 1e-200 * b))
    torch.testing.assert_close(value[2:3], ssim(a[2:3], b[2:3]))


def test_ssim_gradients():
    a, b = (part.requires_grad_() for part in random_images(1, 1, 7, 8))
    assert torch.autograd.gradcheck(ssim, (a, b))
    assert torch.autograd.gradcheck(lambda a, b: ssim(a, b, data_range=2.0), (a, b))


def test_position_measures_refuse_tuples_and_small_maps():
    pair = (torch.ones(1, 9, 9), torch.ones(1, 9, 9))
    for measure in (ssim, mass_center_dislocation):
        with pytest.raises(ValueError, match=r"is about positions in one map, got a tuple of 2"):
            measure(pair, pair)
        measure(pair[:1], pair[:1])
        with pytest.raises(ValueError, match=r"needs maps of shape \(N, \*\), got \(3,\)"):
            measure(torch.ones(3), torch.ones(3))
    with pytest.raises(ValueError, match=r"`win_size` must be odd and in \[1, 5\]"):
        ssim(torch.ones(1, 5, 9), torch.ones(1, 5, 9))
    with pytest.raises(ValueError, match=r"`win_size` must be odd .* got 4."):
        ssim(*(torch.ones(1, 9, 9),) * 2, win_size=4)
    with pytest.raises(ValueError, match=r"`data_range` must be in \(0, inf\], got 0."):
        ssim(*(torch.ones(1, 9, 9),) * 2, data_range=0)
