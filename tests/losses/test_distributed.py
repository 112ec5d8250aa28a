"""Losses that draw, under DistributedDataParallel: two gloo processes started from this file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from captum_robust.losses import (
    Criterion,
    HessianNorm,
    LocalGradientAlignment,
    SaliencyConsistency,
    SmoothSurface,
)
from tests.helpers.nets import dense_net
from tests.helpers.two_processes import as_one_of_two, run_twice


def make_net(norm: bool) -> nn.Sequential:
    middle = [nn.BatchNorm1d(8), nn.Dropout(0.2)] if norm else []
    return dense_net(6, 8, 3, middle=middle, seed=0)


def shard(rank: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(8, 6, dtype=torch.float64, generator=generator)
    target = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    return images[4 * rank : 4 * rank + 4], target[4 * rank : 4 * rank + 4]


def criteria(rank: int) -> dict[str, Criterion]:
    """Each process draws for its own half of the batch."""
    generator = torch.Generator().manual_seed(rank)
    return {
        "LocalGradientAlignment": LocalGradientAlignment(1.0, 0.5, 0.3, generator=generator),
        "attached": LocalGradientAlignment(1.0, 0.5, 0.3, detach_source=False, generator=generator),
        "HessianNorm": HessianNorm(0.3, generator=generator),
        "SmoothSurface": SmoothSurface(0.3, 2.0),
        "SaliencyConsistency": SaliencyConsistency(
            0.3, 0.2, steps=2, restarts=1, generator=generator
        ),
    }


def gradients(net: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in net.parameters()]


def work(rank: int) -> dict[str, list[Tensor]]:
    """One process: half of the batch, gradients averaged by the wrapper."""
    found = {}
    for norm in (False, True):
        for name, criterion in criteria(rank).items():
            wrapped = nn.parallel.DistributedDataParallel(make_net(norm))
            for _ in range(2):  # the second step shows whether the first left the reducer in order
                wrapped.zero_grad()
                criterion(wrapped, *shard(rank)).backward()
            found[f"{name} {norm}"] = gradients(wrapped)
    return found


@pytest.mark.slow
def test_two_processes_give_the_mean_gradients_of_the_halves(tmp_path: Path) -> None:
    found = run_twice(__file__, tmp_path)
    assert found[0].keys() == found[1].keys() and len(found[0]) == 10
    for name in found[0]:  # nets that normalise and drop are only asked to agree
        assert all(map(torch.equal, found[0][name], found[1][name])), name
    expected = {}
    for rank in range(2):
        for name, criterion in criteria(rank).items():
            net = make_net(norm=False)
            for _ in range(2):
                net.zero_grad()
                (criterion(net, *shard(rank)) / 2).backward()
            expected.setdefault(name, []).append(gradients(net))
    for name, halves in expected.items():
        for one, first, second in zip(found[0][f"{name} False"], *halves, strict=True):
            torch.testing.assert_close(one, first + second, rtol=1e-9, atol=1e-12)


if __name__ == "__main__":
    as_one_of_two(work)
