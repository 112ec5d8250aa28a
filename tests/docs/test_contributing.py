"""CONTRIBUTING: its code runs, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
USED = """
import torch
from captum.attr import Saliency
from captum_robust.attr import SmoothedAttribution, Sparsify
from captum_robust.examples import example_model
from captum_robust.metrics import SIMILARITIES
from captum_robust.robust import AttributionAttack

model, x = example_model(), torch.linspace(-1, 1, 8).reshape(2, 4)
smooth = SmoothedAttribution(Saliency(model), noise=LaplaceNoise(), transform=Sparsify(2))
certificate = smooth.certify(x, target=0, stdevs=0.5, nt_samples=100, seed=0)
assert certificate.ask(FeatureValue(feature=3), epsilon=0.05).shape == (2,)
attack = AttributionAttack(model, Saliency(model), objective=SpreadOut())
assert attack.perturb(x, radius=0.1, target=model(x).argmax(1), step_num=2).shape == x.shape
assert SIMILARITIES["sign_agreement"](x, -x).tolist() == [0.0, 0.0]
"""


def test_its_code_runs_in_a_fresh_interpreter() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    assert len(blocks) == 4
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks, USED])], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", PAGE))))
def test_its_links_lead_somewhere(link: str) -> None:
    assert link.startswith("https://") or (ROOT / link).exists()
