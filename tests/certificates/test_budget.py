"""The budget of alpha: one file divides it, shares add up, the table says who gets what."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest
import torch
from captum.attr import Saliency

import captum_robust.certificates
from captum_robust.attr import SparsifiedSmoothGrad
from captum_robust.certificates import Budget
from captum_robust.certificates.budget import (
    at_both_inputs,
    holm_limits,
    norm_shares,
    per_event,
    per_side,
    region_shares,
    stake_shares,
)
from captum_robust.examples import example_model

ROOM = Path(captum_robust.certificates.__file__).parent
OPERATORS = (ast.Div, ast.FloorDiv, ast.Mult)


def is_alpha(node: ast.AST) -> bool:
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return name == "alpha" or name.endswith("_alpha")


def divides_alpha(path: Path) -> bool:
    """Whether a file multiplies or divides alpha; its reciprocal, for a logarithm, shares none."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.BinOp) and isinstance(node.op, OPERATORS):
            multiplies = isinstance(node.op, ast.Mult) and is_alpha(node.right)
            scaled = isinstance(node.op, ast.Div) and is_alpha(node.right)
            scaled = scaled and not (isinstance(node.left, ast.Constant) and node.left.value == 1.0)
            if is_alpha(node.left) or multiplies or scaled:
                return True
        if isinstance(node, ast.AugAssign) and is_alpha(node.target):
            return True
    return False


def test_one_file_divides_alpha():
    assert [path.name for path in ROOM.rglob("*.py") if divides_alpha(path)] == ["budget.py"]


@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_shares_add_up_to_what_was_given(alpha):
    for spread, population, redrawn in itertools.product((False, True), repeat=3):
        assert sum(norm_shares(alpha, spread, population, redrawn).values()) <= alpha * (1 + 1e-15)
        assert sum(region_shares(alpha, redrawn).values()) <= alpha * (1 + 1e-15)
        assert sum(at_both_inputs(alpha, redrawn)) <= alpha
    assert per_side(alpha, 7) * 14 <= alpha * (1 + 1e-15)
    assert per_event(alpha, examples=3, looks=5, events=2) * 30 <= alpha * (1 + 1e-15)
    assert sum(share for _, share in stake_shares(alpha)) <= alpha * (1 + 1e-15)
    assert holm_limits(alpha, 4).tolist() == [alpha / 4, alpha / 3, alpha / 2, alpha]


def budget_of(**arguments) -> Budget:
    smooth = SparsifiedSmoothGrad(Saliency(example_model()), keep=2)
    settings = {"target": 0, "stdevs": 0.5, "nt_samples": 64, "seed": 0}
    return smooth.certify(torch.zeros(2, 4), **(settings | arguments)).budget()


def test_questions_by_themselves_have_all_of_alpha_each():
    budget = budget_of()
    assert budget.of("cosine", "norm") == budget.of("rank", "elementwise") == 0.05
    for name, events in budget.events.items():
        spent = sum(share.alpha for share in budget.shares if name in share.questions)
        assert spent == pytest.approx(0.05, rel=1e-12), (name, events)


def test_joint_questions_share_it_among_their_events():
    budget = budget_of(questions=("overlap", "rank", "cosine"), claim="redrawn")
    assert sum(share.alpha for share in budget.shares) == pytest.approx(0.05, rel=1e-12)
    assert {share.event for share in budget.shares} == {"elementwise", "norm"}
    assert all(
        share.pieces == (8 if share.event == "elementwise" else 1) for share in budget.shares
    )
    text = str(budget)
    assert "alpha = 0.05 for each example and all questions together" in text
    for part in (
        "overlap, rank",
        "overlap, cosine",
        "map drawn anew",
        "top eigenvalue",
        "0.0125",
        "0.00156",
    ):
        assert part in text


def test_looks_are_paid_for():
    until = {"overlap": 1.0, "epsilon": 0.5, "k": 2}
    budget = budget_of(nt_samples=None, until=until, max_samples=512)
    assert budget.looks == 3 and budget.of("rank", "elementwise") == pytest.approx(0.05 / 3)
    assert "3 looks" in str(budget)


def test_the_renyi_route_has_an_event_of_its_own():
    """Its intervals cover an outcome more than those of the features, so they cannot share."""
    budget = budget_of(route="renyi", questions=("overlap", "rank"))
    assert budget.events == {"overlap": ("outcomes",), "rank": ("elementwise",)}
    assert budget.of("overlap", "outcomes") == budget.of("rank", "elementwise") == 0.025
