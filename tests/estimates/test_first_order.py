"""First-order deviation in l2 and l_p: dense references, closed forms, inversions, bad input."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import (
    Attribution,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn

from captum_robust.attr import GaussianSmoothing, SumChannels, UniformSmoothing, UnitNorm
from captum_robust.estimates import first_order_deviation
from captum_robust.robust import softplus_surrogate

FEATURES = 40


class MatrixMap(Attribution):
    """The map x -> J x + b, whose Jacobian is J."""

    def __init__(self, jacobian: Tensor, offset: Tensor | float = 0.0) -> None:
        super().__init__(lambda x: x.square().sum(1))
        self.jacobian, self.offset = jacobian, offset

    def with_graph(self) -> Any:
        return nullcontext()

    def attribute(self, inputs: Tensor, **_: Any) -> Tensor:
        return inputs @ self.jacobian.T + self.offset


def smooth_net(features: int = FEATURES, classes: int = 3) -> nn.Module:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(features, 16), nn.Softplus(beta=3), nn.Linear(16, classes))
    return net.double().eval()


def quadratic(matrix: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.einsum("ni,ij,nj->n", x, matrix, x) / 2


def difference_jacobian(
    attribute: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5
) -> np.ndarray:
    """The Jacobian at one example, column by column, by central differences."""
    columns = []
    for unit in torch.eye(x.shape[1], dtype=x.dtype):
        ahead, behind = attribute(x + step * unit), attribute(x - step * unit)
        columns.append(((ahead - behind) / (2 * step)).detach().flatten().numpy())
    return np.stack(columns, axis=1)


NET = smooth_net()
METHODS = {
    "saliency": (Saliency(NET), {}),
    "signed": (Saliency(NET), {"abs": False}),
    "input x gradient": (InputXGradient(NET), {}),
    "integrated gradients": (IntegratedGradients(NET), {"n_steps": 8}),
    "smoothed, signed": (
        GaussianSmoothing(Saliency(NET)),
        {"nt_samples": 4, "stdevs": 0.3, "seed": 1, "abs": False},
    ),
    "smoothed": (
        UniformSmoothing(Saliency(NET)),
        {"nt_samples": 4, "stdevs": 0.3, "seed": 1},
    ),
    "smoothed, unit norm": (
        GaussianSmoothing(InputXGradient(NET), transform=UnitNorm()),
        {"nt_samples": 4, "stdevs": 0.3, "seed": 1},
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_singular_value_is_that_of_the_dense_jacobian(name: str) -> None:
    method, kwargs = METHODS[name]
    x = torch.randn(2, FEATURES, dtype=torch.float64)
    target = torch.tensor([0, 2])
    found = first_order_deviation(method, x, target, epsilon=0.1, tolerance=1e-6, **kwargs)
    assert found.converged.all() and found.kind == "estimate"
    for row in range(2):

        def attribute(point: Tensor, row: int = row) -> Tensor:
            # Only with a graph are noisy inputs off the grid, whose steps have no slope.
            words = {"example_ids": [row], "create_graph": True} if "seed" in kwargs else {}
            return method.attribute(point, target=int(target[row]), **kwargs, **words)

        dense = difference_jacobian(attribute, x[row : row + 1])
        _, values, right = np.linalg.svd(dense)
        assert float(found.singular_value[row]) == pytest.approx(values[0], rel=1e-6)
        assert float(found.deviation[row]) == pytest.approx(0.1 * values[0], rel=3e-6)
        assert abs(float(found.direction[row].numpy() @ right[0])) == pytest.approx(1, abs=1e-5)


def test_quadratic_score_is_exact_in_every_norm() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(6, 6, dtype=torch.float64)
    hessian = matrix + matrix.T
    largest = float(torch.linalg.eigvalsh(hessian).abs().max())
    x = torch.randn(3, 6, dtype=torch.float64)
    method = Saliency(quadratic(hessian))
    found = first_order_deviation(method, x, epsilon=0.3, abs=False)
    expected = torch.full((3,), 0.3 * largest, dtype=torch.float64)
    torch.testing.assert_close(found.deviation, expected)
    torch.testing.assert_close(found.observed, expected)  # the map is linear, and v attains it
    torch.testing.assert_close(found.corrected, expected)
    assert (found.residual == 0).all() and (found.products == 8).all()
    third = first_order_deviation(method, x, epsilon=0.3, norm=3, abs=False)
    torch.testing.assert_close(third.deviation, 6 ** (1 / 2 - 1 / 3) * expected)
    assert third.norm == "l3" and (third.lower <= third.deviation).all()
    lengths = torch.linalg.vector_norm(third.direction, 3, dim=1)
    torch.testing.assert_close(lengths, torch.ones(3, dtype=torch.float64))


def test_norms_of_equal_meaning_agree() -> None:
    x = torch.randn(1, FEATURES, dtype=torch.float64)

    def ask(norm: Any) -> Any:
        return first_order_deviation(Saliency(NET), x, 0, epsilon=0.1, norm=norm)

    torch.testing.assert_close(ask(2).deviation, ask("l2").deviation)
    torch.testing.assert_close(ask(math.inf).deviation, ask("linf").deviation)
    assert ask(2.0).norm == "l2" and ask(math.inf).norm == "linf"


def test_cosine_and_angle_are_those_of_the_tangent() -> None:
    method = MatrixMap(torch.diag(torch.tensor([2.0, 1.0])), torch.tensor([0.0, 3.0]))
    x = torch.zeros(3, 2)
    found = first_order_deviation(method, x, epsilon=torch.tensor([0.75, 1.5, 1.6]))
    torch.testing.assert_close(
        found.cosine, torch.tensor([math.sqrt(0.75), 0.0, -1.0], dtype=torch.float64)
    )
    torch.testing.assert_close(found.angle, torch.tensor([30.0, 90.0, 180.0], dtype=torch.float64))
    torch.testing.assert_close(found.cosine_distance, 1 - found.cosine)
    # The tangent is attained: the widest angle among maps within the distance.
    turns = torch.linspace(0, 2 * math.pi, 20001, dtype=torch.float64)
    ends = torch.stack([1.5 * turns.cos(), 3 + 1.5 * turns.sin()], 1)
    widest = (ends[:, 1] / ends.norm(dim=1)).min()
    torch.testing.assert_close(found.cosine[0], widest, atol=1e-6, rtol=0)


def test_largest_epsilon_has_the_squares_that_print_misses() -> None:
    method = MatrixMap(torch.diag(torch.tensor([2.0, 1.0])), torch.tensor([0.0, 3.0]))
    found = first_order_deviation(method, torch.zeros(1, 2), epsilon=0.1)
    size = float(found.largest_epsilon(cosine_distance=0.1))
    assert size == pytest.approx(0.6538, abs=5e-5)
    printed = 3.0**2 / 2.0 * (1 - 0.9**2)
    assert printed == pytest.approx(0.855)
    beyond = first_order_deviation(method, torch.zeros(1, 2), epsilon=printed)
    assert float(beyond.cosine_distance) == pytest.approx(0.178, abs=1e-3)


@pytest.mark.parametrize("norm", ["l2", "linf", 4])
def test_at_the_largest_epsilon_the_estimate_is_the_threshold(norm: Any) -> None:
    x = torch.randn(2, FEATURES, dtype=torch.float64)

    def ask(epsilon: Any) -> Any:
        return first_order_deviation(InputXGradient(NET), x, 1, epsilon=epsilon, norm=norm)

    found = ask(0.1)
    expected = torch.full((2,), 0.05, dtype=torch.float64)
    torch.testing.assert_close(ask(found.largest_epsilon(l2=0.05)).deviation, expected)
    for wanted in (0.05, 0.9, 1.0):
        there = ask(found.largest_epsilon(cosine_distance=wanted)).cosine_distance
        torch.testing.assert_close(there, torch.full_like(there, wanted), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        found.largest_epsilon(cosine_distance=1.5), found.map_norm / found.rate
    )
    assert found.largest_epsilon(cosine_distance=2.0).isinf().all()
    each = found.largest_epsilon(l2=[0.1, 0.2])
    torch.testing.assert_close(each * found.rate, torch.tensor([0.1, 0.2]).double())


def test_gradient_needs_one_product_a_step_and_others_two() -> None:
    x = torch.randn(1, FEATURES, dtype=torch.float64)
    one = first_order_deviation(Saliency(NET), x, 0, epsilon=0.1).products
    two = first_order_deviation(InputXGradient(NET), x, 0, epsilon=0.1).products
    assert int(one) < 30 < int(two)


class Unconservative(torch.autograd.Function):
    """A score whose backward pass is A x with a general A: a gradient that is none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(x, matrix)
        return x.square().sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, matrix = ctx.saved_tensors
        return grad[:, None] * (x @ matrix.T), None


def test_a_gradient_that_is_not_symmetric_is_found_out() -> None:
    matrix = torch.randn(FEATURES, FEATURES, dtype=torch.float64)
    method = Saliency(lambda x: Unconservative.apply(x, matrix))
    x = torch.randn(1, FEATURES, dtype=torch.float64)
    found = first_order_deviation(method, x, epsilon=1.0, abs=False, tolerance=1e-6)
    expected = float(torch.linalg.matrix_norm(matrix, 2))
    assert float(found.singular_value) == pytest.approx(expected, rel=1e-6)


def test_draws_of_a_smoothed_map_are_frozen() -> None:
    matrix = torch.diag(torch.arange(1.0, FEATURES + 1, dtype=torch.float64))
    smooth = GaussianSmoothing(Saliency(quadratic(matrix)))
    x = torch.randn(2, FEATURES, dtype=torch.float64)
    found = first_order_deviation(
        smooth, x, epsilon=0.1, tolerance=1e-7, nt_samples=3, stdevs=5.0, abs=False
    )
    # With other draws at the perturbed input the noise would move the map by far more.
    torch.testing.assert_close(found.observed, torch.full((2,), 4.0).double(), rtol=1e-5, atol=0)


def test_a_tuple_is_one_vector_and_arguments_go_with_their_examples() -> None:
    x = torch.randn(3, FEATURES, dtype=torch.float64)
    scale = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def split(a: Tensor, b: Tensor, factor: Tensor) -> Tensor:
        return factor[:, None] * NET(torch.cat([a, b.flatten(1)], 1))

    parts = (x[:, :10], x[:, 10:].reshape(3, 5, 6))
    target = torch.tensor([0, 1, 2])
    baselines = (torch.ones(3, 10).double(), torch.randn(3, 5, 6).double())
    found = first_order_deviation(
        IntegratedGradients(split),
        parts,
        target,
        epsilon=0.1,
        additional_forward_args=scale,
        baselines=baselines,
        n_steps=6,
        tolerance=1e-6,
    )
    assert [part.shape for part in found.direction] == [part.shape for part in parts]
    whole = torch.cat([part.flatten(1) for part in baselines], 1)
    for row in range(3):
        alone = first_order_deviation(
            IntegratedGradients(NET),
            x[row : row + 1],
            int(target[row]),
            epsilon=0.1,
            baselines=whole[row : row + 1],
            n_steps=6,
            tolerance=1e-6,
        )
        assert float(found.rate[row]) == pytest.approx(
            float(alone.rate) * float(scale[row]), rel=1e-5
        )


def test_a_map_of_other_length_than_the_input() -> None:
    smooth = GaussianSmoothing(Saliency(lambda x: NET(x.flatten(1))), transform=SumChannels())
    x = torch.randn(1, 4, 10, dtype=torch.float64)
    kwargs = {"nt_samples": 3, "stdevs": 0.2, "seed": 0, "abs": False}
    found = first_order_deviation(smooth, x, 1, epsilon=0.1, tolerance=1e-6, **kwargs)
    kwargs["create_graph"] = True  # noisy inputs off the grid, whose steps have no slope
    dense = difference_jacobian(
        lambda flat: smooth.attribute(flat.reshape(-1, 4, 10), target=1, **kwargs), x.flatten(1)
    )
    assert dense.shape == (10, 40)
    expected = np.linalg.norm(dense, 2)
    assert float(found.singular_value) == pytest.approx(expected, rel=1e-6)


def test_a_map_of_a_layer() -> None:
    net = nn.Sequential(nn.Conv1d(1, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(152, 3)).double()
    method, x = LayerGradCam(net, net[0]), torch.randn(2, 1, 40, dtype=torch.float64)
    found = first_order_deviation(method, x, [0, 1], epsilon=0.1, tolerance=1e-6)
    for row in range(2):
        dense = difference_jacobian(
            lambda flat, row=row: method.attribute(flat.reshape(-1, 1, 40), target=row),
            x[row : row + 1].flatten(1),
        )
        assert dense.shape == (38, 40)
        expected = np.linalg.norm(dense, 2)
        assert float(found.singular_value[row]) == pytest.approx(expected, rel=1e-6)


def test_an_unconverged_value_is_lower_and_says_so() -> None:
    spread = torch.linspace(1.0, 1.2, 200, dtype=torch.float64)
    method, x = MatrixMap(torch.diag(spread)), torch.ones(1, 200, dtype=torch.float64)
    with pytest.warns(UserWarning, match="residual is above 1e-06 for example 0"):
        found = first_order_deviation(method, x, epsilon=1.0, max_products=8, tolerance=1e-6)
    assert not found.converged.any() and float(found.residual) > 1e-6
    assert float(found.singular_value) <= 1.2
    torch.testing.assert_close(found.rate, found.singular_value * (1 + found.residual))
    assert "may be too low" in found.statement(0)
    longer = first_order_deviation(method, x, epsilon=1.0, max_products=4000, tolerance=1e-6)
    assert longer.converged.all() and float(longer.singular_value) == pytest.approx(1.2, rel=1e-5)


def test_an_interrupted_solve_keeps_the_best_of_what_it_had() -> None:
    matrix = torch.diag(torch.tensor([10.0] + [1.0] * 99, dtype=torch.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = first_order_deviation(
            MatrixMap(matrix), torch.ones(1, 100).double(), epsilon=1.0, max_products=10
        )
    assert float(found.singular_value) == pytest.approx(10.0, rel=1e-6)


def test_correction_is_the_deviation_seen_along_the_worst_direction() -> None:
    method = Saliency(lambda x: (x**4).sum(1))  # g = 4 x^3, J = 12 x^2
    found = first_order_deviation(method, torch.tensor([[1.0, 0.1]]).double(), epsilon=0.5)
    assert float(found.deviation) == pytest.approx(6.0)
    assert float(found.observed) == pytest.approx(4 * 1.5**3 - 4)
    assert float(found.correction) == pytest.approx(9.5 / 6)
    assert float(found.corrected) == pytest.approx(9.5)


def test_a_zero_map_has_a_deviation_and_no_angle() -> None:
    method, x = Saliency(lambda x: x.square().sum(1)), torch.zeros(2, 4)
    with pytest.warns(UserWarning, match="the map of example 0, 1 is zero"):
        found = first_order_deviation(method, x, epsilon=0.5)
    torch.testing.assert_close(found.deviation, torch.ones(2).double())
    for value in (found.cosine, found.angle, found.cosine_distance):
        assert value.isnan().all()
    assert found.largest_epsilon(cosine_distance=0.1).isnan().all()
    assert not found.largest_epsilon(l2=0.1).isnan().any()
    assert "since the map is zero" in found.statement()


def test_statement_says_what_it_is() -> None:
    method = MatrixMap(torch.diag(torch.tensor([2.0, 1.0])), torch.tensor([0.0, 3.0]))
    found = first_order_deviation(method, torch.zeros(2, 2), epsilon=[0.75, 2.0])
    words = found.statement()
    assert "To first order" in words and "no certificate" in words
    assert "example 0: epsilon 0.75: an l2 distance of at most 1.5" in words
    assert "30 degrees" in words and "exceeds the length of the map" in words
    assert "example 1" not in found.statement(0)


def test_piecewise_linear_nets_are_refused_or_named() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x = torch.randn(2, 4)
    with pytest.raises(ValueError, match=r"zero for example 0.*softplus_surrogate"):
        first_order_deviation(Saliency(net), x, 0, epsilon=0.1)
    with pytest.raises(ValueError, match="softplus_surrogate"):
        first_order_deviation(
            GaussianSmoothing(Saliency(net)), x, 0, epsilon=0.1, stdevs=0.1, seed=0
        )
    with pytest.warns(UserWarning, match="sees nothing of its kinks"):
        first_order_deviation(InputXGradient(net), x, 0, epsilon=0.1)
    twin = softplus_surrogate(net, beta=5.0)
    assert (first_order_deviation(Saliency(twin), x, 0, epsilon=0.1).deviation > 0).all()


def test_everything_is_as_before_even_after_an_error() -> None:
    net = smooth_net().requires_grad_(False)
    method, x = Saliency(net), torch.randn(1, FEATURES).double()
    state, drawn = dict(vars(method)), torch.get_rng_state()
    with torch.no_grad():
        first_order_deviation(method, x, 0, epsilon=0.1)
    with pytest.raises(ValueError, match="epsilon"):
        first_order_deviation(method, x, 0, epsilon=-0.1)
    assert dict(vars(method)) == state and not x.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_single_precision_is_enough() -> None:
    net = smooth_net().float()
    x = torch.randn(1, FEATURES)
    exact = first_order_deviation(Saliency(smooth_net()), x.double(), 0, epsilon=0.1)
    single = first_order_deviation(Saliency(net), x, 0, epsilon=0.1)
    assert single.deviation.dtype == torch.float64 and single.direction.dtype == torch.float32
    torch.testing.assert_close(single.singular_value, exact.singular_value, rtol=1e-4, atol=0)


NORMALISED = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Softplus(), nn.Linear(4, 3))
SMOOTH = nn.Sequential(nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("method", "change", "error", "words"),
    [
        (NoiseTunnel(Saliency(SMOOTH)), {}, TypeError, "no graph"),
        (Occlusion(SMOOTH), {}, TypeError, "gradient_func"),
        (GuidedBackprop(SMOOTH), {}, TypeError, "backward pass"),
        (Saliency(NORMALISED), {}, RuntimeError, "evaluation mode"),
        (Saliency(SMOOTH), {"epsilon": 0.0}, ValueError, "`epsilon` must be > 0"),
        (Saliency(SMOOTH), {"epsilon": -1.0}, ValueError, "`epsilon` must be > 0"),
        (Saliency(SMOOTH), {"epsilon": math.nan}, ValueError, "`epsilon` must be > 0"),
        (Saliency(SMOOTH), {"epsilon": [0.1]}, ValueError, r"shape \(2,\), got \(1,\)"),
        (Saliency(SMOOTH), {"epsilon": None}, TypeError, "`epsilon` must be a number"),
        (Saliency(SMOOTH), {"epsilon": True}, TypeError, "got bool"),
        (Saliency(SMOOTH), {"norm": 1.5}, ValueError, "at least 2, got 1.5"),
        (Saliency(SMOOTH), {"norm": math.nan}, ValueError, "at least 2"),
        (Saliency(SMOOTH), {"norm": "l1"}, ValueError, "'l2', 'linf', got 'l1'"),
        (Saliency(SMOOTH), {"norm": None}, TypeError, "NoneType"),
        (Saliency(SMOOTH), {"tolerance": 0}, ValueError, "`tolerance`"),
        (Saliency(SMOOTH), {"max_products": 7}, ValueError, "`max_products`"),
        (Saliency(SMOOTH), {"dense_limit": -1}, ValueError, "`dense_limit`"),
        (Saliency(SMOOTH), {"weight_steps": -1}, ValueError, "`weight_steps`"),
        (Saliency(SMOOTH), {"inputs": torch.ones(2, 4).long()}, TypeError, "floating point"),
        (Saliency(SMOOTH), {"inputs": torch.full((2, 4), math.nan)}, ValueError, "finite"),
    ],
)
def test_bad_input(method: Attribution, change: dict, error: type, words: str) -> None:
    arguments = {"inputs": torch.randn(2, 4), "target": 0, "epsilon": 0.1, **change}
    with pytest.raises(error, match=words):
        first_order_deviation(method, **arguments)


@pytest.mark.parametrize(
    ("thresholds", "error", "words"),
    [
        ({}, ValueError, "exactly one"),
        ({"l2": 0.1, "cosine_distance": 0.1}, ValueError, "exactly one"),
        ({"l2": -0.1}, ValueError, "`l2`"),
        ({"l2": math.inf}, ValueError, "`l2`"),
        ({"cosine_distance": 2.1}, ValueError, "`cosine_distance`"),
        ({"l2": [0.1, 0.2, 0.3]}, ValueError, r"shape \(1,\), got \(3,\)"),
    ],
)
def test_bad_thresholds(thresholds: dict, error: type, words: str) -> None:
    found = first_order_deviation(Saliency(SMOOTH), torch.randn(1, 4), 0, epsilon=0.1)
    with pytest.raises(error, match=words):
        found.largest_epsilon(**thresholds)


def test_products_that_are_not_finite_are_named() -> None:
    x, scale = torch.full((2, FEATURES), 1e-3), torch.tensor([1.0, 1.5e38])
    steep = Saliency(lambda x, scale: scale * x.square().sum(1))  # the second overflows
    with pytest.raises(RuntimeError, match=r"products must be finite.*example 1"):
        first_order_deviation(steep, x, epsilon=0.1, additional_forward_args=scale)
    root = Saliency(lambda x: x.sqrt().sum(1))
    with pytest.raises(RuntimeError, match=r"attributions must be finite.*example 1"):
        first_order_deviation(root, torch.tensor([[1.0, 2.0], [0.0, 1.0]]), epsilon=0.1)
