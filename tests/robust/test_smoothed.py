"""Attacks on smoothed maps: through a set of draws, judged by others."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency

from captum_robust.attr import (
    Abs,
    GaussianSmoothing,
    RelaxedSparsifiedSmoothGrad,
    SparsifiedSmoothGrad,
    Sparsify,
    UniformSmoothing,
    UniGrad,
)
from captum_robust.attr.explainer import climbable
from captum_robust.robust import RandomAttack, TopKAttack
from captum_robust.transforms.soft_marks import SoftSparsify

NOISE = {"nt_samples": 6, "stdevs": 0.1}


@pytest.mark.parametrize(
    "kind", [GaussianSmoothing, UniformSmoothing, UniGrad, SparsifiedSmoothGrad]
)
def test_smoothed_maps_are_attacked_and_beat_random(kind, net, batch):
    images, targets = batch
    smooth = kind(Saliency(net))
    attack = TopKAttack(net, smooth, 0, 1, attack_samples=4, attribute_kwargs=NOISE)
    found = attack.search(images, 0.2, step_num=12, target=targets, seed=0)
    random = RandomAttack.against(attack).search(images, 0.2, step_num=12, target=targets, seed=0)
    assert (found.score > found.clean_score).all()
    assert found.score.mean() > random.score.mean()
    assert smooth.forward_func is net and smooth.attribution_method.forward_func is net


def test_scores_are_judged_with_fresh_draws(net, batch):
    """The returned score is that of draws no iterate was chosen by."""
    images, targets = batch
    smooth = GaussianSmoothing(Saliency(net))
    attack = TopKAttack(net, smooth, 0, 1, attribute_kwargs=NOISE)
    found = attack.search(images, 0.1, step_num=3, target=targets, seed=5)
    again = attack.search(images, 0.1, step_num=3, target=targets, seed=5)
    assert torch.equal(found.score, again.score)
    fixed = TopKAttack(net, smooth, 0, 1, attribute_kwargs={**NOISE, "seed": 9})
    chosen = fixed.search(images, 0.1, step_num=3, target=targets, seed=5)
    maps = [
        smooth.attribute(p.clone().requires_grad_(), target=targets, seed=9, **NOISE).detach()
        for p in (images, chosen.perturbed)
    ]
    views = [attack.objective.view((m,)) for m in maps]
    anchor = attack.objective.anchor(views[0], None)
    torch.testing.assert_close(attack.objective.score(views[1], views[0], anchor), chosen.score)


def test_draws_redrawn_or_fixed(net, batch):
    images, targets = batch
    seen = []

    class Watched(GaussianSmoothing):
        def attribute(self, *args, seed=None, **kwargs):
            seen.append(seed)
            return super().attribute(*args, seed=seed, **kwargs)

    for redraw, different in ((True, 4), (False, 1)):
        attack = TopKAttack(
            net, Watched(Saliency(net)), 0, 1, redraw=redraw, attribute_kwargs=NOISE
        )
        seen.clear()
        attack.search(images, 0.1, step_num=4, target=targets, seed=0)
        climbing = [s for s in seen if 1_000_000 < s < 2_000_000]
        judging = [s for s in seen if s < 1_000_000]
        assert len(climbing) == 4 and len(set(climbing)) == different
        assert len(set(judging)) == 1


def test_an_example_alone_is_as_in_the_batch(net, batch):
    images, targets = batch
    attack = TopKAttack(net, GaussianSmoothing(Saliency(net)), 0, 1, attribute_kwargs=NOISE)
    options = {"radius": 0.1, "step_num": 4, "seed": 2}
    together = attack.perturb(images, target=targets, **options)
    alone = attack.perturb(images[3:4], target=targets[3:4], example_ids=[3], **options)
    torch.testing.assert_close(alone[0], together[3])


def test_sparsified_maps_are_climbed_through_relaxed_ones(net):
    sparsified = SparsifiedSmoothGrad(Saliency(net), keep=0.3)
    smooth = climbable(sparsified, "linear")
    relaxed = RelaxedSparsifiedSmoothGrad(Saliency(net), keep=0.3, clip=0.01)
    assert repr(smooth.transform) == repr(relaxed.transform)
    plain = GaussianSmoothing(Saliency(net))
    assert climbable(plain) is plain
    counted = GaussianSmoothing(Saliency(net), Abs() >> Sparsify(30))
    assert "Relax" in repr(climbable(counted, "linear").transform)
    assert "SoftSparsify" in repr(climbable(counted).transform)


def test_smooth_marks_are_the_marks_where_the_threshold_is_far():
    """A half at the threshold, one and zero far from it, each pulled by itself."""
    rows = torch.tensor([[9.0, -9.0, 0.6, -0.6, 8.0]], dtype=torch.float64, requires_grad=True)
    (marks,) = SoftSparsify(Sparsify(3))((rows,))
    sharp = Sparsify(3)((rows.detach(),))[0]
    far = rows.detach().abs() > 1
    torch.testing.assert_close(marks.detach()[far], sharp[far], atol=1e-3, rtol=0)
    width = 0.2 * (9 + 9 + 0.6 + 0.6 + 8) / 5  # the threshold is 0
    torch.testing.assert_close(marks, torch.sigmoid(rows / width))
    (slope,) = torch.autograd.grad(marks.sum(), rows)
    torch.testing.assert_close(slope, marks * (1 - marks) / width)
    everything = SoftSparsify(Sparsify(1.0))((torch.ones(1, 1),))[0]
    assert torch.isfinite(everything).all()


@pytest.mark.parametrize("relaxation", ["sigmoid", "linear"])
def test_both_relaxations_move_a_sparsified_map(relaxation, net, batch):
    images, targets = batch
    attack = TopKAttack(
        net,
        SparsifiedSmoothGrad(Saliency(net)),
        0,
        1,
        relaxation=relaxation,
        attribute_kwargs=NOISE,
    )
    found = attack.search(images, 0.2, step_num=12, target=targets, seed=0)
    assert found.score.mean() > found.clean_score.mean() + 0.05
    with pytest.raises(ValueError, match="`relaxation` must be one of 'sigmoid', 'linear'"):
        TopKAttack(net, Saliency(net), relaxation="hard")
