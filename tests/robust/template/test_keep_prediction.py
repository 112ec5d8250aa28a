"""Predictions that are no classes are kept by a function of the net's outputs."""

from __future__ import annotations

import torch
from captum.attr import Saliency
from torch import nn

from captum_robust.robust import TopKAttack


def test_one_logit_keeps_its_sign():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 1)).eval()
    with torch.no_grad():
        x = torch.randn(200, 6)
        x = x[net(x)[:, 0].abs().argsort()[:5]]  # near the boundary, so that signs could change
    attack = TopKAttack(net, Saliency(net), k=2)

    def sign(outputs):
        return outputs[:, 0] > 0

    words = {"radius": 0.5, "step_num": 8, "target": 0, "seed": 0}
    kept = attack.perturb(x, keep_prediction=sign, **words)
    assert torch.equal(sign(net(kept)), sign(net(x))) and not torch.equal(kept, x)
    loose = attack.perturb(x, keep_prediction=False, **words)
    assert not torch.equal(sign(net(loose)), sign(net(x)))
