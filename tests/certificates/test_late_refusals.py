"""Refusals that would otherwise come after the samples, or hide behind another answer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust.attr import SparsifiedSmoothGrad


class Counting(Attribution):
    """The input itself; counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(lambda x: x)
        self.asked = 0

    def attribute(self, inputs: Tensor, **_: Any) -> Tensor:
        self.asked += 1
        return inputs


def test_until_refuses_a_bad_size_before_sampling() -> None:
    base = Counting()
    smooth = SparsifiedSmoothGrad(base, keep=2)
    for epsilon in (-0.1, torch.tensor([0.1, 0.2, 0.3])):
        with pytest.raises(ValueError, match="`epsilon` must be"):
            smooth.certify(
                torch.zeros(2, 4), stdevs=1.0, until={"overlap": 0.5, "k": 2, "epsilon": epsilon}
            )
    assert base.asked == 0


def test_holm_is_refused_beside_other_joint_questions() -> None:
    smooth = SparsifiedSmoothGrad(Counting(), keep=2)
    terms: dict[str, Any] = {"stdevs": 1.0, "nt_samples": 32, "seed": 0}
    together = smooth.certify(torch.zeros(2, 4), questions=("pixels", "rank"), **terms)
    assert together.pixels(0.1).shape == (2, 4)
    with pytest.raises(ValueError, match="`simultaneous` must be True"):
        together.pixels(0.1, simultaneous=False)
    alone = smooth.certify(torch.zeros(2, 4), questions=("pixels",), **terms)
    assert alone.pixels(0.1, simultaneous=False).shape == (2, 4)
