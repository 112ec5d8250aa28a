"""First-order deviation in linf, and under the label constraint: brute force and closed forms."""

from __future__ import annotations

import itertools
import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Attribution, InputXGradient, Saliency
from torch import Tensor, nn

from captum_robust.estimates import attribution_jacobian, first_order_deviation


class MatrixMap(Attribution):
    """The map x -> J x, with a net of our choice behind it."""

    def __init__(self, jacobian: Tensor, forward_func: Any = None) -> None:
        super().__init__(forward_func or (lambda x: x.square().sum(1)))
        self.jacobian = jacobian

    def with_graph(self) -> Any:
        return nullcontext()

    def attribute(self, inputs: Tensor, **_: Any) -> Tensor:
        return inputs @ self.jacobian.T + 1.0


def largest_on_the_box(jacobian: Tensor) -> float:
    """max ||J delta|| over the vertices of the unit box, one by one."""
    vertices = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=jacobian.shape[1])))
    return float((vertices.to(jacobian) @ jacobian.T).norm(dim=1).max())


def ask(jacobian: Tensor, epsilon: float = 1.0, **terms: Any) -> Any:
    x = torch.zeros(1, jacobian.shape[1], dtype=jacobian.dtype)
    return first_order_deviation(MatrixMap(jacobian), x, epsilon=epsilon, norm="linf", **terms)


def test_the_layout_of_p_matters() -> None:
    product = InputXGradient(lambda x: x[:, 0] * x[:, 1] + x[:, 0] - x[:, 1])
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    jacobian = attribution_jacobian(product, x)[0]
    assert jacobian.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert largest_on_the_box(jacobian) == 2.0
    assert float((jacobian @ jacobian.T).abs().sum().sqrt()) < 1.4143  # of the other layout
    found = first_order_deviation(product, x, epsilon=1.0, norm="linf")
    assert float(found.dense) == pytest.approx(2.0)
    assert float(found.lower) == pytest.approx(2.0)
    assert float(found.deviation) == pytest.approx(2.0)


@pytest.mark.parametrize("dense_limit", [0, 1024])
def test_bounds_hold_on_every_vertex(dense_limit: int) -> None:
    generator = torch.Generator().manual_seed(4)
    ratios = []
    for trial in range(40):
        rows, columns = 2 + trial % 9, 2 + trial % 8
        jacobian = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
        jacobian *= torch.rand(columns, generator=generator, dtype=torch.float64) ** 3
        truth = largest_on_the_box(jacobian)
        found = ask(jacobian, dense_limit=dense_limit)
        assert float(found.lower) <= truth * (1 + 1e-12)
        assert truth <= float(found.spectral) * (1 + 1e-12)
        assert truth <= float(found.deviation) * (1 + 1e-12)
        if dense_limit:
            expected = math.sqrt(float((jacobian.T @ jacobian).abs().sum()))
            assert float(found.dense) == pytest.approx(expected)
            assert float(found.deviation) <= expected * (1 + 1e-12)
        else:
            assert found.dense.isnan().all()
        ratios.append((float(found.lower) / truth, float(found.deviation) / truth))
    low, high = np.array(ratios).T
    assert low.min() > 0.8 and np.median(low) > 1 - 1e-12
    assert high.max() < 1.6 and np.median(high) < 1.2


def test_weights_beat_the_plain_spectral_bound_and_match_equal_signs() -> None:
    scales = torch.logspace(0, -3, 50, dtype=torch.float64)
    jacobian = torch.outer(torch.ones(50, dtype=torch.float64), scales)  # rank one: attained
    found = ask(jacobian, dense_limit=0)
    truth = math.sqrt(50) * float(scales.sum())
    plain = float(found.singular_value) * math.sqrt(50)
    assert float(found.lower) == pytest.approx(truth)
    assert truth <= float(found.spectral) <= 1.02 * truth < plain


def test_matrix_free_products_find_what_the_matrix_gives() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(40, 12), nn.Softplus(), nn.Linear(12, 3)).double().eval()
    x = torch.randn(2, 40, dtype=torch.float64)
    for method in (Saliency(net), InputXGradient(net)):
        whole, free = (
            first_order_deviation(method, x, 1, epsilon=0.1, norm="linf", dense_limit=limit)
            for limit in (40, 39)
        )
        torch.testing.assert_close(whole.lower, free.lower, rtol=1e-6, atol=0)
        assert whole.dense.isfinite().all() and free.dense.isnan().all()
        assert (free.lower <= free.spectral).all() and (free.spectral <= 1.3 * free.lower).all()
        torch.testing.assert_close(
            whole.direction.abs(), torch.ones_like(x)
        )  # a vertex of the unit box


def test_zero_counts_as_a_positive_sign() -> None:
    jacobian = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    found = ask(jacobian, epsilon=0.5)
    assert found.direction.abs().tolist() == [[1.0, 1.0]] and float(found.lower) == 0.5


def test_no_weight_steps_leave_the_plain_bound() -> None:
    jacobian = torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))
    found = ask(jacobian, weight_steps=0)
    assert float(found.spectral) == pytest.approx(3 * math.sqrt(2))


def linear_net(*normals: list[float]) -> Any:
    """Logits 0 and a.x - b for each rival; class 0 is predicted at the origin."""

    def logits(x: Tensor) -> Tensor:
        rivals = [x @ torch.tensor(a[:-1], dtype=x.dtype) - a[-1] for a in normals]
        return torch.stack([torch.zeros_like(rivals[0]), *rivals], dim=1)

    return logits


def constrained(jacobian: Tensor, net: Any, norm: str, competing: Any, epsilon: float = 1.0) -> Any:
    x = torch.zeros(1, jacobian.shape[1], dtype=jacobian.dtype)
    method = MatrixMap(jacobian, net)
    with pytest.warns(UserWarning, match="kinks"):  # the net is linear
        return first_order_deviation(method, x, 0, epsilon=epsilon, norm=norm, competing=competing)


def on_a_grid(jacobian: Tensor, normals: Tensor, norm: str) -> float:
    """The constrained maximum in two dimensions, along rays that end at the boundary."""
    low, high = 0.0, 2 * math.pi
    for _ in range(3):  # each grid closes in on the best ray of the one before
        turns = torch.linspace(low, high, 20001, dtype=torch.float64)
        rays = torch.stack([turns.cos(), turns.sin()], 1)
        size = torch.linalg.vector_norm(rays, math.inf if norm == "linf" else 2, dim=1)
        rays = rays / size[:, None]
        reach = (normals[:, 2] / (rays @ normals[:, :2].T).clamp(min=1e-12)).amin(1).clamp(max=1.0)
        values = ((rays * reach[:, None]) @ jacobian.T).norm(dim=1)
        best = float(turns[values.argmax()])
        step = (high - low) / 20000
        low, high = best - step, best + step
    return float(values.max())


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_one_competing_class_changes_nothing(norm: str) -> None:
    jacobian = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    found = constrained(jacobian, linear_net([1.0, 0.0, 0.1]), norm, 1)
    assert found.constrained_kind == "estimate"
    torch.testing.assert_close(found.constrained, found.deviation)
    assert "with the label kept at most" in found.statement()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("competing", ["all", [1, 2, 3]])
def test_several_classes_can_lower_it(norm: str, competing: Any) -> None:
    jacobian = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    rows = ([1.0, 0.2, 0.1], [-1.0, 0.1, 0.2], [0.3, 1.0, 0.9])
    found = constrained(jacobian, linear_net(*rows), norm, competing)
    assert found.constrained_kind == "estimate-lower"
    expected = on_a_grid(jacobian, torch.tensor(rows, dtype=torch.float64), norm)
    assert expected < 0.6 * float(found.deviation)
    assert float(found.constrained) == pytest.approx(expected, rel=1e-6)
    assert "with the label kept at least" in found.statement()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_classes_that_leave_one_sign_free_change_nothing(norm: str) -> None:
    jacobian = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    net = linear_net([1.0, 0.0, 0.1], [1.0, 0.1, 0.2], [0.0, 0.0, 1.0])
    found = constrained(jacobian, net, norm, "all")
    torch.testing.assert_close(found.constrained, found.lower)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_no_feasible_point_beats_the_unconstrained_value(norm: str) -> None:
    torch.manual_seed(5)
    jacobian = torch.randn(12, 12, dtype=torch.float64)
    weight = torch.randn(6, 12, dtype=torch.float64)

    def net(x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x[:, :1]), x @ weight.T - 0.3], 1)

    found = constrained(jacobian, net, norm, "all")
    deltas = torch.randn(20000, 12, dtype=torch.float64)
    size = torch.linalg.vector_norm(deltas, math.inf if norm == "linf" else 2, dim=1)
    deltas = deltas / size[:, None]
    deltas = deltas * (0.3 / (deltas @ weight.T).amax(1).clamp(min=0.3))[:, None]
    best = float((deltas @ jacobian.T).norm(dim=1).max())
    assert best <= float(found.constrained) <= float(found.deviation)


@pytest.mark.parametrize(
    ("competing", "norm", "words"),
    [
        (0, "l2", "other than the target 0, got 0"),
        (5, "l2", r"classes in \[0, 2\]"),
        ([], "l2", "at least one class"),
        ("some", "l2", "must be one of 'all'"),
        ("all", 3, "unless the norm is l2 or linf"),
    ],
)
def test_bad_competing_classes(competing: Any, norm: Any, words: str) -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.Softplus(), nn.Linear(4, 3))
    x = torch.randn(1, 2)
    with pytest.raises(ValueError, match=words):
        first_order_deviation(Saliency(net), x, 0, epsilon=0.1, norm=norm, competing=competing)


def test_the_target_must_be_what_is_predicted_and_a_class() -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.Softplus(), nn.Linear(4, 3))
    x = torch.randn(1, 2)
    worst = int(net(x).argmin())
    with pytest.raises(ValueError, match=f"not classified as {worst}"):
        first_order_deviation(Saliency(net), x, worst, epsilon=0.1, competing="all")
    with pytest.raises(ValueError, match="one class an example"):
        first_order_deviation(
            Saliency(lambda x: x.square().sum(1)), x, epsilon=0.1, competing="all"
        )
