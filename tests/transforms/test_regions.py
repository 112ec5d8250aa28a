"""Sums over axes, cells and given regions: against literal loops, with the range they declare."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import Size, nn

from captum_robust.attr import (
    Abs,
    ClipNorm,
    GaussianSmoothing,
    Pool,
    Segments,
    Sparsify,
    Sum,
    SumChannels,
    UnitNorm,
    superpixels,
)
from captum_robust.transforms import Features, JoiningTransform, MapRange

LABELS = torch.tensor([[[[0, 0, 1], [2, 0, 1]]]])  # three regions of a picture of 2 x 3
EACH = torch.cat([LABELS, torch.tensor([[[[0, 1, 1], [1, 1, 2]]]])])
CASES = {
    "Sum(-1)": (Sum(-1), Size((3, 2, 5))),
    "Sum((1, 3))": (Sum((1, 3)), Size((3, 2, 5))),
    "Sum(keepdim)": (Sum(2, keepdim=True), Size((3, 2, 5))),
    "SumChannels": (SumChannels(), Size((3, 4))),
    "Pool(size)": (Pool(2), Size((2, 4, 6))),
    "Pool(size, a rest)": (Pool(2), Size((2, 5, 3))),
    "Pool(size of a series)": (Pool((3,)), Size((2, 7))),
    "Pool(grid)": (Pool(grid=2), Size((1, 4, 6))),
    "Pool(grid, uneven)": (Pool(grid=(2, 3)), Size((1, 5, 7))),
    "Segments": (Segments(LABELS), Size((4, 2, 3))),
    "Segments(columns)": (Segments(torch.tensor([1, 0, 1, 2, 2])), Size((5,))),
}


def literal(transform, part):
    """The sum of every group, one feature at a time, in float64."""
    owners = transform.owners([part.shape[1:]])[0].tolist()
    size = transform.shapes([part.shape[1:]])[0].numel()
    rows = part.double().reshape(len(part), -1).tolist()
    sums = [[0.0] * size for _ in rows]
    for row, total in zip(rows, sums, strict=True):
        for group in range(size):
            members = [value for value, own in zip(row, owners, strict=True) if own == group]
            total[group] = math.fsum(members)
    return torch.tensor(sums, dtype=torch.float64)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sums_groups_like_a_literal_loop(case, dtype):
    transform, shape = CASES[case]
    part = torch.randn(3, *shape, dtype=dtype)
    (result,) = transform((part,))
    assert result.dtype == dtype and result.shape[1:] == transform.shapes([shape])[0]
    expected = literal(transform, part).to(dtype)
    rounding = 4 * torch.finfo(dtype).eps * part.abs().sum()
    torch.testing.assert_close(result.reshape(3, -1), expected, rtol=0, atol=float(rounding))
    # The general way through `owners` and the fast way of each class are one function.
    (general,) = JoiningTransform.__call__(transform, (part,))
    torch.testing.assert_close(result, general, rtol=0, atol=float(rounding))


def test_pool_by_hand():
    (cells,) = Pool(2)((torch.arange(9.0).reshape(1, 1, 3, 3),))
    assert cells.flatten().tolist() == [0 + 1 + 3 + 4, 2 + 5, 6 + 7, 8]
    # Seven places in three cells: 3, 2, 2; the last ones are smaller.
    (cells,) = Pool(grid=(3,))((torch.ones(1, 7),))
    assert cells.tolist() == [[3.0, 2.0, 2.0]]


def test_sums_over_long_axes_do_not_drift():
    part = torch.full((1, 1, 512, 512), 0.1)
    for transform in (
        Sum((1, 2, 3)),
        Pool(grid=1),
        Segments(torch.zeros(1, 1, 1, 1, dtype=torch.long)),
    ):
        (total,) = transform((part,))
        assert float(total) == pytest.approx(512 * 512 * float(part[0, 0, 0, 0]), rel=1e-7)


def test_segments_of_each_example_go_with_their_rows():
    part = torch.randn(2, 1, 2, 3)
    (both,) = Segments(EACH)((part,))
    for row in range(2):
        (alone,) = Segments(EACH[row : row + 1])((part[row : row + 1],))
        assert torch.equal(both[row], alone[0])
    repeated = part.repeat_interleave(3, 0)
    assert torch.equal(Segments(EACH)((repeated,))[0], both.repeat_interleave(3, 0))
    chosen = Segments(EACH).of_rows(torch.tensor([1, 1, 0]))
    assert torch.equal(chosen((part[[1, 1, 0]],))[0], both[[1, 1, 0]])


def test_a_region_across_a_tuple_is_one_feature():
    first, second = torch.tensor([[0, 1, 1]]), torch.tensor([[1, 2]])
    maps = (torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[8.0, 16.0]]))
    transform = Segments((first, second), names=["a", "b", "c"])
    one, two = transform(maps)
    assert one.tolist() == [[1.0, 14.0]] and two.tolist() == [[16.0]]
    # Numbers that do not follow the order of the maps: values and names stand together.
    turned = Segments((2 - first, 2 - second), names=["c", "b", "a"])
    one, two = turned(maps)
    assert one.tolist() == [[14.0, 1.0]] and two.tolist() == [[16.0]]
    shapes = [Size((3,)), Size((2,))]
    found = turned.features(Features.of(shapes), shapes)
    assert [found.name(place) for place in range(3)] == ["b", "a", "c"]
    # All numbers of the second map stand in the first too: word and position embeddings.
    one, two = Segments((first, torch.tensor([[0, 1]])))(maps)
    assert one.tolist() == [[9.0, 22.0]] and two.shape == (1, 0)


# -- ranges: derived, and attained ---------------------------------------------------------------


def extremes(transform, shape, known, values):
    """The largest and smallest element, norm and sum over all maps of these values."""
    features = shape.numel()
    maps = torch.tensor(list(itertools.product(values, repeat=features)), dtype=torch.float64)
    maps = maps[torch.linalg.vector_norm(maps, dim=1) <= known.norm + 1e-12]
    maps = maps[maps.sum(1) <= known.total + 1e-12]
    sums = transform((maps.reshape(-1, *shape),))[0].reshape(len(maps), -1)
    return sums.min(), sums.max(), torch.linalg.vector_norm(sums, dim=1).max(), sums.sum(1).max()


@pytest.mark.parametrize(
    ("transform", "shape"),
    [(Segments(LABELS), Size((1, 2, 3))), (Pool(2), Size((1, 2, 3))), (Sum(-1), Size((2, 3)))],
    ids=repr,
)
@pytest.mark.parametrize("keep", [1, 2, 4, 6])
def test_ranges_of_marks_are_attained_or_exact(transform, shape, keep):
    before = MapRange(0.0, 1.0, math.sqrt(keep), binary=True, total=keep)
    known = transform.range(before, [shape])
    low, high, norm, total = extremes(transform, shape, before, (0.0, 1.0))
    assert known.low == low == 0.0 and known.high == high
    assert known.total == total == keep and not known.binary
    assert norm <= known.norm + 1e-12
    # Attained as long as the marks fit into one region; beyond, the bound is within sqrt 2.
    assert norm == pytest.approx(known.norm) if keep <= known.high else known.norm <= 1.42 * norm


def test_ranges_of_signed_maps_are_attained():
    transform, shape = Segments(LABELS), Size((1, 2, 3))  # regions of 3, 2 and 1 pixels
    known = transform.range(MapRange(-1.0, 0.5), [shape])
    low, high, *_ = extremes(transform, shape, MapRange(), (-1.0, 0.5))
    assert (known.low, known.high) == (low, high) == (-3.0, 1.5)
    # All of the norm evenly in the largest region.
    known = transform.range(MapRange(norm=2.0), [shape])
    worst = torch.where(LABELS == 0, 2.0 / math.sqrt(3), 0.0)
    assert float(transform((worst,))[0].norm()) == pytest.approx(known.norm) == 2.0 * math.sqrt(3)


def test_an_interval_away_from_zero_uses_the_smallest_group_too():
    known = Segments(LABELS).range(MapRange(1.0, 2.0), [Size((1, 2, 3))])
    assert (known.low, known.high) == (1.0, 6.0)
    known = Segments(LABELS).range(MapRange(-2.0, -1.0), [Size((1, 2, 3))])
    assert (known.low, known.high) == (-6.0, -1.0)


def test_groups_of_one_keep_marks():
    before = MapRange(0.0, 1.0, 1.0, binary=True, total=1.0)
    assert Pool(1).range(before, [Size((1, 2, 2))]).binary
    assert Segments(torch.arange(4)).range(before, [Size((4,))]).binary


def test_unknown_ranges_stay_unknown_and_zero_stays_zero():
    known = Sum(-1).range(MapRange(0.0), [Size((2, 3))])
    assert (known.low, known.high, known.norm, known.total) == (0.0, *[math.inf] * 3)
    known = Sum(-1).range(MapRange(0.0, 0.0, 0.0, total=math.inf), [Size((2, 3))])
    assert known.high == known.norm == 0.0


# -- graphs, masks, names ------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_gradients_flow(case):
    transform, shape = CASES[case]
    part = torch.randn(2, *shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: transform((x,))[0].square(), (part,))
    assert transform.differentiable


def test_maps_of_regions_carry_a_graph_through_smoothing():
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Softplus(), nn.Linear(4, 2))
    smooth = GaussianSmoothing(Saliency(net), transform=Segments(LABELS) >> UnitNorm())
    x = torch.randn(2, 1, 2, 3, requires_grad=True)
    maps = smooth.attribute(x, target=0, nt_samples=4, stdevs=0.3, seed=0, create_graph=True)
    assert maps.shape == (2, 3)
    (slope,) = torch.autograd.grad(maps[0, 0], x)
    assert slope[0].abs().max() > 0 and not slope[1].any()


def test_shares_of_masks_count_pixels():
    mask = torch.zeros(1, 1, 2, 3)
    mask[..., 0] = 1.0  # one of three pixels of region 0, all of region 2
    assert Segments(LABELS).shares((mask,))[0].tolist() == [[pytest.approx(1 / 3), 0.0, 1.0]]
    (cells,) = Pool(2).shares((mask,))
    assert cells.flatten().tolist() == [0.5, 0.0]
    (kept,) = (Abs() >> Pool(2) >> Sparsify(1)).shares((mask,))
    assert torch.equal(kept, cells)


def test_names_come_from_the_user_or_from_rows_and_columns():
    shape = [Size((3, 28, 42))]
    chain = Abs() >> SumChannels() >> Pool(grid=14)
    grid = chain.features(Features.of(shape), shape)
    assert grid.name(30) == "row 2, column 2" and grid.counted(1) == "1 region"
    assert grid.note == "A region is a cell of a grid of 14 x 14, each of 2 x 3 places."
    picture = grid.picture()
    assert picture.shape == (28, 42) and int(picture[5, 8]) == 2 * 14 + 2
    uneven = Pool(grid=3).features(Features.of([Size((1, 7, 7))]), [Size((1, 7, 7))])
    assert "the last ones smaller" in uneven.note
    organs = Segments(LABELS, names=["liver", "spleen", "rest"], word="organ")
    named = organs.features(Features.of([Size((1, 2, 3))]), [Size((1, 2, 3))])
    assert named.name(1) == "spleen" and named.index("rest") == 2 and named.plural == "organs"
    assert torch.equal(named.picture(), LABELS[0, 0])
    words = [["the", "cat"], ["a", "dog"]]
    each = Sum(-1, names=words, word="word").features(Features.of([Size((2, 5))]), [Size((2, 5))])
    assert each.name(1, example=0) == "cat" and each.name(1, example=1) == "dog"
    plain = Features.of([Size((3, 4, 4))])
    assert plain.name(17) == "feature (1, 0, 1)" and plain.picture() is None
    assert Features.of([Size((5,)), Size((2,))]).name(6) == "feature 1 of map 1"


def test_pools_of_pools_still_know_their_pixels():
    shape = [Size((1, 8, 8))]
    chain = Pool(2) >> Pool(2)
    found = chain.features(Features.of(shape), shape)
    assert torch.equal(found.picture(), Pool(4).features(Features.of(shape), shape).picture())


def test_features_survive_json():
    shape = [Size((1, 2, 3))]
    found = Segments(LABELS, names=["a", "b", "c"]).features(Features.of(shape), shape)
    again = Features.from_dict(found.to_dict(), found.shapes, found.owners.numpy().astype(np.int32))
    assert again.to_dict() == found.to_dict() and torch.equal(again.picture(), found.picture())


# -- superpixels ---------------------------------------------------------------------------------


def test_superpixels_follow_colours_and_agree_in_number():
    images = torch.rand(3, 3, 24, 24) * 0.05
    images[0, :, :, 12:] += 0.9
    images[1, :, 8:] += 0.9
    labels = superpixels(images, regions=12)
    assert labels.shape == (3, 1, 24, 24) and labels.dtype == torch.int64
    counts = [len(one.unique()) for one in labels]
    assert len(set(counts)) == 1 and int(labels.max()) + 1 == counts[0] > 3
    Segments(labels)((images,))
    # No region lies on both sides of the edge.
    assert not set(labels[0, 0, :, :11].unique().tolist()) & set(
        labels[0, 0, :, 13:].unique().tolist()
    )
    grey = superpixels(images[:, :1], regions=4)
    assert grey.shape == (3, 1, 24, 24)


# -- bad input -----------------------------------------------------------------------------------


def apply(transform, *shape):
    return lambda: transform((torch.zeros(2, *shape),))


@pytest.mark.parametrize(
    ("kind", "words", "call"),
    [
        (ValueError, "must not be 0", lambda: Sum(0)),
        (TypeError, "`dim` must be an int", lambda: Sum(1.5)),
        (ValueError, "`dim` must name axes", apply(Sum(3), 4, 5)),
        (ValueError, "`dim` must name axes", apply(Sum(-3), 4, 5)),
        (ValueError, "`SumChannels` needs maps", apply(SumChannels(), 4)),
        (ValueError, "exactly one of `size` and `grid`", lambda: Pool()),
        (ValueError, "exactly one of `size` and `grid`", lambda: Pool(2, grid=2)),
        (ValueError, "`size` must be at least 1", lambda: Pool(0)),
        (TypeError, "`grid` must be an int", lambda: Pool(grid=(2, 0.5))),
        (ValueError, "`grid` must be at most .* 3, got 4", apply(Pool(grid=4), 1, 3, 9)),
        (ValueError, "`size` must be at most .* 3, got 4", apply(Pool(4), 1, 3, 9)),
        (ValueError, r"size=\(4,\)", apply(Pool(2), 9)),
        (TypeError, "`labels` must be a Tensor of integers", lambda: Segments(torch.zeros(3))),
        (TypeError, "`labels` must be a Tensor of integers", lambda: Segments([0, 1])),
        (TypeError, "torch.bool", lambda: Segments(torch.tensor([True, False]))),
        (ValueError, "empty tensor", lambda: Segments(torch.zeros(0, dtype=torch.long))),
        (ValueError, "must be >= 0, got -1", lambda: Segments(torch.tensor([-1, 0]))),
        (ValueError, "no feature in region 1 of 3", lambda: Segments(torch.tensor([0, 2, 2]))),
        (
            ValueError,
            "as many regions as there are features, 2",
            lambda: Segments(torch.tensor([0, 5])),
        ),
        (
            ValueError,
            r"as many regions .* got \[2, 1\]",
            lambda: Segments(torch.tensor([[0, 1], [0, 0]])),
        ),
        (ValueError, r"shape \(1 or N, \*\)", apply(Segments(torch.tensor([0, 1])), 3)),
        (ValueError, "one entry for each of 1 maps", apply(Segments((LABELS, LABELS)), 1, 2, 3)),
        (
            ValueError,
            "3 examples, but there are 2 maps",
            apply(Segments(torch.tensor([[0, 1]] * 3)), 2),
        ),
        (
            ValueError,
            "one for each of 2 features",
            lambda: Segments(torch.tensor([0, 1]), names=["a"]),
        ),
        (TypeError, "must be texts", lambda: Segments(torch.tensor([0, 1]), names=[1, 2])),
        (
            ValueError,
            "`names` must have one for each",
            lambda: Sum(-1, names=["a"]).features(Features.of([Size((2, 3))]), [Size((2, 3))]),
        ),
        (ValueError, "`images` must be floating point", lambda: superpixels(torch.zeros(2, 8, 8))),
        (ValueError, r"must be in \[1, 16\]", lambda: superpixels(torch.zeros(1, 3, 4, 4), 17)),
    ],
)
def test_bad_input_is_named(kind, words, call):
    with pytest.raises(kind, match=words):
        call()


def test_labels_of_other_examples_are_refused():
    smooth = GaussianSmoothing(Saliency(nn.Flatten()), transform=Segments(EACH))
    with pytest.raises(ValueError, match=r"made for 2 examples.*labels\[None\]"):
        smooth.attribute(torch.zeros(4, 1, 2, 3), target=0, stdevs=0.1)


def test_a_bound_on_the_norm_reaches_the_regions():
    known = (ClipNorm(2.0) >> Pool(2)).range(MapRange(), [Size((1, 4, 4))])
    assert known.norm == 4.0 and known.high == 4 * 2.0
