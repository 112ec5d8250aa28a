"""Adaptive sampling: when it looks, when it stops, and that an early look knows what it has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Attribution

from captum_robust.attr import Abs, GaussianSmoothing, Sparsify, UnitNorm
from captum_robust.certificates.procedures.until import Until

PROBE = 7  # rows that a certificate asks for beside its samples


class Field(Attribution):
    """An attribution given by a function; counts its rows."""

    def __init__(self, function):
        super().__init__(function)
        self.rows = 0

    def attribute(self, inputs, **_):
        self.rows += len(inputs)
        return self.forward_func(inputs)


WEIGHT = torch.randn(5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
INPUTS = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def smoothing(transform=None):
    return GaussianSmoothing(Field(lambda x: torch.tanh(x @ WEIGHT)), transform or UnitNorm())


@pytest.mark.parametrize(
    ("budget", "looks"),
    [
        (1, (1,)),
        (100, (100,)),
        (128, (128,)),
        (129, (128, 129)),
        (1000, (128, 256, 512, 1000)),
        (8192, (128, 256, 512, 1024, 2048, 4096, 8192)),
    ],
)
def test_looks_are_fixed_by_the_budget(budget, looks):
    goal = Until.parsed({"cosine": 0.5, "epsilon": 0.1}, budget)
    assert goal.looks == looks and looks[-1] == budget


@pytest.mark.parametrize("features_first", [True, False])
@pytest.mark.parametrize("batch", [None, 1, 37, 200])
def test_an_early_stop_has_the_evidence_of_its_own_samples(features_first, batch):
    """The same numbers as a call of that many samples: nothing of the budget leaks in."""
    smooth = smoothing()
    arguments = {"stdevs": 0.3, "seed": 0, "eig_pairs": None if features_first else 8}
    goal = {"cosine": 0.5, "epsilon": 0.02}
    found = smooth.certify(
        INPUTS, until=goal, max_samples=4096, nt_samples_batch_size=batch, **arguments
    )
    assert found.nt_samples < 4096
    plain = smooth.certify(INPUTS, nt_samples=found.nt_samples, **arguments)
    assert found.pairs.pairs == plain.pairs.pairs == found.nt_samples // 2
    assert found.pairs.eig_pairs == plain.pairs.eig_pairs
    for name in ("traces", "inners", "eigenvalues"):
        np.testing.assert_allclose(
            getattr(found.pairs, name), getattr(plain.pairs, name), rtol=3e-6
        )
    torch.testing.assert_close(found.mean, plain.mean, rtol=0, atol=1e-12)
    # Alpha is shared among all six looks.
    shared = smooth.certify(INPUTS, nt_samples=found.nt_samples, alpha=0.05 / 6, **arguments)
    for epsilon in (0.0, 0.01, 0.05):
        torch.testing.assert_close(found.cosine(epsilon), shared.cosine(epsilon), rtol=1e-5, atol=0)
        assert (found.cosine(epsilon) <= plain.cosine(epsilon)).all()


def test_confidence_by_variance_and_masks_are_those_of_the_look():
    masks = torch.arange(9) < 5
    smooth = smoothing(Abs() >> Sparsify(3))
    settings = {
        "stdevs": 0.3,
        "seed": 0,
        "confidence": "empirical-bernstein",
        "masks": masks,
    }
    found = smooth.certify(
        INPUTS, until={"region_mass": 0.05, "epsilon": 0.01}, max_samples=2048, **settings
    )
    plain = smooth.certify(INPUTS, nt_samples=found.nt_samples, **settings)
    assert found.nt_samples < 2048 and torch.equal(found.shares, plain.shares)
    torch.testing.assert_close(found.variance, plain.variance, rtol=1e-9, atol=1e-12)
    assert found.terms.looks == 5


@pytest.mark.parametrize(
    ("goal", "easy", "hopeless"),
    [
        ("overlap", {"overlap": 0.1, "k": 4}, {"overlap": 1.0, "k": 4}),
        ("cosine", {"cosine": 0.1}, {"cosine": 1.0}),
        ("angle", {"angle": 80.0}, {"angle": 0.0}),
        ("l2_deviation", {"l2_deviation": 5.0}, {"l2_deviation": 0.0}),
        ("region_mass", {"region_mass": 0.01}, {"region_mass": 1.0}),
    ],
)
def test_stops_when_it_can_and_when_it_never_will(goal, easy, hopeless):
    transform = Abs() >> Sparsify(4) if goal in ("overlap", "region_mass") else UnitNorm()
    arguments = {"masks": torch.arange(9) < 6} if goal == "region_mass" else {}
    for wanted, attained in ((easy, True), (hopeless, False)):
        epsilon = 0.001 if attained else 0.5
        smooth = smoothing(transform)
        found = smooth.certify(
            INPUTS,
            until=wanted | {"epsilon": epsilon},
            max_samples=2048,
            stdevs=0.3,
            seed=0,
            **arguments,
        )
        assert found.nt_samples <= 512 < 2048
        # Nothing was drawn beyond, but for the probe of independence.
        assert smooth.attribution_method.rows == 3 * found.nt_samples + PROBE
        parsed = Until.parsed(wanted | {"epsilon": epsilon}, 2048)
        assert bool(parsed.certified(found).all()) == attained
        assert parsed.settled(found)


def test_goes_on_to_the_budget_while_it_may_help_and_never_beyond():
    smooth = smoothing()
    reached = smooth.certify(INPUTS, stdevs=0.3, seed=0, nt_samples=700).cosine(0.02)
    close = float(reached.min())  # within reach of four times the budget, not of the budget
    found = smooth.certify(
        INPUTS, until={"cosine": close, "epsilon": 0.02}, max_samples=700, stdevs=0.3, seed=0
    )
    assert found.nt_samples == 700
    assert smooth.attribution_method.rows == 2 * (3 * 700 + PROBE)


def test_one_example_that_is_not_settled_keeps_all_sampling():
    smooth = smoothing()
    easy = float(smooth.certify(INPUTS, stdevs=0.3, seed=0, nt_samples=4096).cosine(0.02).max())
    epsilons = torch.tensor([1e-4, 1e-4, 0.02], dtype=torch.float64)
    batch = smooth.certify(
        INPUTS,
        until={"cosine": easy * 0.98, "epsilon": epsilons},
        max_samples=2048,
        stdevs=0.3,
        seed=0,
    )
    alone = [
        smooth.certify(
            INPUTS[j : j + 1],
            until={"cosine": easy * 0.98, "epsilon": float(epsilons[j])},
            max_samples=2048,
            stdevs=0.3,
            seed=0,
            example_ids=[j],
        ).nt_samples
        for j in range(3)
    ]
    assert batch.nt_samples >= max(alone[:2]) and batch.nt_samples <= 2048
    assert min(alone) <= batch.nt_samples


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ({}, "`until` must hold `epsilon`"),
        ({"cosine": 0.5}, "`until` must hold `epsilon`"),
        ({"overlap": 0.5, "epsilon": 0.1}, r"`overlap` \(with `k`\)"),
        ({"cosine": 0.5, "epsilon": 0.1, "k": 3}, r"`overlap` \(with `k`\)"),
        ({"cosine": 0.5, "angle": 9.0, "epsilon": 0.1}, "one of"),
        ({"rank": 3, "epsilon": 0.1}, "one of .*`cosine`"),
        ({"overlap": 1.5, "k": 2, "epsilon": 0.1}, r"`overlap` must be in \[0, 1\], got 1.5"),
        ({"cosine": float("nan"), "epsilon": 0.1}, r"`cosine` must be in \[0, 1\], got nan"),
        ({"angle": 400, "epsilon": 0.1}, r"`angle` must be in \[0, 90\], got 400"),
        ({"l2_deviation": -1.0, "epsilon": 0.1}, "`l2_deviation` must be in"),
        ({"region_mass": 2, "epsilon": 0.1}, "`region_mass` must be in"),
        ({"overlap": 0.5, "k": 0, "epsilon": 0.1}, "`k` must be at least 1"),
        ({"overlap": 0.5, "k": 1.5, "epsilon": 0.1}, r"`k` must be in \(0, 1\]"),
    ],
)
def test_refuses_a_statement_before_it_samples(until, words):
    smooth = smoothing()
    with pytest.raises(ValueError, match=words):
        smooth.certify(INPUTS, until=until, stdevs=0.3)
    assert smooth.attribution_method.rows == 0


@pytest.mark.parametrize("budget", [0, -5])
def test_refuses_a_budget(budget):
    with pytest.raises(ValueError, match="`max_samples` must be at least 1"):
        smoothing().certify(
            INPUTS, until={"cosine": 0.5, "epsilon": 0.1}, max_samples=budget, stdevs=0.3
        )
    with pytest.raises(TypeError, match="`cosine` must be a number"):
        Until.parsed({"cosine": "high", "epsilon": 0.1}, 128)


def test_samples_or_until_but_not_both():
    goal = {"cosine": 0.5, "epsilon": 0.1}
    for arguments in ({}, {"nt_samples": 10, "until": goal}):
        with pytest.raises(ValueError, match="exactly one of `nt_samples` and `until`"):
            smoothing().certify(INPUTS, stdevs=0.3, **arguments)
