"""What type checkers are told that evaluators take and return."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAD = """from typing import Any
from torch import Tensor, nn
from typing_extensions import assert_type
from captum_robust import metrics as m
from captum_robust.metrics import Evaluation
def check(explain: Any, x: Tensor, attack: Any, net: nn.Module, flag: bool) -> None:
"""
RETURNED = {
    "m.random_perturbation_similarity(explain, x, target=1)": "Tensor",
    'm.attack_robustness(explain, x, attack, "ssim", radii=0.1, forward_func=None)': "Tensor",
    "m.local_lipschitz(explain, x, return_perturbed=True)": "Evaluation",
    "m.local_lipschitz(explain, x, return_perturbed=False)": "Tensor",
    "m.local_lipschitz(explain, x, return_perturbed=flag)": "Tensor | Evaluation",
    "m.l2_robust_criterion(explain, x, forward_func=net)": "Evaluation",
    "m.insertion(explain, x, forward_func=net)": "Tensor",
    "m.insertion(explain, x, forward_func=net, return_curve=True)": "Evaluation",
    "m.transfer_robustness({'a': explain}, x, attack, radii=0.1)": "dict[str, Tensor]",
    "m.transfer_robustness({'a': explain}, x, attack, radii=0.1, forward_func=net)": (
        "dict[str, Evaluation]"
    ),
    "m.hessian_norm(explain, x)": "Tensor",
    "m.ssim(x, x)": "Tensor",
}
WRONG = (
    'm.l2_robust_criterion(explain, x, on_prediction_change="drop")',
    'm.insertion(explain, x, forward_func=net, area="sum")',
    'm.kendall_tau(x, x, variant="c")',
)


@pytest.mark.slow
def test_types_follow_the_keywords(tmp_path):
    pytest.importorskip("mypy")
    lines = [f"assert_type({line}, {kind})" for line, kind in RETURNED.items()]
    path = tmp_path / "typed.py"
    path.write_text(HEAD + "".join(f"    {line}\n" for line in (*lines, *WRONG)), encoding="utf-8")
    options = ("--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", *options, path],
        env=os.environ | {"MYPYPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    refused = {int(line.split(":")[1]) for line in found.stdout.splitlines() if ": error:" in line}
    first = len(HEAD.splitlines()) + len(lines) + 1
    assert refused == set(range(first, first + len(WRONG))), found.stdout + found.stderr
