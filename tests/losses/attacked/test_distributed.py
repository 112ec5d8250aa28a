"""DistributedDataParallel in two gloo processes, each of which starts from this file."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from captum_robust.losses import ART, ATEX, IGR, TRADES, AdvAAT, AdversarialTraining, IGSumNorm
from tests.helpers.nets import dense_net
from tests.helpers.two_processes import as_one_of_two, run_twice


def make_net(norm: bool) -> nn.Sequential:
    return dense_net(6, 8, 3, middle=[nn.BatchNorm1d(8)] if norm else [], seed=0)


def make_data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(8, 6, dtype=torch.float64, generator=generator)
    return images, torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def criteria() -> dict[str, nn.Module]:
    """Each with a start that no random numbers are drawn for."""
    fixed = {"random_start": False, "lower_bound": 0.0, "upper_bound": 1.0}
    maps = {"attribute_kwargs": {"n_steps": 4}}
    return {
        "ART": ART(0.1, k=3, **fixed),
        "mined": ART(0.1, k=3, mining="hard", **fixed),
        "IGSumNorm": IGSumNorm(0.1, 3, 0.04, path_steps=6, approx_factor=2, **fixed),
        "AdvAAT": AdvAAT(0.1, 3, **maps, **fixed),
        "IGR": IGR(AdversarialTraining(0.1, 3, clean=0.5, **fixed), **maps),
    }


def gradients(net: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in net.parameters()]


def work(rank: int) -> dict[str, list[Tensor]]:
    """One process: half of the batch, gradients averaged by the wrapper."""
    images, target = (part[4 * rank : 4 * rank + 4] for part in make_data())
    found = {}
    for name, criterion in criteria().items():
        wrapped = nn.parallel.DistributedDataParallel(make_net(norm=False))
        for _ in range(2):  # the second step finds out whether the first left the reducer in order
            wrapped.zero_grad()
            criterion(wrapped, images, target).backward()
        found[name] = gradients(wrapped)
    # With batch statistics gradients differ between one process and two; both must agree and pass.
    drawn = TRADES(0.1, 3), ATEX(copy.deepcopy(make_net(norm=True)), 0.3)
    for criterion in (*criteria().values(), *drawn):
        wrapped = nn.parallel.DistributedDataParallel(make_net(norm=True))
        criterion(wrapped, images, target).backward()
        found[f"normed {type(criterion).__name__}"] = gradients(wrapped)
    return found


@pytest.mark.slow
def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    ranks = run_twice(__file__, tmp_path)
    assert ranks[0].keys() == ranks[1].keys() and len(ranks[0]) == 11
    for name, found in ranks[0].items():
        for one, two in zip(found, ranks[1][name], strict=True):
            assert torch.equal(one, two), name
    for name, criterion in criteria().items():
        net = make_net(norm=False)
        criterion(net, *make_data()).backward()
        for one, two in zip(ranks[0][name], gradients(net), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


if __name__ == "__main__":
    as_one_of_two(work)
