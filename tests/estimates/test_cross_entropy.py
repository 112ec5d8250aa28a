"""The closed-form Hessian spectrum of the cross-entropy against automatic differentiation."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_robust.estimates import cross_entropy_hessian_spectrum, cross_entropy_hessian_top

CLASSES, FEATURES = 3, 7


def relu_net(features: int = FEATURES, classes: int = CLASSES) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(features, 9), nn.ReLU(), nn.Linear(9, classes)).double().eval()


def literal_hessian(net: nn.Module, x: torch.Tensor, label: int) -> torch.Tensor:
    def loss(point: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(net(point[None]), torch.tensor([label]))

    return torch.autograd.functional.hessian(loss, x)


def test_equals_the_hessian_of_a_relu_net_for_every_label() -> None:
    net, x = relu_net(), torch.randn(4, FEATURES, dtype=torch.float64)
    spectrum = cross_entropy_hessian_spectrum(net, x)
    assert spectrum.shape == (4, CLASSES)
    assert not spectrum.requires_grad
    for example in range(4):
        for label in range(CLASSES):
            literal = torch.linalg.eigvalsh(literal_hessian(net, x[example], label)).flip(0)
            torch.testing.assert_close(spectrum[example], literal[:CLASSES], atol=1e-12, rtol=1e-9)


def test_pads_with_zeros_where_classes_outnumber_features() -> None:
    net, x = relu_net(2, 5), torch.randn(3, 2, dtype=torch.float64)
    spectrum = cross_entropy_hessian_spectrum(net, x)
    assert spectrum.shape == (3, 5)
    assert (spectrum[:, 2:] < 1e-12).all() and (spectrum >= 0).all()


def test_direction_is_the_eigenvector() -> None:
    net, x = relu_net(), torch.randn(4, FEATURES, dtype=torch.float64)
    value, direction = cross_entropy_hessian_top(net, x)
    torch.testing.assert_close(value, cross_entropy_hessian_spectrum(net, x)[:, 0])
    for example in range(4):
        hessian = literal_hessian(net, x[example], 0)
        torch.testing.assert_close(
            hessian @ direction[example], value[example] * direction[example], atol=1e-10, rtol=1e-7
        )


def test_gradient_in_the_parameters_is_that_of_finite_differences() -> None:
    net, x = relu_net(), torch.randn(2, FEATURES, dtype=torch.float64)

    def top() -> torch.Tensor:
        return cross_entropy_hessian_spectrum(net, x, create_graph=True)[:, 0].sum()

    for parameter in net.parameters():
        (gradient,) = torch.autograd.grad(top(), parameter, allow_unused=True)
        step = 1e-6 * torch.randn_like(parameter)
        with torch.no_grad():
            parameter += step
            ahead = float(top())
            parameter -= 2 * step
            behind = float(top())
            parameter += step
        expected = 0.0 if gradient is None else float((gradient * step).sum())
        assert (ahead - behind) / 2 == pytest.approx(expected, rel=1e-5, abs=1e-13)


def test_gradient_is_finite_where_a_probability_underflows() -> None:
    net = relu_net()
    with torch.no_grad():
        net[2].bias.copy_(torch.tensor([2000.0, 0.0, 0.0]))
    cross_entropy_hessian_spectrum(net, torch.randn(2, FEATURES).double(), create_graph=True)[
        :, 0
    ].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_a_tuple_is_one_vector() -> None:
    net, x = relu_net(), torch.randn(4, FEATURES, dtype=torch.float64)

    def split(a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
        return scale * net(torch.cat([a, b.flatten(1)], 1))

    parts = (x[:, :3], x[:, 3:].reshape(4, 2, 2))
    torch.testing.assert_close(
        cross_entropy_hessian_spectrum(split, parts, additional_forward_args=1.0),
        cross_entropy_hessian_spectrum(net, x),
    )
    _, direction = cross_entropy_hessian_top(split, parts, additional_forward_args=1.0)
    assert [d.shape for d in direction] == [p.shape for p in parts]


def test_gradient_of_the_loss_moves_by_no_more_within_the_linear_piece() -> None:
    net, x = relu_net(), torch.randn(4, FEATURES, dtype=torch.float64)
    value, direction = cross_entropy_hessian_top(net, x)
    epsilon = 1e-5

    def gradient(point: torch.Tensor) -> torch.Tensor:
        point = point.detach().requires_grad_()
        loss = functional.cross_entropy(net(point), torch.zeros(4).long(), reduction="sum")
        return torch.autograd.grad(loss, point)[0]

    moved = (gradient(x + epsilon * direction) - gradient(x)).norm(dim=1)
    torch.testing.assert_close(moved, epsilon * value, rtol=1e-3, atol=0)


def test_a_net_that_ignores_its_input_has_no_curvature() -> None:
    def constant(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 3)

    value, direction = cross_entropy_hessian_top(constant, torch.ones(2, 4))
    assert not value.any() and not direction.any()


def test_leaves_model_and_inputs_alone() -> None:
    net, x = relu_net(), torch.randn(2, FEATURES, dtype=torch.float64)
    with torch.no_grad():
        cross_entropy_hessian_spectrum(net, x)
    assert not x.requires_grad and all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("model", "inputs", "error", "words"),
    [
        (lambda x: x.sum(1), torch.ones(2, 3), ValueError, r"\(N, c\), c >= 2, got \(2,\)"),
        (lambda x: x[:, :1], torch.ones(2, 3), ValueError, "c >= 2"),
        (lambda x: x / 0 - x / 0, torch.ones(2, 3), ValueError, "for example 0"),
        (lambda x: x, torch.ones(2, 3) * torch.nan, ValueError, "finite"),
        (lambda x: x, torch.ones(2, 3).long(), TypeError, "floating"),
    ],
)
def test_bad_input(model, inputs, error, words) -> None:
    with pytest.raises(error, match=words):
        cross_entropy_hessian_spectrum(model, inputs)
