"""Objectives: values against closed forms, gradients against finite differences, errors."""

from __future__ import annotations

import math

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerGradientXActivation, Saliency
from torch import nn

from captum_robust.attr.method.differentiable import differentiable
from captum_robust.robust import (
    CosineObjective,
    L2Objective,
    MassCenterObjective,
    Objective,
    OtherInputObjective,
    RegionObjective,
    TargetMapObjective,
    TopKObjective,
    frame_target,
)

CLEAN = (torch.tensor([[4.0, 3.0, 2.0, 1.0], [0.0, 5.0, 0.0, 5.0]]),)
MOVED = (torch.tensor([[0.0, 3.0, 2.0, 5.0], [0.0, 5.0, 1.0, 5.0]]),)


def no_others(inputs, target):
    raise AssertionError("no map of other inputs is wanted here")


def values(objective, moved=MOVED, clean=CLEAN):
    view = objective.view(clean)
    anchor = objective.anchor(view, no_others)
    seen = objective.view(moved)
    return objective.value(seen, anchor), objective.score(seen, view, anchor)


def test_top_k():
    value, score = values(TopKObjective(2))
    assert value.tolist() == [-3.0, -10.0]
    assert score.tolist() == [0.5, 0.0]


def test_top_k_divided_by_its_sum():
    value, _ = values(TopKObjective(0.5, normalisation="sum"))
    torch.testing.assert_close(value, -torch.tensor([0.3, 10 / 11]))


def test_top_k_with_the_boundary():
    value, _ = values(TopKObjective(2, boundary=2.0))
    moved = MOVED[0][0]
    above = moved - 2.5  # the second and the third value are 3 and 2
    near = torch.sigmoid(above / (0.2 * above.abs().mean()))
    held = (near[:2].sum() - near[2:].sum()) / (2 * 2)
    torch.testing.assert_close(value[0], -3.0 - 2 * moved.abs().sum() * held)
    assert values(TopKObjective(4, boundary=2.0))[0].tolist() == [-10.0, -11.0]


def test_mass_center():
    clean, moved = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)
    clean[0, 0, 1, 1] = clean[0, 1, 1, 2] = 1.0  # centre (1, 1.5)
    moved[0, 1, 2, 3] = -7.0  # centre (2, 3)
    value, score = values(MassCenterObjective(), (moved,), (clean,))
    assert value.item() == pytest.approx(1 + 4)  # from the centre cut to whole pixels
    assert score.item() == pytest.approx(math.sqrt(1 + 1.5**2))


def test_region_is_the_share_of_mass_inside():
    value, score = values(RegionObjective(torch.tensor([True, False, False, True])))
    torch.testing.assert_close(value, torch.tensor([0.5, 5 / 11]))
    assert torch.equal(value, score)


def test_target_map():
    value, _ = values(TargetMapObjective(torch.tensor([0.0, 3.0, 2.0, 5.0])))
    assert value[0].item() == 0 and value[1].item() < 0


def test_map_of_another_input():
    objective = OtherInputObjective(torch.ones(1, 4), normalisation="none", reduction="none")
    anchor = objective.anchor(CLEAN, lambda inputs, target: (3 * inputs[0],))
    torch.testing.assert_close(objective.value(MOVED, anchor), -(MOVED[0] - 3).square().mean(1))


def test_cosine_and_l2():
    value, _ = values(CosineObjective())
    torch.testing.assert_close(value, 1 - torch.cosine_similarity(*CLEAN, *MOVED))
    value, score = values(L2Objective())
    torch.testing.assert_close(score, (CLEAN[0] - MOVED[0]).norm(dim=1))
    torch.testing.assert_close(value, score**2)


def test_maps_of_zeros_give_numbers():
    zeros = (torch.zeros(2, 4),)
    for objective in (TopKObjective(1, normalisation="sum"), CosineObjective(), L2Objective()):
        for moved, clean in ((zeros, CLEAN), (MOVED, zeros), (zeros, zeros)):
            value, score = values(objective, moved, clean)
            assert torch.isfinite(value).all() and torch.isfinite(score).all()


def test_several_maps_are_one_vector():
    value, _ = values(TopKObjective(1), (MOVED[0], MOVED[0]), (CLEAN[0], 2 * CLEAN[0]))
    assert value.tolist() == [0.0, -5.0]


def test_reductions():
    maps = (torch.tensor([1.0, -2.0, 3.0, -4.0]).reshape(1, 2, 1, 2),)
    seen = {r: Objective(r).view(maps)[0].flatten().tolist() for r in ("abs", "sum", "abs-sum")}
    assert seen == {"abs": [1, 2, 3, 4], "sum": [4, -6], "abs-sum": [4, 6]}
    assert Objective("none", "max").view(maps)[0].flatten().tolist() == [0.25, -0.5, 0.75, -1]


def smooth_net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 6), nn.Softplus(), nn.Linear(6, 3)).double()


def methods(net):
    return {
        "saliency": (Saliency(net), {}),
        "input x gradient": (InputXGradient(net), {}),
        "integrated gradients": (IntegratedGradients(net), {"n_steps": 7}),
        "layer": (LayerGradientXActivation(net, net[0]), {}),
    }


@pytest.mark.parametrize("name", ["saliency", "input x gradient", "integrated gradients", "layer"])
@pytest.mark.parametrize(
    "objective", [TopKObjective(2, "abs", "sum"), L2Objective(), CosineObjective()]
)
def test_gradients_of_objectives_of_maps(name, objective):
    """Against central differences, 1e-5 relative, in float64."""
    method, kwargs = methods(smooth_net())[name]
    clean = torch.rand(2, 5, dtype=torch.float64)
    view = objective.view((method.attribute(clean.clone().requires_grad_(), target=1, **kwargs),))
    anchor = objective.anchor(tuple(part.detach() for part in view), no_others)

    def value(points):
        maps = method.attribute(points, target=1, **kwargs)
        return objective.value(objective.view((maps,)), anchor).sum()

    point = (clean + 0.2).requires_grad_()
    with differentiable(method):
        (slope,) = torch.autograd.grad(value(point), point)
    numeric, step = torch.zeros_like(point), 1e-5
    for index in range(point.numel()):
        bump = torch.zeros(point.numel(), dtype=torch.float64)
        bump[index] = step
        bump = bump.reshape(point.shape)
        ends = [value((point.detach() + s * bump).requires_grad_()).detach() for s in (1, -1)]
        numeric.view(-1)[index] = (ends[0] - ends[1]) / (2 * step)
    assert (slope - numeric).norm() <= 1e-5 * numeric.norm()


def test_frame():
    frame = frame_target((2, 6, 5), width=2)
    assert frame.sum().item() == 2 * (30 - 2)
    assert frame[:, 2:4, 2].sum() == 0
    with pytest.raises(ValueError, match="`width` must leave an inside"):
        frame_target((6, 6), width=3)


def test_errors():
    with pytest.raises(
        ValueError, match=r"`k` must be in \[1, 4\] \(the number of features\), got 5"
    ):
        values(TopKObjective(5))
    with pytest.raises(TypeError, match="`region` must be a bool Tensor"):
        RegionObjective(torch.ones(4))
    with pytest.raises(ValueError, match="`region` must mark at least one"):
        RegionObjective(torch.zeros(4, dtype=torch.bool))
    with pytest.raises(ValueError, match="`region` must broadcast to the map"):
        values(RegionObjective(torch.ones(3, dtype=torch.bool)))
    with pytest.raises(TypeError, match="`target_map` must be a floating-point"):
        TargetMapObjective(torch.ones(4, dtype=torch.long))
    with pytest.raises(ValueError, match="needs one image map"):
        values(MassCenterObjective())
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        TopKObjective(1, reduction="mean")
    with pytest.raises(NotImplementedError, match="must define `value`"):
        Objective().value(CLEAN, CLEAN[0])
