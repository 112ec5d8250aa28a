"""The cosine criterion's bounds, the local-linearity gap, the Jacobian, and their pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import Tensor, nn

from captum_robust.attr import GaussianSmoothing
from captum_robust.estimates import (
    attribution_jacobian,
    criterion_bound,
    diagonal_share,
    first_order_deviation,
    local_linearity_gap,
)
from captum_robust.metrics import cosine_similarity

FEATURES = 7


def smooth_net() -> nn.Module:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(FEATURES, 16), nn.Softplus(beta=3), nn.Linear(16, 3))
    return net.double().eval()


NET = smooth_net()


def quadratic(hessian: Tensor) -> Any:
    return lambda x: torch.einsum("ni,ij,nj->n", x, hessian, x) / 2 + x.sum(1)


def points(count: int = 2) -> Tensor:
    return torch.randn(count, FEATURES, dtype=torch.float64)


def test_criterion_and_bounds_of_a_quadratic_are_those_of_the_formulas() -> None:
    matrix = torch.randn(FEATURES, FEATURES, dtype=torch.float64)
    hessian, x = matrix + matrix.T, points()
    delta = 0.1 * points()
    method = Saliency(quadratic(hessian))
    found = criterion_bound(method, x, x + delta, abs=False, n_samples=500)
    here, there = x @ hessian + 1, (x + delta) @ hessian + 1
    length, size = there.norm(dim=1), delta.norm(dim=1)
    torch.testing.assert_close(found.measured, (1 - cosine_similarity(there, here)) / 2)
    torch.testing.assert_close(found.sharp, (delta @ hessian).norm(dim=1) / length)
    largest = torch.linalg.matrix_norm(hessian, 2)
    torch.testing.assert_close(found.spectral, size * largest / length)
    frobenius = torch.linalg.matrix_norm(hessian)
    # ||H u||^2 has variance 2 ||H^2||_F^2; the root halves its relative error.
    error = 4 * (2 / 500) ** 0.5 * float(torch.linalg.matrix_norm(hessian @ hessian))
    relative = error / float(frobenius) ** 2 / 2
    torch.testing.assert_close(
        found.frobenius, size * frobenius / length, rtol=1.1 * relative, atol=0
    )
    assert found.kind == "estimate"


def test_criterion_is_its_leading_term_at_small_sizes() -> None:
    x = points(3)
    direction = torch.nn.functional.normalize(points(3))
    found = criterion_bound(Saliency(NET), x, x + 1e-3 * direction, 1, abs=False)
    torch.testing.assert_close(found.measured, found.leading, rtol=5e-3, atol=0)
    assert (found.measured < found.sharp).all() and (found.sharp <= found.spectral).all()


def test_bounds_hold_along_the_worst_direction_of_every_map() -> None:
    x = points(3)
    for method in (Saliency(NET), InputXGradient(NET), IntegratedGradients(NET)):
        worst = first_order_deviation(method, x, 1, epsilon=0.05)
        found = criterion_bound(method, x, x + 0.05 * worst.direction, 1)
        torch.testing.assert_close(found.sharp, found.spectral, rtol=1e-6, atol=0)
        assert (found.measured <= found.sharp).all()


def test_a_zero_perturbed_map_bounds_nothing() -> None:
    method = Saliency(lambda x: x.square().sum(1) / 2)
    x = torch.tensor([[1.0, 0.0]])
    found = criterion_bound(method, x, torch.zeros(1, 2), abs=False)
    assert float(found.measured) == 0.5
    assert all(value.isinf().all() for value in (found.sharp, found.spectral, found.frobenius))
    assert criterion_bound(method, torch.zeros(1, 2), x, abs=False).leading.isinf().all()


@pytest.mark.parametrize("absolute", [True, False])
def test_gap_is_the_remainder_of_the_map(absolute: bool) -> None:
    x, delta = points(3), 0.3 * points(3)
    found = local_linearity_gap(Saliency(NET), x, x + delta, 1, abs=absolute)
    for row in range(3):

        def gradient(point: Tensor) -> Tensor:
            return torch.func.grad(lambda z: NET(z)[1])(point)

        here, there = gradient(x[row]), gradient(x[row] + delta[row])
        moved = torch.func.jacrev(gradient)(x[row]) @ delta[row]
        if absolute:
            here, there, moved = here.abs(), there.abs(), here.sign() * moved
        expected = (there - here - moved).norm()
        torch.testing.assert_close(found[row], expected)


def test_gap_is_zero_for_linear_maps_and_of_second_order_for_others() -> None:
    x, delta = points(), points()
    linear = InputXGradient(lambda x: x.sum(1))
    torch.testing.assert_close(
        local_linearity_gap(linear, x, x + delta), torch.zeros(2).double(), atol=1e-12, rtol=0
    )
    straight = Saliency(lambda x: x.sum(1))
    assert not local_linearity_gap(straight, x, x + delta).any()
    small, smaller = (
        local_linearity_gap(InputXGradient(NET), x, x + size * delta, 0) for size in (1e-2, 5e-3)
    )
    torch.testing.assert_close(small / smaller, torch.full((2,), 4.0).double(), rtol=0.05, atol=0)


def test_draws_are_the_same_at_both_ends() -> None:
    x, smooth = points(), GaussianSmoothing(Saliency(quadratic(torch.eye(FEATURES).double())))
    gap = local_linearity_gap(smooth, x, x + 0.1, stdevs=3.0, nt_samples=2, abs=False)
    torch.testing.assert_close(gap, torch.zeros(2).double(), atol=1e-12, rtol=0)


def test_jacobian_of_several_inputs_and_its_corner() -> None:
    x = points(2)

    def split(a: Tensor, b: Tensor) -> Tensor:
        return NET(torch.cat([a, b], 1))

    parts = (x[:, :3], x[:, 3:])
    method, whole = InputXGradient(split), InputXGradient(NET)
    found = attribution_jacobian(method, parts, 2)
    assert found.shape == (2, FEATURES, FEATURES)
    for row in range(2):

        def literal(point: Tensor) -> Tensor:
            return point * torch.func.grad(lambda z: NET(z)[2])(point)

        torch.testing.assert_close(found[row], torch.func.jacrev(literal)(x[row]))
    corner = attribution_jacobian(whole, x, 2, features=4)
    torch.testing.assert_close(corner, found[:, :4, :4])
    with pytest.raises(ValueError, match=r"`features` must be in \[1, 7\], got 8"):
        attribution_jacobian(whole, x, 2, features=8)


def test_jacobian_in_blocks_is_the_jacobian() -> None:
    diagonal = torch.arange(1.0, 151.0)
    method = Saliency(lambda x: (diagonal * x.square()).sum(1) / 2)
    found = attribution_jacobian(method, torch.ones(1, 150), abs=False)
    torch.testing.assert_close(found[0], torch.diag(diagonal).double())


def test_share_of_the_diagonal() -> None:
    shares = diagonal_share(torch.stack([torch.eye(4), torch.ones(4, 4), torch.zeros(4, 4)]))
    assert shares[:2].tolist() == [1.0, 0.25] and shares[2].isnan()
    with pytest.raises(ValueError, match="shape"):
        diagonal_share(torch.ones(4, 4))


@pytest.mark.parametrize(
    ("perturbed", "error", "words"),
    [
        (torch.ones(2, 3), ValueError, "shaped like `inputs`"),
        ((torch.ones(2, 4), torch.ones(2, 4)), ValueError, "shaped like `inputs`"),
        (torch.full((2, 4), torch.nan), ValueError, "finite"),
    ],
)
@pytest.mark.parametrize("ask", [criterion_bound, local_linearity_gap])
def test_bad_perturbed_inputs(ask: Any, perturbed: Any, error: type, words: str) -> None:
    method = Saliency(lambda x: x.square().sum(1))
    with pytest.raises(error, match=words):
        ask(method, torch.ones(2, 4), perturbed)


def test_a_flat_map_has_no_criterion_bound() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(ValueError, match="softplus_surrogate"):
        criterion_bound(Saliency(net), torch.randn(1, 4), torch.randn(1, 4), 0)


def test_pictures() -> None:
    from matplotlib.figure import Figure

    from captum_robust.visualization.first_order import (
        visualize_jacobian,
        visualize_local_linearity,
        visualize_margins,
    )

    gaps = {"a": torch.rand(5, 3), "b": torch.rand(5, 3)}
    figure = Figure()
    first, second, third = figure.subplots(1, 3)
    out = visualize_local_linearity([0.1, 0.2, 0.3], gaps, plt_fig_axis=(figure, first))
    assert out[0] is figure and out[1] is first and len(first.lines) == 2
    assert first.lines[0].get_ydata() == pytest.approx(gaps["a"].median(0).values)
    visualize_jacobian(-torch.eye(5), features=3, plt_fig_axis=(figure, second), title="J")
    assert second.images[0].get_array().tolist() == torch.eye(3).tolist()
    named = {"T": torch.ones(4), "T'": 2 * torch.ones(4)}
    measured = torch.tensor([0.5, 1.5, 1.8, 2.5])
    visualize_margins(named, measured, plt_fig_axis=(figure, third))
    labels = [text.get_text() for text in third.get_legend().get_texts()]
    assert labels == ["T: 3 of 4 violated", "T': 1 of 4 violated"]
    with pytest.raises(ValueError, match="`gaps` must have 2 entries"):
        visualize_local_linearity([0.1, 0.2], torch.rand(5, 3))
    with pytest.raises(ValueError, match="one example's matrix"):
        visualize_jacobian(torch.rand(1, 5, 5))
    with pytest.raises(ValueError, match="`bounds` must have 3 entries"):
        visualize_margins(torch.ones(4), torch.ones(3))
