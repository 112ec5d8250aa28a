"""What holds for every registered similarity, and for one that a user registers."""

import math
from functools import partial

import pytest
import torch

from captum_robust import metrics

# Other tests register similarities of their own in the same process.
SIMILARITIES = [f for f in metrics.SIMILARITIES.values() if f.__name__ in metrics.__all__]
VECTORS = [f for f in SIMILARITIES if f not in (metrics.ssim, metrics.mass_center_dislocation)]

every = pytest.mark.parametrize("measure", SIMILARITIES, ids=lambda f: f.__name__)


def pair(dtype=torch.float32):
    generator = torch.Generator().manual_seed(6)
    return torch.randn(2, 3, 4, 9, 8, generator=generator, dtype=torch.float64).to(dtype).unbind()


def test_the_package_registers_its_own_and_exports_them():
    ours = [f for f in metrics.SIMILARITIES.values() if f.__module__.startswith("captum_robust.")]
    assert len(ours) == 11
    assert all(getattr(metrics, f.__name__) is f and f.__name__ in metrics.__all__ for f in ours)


@every
def test_values_lie_in_the_range_and_equal_maps_at_its_better_end(measure):
    """Of unequal maps nothing is better than of equal ones; `topk_mass` is a share in any case."""
    scale = metrics.Scale.of(measure)
    a, b = (part.double() for part in pair())
    for one, other in ((a, b), (a, -a), (a, a)):
        values = measure(one, other)
        assert ((values >= scale.low - 1e-12) & (values <= scale.high + 1e-12)).all()
    if measure is not metrics.topk_mass:
        best = scale.high if scale.higher_is_better else scale.low
        torch.testing.assert_close(measure(a, a), torch.full((3,), float(best)).double())
        assert ((measure(a, b) < best) == scale.higher_is_better).all()


@pytest.fixture
def agreement():
    @metrics.register_similarity(low=0, high=1, higher_is_better=False)
    def sign_disagreement(a, b):
        return (a.sign() != b.sign()).double().flatten(1).mean(1)

    yield sign_disagreement
    del metrics.SIMILARITIES["sign_disagreement"]


def test_one_from_outside_works_in_every_evaluator(agreement):
    assert metrics.Scale.of("sign_disagreement") == metrics.Scale(0, 1, higher_is_better=False)
    x = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    words = {"similarity": "sign_disagreement"}

    def flip(inputs, radius=1.0):
        return inputs * torch.tensor([-1.0, 1.0])

    found = metrics.random_perturbation_similarity(
        lambda x: x, x, flip, return_perturbed=True, **words
    )
    assert found.values.tolist() == [0.5, 0.5]
    assert metrics.attack_robustness(lambda x: x, x, flip, radii=1, **words).tolist() == [0.5, 0.5]
    by_name = metrics.transfer_robustness({"id": lambda x: x}, x, flip, radii=1, **words)
    assert by_name["id"].tolist() == [0.5, 0.5]


def test_the_worst_draw_is_at_the_other_end_of_the_scale(agreement):
    """The draw kept is the one of most disagreement, found though it is not the last."""
    flips = iter([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    found = metrics.random_perturbation_similarity(
        lambda x: x,
        torch.ones(1, 2),
        lambda inputs: inputs * torch.tensor(next(flips)),
        n_perturb_samples=3,
        similarity=partial(agreement),
        return_perturbed=True,
        max_examples_per_batch=1,
    )
    assert found.perturbed_maps.tolist() == [[-1.0, -1.0]]


def test_scales_of_unregistered_functions():
    def plain(a, b):
        return a.sum(1)

    assert metrics.Scale.of(plain) == metrics.Scale(-math.inf, math.inf, True)
    plain.higher_is_better = False
    assert not metrics.Scale.of(partial(plain)).higher_is_better


def test_registering_says_what_is_wrong():
    with pytest.raises(ValueError, match="`low` must be below `high`, got 1 and 0"):
        metrics.register_similarity(low=1, high=0)

    def mse(a, b):
        return a

    with pytest.raises(ValueError, match="`mse` is a similarity of captum_robust"):
        metrics.register_similarity(low=0, high=1)(mse)
    with pytest.raises(
        ValueError, match=r"`similarity` must be a function or one of .*, got 'sim'"
    ):
        metrics.random_perturbation_similarity(lambda x: x, torch.ones(1, 2), similarity="sim")


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
