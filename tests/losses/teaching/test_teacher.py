"""ATEX: its points, its value by a slow loop, the released code's options, and what it leaves."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from captum_robust.losses import ATEX
from tests.helpers.nets import dense_net

make_net = partial(dense_net, 6, 20, 3)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.rand(4, 2, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1])


def kl(p_out: Tensor, q_out: Tensor) -> Tensor:
    p, q = p_out.softmax(0), q_out.softmax(0)
    return sum(p[c] * (p[c] / q[c]).log() for c in range(len(p)))


class Points(ATEX):
    """Remembers the noise-free map, and the points that teacher and student are asked at."""

    def _smooth_map(self, model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
        self.map = super()._smooth_map(model, inputs, target).flatten(1)
        return self.map

    def _teach(self, teacher, points: Tensor) -> Tensor:
        self.taught = getattr(self, "taught", [])
        self.taught.append(points)
        return super()._teach(teacher, points)


def asked(criterion: Points, net: nn.Module, data) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, x^i ``(along, N, d)`` and x^p ``(along, across, N, d)``."""
    seen: list[Tensor] = []
    hook = net.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    criterion.taught = []
    loss = criterion(net, *data)
    hook.remove()
    along = next(part for part in criterion.taught if part.shape != data[0].shape)
    across = seen[-1].reshape(criterion.along, criterion.across, len(data[0]), -1)
    return loss, along.reshape(criterion.along, len(data[0]), -1), across


def test_points_lie_along_and_across_the_map(data):
    criterion = Points(make_net(seed=1), 0.3, along=50, across=3, stdevs=0.0, nt_samples=1)
    _, along, across = asked(criterion, make_net(), data)
    x, h = data[0].flatten(1), criterion.map
    u = h / h.norm(dim=1, keepdim=True)
    lengths = ((along - x) * u).sum(-1)
    torch.testing.assert_close(along - x, lengths.unsqueeze(-1) * u)
    moves = across - along.unsqueeze(1)
    torch.testing.assert_close((moves * u).sum(-1), torch.zeros(50, 3, 4, dtype=torch.float64))
    for sizes in (lengths.abs(), moves.norm(dim=-1)):  # uniform: mean 1/2, variance 1/12, in radii
        assert sizes.max() <= 0.3
        assert abs(sizes.mean() / 0.3 - 0.5) < 4 * (1 / 12 / sizes.numel()) ** 0.5
    assert abs(lengths.mean() / 0.3) < 4 * (1 / 3 / lengths.numel()) ** 0.5


def test_points_of_the_released_code(data):
    options = {"sampling": "grid", "along": 11, "across": 8, "stdevs": 0.0, "nt_samples": 1}
    criterion = Points(make_net(seed=1), 0.3, **options)
    _, along, across = asked(criterion, make_net(), data)
    x, h = data[0].flatten(1), criterion.map
    for i in range(11):
        step = (i - 5.5) / 10 * 0.3 * h / h.abs().amax(1, keepdim=True)
        torch.testing.assert_close(along[i], x + step)
    moves = across - along.unsqueeze(1)
    u = h / h.norm(dim=1, keepdim=True)
    torch.testing.assert_close((moves * u).sum(-1), torch.zeros(11, 8, 4, dtype=torch.float64))
    # Each feature is uniform noise less its part along the map.
    expected = (0.3**2 / 3 * (1 - u.square())).expand_as(moves)
    spread = moves.square().mean() - expected.mean()
    assert abs(spread) < 4 * moves.square().std() / moves.numel() ** 0.5


@pytest.mark.parametrize("direction", ["student", "teacher"])
@pytest.mark.parametrize(
    "options", [{}, {"reduction": "mean", "temperature": 4.0, "distillation": 0.5}]
)
def test_value_and_gradient_by_a_slow_loop(direction, options, data):
    teacher, net = make_net(seed=1), make_net()
    criterion = Points(teacher, 0.3, 2.0, along=2, across=3, direction=direction, **options)
    loss, along, across = asked(criterion, net, data)
    shared = 3 if options.get("reduction") == "mean" else 1

    def divergence(there: Tensor, asked_at: Tensor) -> Tensor:
        student = net(there.reshape(1, 2, 3))[0]
        taught = teacher(asked_at.reshape(1, 2, 3))[0].detach() / options.get("temperature", 1)
        pair = (student, taught) if direction == "student" else (taught, student)
        return kl(*pair) / shared

    first, second = [], []
    for n, x in enumerate(data[0]):
        first.append(divergence(x, x))
        second += [divergence(across[i, p, n], along[i, n]) for i in range(2) for p in range(3)]
    reference = options.get("distillation", 1) * torch.stack(first).mean()
    reference = reference + 2 * torch.stack(second).mean()
    torch.testing.assert_close(loss, reference)
    parameters = list(net.parameters())
    for one, two in zip(
        *(torch.autograd.grad(v, parameters) for v in (loss, reference)), strict=True
    ):
        torch.testing.assert_close(one, two)


def test_the_map_is_smoothgrad_of_the_net_chosen(data):
    teacher, net = make_net(seed=1), make_net()
    for explained, chosen in (("teacher", teacher), ("student", net)):
        options = {"stdevs": 0.0, "nt_samples": 2, "explained": explained}
        criterion = Points(teacher, 0.3, **options)
        criterion(net, *data)
        x = data[0].clone().requires_grad_()
        logits = chosen(x).gather(1, data[1][:, None]).sum()
        torch.testing.assert_close(criterion.map, torch.autograd.grad(logits, x)[0].flatten(1))


def test_smoothgrad_has_the_noise_asked_for(data):
    """Of the net x^2, whose gradient at x + noise is 2 (x + noise)."""

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).square().sum(1, keepdim=True).expand(-1, 3)

    criterion = Points(Square(), 0.3, stdevs=0.2, nt_samples=4000)
    criterion(make_net(), *data)
    error = criterion.map - 2 * data[0].flatten(1)
    assert error.abs().max() < 4.5 * 2 * 0.2 / 4000**0.5  # the largest of 24
    assert error.square().mean() > 0.3 * (2 * 0.2) ** 2 / 4000


def test_a_student_equal_to_its_teacher_has_nothing_to_learn_at_the_input(data):
    net = make_net()
    criterion = ATEX(copy.deepcopy(net), 0.3, 0.0)
    assert abs(criterion(net, *data)) < 1e-12


def test_refuses_the_model_as_its_own_teacher(data):
    net = make_net()
    with pytest.raises(ValueError, match=r"copy.deepcopy\(model\)"):
        ATEX(net, 0.3)(net, *data)


def test_teacher_and_student_are_left_as_they_were(data):
    def normed(seed: int) -> nn.Sequential:
        torch.manual_seed(seed)
        layers = nn.Flatten(), nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
        return nn.Sequential(*layers).double().train()

    teacher, net = normed(1), normed(2)
    for explained in ("teacher", "student"):
        state, own = copy.deepcopy(teacher.state_dict()), int(net[2].num_batches_tracked)
        criterion = ATEX(teacher, 0.3, explained=explained)
        criterion(net, *data).backward()
        assert all(torch.equal(state[key], value) for key, value in teacher.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in teacher.parameters())
        assert all(module.training for module in [*teacher.modules(), *net.modules()])
        assert int(net[2].num_batches_tracked) == own + 2  # x and x^p, not SmoothGrad's
        assert all(p.grad is not None for p in net.parameters())


def test_the_batch_loss_is_the_mean_over_examples(data, monkeypatch):
    """With random numbers that are a function of the example."""

    def noise(self, like: Tensor, *shape: int) -> Tensor:
        return (37 * like.sum(1, keepdim=True)).sin().expand(shape)

    monkeypatch.setattr(ATEX, "_uniform", noise)
    options = {"sampling": "grid", "along": 3, "across": 2, "stdevs": 0.0}
    criterion, net = ATEX(make_net(seed=1), 0.3, **options), make_net()
    alone = [criterion(net, x[None], y[None]) for x, y in zip(*data, strict=True)]
    torch.testing.assert_close(criterion(net, *data), torch.stack(alone).mean())


def test_a_generator_repeats_the_step(data):
    net, teacher, losses = make_net(), make_net(seed=1), []
    state = torch.get_rng_state()
    for _ in range(2):
        criterion = ATEX(teacher, 0.3, generator=torch.Generator().manual_seed(5))
        losses += [criterion(net, *data), criterion(net, *data)]
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(losses[0], losses[2]) and torch.equal(losses[1], losses[3])
    assert not torch.equal(losses[0], losses[1])


def test_works_under_autocast(data):
    teacher, net = make_net(seed=1).float(), make_net().float()
    found = []
    for enabled in (False, True):
        options = {"along": 2, "across": 2, "generator": torch.Generator().manual_seed(5)}
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = ATEX(teacher, 0.3, **options)(net, data[0].float(), data[1])
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        found.append(torch.cat([g.flatten() for g in gradients]))
        assert loss.dtype == torch.float32
    assert torch.cosine_similarity(*found, dim=0) > 0.9
