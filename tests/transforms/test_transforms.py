"""Transforms against slow literal loops, and the ranges they declare."""

from __future__ import annotations

import math

import pytest
import torch
from captum.attr import Saliency
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_robust.attr import (
    Abs,
    Chain,
    ClipNorm,
    GaussianSmoothing,
    Rank,
    Relax,
    ScaleToMax,
    Sparsify,
    Square,
    SumChannels,
    Transform,
    UnitNorm,
)
from captum_robust.certificates import MapRange

QUICK = settings(max_examples=80, derandomize=True, deadline=None, database=None)


# -- references: one row, one element at a time ------------------------------------------------


def norm_of(row):
    return math.sqrt(math.fsum(value * value for value in row))


def ranking(row):
    """Features from the largest to the smallest, ties by index."""
    return sorted(range(len(row)), key=lambda feature: (-row[feature], feature))


def literal_clip(row, bound):
    norm = norm_of(row)
    return [value * min(1.0, bound / norm) if norm else 0.0 for value in row]


def literal_sparsify(row, keep):
    marked = ranking(row)[:keep] if any(row) else []
    return [1.0 if feature in marked else 0.0 for feature in range(len(row))]


def literal_relax(row, keep, clip):
    row = [max(value, 0.0) for value in row]
    order = ranking(row)
    unit = row[order[clip - 1]]
    result = [0.0] * len(row)
    for feature in order[:keep]:
        if row[feature] > 0.0:
            result[feature] = min(1.0, row[feature] / unit) if unit > 0.0 else 1.0
    return result


def literal_rank(row):
    result = [0.0] * len(row)
    for place, feature in enumerate(ranking(row)):
        result[feature] = 1.0 - place / len(row) if any(row) else 0.0
    return result


def divided(row, divisor):
    return [value / divisor if divisor else 0.0 for value in row]


CASES = {
    "Abs": (Abs(), lambda row: [abs(value) for value in row]),
    "Square": (Square(), lambda row: [value * value for value in row]),
    "UnitNorm": (UnitNorm(), lambda row: divided(row, norm_of(row))),
    "ClipNorm": (ClipNorm(0.75), lambda row: literal_clip(row, 0.75)),
    "ScaleToMax": (ScaleToMax(), lambda row: divided(row, max(map(abs, row)))),
    "Sparsify-count": (Sparsify(2), lambda row: literal_sparsify(row, 2)),
    "Sparsify-share": (
        Sparsify(0.3),
        lambda row: literal_sparsify(row, math.ceil(0.3 * len(row) - 1e-9)),
    ),
    "Relax": (Relax(3, clip=2), lambda row: literal_relax(row, 3, 2)),
    "Relax-largest": (Relax(0.6, clip=0), lambda row: literal_relax(row, math.ceil(0.6 * 7), 1)),
    "Rank": (Rank(), literal_rank),
}
KINDS = ("random", "tied", "zero", "tiny", "huge", "positive", "negative", "one", "spread")


def draw_rows(kind, rows=5, features=7, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    values = {
        "random": lambda: values,
        "tied": lambda: values.round(),
        "zero": lambda: values * 0.0,
        "tiny": lambda: values * 1e-30,
        "huge": lambda: values * 1e30,
        "positive": lambda: values.abs(),
        "negative": lambda: -values.abs(),
        "one": lambda: torch.where(torch.arange(features) == features // 2, values, 0.0),
        "spread": lambda: values * 10.0 ** torch.linspace(-18, 18, features, dtype=torch.float64),
    }[kind]()
    return values.to(dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_equals_a_literal_loop(case, kind, dtype):
    transform, literal = CASES[case]
    rows = draw_rows(kind, dtype=dtype)
    (result,) = transform((rows,))
    expected = torch.tensor([literal(row) for row in rows.double().tolist()], dtype=torch.float64)
    assert result.dtype == dtype
    tolerance = 1e-13 if dtype == torch.float64 else 2e-6
    # What float32 cannot hold is as it rounds it: 1e60 is infinite and 1e-60 zero.
    torch.testing.assert_close(
        result.double(),
        expected.to(dtype).double(),
        rtol=tolerance,
        atol=0.0 if tolerance < 1e-9 else 1e-30,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_tuples_are_one_vector(case, kind):
    transform, _ = CASES[case]
    rows = draw_rows(kind, features=7)
    (together,) = transform((rows,))
    first, second = transform((rows[:, :1], rows[:, 1:].reshape(5, 2, 3)))
    assert first.shape == (5, 1) and second.shape == (5, 2, 3)
    assert torch.equal(torch.cat([first, second.flatten(1)], dim=1), together)


@pytest.mark.parametrize("case", CASES)
def test_rows_are_treated_alone(case):
    transform, _ = CASES[case]
    rows = torch.cat([draw_rows(kind, rows=1) for kind in KINDS])
    (together,) = transform((rows,))
    alone = torch.cat([transform((row.unsqueeze(0),))[0] for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-15, atol=0.0)


@pytest.mark.parametrize("case", CASES)
def test_zero_maps_stay_zero_and_inputs_are_left_alone(case):
    transform, _ = CASES[case]
    rows = torch.cat([torch.zeros(1, 7), torch.randn(2, 7)])
    before = rows.clone()
    (result,) = transform((rows,))
    assert not result[0].any() and result[1:].any(1).all()
    assert torch.equal(rows, before)


@pytest.mark.parametrize(
    "transform", [Sparsify(2), Relax(2, clip=1), Rank()], ids=["Sparsify", "Relax", "Rank"]
)
def test_ties_go_to_the_lower_index(transform):
    (result,) = transform((torch.tensor([[0.0, 3.0, 1.0, 3.0, 3.0]]),))
    expected = {
        Sparsify: [0.0, 1.0, 0.0, 1.0, 0.0],
        Relax: [0.0, 1.0, 0.0, 1.0, 0.0],
        Rank: [0.2, 1.0, 0.4, 0.8, 0.6],
    }[type(transform)]
    torch.testing.assert_close(result, torch.tensor([expected]))


@QUICK
@given(
    kind=st.sampled_from([kind for kind in KINDS if kind != "zero"]),
    features=st.integers(1, 60),
    share=st.floats(1e-3, 1.0),
    seed=st.integers(0, 999),
)
def test_sparsify_marks_exactly_as_many_as_asked(kind, features, share, seed):
    rows = draw_rows(kind, rows=4, features=features, seed=seed)
    marks = Sparsify(share)((rows,))[0].sum(1)
    wanted = max(1, math.ceil(share * features - 1e-9))
    assert torch.equal(marks, torch.where(rows.any(1), float(wanted), 0.0).double())


@pytest.mark.parametrize(
    ("keep", "marked"), [(0.07, 7), (0.29, 29), (0.58, 58), (1.0, 100), (1, 1)]
)
def test_shares_that_binary_numbers_miss_are_not_rounded_up(keep, marked):
    assert Sparsify(keep)((torch.rand(1, 100) + 1,))[0].sum() == marked


# -- ranges ------------------------------------------------------------------------------------

links = st.sampled_from(
    [
        Abs(),
        Square(),
        UnitNorm(),
        ClipNorm(0.3),
        ClipNorm(40.0),
        ScaleToMax(),
        Sparsify(1),
        Sparsify(0.5),
        Relax(0.5, clip=0),
        Relax(1.0, clip=0.5),
        Rank(),
        Rank(lambda rank: 1.0 / rank),
        SumChannels(),
    ]
)


@QUICK
@given(
    transforms=st.lists(links, min_size=1, max_size=4),
    kind=st.sampled_from(KINDS),
    channels=st.integers(1, 3),
    side=st.integers(1, 4),
    tuples=st.booleans(),
    seed=st.integers(0, 999),
)
def test_declared_ranges_and_shapes_hold(transforms, kind, channels, side, tuples, seed):
    rows = draw_rows(kind, rows=6, features=channels * side, seed=seed)
    maps = (rows.reshape(6, channels, side),)
    if tuples:
        maps = (*maps, rows.reshape(6, channels, side, 1) * 0.5)
    shapes = [part.shape[1:] for part in maps]
    chain = Chain(*transforms)
    known = chain.range(MapRange(), shapes).limited(None, sum(map(torch.Size.numel, shapes)))
    result = chain(maps)
    assert [part.shape[1:] for part in result] == list(chain.shapes(shapes))
    flat = torch.cat([part.flatten(1) for part in result], dim=1)
    slack = 1e-9
    assert (flat >= known.low - slack).all() and (flat <= known.high * (1 + slack) + slack).all()
    assert (torch.linalg.vector_norm(flat, dim=1) <= known.norm * (1 + slack) + slack).all()
    assert (flat.sum(1) <= known.total * (1 + slack) + slack).all()
    if known.binary:
        assert ((flat == 0) | (flat == 1)).all()
    if known.nonnegative:
        assert (flat >= 0).all()


@pytest.mark.parametrize(
    ("transform", "low", "high", "norm", "binary"),
    [
        (Chain(), -math.inf, math.inf, math.inf, False),
        (Abs(), 0.0, math.inf, math.inf, False),
        (UnitNorm(), -1.0, 1.0, 1.0, False),
        (Abs() >> UnitNorm(), 0.0, 1.0, 1.0, False),
        (ClipNorm(2.0), -2.0, 2.0, 2.0, False),
        (ScaleToMax(), -1.0, 1.0, math.sqrt(12), False),
        (Abs() >> ScaleToMax(), 0.0, 1.0, math.sqrt(12), False),
        (Abs() >> Sparsify(3), 0.0, 1.0, math.sqrt(3), True),
        (Relax(5, clip=0), 0.0, 1.0, math.sqrt(5), False),
        (ClipNorm(2.0) >> Square(), 0.0, 4.0, 4.0, False),
        (ClipNorm(2.0) >> SumChannels(), -6.0, 6.0, math.sqrt(3) * 2.0, False),
        (ClipNorm(1e200) >> Square(), 0.0, math.inf, math.inf, False),
    ],
    ids=repr,
)
def test_ranges_are_the_documented_ones(transform, low, high, norm, binary):
    known = transform.range(MapRange(), [torch.Size((3, 2, 2))])
    assert (known.low, known.high, known.binary) == (low, high, binary)
    assert known.norm == pytest.approx(norm)


# -- composition and shapes --------------------------------------------------------------------


def test_composition_applies_the_left_one_first_and_flattens():
    maps = (torch.tensor([[3.0, -4.0, 1.0]]),)
    chain = Abs() >> UnitNorm() >> Sparsify(1)
    assert torch.equal(chain(maps)[0], Sparsify(1)(UnitNorm()(Abs()(maps)))[0])
    assert repr(chain) == "Abs() >> UnitNorm() >> Sparsify(keep=1)"
    assert repr((Abs() >> UnitNorm()) >> Sparsify(1)) == repr(Abs() >> (UnitNorm() >> Sparsify(1)))
    assert not chain.differentiable and (Abs() >> UnitNorm()).differentiable
    assert torch.equal(Chain()(maps)[0], maps[0]) and repr(Chain()) == "identity"


def test_sum_channels_sums_the_second_dimension():
    maps = (torch.randn(4, 3, 2, 5), torch.randn(4, 2, 6))
    first, second = SumChannels()(maps)
    assert first.shape == (4, 1, 2, 5) and second.shape == (4, 1, 6)
    for i in range(4):
        for a in range(2):
            for b in range(5):
                total = sum(maps[0][i, c, a, b].item() for c in range(3))
                assert first[i, 0, a, b].item() == pytest.approx(total, abs=1e-6)
    assert SumChannels().shapes([(3, 2, 5), (2, 6)]) == (torch.Size((1, 2, 5)), torch.Size((1, 6)))


def test_a_transform_of_ones_own_composes():
    class Double(Transform):
        """Twice the map."""

        def __call__(self, maps):
            return tuple(2 * part for part in maps)

        def range(self, before, shapes):
            return MapRange(2 * before.low, 2 * before.high, 2 * before.norm)

    (result,) = (Abs() >> Double())((torch.tensor([[-1.0, 2.0]]),))
    assert result.tolist() == [[2.0, 4.0]]
    assert (UnitNorm() >> Double()).range(MapRange(), [torch.Size((2,))]).norm == 2.0


# -- gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transform",
    [
        Abs(),
        Square(),
        UnitNorm(),
        ClipNorm(0.5),
        ClipNorm(100.0),
        ScaleToMax(),
        Relax(5, clip=0),
        Relax(6, clip=3),
        SumChannels(),
        Abs() >> Relax(0.5, clip=0.2),
        Square() >> UnitNorm(),
        ScaleToMax() >> Square(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
def test_gradients_are_those_of_finite_differences(transform, scale):
    assert transform.differentiable
    maps = (torch.randn(3, 2, 2, dtype=torch.float64), torch.randn(3, 2, 3, dtype=torch.float64))
    maps = tuple((scale * part).requires_grad_() for part in maps)
    assert torch.autograd.gradcheck(
        lambda *parts: transform(parts), maps, eps=1e-6 * scale, rtol=1e-5, atol=1e-7 / scale
    )


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][0].differentiable])
@pytest.mark.parametrize("kind", ["zero", "one", "tied", "tiny", "spread"])
def test_gradients_are_defined_where_maps_are_degenerate(case, kind):
    rows = draw_rows(kind, dtype=torch.float32).requires_grad_()
    (gradient,) = torch.autograd.grad(CASES[case][0]((rows,))[0].sum(), rows)
    assert not gradient.isnan().any()


def test_clip_norm_keeps_the_direction_where_the_norm_overflows():
    (result,) = ClipNorm(1.0)((torch.full((1, 100), 3e38),))
    torch.testing.assert_close(result, torch.full((1, 100), 0.1))


def test_relax_has_a_gradient_where_the_quotient_would_overflow():
    rows = torch.tensor([[1e-10, 1e-25, 1e-26]], requires_grad=True)
    (gradient,) = torch.autograd.grad(Relax(3, clip=2)((rows,))[0].sum(), rows)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, -1e24, 1e25]]))


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Sparsify(0), ValueError, r"`keep` must be at least 1, got 0\."),
        (lambda: Sparsify(1.5), ValueError, r"`keep` must be in \(0, 1\], got 1\.5\."),
        (lambda: Sparsify(0.0), ValueError, r"`keep` must be in \(0, 1\], got 0\.0\."),
        (lambda: Sparsify(math.nan), ValueError, r"`keep` must be in \(0, 1\], got nan\."),
        (lambda: Sparsify(True), TypeError, r"`keep` must be a number, got bool\."),
        (lambda: Sparsify("2"), TypeError, r"`keep` must be a number, got str\."),
        (lambda: ClipNorm(0), ValueError, r"`bound` must be in \(0, inf\), got 0\."),
        (lambda: ClipNorm(math.inf), ValueError, r"`bound` must be in \(0, inf\), got inf\."),
        (lambda: Relax(3, clip=-1), ValueError, r"`clip` must be at least 1, got -1\."),
        (lambda: Relax(3, clip=False), TypeError, r"`clip` must be a number, got bool\."),
        (lambda: Abs() >> 3, TypeError, "unsupported operand"),
    ],
)
def test_arguments_out_of_range_are_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (Sparsify(20), r"`keep` must be in \[1, 12\] \(the number of features\), got 20\."),
        (Relax(20), r"`keep` must be in \[1, 12\] \(the number of features\), got 20\."),
        (Relax(3, 5), r"`clip` must select at most `keep` = 3 of 12 features, got 5\."),
        (Rank(lambda rank: rank), r"`function` must map the ranks to as many values in \[0, 1\]"),
        (Rank(lambda rank: rank / 12), "do not increase"),
        (Rank(lambda rank: rank[:3] * 0), "as many values"),
        (Rank(lambda rank: rank * math.nan), "as many values"),
        (SumChannels(), r"`SumChannels` needs maps of shape \(N, C, \*\), got \(2, 12\)\."),
    ],
    ids=repr,
)
def test_maps_that_do_not_fit_are_refused(transform, message):
    with pytest.raises(ValueError, match=message):
        transform((torch.randn(2, 12),))


def test_a_transform_must_be_one():
    with pytest.raises(TypeError, match=r"`transform` must be a Transform such as .*, got builtin"):
        GaussianSmoothing(Saliency(torch.nn.Linear(2, 1)), transform=abs)
