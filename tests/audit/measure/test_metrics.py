"""The metrics of the audit, against slow loops and against their own attacks."""

from __future__ import annotations

import html
import math

import pytest
import torch
from scipy import stats

from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure import metrics, rounding
from captum_robust.audit.measure.columns.measured import MEASURED, measurement
from captum_robust.audit.measure.explanation import explanation
from captum_robust.audit.measure.metrics import measure_method
from tests.audit.conftest import BRIEF, Report

METHOD_NAMES = ("saliency", "uniform", "sparsified")


def test_columns_are_those_of_the_papers(thorough: Report) -> None:
    about = thorough.document["metrics"]
    names = [column["name"] for column in about["columns"]]
    assert names == [column.name for column in MEASURED]
    worse = {column["name"] for column in about["columns"] if not column["higher_is_better"]}
    assert worse == {"cdl", "cosd"}
    assert about["settings"]["attack_radii"] == [2, 4, 8, 16]
    for name in METHOD_NAMES:
        assert list(thorough.method(name)["metrics"]["columns"]) == names


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_values_lie_in_their_ranges(name: str, thorough: Report) -> None:
    columns = thorough.method(name)["metrics"]["columns"]
    tops = {"k-in": 3, "cor": 3, "cosd": 3, "cdl": 3 * 7 * math.sqrt(2)}
    for column, found in columns.items():
        assert len(found["values"]) == 3
        low, high = found["interval"]
        assert low <= found["mean"] <= high
        assert all(0 <= value <= tops.get(column, 1 + 1e-9) for value in found["values"])


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_areas_are_those_below_the_curves(name: str, thorough: Report) -> None:
    columns = thorough.method(name)["metrics"]["columns"]
    for column in ("k-in", "cor", "cdl", "cosd"):
        curves = columns[column]["by_radius"]
        for curve, area in zip(curves, columns[column]["values"], strict=True):
            by_hand = sum((curve[i] + curve[i + 1]) / 2 for i in range(3))
            assert area == pytest.approx(by_hand)
    assert "by_radius" not in columns["insertion"]


def test_measures_of_known_maps(
    plan: AuditPlan, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack replaced by one that returns the inputs shifted by one pixel."""
    monkeypatch.setattr(metrics, "SETTINGS", BRIEF)
    monkeypatch.setattr(measurement, "TopKAttack", lambda *args, **kwargs: shifted)

    def shifted(inputs, radius, target=None, seed=None, **rest):
        return inputs.roll(1, -1)

    found = measure_method("saliency", plan, subject)
    explain = explanation(METHODS["saliency"].build(subject.model, plan.keep), plan, subject, 1, 0)
    before, after = (explain(x).squeeze(1).double() for x in (subject.inputs, shifted_of(subject)))
    for example, (one, other) in enumerate(zip(before, after, strict=True)):
        rho = stats.spearmanr(one.flatten(), other.flatten()).statistic
        assert found.values["cor"][example] == pytest.approx(3 * rho)
        cosine = float(one.flatten() @ other.flatten() / one.norm() / other.norm())
        assert found.values["cosd"][example] == pytest.approx(3 * (1 - cosine), rel=1e-5)
        top = sorted(range(64), key=lambda i: -float(one.flatten()[i]))[:16]
        mass = sum(float(other.flatten()[i]) for i in top) / float(other.sum())
        assert found.values["k-in"][example] == pytest.approx(3 * mass)
        moved = math.dist(centre(one), centre(other))
        assert found.values["cdl"][example] == pytest.approx(3 * moved, rel=1e-5)


def shifted_of(subject: Subject) -> torch.Tensor:
    return subject.inputs.roll(1, -1)


def centre(image: torch.Tensor) -> tuple[float, float]:
    """Mean row and column under the image, by a loop."""
    total = float(image.sum())
    rows = sum(i * float(image[i, j]) for i in range(8) for j in range(8))
    columns = sum(j * float(image[i, j]) for i in range(8) for j in range(8))
    return rows / total, columns / total


@pytest.mark.parametrize("name", ["uniform", "sparsified"])
def test_smoothed_maps_share_their_noise(name: str, plan: AuditPlan, subject: Subject) -> None:
    method = METHODS[name].build(subject.model, plan.keep)
    explain = explanation(method, plan, subject, 8, 0)
    assert torch.equal(explain(subject.inputs), explain(subject.inputs))


def test_same_seed_same_values(
    plan: AuditPlan, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "SETTINGS", BRIEF)
    first, second = (measure_method("sparsified", plan, subject).values for _ in range(2))
    for column, values in first.items():
        assert torch.equal(values, second[column])


def test_the_cost_said_beforehand(thorough: Report) -> None:
    # Five attacks of 2 steps (doubly), 1 point judged each; five maps under attack, the map itself
    # for the similarities and for insertion, and at three radii itself and two random ones.
    smoothed = 5 * (2 * 2 * 4 + 8) + (5 + 2 + 3 * 3) * 8
    plain = 5 * (2 * 2 + 1) + 16
    assert f"Measuring 3 examples: {3 * (2 * smoothed + plain):,} gradients" in thorough.progress


def test_page_and_table_say_which_direction_is_better(thorough: Report) -> None:
    text = html.unescape(thorough.page)
    for column in MEASURED:
        assert f"<b>{column.title}</b> ({column.direction} is better): {column.about}" in text
    assert "better:" in thorough.printed
    for name in METHOD_NAMES:
        for found in thorough.method(name)["metrics"]["columns"].values():
            for shown in (rounding.estimate(found["mean"]), rounding.interval(found["interval"])):
                assert shown in text and shown in thorough.printed
