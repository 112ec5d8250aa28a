import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_robust.metrics import topk_intersection, topk_mass

SIGNED = torch.tensor([[4.0, -5.0, 2.0, 1.0]])
OTHER = torch.tensor([[4.0, 1.0, -5.0, 2.0]])


def test_intersection_by_hand():
    # by value {0, 2} and {0, 3}; by magnitude {0, 1} and {0, 2}
    assert topk_intersection(SIGNED, OTHER, 2).item() == 0.5
    assert topk_intersection(SIGNED, OTHER, 1).item() == 1
    assert topk_intersection(SIGNED, OTHER, 1, absolute=True).item() == 0
    assert topk_intersection(SIGNED, OTHER, 2, absolute=True).item() == 0.5


def test_mass_by_hand():
    # K = {0, 1}; n(z') = (4, 1, 5, 2) / 12
    assert topk_mass(SIGNED, OTHER, 2).item() == pytest.approx(5 / 12)
    assert topk_mass(SIGNED, OTHER, 4).item() == pytest.approx(1)
    assert topk_mass(OTHER, SIGNED, 2).item() == pytest.approx(6 / 12)


@pytest.mark.parametrize(("share", "count"), [(0.25, 1), (0.26, 2), (0.5, 2), (1.0, 4)])
def test_a_share_is_rounded_up(share, count):
    assert topk_intersection(SIGNED, OTHER, share) == topk_intersection(SIGNED, OTHER, count)


def test_exactly_k_of_tied_features_count():
    constant, zero = torch.ones(2, 6), torch.zeros(2, 6)
    assert topk_intersection(constant, zero, 2).tolist() == [1, 1]
    last = torch.tensor([[0.0, 0, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0]])
    assert topk_intersection(constant, last, 2).tolist() == [0, 1]


def test_a_zero_map_has_no_mass():
    assert topk_mass(SIGNED, torch.zeros(1, 4), 2) == 0


def test_a_tuple_is_one_vector():
    a, b = torch.randn(3, 4), torch.randn(3, 2)
    pair, joined = (a, b), torch.cat([a, b], dim=1)
    other = (torch.randn(3, 4), torch.randn(3, 2))
    expected = topk_intersection(joined, torch.cat(other, dim=1), 3)
    assert torch.equal(topk_intersection(pair, other, 3), expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-2, 2), min_size=5, max_size=5), st.integers(1, 5))
def test_equal_maps_share_all(values, k):
    a = torch.tensor([values], dtype=torch.float32)
    assert topk_intersection(a, a.clone(), k) == 1
    assert topk_intersection(3 * a, a, k, absolute=True) == 1


@pytest.mark.parametrize("measure", [topk_intersection, topk_mass])
def test_k_out_of_range(measure):
    with pytest.raises(ValueError, match=r"`k` must be in \[1, 4\] \(the number of features\)"):
        measure(SIGNED, OTHER, 5)
    with pytest.raises(ValueError, match=r"`k` must be at least 1, got 0."):
        measure(SIGNED, OTHER, 0)
    with pytest.raises(ValueError, match=r"`k` must be in \(0, 1\], got 1.5."):
        measure(SIGNED, OTHER, 1.5)
    with pytest.raises(TypeError, match=r"`k` must be a number, got bool."):
        measure(SIGNED, OTHER, True)
