"""Small audits that many tests read."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from captum_robust.__main__ import main
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load import digits
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure import attacks, metrics
from captum_robust.audit.run.journal import Journal

GENTLE = attacks.AttackSettings(steps=3, attack_samples=4, judge_samples=8)
BRIEF = metrics.MetricSettings(
    random_draws=2, map_samples=8, steps=2, attack_samples=4, judge_samples=8
)
SMALL = ["--limit", "3", "--nt-samples", "150", "--noise", "0.5", "--epsilon", "0.02"]


def numbers(document: dict[str, Any]) -> dict[str, Any]:
    """A report's document without what differs between two runs: times and the folder."""
    kept = copy.deepcopy(document)
    for name in ("created", "command"):
        kept.pop(name)
    kept["settings"].pop("out")
    for method in kept["methods"]:
        for part in (method, method["attacks"], method["metrics"]):
            if part is not None:
                part.pop("seconds")
    return kept


@dataclass
class Report:
    """What one run wrote and printed."""

    folder: Path
    document: dict[str, Any]
    page: str
    printed: str
    progress: str

    @property
    def results(self) -> int:
        """Number of results in the journal."""
        return Journal(self.folder).count()

    def method(self, name: str) -> dict[str, Any]:
        """The document of one method."""
        [found] = [entry for entry in self.document["methods"] if entry["name"] == name]
        return found


def run_audit(folder: Path, *options: str, code: int = 0) -> Report:
    """Runs the command in this process, which must end with the exit code."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main(["audit", "--out", str(folder), *options]) == code
    return Report(
        folder,
        json.loads((folder / "report.json").read_text(encoding="utf-8")),
        (folder / "report.html").read_text(encoding="utf-8"),
        out.getvalue(),
        err.getvalue(),
    )


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return run_audit(tmp_path_factory.mktemp("audit") / "report", *SMALL)


@pytest.fixture(scope="session")
def plan(report: Report) -> AuditPlan:
    """The plan of that audit."""
    return AuditPlan(limit=3, nt_samples=150, noise=0.5, epsilon=0.02, out=report.folder)


@pytest.fixture(scope="session")
def subject(plan: AuditPlan) -> Subject:
    """Its subject, trained once more; its model remembers the generator's state after training."""
    real = digits.train

    def train(data: digits.Digits, generator: torch.Generator) -> nn.Module:
        model = real(data, generator)
        model.after = generator.get_state()
        return model

    with pytest.MonkeyPatch.context() as patch, digits.threads(1):
        patch.setattr(digits, "train", train)
        return digits.digits_subject(plan)


def trained_as(subject: Subject) -> Callable[..., nn.Module]:
    """In the place of the training: the same model, and as many random numbers drawn."""

    def train(data: digits.Digits, generator: torch.Generator) -> nn.Module:
        generator.set_state(subject.model.after)
        return subject.model

    return train


@pytest.fixture(scope="session")
def thorough(tmp_path_factory: pytest.TempPathFactory, subject: Subject) -> Report:
    """An audit with attacks and metrics, both weak and quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "train", trained_as(subject))
        patch.setattr(attacks, "SETTINGS", GENTLE)
        patch.setattr(metrics, "SETTINGS", BRIEF)
        folder = tmp_path_factory.mktemp("thorough") / "report"
        return run_audit(folder, *SMALL, "--attacks", "--metrics")


@pytest.fixture
def gentle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weak, quick attacks and metrics."""
    monkeypatch.setattr(attacks, "SETTINGS", GENTLE)
    monkeypatch.setattr(metrics, "SETTINGS", BRIEF)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, subject: Subject) -> None:
    """Spares the training where a test is about something else."""
    monkeypatch.setattr(digits, "train", trained_as(subject))
