"""Audits of version 0.1 with records of version 1: finished ones read, half-finished go on.

The folders beside this file were written by that version: digits, 64 samples, noise 0.5.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from captum_robust.audit.ask.fingerprint import package_versions
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.digits import threads
from captum_robust.audit.load.source import open_source
from captum_robust.certificates import Certificate
from tests.audit.conftest import run_audit

SAVED = Path(__file__).parents[1] / "saved"
ASKED = ["--nt-samples", "64", "--noise", "0.5", "--epsilon", "0.02"]
FINISHED = [*ASKED, "--limit", "3"]
THOROUGH = [*ASKED, "--limit", "2", "--methods", "saliency,uniform", "--attacks", "--metrics"]


def copied(name: str, folder: Path) -> Path:
    """A saved audit as if it had been made on this machine: same packages, same trained model."""
    shutil.copytree(SAVED / name, folder)
    path = folder / "plan.json"
    saved = json.loads(path.read_text())
    with threads(1):
        source = open_source(AuditPlan(limit=len(saved["about"]["examples"]), noise=0.5))
    here = {"model": source.model_digest, "data": source.data.digest()}
    for name in ("torchvision", "pillow"):
        saved["fingerprint"].pop(name, None)
    saved["fingerprint"] |= package_versions() | here
    path.write_text(json.dumps(saved))
    return folder


@pytest.mark.usefixtures("trained")
def test_a_finished_audit_is_read_with_equal_numbers(tmp_path: Path) -> None:
    folder = copied("finished", tmp_path / "report")
    before = json.loads((folder / "report.json").read_text())
    report = run_audit(folder, *FINISHED)
    assert "gradients" not in report.progress  # nothing was computed again
    assert report.document["examples"] == before["examples"]
    for old, new in zip(before["methods"], report.document["methods"], strict=True):
        assert old["answers"] == new["answers"]
        assert old.get("statements") == new.get("statements")
        assert old["certificates"] == new["certificates"]


@pytest.mark.usefixtures("trained")
def test_attacks_and_metrics_are_read_with_equal_numbers(tmp_path: Path) -> None:
    folder = copied("thorough", tmp_path / "report")
    before = json.loads((folder / "report.json").read_text())
    report = run_audit(folder, *THOROUGH)
    for old, new in zip(before["methods"], report.document["methods"], strict=True):
        assert old["metrics"] == new["metrics"]
        assert old["attacks"]["outcomes"] == new["attacks"]["outcomes"]
        assert new["attacks"]["norm"] == "l2 norm"


@pytest.mark.usefixtures("trained")
def test_a_half_finished_audit_goes_on(tmp_path: Path) -> None:
    folder = copied("finished", tmp_path / "report")
    last = json.loads((folder / "plan.json").read_text())["about"]["examples"][-1]
    for kind in ("examples", "uniform", "sparsified"):
        for path in (folder / "results" / kind).glob(f"{last:06d}.*"):
            path.unlink()
    kept = {path: path.read_bytes() for path in (folder / "results").rglob("*.npz")}
    before = json.loads((folder / "report.json").read_text())
    report = run_audit(folder, *FINISHED)
    assert "2 of 3 examples are in" in report.progress
    assert all(path.read_bytes() == content for path, content in kept.items())
    for old, new in zip(before["methods"], report.document["methods"], strict=True):
        assert new["examples"] == old["examples"] == [0, 1, 2]
        for name, answers in (old["answers"] or {}).items():
            assert answers["values"][:2] == new["answers"][name]["values"][:2]


@pytest.mark.parametrize("method", ["uniform", "sparsified"])
def test_saved_certificates_answer_as_they_did(method: str) -> None:
    report = json.loads((SAVED / "finished" / "report.json").read_text())
    [found] = [entry for entry in report["methods"] if entry["name"] == method]
    for place, example in enumerate(report["examples"]):
        path = SAVED / "finished" / "results" / method / f"{example['id']:06d}.npz"
        certificate = Certificate.load(path)
        asked = {
            "overlap": certificate.overlap(0.02, k=0.25),
            "cosine": certificate.cosine(0.02),
            "angle": certificate.angle(0.02),
        }
        for name, value in asked.items():
            assert float(value) == pytest.approx(found["answers"][name]["values"][place], abs=1e-12)
