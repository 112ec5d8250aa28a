"""The figures: they open, show what was asked, and leave matplotlib's state alone."""

from __future__ import annotations

import matplotlib
import pytest
import torch
from PIL import Image

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.runner import run_method
from captum_robust.audit.report.document import read_results
from captum_robust.audit.report.figures import curve_figure, maps_figure
from captum_robust.audit.run.journal import Journal
from tests.audit.conftest import Report


@pytest.mark.parametrize("name", ["maps", "overlap", "cosine"])
def test_files_open_and_are_not_blank(name: str, report: Report) -> None:
    with Image.open(report.folder / f"{name}.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 400
        assert len(image.convert("L").getcolors(maxcolors=256) or range(257)) > 10


def test_maps_stand_below_their_inputs(report: Report, plan: AuditPlan, subject: Subject) -> None:
    maps = run_method("saliency", plan, subject).maps
    figure = maps_figure(read_results(Journal(report.folder), plan))
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 4 * len(subject.inputs)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == list(subject.labels)
    for column in range(3):
        picture = torch.as_tensor(shown[column]) / 255
        torch.testing.assert_close(picture, subject.inputs[column, 0], atol=0.5001 / 255, rtol=0)
        scaled = maps[column] / maps[column].max()
        below = torch.as_tensor(shown[3 + column]).double() / 255
        torch.testing.assert_close(below, scaled, atol=0.5001 / 255, rtol=0)


@pytest.mark.parametrize("question", ["overlap", "cosine"])
def test_curves_show_the_median_and_say_their_units(question: str, report: Report) -> None:
    before = dict(matplotlib.rcParams)
    certified = report.document["methods"][1:]
    [column] = [about for about in report.document["columns"] if about["name"] == question]
    figure = curve_figure(column | {"axis": "share"}, certified, report.document)
    [axes], [legend] = figure.axes, figure.legends
    assert axes.get_xlabel() == "perturbation size ε (l2 norm, pixel values in [0, 1])"
    assert axes.get_ylabel() == "share"
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["UniformSmoothing", "SparsifiedSmoothGrad"]
    for line, method in zip(axes.lines, certified, strict=False):
        middle = torch.tensor(method["answers"][question]["curve"]).sort(0).values[1]
        torch.testing.assert_close(torch.as_tensor(line.get_ydata()).float(), middle)
    assert dict(matplotlib.rcParams) == before
