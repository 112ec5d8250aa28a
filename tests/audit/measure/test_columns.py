"""A column of the user's own: in the record, report.json, the tables and the pages."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

from captum_robust.__main__ import main
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.columns.certified import CERTIFIED
from captum_robust.audit.measure.columns.registry import BUILT_IN, columns_of
from captum_robust.certificates import Certificate
from tests.audit.conftest import SMALL, Report, run_audit

OWN = """
from captum_robust.audit import AttackColumn, CertifiedColumn, MeasuredColumn


class HalfAngle(CertifiedColumn):
    name, title = "half-angle", "half of the angle"
    about = "half of the certified angle"
    higher_is_better = False
    axis = "half of the certified angle, degrees"
    threshold, radius_title = 20.0, "radius of 20 degrees"

    def value(self, certificate, plan):
        return certificate.angle(plan.epsilon) / 2

    def radius(self, certificate, plan):
        return certificate.certified_radius(angle=40.0)

    def show(self, value):
        return f"{value:.4f} deg"


class Largest(MeasuredColumn):
    name, title, about = "largest", "largest element", "the largest element of the map"
    source = "this test"

    def value(self, measurement):
        return measurement.clean.flatten(1).amax(1)


class Nowhere(AttackColumn):
    name, title, about = "nowhere", "staying left", "what is left where nothing moves"

    def points(self, attempt):
        return attempt.subject.inputs

    def gradients(self, settings, climbed, judged):
        return 0


ALL = [HalfAngle, Largest(), Nowhere()]
TWIN = [HalfAngle(), HalfAngle()]
NUMBER = 7


class Maps(HalfAngle):
    name = "maps"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_columns.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("own", "gentle", "trained")
def test_a_column_of_the_users_appears_everywhere(tmp_path: Path) -> None:
    options = ["--columns", "own_columns:ALL", "--attacks", "--metrics", "--methods", "sparsified"]
    report = run_audit(tmp_path / "report", *SMALL, *options, "--limit", "2")
    [record, _] = sorted((report.folder / "results" / "sparsified").glob("*.json"))
    saved = json.loads(record.read_text())
    assert {"value", "curve", "radius"} == set(saved["answers"]["half-angle"])
    assert "largest" in saved["metrics"]["values"]
    assert "nowhere" in saved["attacks"]["outcomes"][0]
    [method] = report.document["methods"]
    answers = method["answers"]
    halved = [value / 2 for value in answers["angle"]["values"]]
    assert answers["half-angle"]["values"] == halved
    assert answers["half-angle"]["median"] == max(halved)  # of two, the weaker bound
    assert answers["half-angle"]["curve"][0][0] <= answers["half-angle"]["curve"][0][-1]
    assert report.document["columns"][-1]["name"] == "half-angle"
    assert report.document["settings"]["columns"] == ["own_columns:ALL"]
    assert all(0 < value <= 1 for value in method["metrics"]["columns"]["largest"]["values"])
    left = method["attacks"]["outcomes"][0]["nowhere"]["values"]
    assert left == method["attacks"]["redrawn"]["values"]
    assert (report.folder / "half-angle.png").exists()
    page = html.unescape(report.page)
    example = html.unescape((report.folder / report.document["examples"][0]["page"]).read_text())
    shown = f"{answers['half-angle']['median']:.4f} deg"
    for text in (report.printed, page):
        assert shown in text
        for title in (
            "half of the angle",
            "radius of 20 degrees",
            "largest element",
            "staying left",
        ):
            assert title in text
    assert f"{halved[0]:.4f} deg" in example and "staying left" in example


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("own_columns:NUMBER", "must be a CertifiedColumn, an AttackColumn or a MeasuredColumn"),
        ("own_columns:TWIN", "must have names of their own, got 'half-angle' twice"),
        ("own_columns:Maps", "none of maps"),
        ("own_columns:Missing", "cannot be imported: AttributeError"),
        ("own_columns", "names of the form module:name"),
    ],
)
def test_what_is_no_column_is_refused(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "--columns", name]) == 2
    assert said in capsys.readouterr().err


def test_a_curve_and_its_values_agree_by_default(
    report: Report, plan: AuditPlan, subject: Subject
) -> None:
    """A column that writes no curve of its own has one, asked point by point."""
    path = next((report.folder / "results" / "sparsified").glob("*.npz"))
    certificate = Certificate.load(path)
    for column in CERTIFIED:
        if not column.axis:
            continue
        sizes = [0.0, 0.02, 0.3]
        by_hand = super(type(column), column).curve(certificate, plan, sizes)
        assert by_hand.tolist() == column.curve(certificate, plan, sizes).tolist()


def test_every_column_says_what_it_is() -> None:
    assert columns_of(()) == BUILT_IN
    for column in BUILT_IN:
        assert column.name and column.title and column.source
        assert column.about and not column.about.endswith(".")
        assert column.show(0.5)
