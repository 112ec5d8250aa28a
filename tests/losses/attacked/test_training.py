"""A few hundred steps on scikit-learn's digits: what each loss penalises falls, accuracy stays.

All nets start from the same weights and see the same batches. Measured on test digits with fixed
random numbers, against the net trained by plain cross-entropy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from captum_robust.losses import (
    AAT,
    ART,
    ATEX,
    IGR,
    TRADES,
    AdvAAT,
    AdversarialTraining,
    IGNorm,
    IGSumNorm,
)
from tests.helpers.digits import Data, accuracy, cross_entropy, shuffled_digits, train

pytestmark = pytest.mark.slow

RADIUS = 0.1
BOX = {"lower_bound": 0.0, "upper_bound": 1.0}
PATH = {"path_steps": 6, "approx_factor": 2}
MAPS = {"attribute_kwargs": {"n_steps": 3}}
# The term penalised beside cross-entropy, and whether predictions are attacked in training.
LOSSES: dict[str, tuple[Callable[[nn.Module], nn.Module], str, bool]] = {
    "AdversarialTraining": (
        lambda net: AdversarialTraining(RADIUS, 5, **BOX),
        "adversarial",
        True,
    ),
    "TRADES": (lambda net: TRADES(RADIUS, 5, beta=3.0, **BOX), "divergence", True),
    "IGNorm": (lambda net: IGNorm(RADIUS, 4, RADIUS / 3, weight=0.3, **PATH, **BOX), "path", True),
    "IGSumNorm": (lambda net: IGSumNorm(RADIUS, 4, RADIUS / 3, **PATH, **BOX), "path", True),
    "IGR": (
        lambda net: IGR(TRADES(RADIUS, 5, beta=3.0, **BOX), weight=1.0, **MAPS),
        "dissimilarity",
        True,
    ),
    "AAT": (lambda net: AAT(RADIUS, 3, weight=1.0, **MAPS, **BOX), "dissimilarity", False),
    "AdvAAT": (lambda net: AdvAAT(RADIUS, 3, weight=1.0, **MAPS, **BOX), "dissimilarity", True),
    "ART": (lambda net: ART(RADIUS / 2, weight=2.0, **BOX), "triplet", False),
    "ATEX": (
        lambda net: ATEX(copy.deepcopy(net), 2.0, 10.0, along=4, across=4, nt_samples=2),
        "perturbed",
        False,
    ),
}


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.Softplus(3),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.Softplus(3),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.Softplus(3),
        nn.Linear(32, 10),
    )


@pytest.fixture(scope="module")
def digits() -> tuple[Data, Data]:
    return shuffled_digits(training=1200)


@pytest.fixture(scope="module")
def plain(digits: tuple[Data, Data]) -> nn.Module:
    """Trained by cross-entropy alone."""
    return train(make_net(), digits[0], cross_entropy)


@pytest.mark.parametrize("name", LOSSES)
def test_the_penalised_quantity_falls_and_accuracy_stays(name, digits, plain):
    make, term, attacked = LOSSES[name]
    criterion, test = make(plain), digits[1]
    torch.manual_seed(1)
    if name == "ATEX":  # a student begins as its teacher
        net = train(copy.deepcopy(plain), digits[0], criterion, rate=1e-3)
    else:
        net = train(make_net(), digits[0], criterion)
    found = []
    for one in (plain, net):
        torch.manual_seed(2)
        criterion(one, *test)
        found.append(float(criterion.terms[term]))
    assert found[1] < 0.95 * found[0], found
    # 597 digits: two points are twelve of them.
    assert accuracy(net, *test) >= accuracy(plain, *test) - 0.02
    if attacked:
        attack = AdversarialTraining(RADIUS, 20, RADIUS / 8, **BOX)
        robust = [accuracy(one, attack.perturb(one, *test), test[1]) for one in (plain, net)]
        assert robust[1] > robust[0] + 0.2, robust
