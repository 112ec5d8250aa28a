"""What holds of every attack: the ball, the box, the prediction; examples that stand alone."""

from __future__ import annotations

import pytest
import torch
from captum.attr import (
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    LayerGradientXActivation,
    Saliency,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from captum_robust.robust import (
    IFIA,
    AdamStep,
    AttributionAttack,
    CosineObjective,
    L2DeviationAttack,
    L2TopKAttack,
    ManipulateAttack,
    MassCenterAttack,
    MomentumStep,
    OtherInputObjective,
    OutputMatch,
    RandomAttack,
    TargetedRegionAttack,
    TopKAttack,
    TopKObjective,
    frame_target,
)

REGION = torch.zeros(28, 28, dtype=torch.bool)
REGION[:7] = True
KINDS = {
    "top k": lambda f, m: TopKAttack(f, m, 0, 1, k=0.2),
    "mass centre": lambda f, m: MassCenterAttack(f, m, 0, 1),
    "region": lambda f, m: TargetedRegionAttack(f, m, 0, 1, region=REGION),
    "dombrowski": lambda f, m: ManipulateAttack(f, m, 0, 1, target_map=frame_target((28, 28), 4)),
    "linf": lambda f, m: ManipulateAttack(
        f, m, 0, 1, target_map=frame_target((28, 28), 4), variant="linf"
    ),
    "rescaled": lambda f, m: ManipulateAttack(
        f, m, 0, 1, target_map=frame_target((28, 28), 4), variant="rescaled"
    ),
    "algorithm 1": lambda f, m: L2TopKAttack(f, m, 0, 1, k=0.2),
    "l2 deviation": lambda f, m: L2DeviationAttack(f, m, 0, 1),
    "random": lambda f, m: RandomAttack(f, m, 0, 1),
    "cosine, adam": lambda f, m: AttributionAttack(
        f, m, 0, 1, objective=CosineObjective(), step_rule=AdamStep(), start="uniform"
    ),
    "another input": lambda f, m: AttributionAttack(
        f, m, 0, 1, objective=OtherInputObjective(torch.rand(1, 1, 28, 28).double())
    ),
}


def cosine(first, second):
    return torch.nn.functional.cosine_similarity(first.flatten(1), second.flatten(1))


def size(delta, norm):
    flat = delta.flatten(1)
    return flat.abs().amax(1) if norm == "Linf" else flat.norm(p=int(norm[1]), dim=1)


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    radius=st.floats(0, 1.5),
    norm=st.sampled_from(["Linf", "L2", "L1"]),
    seed=st.integers(0, 2**20),
    restarts=st.integers(1, 2),
)
def test_every_point_is_in_the_ball_and_the_box_and_keeps_its_prediction(
    kind, radius, norm, seed, restarts, net, batch
):
    images, targets = batch
    attack = KINDS[kind](net, Saliency(net))
    found = attack.search(
        images, radius, step_num=4, target=targets, norm=norm, seed=seed, restarts=restarts
    )
    points = found.perturbed
    assert (size(points - images, norm) <= radius * (1 + 1e-12) + 1e-12).all()
    assert ((points >= 0) & (points <= 1)).all()
    assert torch.equal(net(points).argmax(1), targets)
    assert (found.score >= found.clean_score).all()


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "another input"])
def test_an_example_alone_is_as_in_the_batch(kind, net, batch):
    images, targets = batch
    attack = KINDS[kind](net, Saliency(net))
    options = {"radius": 0.1, "step_num": 6, "seed": 1}
    if not attack.step_rule.refuses_step_size:
        options["step_size"] = 0.02
    together = attack.perturb(images, target=targets, **options)
    for row in (0, 3):
        alone = attack.perturb(
            images[row : row + 1], target=targets[row : row + 1], example_ids=[row], **options
        )
        torch.testing.assert_close(alone[0], together[row])


def test_the_net_and_the_input_are_as_before(net, batch):
    images, targets = batch
    images = images.clone()
    saliency = Saliency(net)
    for parameter in list(net.parameters())[:2]:
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    flags = [p.requires_grad for p in net.parameters()]
    kept, function, gradients = images.clone(), saliency.forward_func, saliency.gradient_func
    hooks = [len(m._forward_hooks) + len(m._backward_hooks) for m in net.modules()]
    TopKAttack(net, saliency).perturb(images, 0.1, step_num=2, target=targets)

    def broken(clean, moved):
        raise KeyError("the user's own mistake")

    with pytest.raises(KeyError):
        TopKAttack(net, saliency, evaluation=broken).perturb(images, 0.1, target=targets)
    net[0].register_forward_hook(hook := lambda *_: (_ for _ in ()).throw(KeyError()))
    with pytest.raises(KeyError):
        TopKAttack(net, saliency).perturb(images, 0.1, target=targets)
    net[0]._forward_hooks.clear()
    assert hook
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert flags == [p.requires_grad for p in net.parameters()]
    assert all(p.grad is None for p in net.parameters())
    assert hooks == [len(m._forward_hooks) + len(m._backward_hooks) for m in net.modules()]
    assert torch.equal(images, kept) and not images.requires_grad and not net.training
    assert saliency.forward_func is function and saliency.gradient_func == gradients


def test_seeds(net, batch):
    images, targets = batch
    attack = L2DeviationAttack(net, Saliency(net), 0, 1)
    options = {"radius": 0.5, "step_num": 3, "target": targets}
    one, same, other = (attack.perturb(images, seed=s, **options) for s in (4, 4, 5))
    assert torch.equal(one, same) and not torch.equal(one, other)
    torch.manual_seed(7)
    first = attack.perturb(images, **options)
    torch.manual_seed(7)
    assert torch.equal(first, attack.perturb(images, **options))


def test_more_restarts_are_never_worse(net, batch):
    images, targets = batch
    attack = TopKAttack(net, Saliency(net), 0, 1)
    scores = [
        attack.search(images, 0.1, step_num=5, target=targets, restarts=r, seed=0).score
        for r in (1, 3)
    ]
    assert (scores[1] >= scores[0]).all()


def test_rare_evaluation_judges_the_last_iterate(net, batch):
    images, targets = batch
    attack = TopKAttack(net, Saliency(net), 0, 1)
    found = attack.search(images, 0.1, step_num=7, target=targets, eval_every=3)
    assert (found.evaluations <= 3).all() and (found.evaluations > 0).all()
    assert (found.gradients == 7).all()


def test_finished_examples_cost_no_gradients(net, batch):
    """A top k of one is displaced after few steps; the others go on."""
    images, targets = batch
    attack = TopKAttack(net, Saliency(net), 0, 1, k=1)
    found = attack.search(images, 0.3, step_num=40, target=targets)
    done = found.score == 1
    assert done.any()
    assert (found.gradients[done] < 40).all()
    assert (found.evaluations <= found.gradients).all()


def test_the_best_iterate_counts_not_the_last(net, batch):
    images, targets = batch
    seen = []

    class Watched(TopKObjective):
        def score(self, maps, clean, anchor):
            score = super().score(maps, clean, anchor)
            seen.append(score)
            return score

    attack = AttributionAttack(net, Saliency(net), 0, 1, objective=Watched(10))
    found = attack.search(images[:1], 0.3, 0.3, 12, targets[:1])
    assert found.score == torch.cat(seen).max()


def test_tuples_and_per_channel_radii():
    first, second = nn.Linear(3, 4), nn.Linear(2, 4)

    def net(x, y, scale):
        return torch.tanh(first(x) + second(y)) * scale

    x, y, scale = torch.randn(3, 3), torch.randn(3, 2), torch.rand(3, 1) + 0.5
    targets = net(x, y, scale).argmax(1)
    radius = (torch.tensor([0.1, 0.2, 0.0]), 0.3)
    mask = (torch.ones(3), torch.tensor([1, 0]))
    attack = TopKAttack(net, InputXGradient(net), k=2, reduction="abs")
    for norm in ("Linf", "L2", "L1"):
        moved = attack.perturb(
            (x, y),
            radius,
            step_num=5,
            target=targets,
            additional_forward_args=scale,
            mask=mask,
            norm=norm,
        )
        assert isinstance(moved, tuple) and len(moved) == 2
        dx, dy = moved[0] - x, moved[1] - y
        assert (dx.abs() <= radius[0] + 1e-6).all() and (dy.abs() <= 0.3 + 1e-6).all()
        assert (dx[:, 2] == 0).all() and (dy[:, 1] == 0).all() and (dx != 0).any()
        scaled = torch.cat([dx[:, :2] / radius[0][:2], dy[:, :1] / 0.3], 1)
        assert (size(scaled, norm) <= 1 + 1e-5).all()


def test_additional_arguments_follow_their_examples():
    """Each example's own scale flips the class: mixing rows up would change predictions."""

    def net(x, sign):
        return torch.cat([x[:, :2].square().sum(1, keepdim=True) * sign, x[:, 2:] ** 3], 1)

    x, sign = torch.rand(6, 3) + 0.5, torch.tensor([[5.0], [-5.0]] * 3)
    targets = net(x, sign).argmax(1)
    assert len(set(targets.tolist())) == 2
    attack = TopKAttack(net, Saliency(net), k=1)
    found = attack.search(x, 0.4, step_num=9, target=targets.tolist(), additional_forward_args=sign)
    assert torch.equal(net(found.perturbed, sign).argmax(1), targets)


@pytest.mark.parametrize("method", [LayerGradientXActivation, LayerGradCam])
def test_layer_attributions(method, net, batch):
    images, targets = batch
    layer = method(net, net[2])
    attack = TopKAttack(net, layer, 0, 1, k=0.3)
    found = attack.search(images, 0.2, step_num=10, target=targets)
    assert (found.score > found.clean_score).any()
    assert "attribute" not in vars(layer)


def test_baselines_follow_their_examples(net, batch):
    images, targets = batch
    baselines = torch.rand_like(images) / 10
    kwargs = {"n_steps": 4, "baselines": baselines}
    attack = TopKAttack(net, IntegratedGradients(net), 0, 1, k=3, attribute_kwargs=kwargs)
    together = attack.perturb(images, 0.1, step_num=8, target=targets)
    alone = TopKAttack(
        net,
        IntegratedGradients(net),
        0,
        1,
        k=3,
        attribute_kwargs={**kwargs, "baselines": baselines[4:5]},
    ).perturb(images[4:5], 0.1, step_num=8, target=targets[4:5])
    torch.testing.assert_close(alone[0], together[4])


def test_ifia_is_top_k_on_integrated_gradients(net, batch):
    images, targets = batch
    attack = IFIA(net, None, 0, 1, k=10, attribute_kwargs={"n_steps": 3})
    assert isinstance(attack.attribution_method, IntegratedGradients)
    assert (attack.step_num, attack.restarts) == (200, 5)
    assert attack.perturb(images, 0.1, step_num=2, restarts=1, target=targets).shape == images.shape


def test_bfloat_and_float_inputs():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).to(dtype)
        x = torch.rand(2, 4, dtype=dtype)
        moved = TopKAttack(net, Saliency(net), k=2).perturb(
            x, 0.1, step_num=3, target=net(x).argmax(1)
        )
        assert moved.dtype == dtype


def test_another_net_as_surrogate(net, batch, trained):
    images, targets = batch
    smooth = nn.Sequential(*[nn.Softplus(20) if isinstance(m, nn.ReLU) else m for m in trained])
    attack = TopKAttack(net, Saliency(net), 0, 1, surrogate=smooth)
    found = attack.search(images, 0.1, step_num=10, target=targets)
    assert (found.score > 0).all()


@pytest.mark.parametrize(
    ("norm", "radius", "steps"),
    [pytest.param("Linf", 8 / 255, 100, marks=pytest.mark.slow), ("L2", 0.5, 30), ("L1", 3.0, 30)],
)
def test_top_k_never_loses_to_ten_times_as_many_random_points(norm, radius, steps, net, digits):
    images = digits[0][:16]
    targets = net(images).argmax(1)
    attack = TopKAttack(net, Saliency(net), 0, 1, norm=norm)
    found = attack.search(images, radius, step_num=steps, target=targets)
    random = RandomAttack.against(attack).search(
        images, radius, step_num=10 * steps, target=targets, seed=0
    )
    assert (random.evaluations == 10 * steps).double().mean() > 0.5
    assert (found.score >= random.score).all()


@pytest.mark.parametrize(
    "build",
    [
        lambda f, m: MassCenterAttack(f, m, 0, 1),
        lambda f, m: MassCenterAttack(f, m, 0, 1, reference="pixel"),
        lambda f, m: TargetedRegionAttack(f, m, 0, 1, region=REGION),
        lambda f, m: L2DeviationAttack(f, m, 0, 1),
        lambda f, m: L2TopKAttack(f, m, 0, 1),
    ],
)
def test_the_others_beat_random_search_on_the_mean(build, net, digits):
    """Of single examples they may lose some: their paths are local and begin at one point."""
    images = digits[0][:16]
    targets = net(images).argmax(1)
    attack = build(net, Saliency(net))
    radius = 8 / 255 if attack.norm == "Linf" else 0.5
    found = attack.search(images, radius, step_num=20, target=targets, restarts=1, seed=0)
    random = RandomAttack.against(attack).search(
        images, radius, step_num=200, target=targets, seed=0
    )
    assert found.score.mean() > random.score.mean()


def test_progress_and_defaults(net, batch, capsys):
    images, targets = batch
    attack = TopKAttack(net, Saliency(net), 0, 1)
    attack.perturb(images, 0.1, step_num=2, target=targets, show_progress=True)
    assert "TopKAttack" in capsys.readouterr().err
    assert isinstance(attack.step_rule, MomentumStep) and attack.step_num == 100


@pytest.mark.parametrize("kind", ["rescaled", "l2 deviation", "algorithm 1"])
def test_inference_mode_changes_nothing(kind, net, batch):
    """Also where all that is given was made in it."""
    images, targets = batch
    options = {"radius": 0.1, "step_num": 3, "seed": 1}
    expected = KINDS[kind](net, Saliency(net)).perturb(images, target=targets, **options)
    with torch.inference_mode():
        attack = KINDS[kind](net, Saliency(net))
        found = attack.perturb(images.clone(), target=targets.clone(), **options)
        assert torch.is_inference_mode_enabled()
    assert torch.equal(found, expected)


def test_other_inputs_and_baselines_made_in_inference_mode(net, batch):
    images, targets = batch
    with torch.inference_mode():
        objective = OtherInputObjective(images.flip(0))
        kwargs = {"n_steps": 2, "baselines": torch.zeros_like(images)}
    attack = AttributionAttack(
        net, IntegratedGradients(net), objective=objective, attribute_kwargs=kwargs
    )
    attack.perturb(images, 0.1, step_num=2, target=targets)


def test_random_search_is_scored_like_the_attack_it_is_set_against(net, batch):
    """An output term bends the climb; it is in neither's score."""
    images, targets = batch
    attack = KINDS["rescaled"](net, Saliency(net))
    random = RandomAttack.against(attack)
    found = attack.search(images, 0.1, step_num=3, target=targets, seed=0)
    other = random.search(found.perturbed, 0.0, step_num=1, target=targets, seed=0)
    torch.testing.assert_close(other.clean_score, found.score)


@pytest.mark.parametrize("rule", [AdamStep(), MomentumStep(0.9)], ids=repr)
@pytest.mark.parametrize("term", [None, OutputMatch(1e3)], ids=["alone", "outputs"])
@pytest.mark.parametrize("weight", [1e-8, 1.0, 1e11])
def test_a_lost_prediction_comes_back_whatever_the_weight(rule, term, weight):
    """The map of class 0 is sigmoid(x): lowering it leads over the border at 0 and back again.

    A rule that remembers gradients of size 1e11 makes no step along the lead's, of size 1, if that
    is not made as long: once lost, the prediction would stay lost.
    """

    def net(x):
        return torch.cat([nn.functional.softplus(x), nn.functional.softplus(-x)], 1)

    attack = AttributionAttack(
        net,
        Saliency(net),
        objective=TopKObjective(1),
        model_term=term,
        weight=weight,
        step_rule=rule,
        surrogate=None,
        evaluation=lambda clean, moved: moved[:, 0],
    )
    x = torch.tensor([[0.1], [0.2]]).double()
    found = attack.search(x, 1.0, 0.02, step_num=100, target=0)
    assert (found.evaluations >= 40).all()
    if weight == 1e11 or term is None:  # a small weight leaves the outputs the say
        assert (found.perturbed < 0.02).all() and (found.perturbed >= 0).all()
