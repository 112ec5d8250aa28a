"""The numbers of report.json, against certificates asked directly."""

from __future__ import annotations

import json
from statistics import median_high, median_low

import pytest
import torch
from captum.attr import Saliency

from captum_robust.attr import Abs, SparsifiedSmoothGrad, UniformSmoothing, UnitNorm
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.summary import safe_quartiles, summary
from captum_robust.audit.report.document import command
from captum_robust.audit.run.record import epsilons
from captum_robust.certificates import Certificate
from tests.audit.conftest import Report, run_audit


@pytest.fixture(scope="module")
def certificates(plan: AuditPlan, subject: Subject) -> dict[str, Certificate]:
    smoothed = {
        "uniform": UniformSmoothing(Saliency(subject.model), transform=Abs() >> UnitNorm()),
        "sparsified": SparsifiedSmoothGrad(Saliency(subject.model), keep=0.25),
    }
    return {
        name: method.certify(
            subject.inputs,
            target=subject.targets,
            stdevs=0.5,
            nt_samples=150,
            alpha=0.05,
            seed=0,
            example_ids=subject.example_ids,
        )
        for name, method in smoothed.items()
    }


def test_says_what_made_it(report: Report) -> None:
    document = report.document
    assert document["schema_version"] == 4
    assert document["settings"] == {
        "methods": ["saliency", "uniform", "sparsified"],
        "noise": 0.5,
        "nt_samples": 150,
        "alpha": 0.05,
        "epsilon": 0.02,
        "k": 0.25,
        "keep": 0.25,
        "seed": 0,
        "out": str(report.folder),
        "device": "cpu",
        "limit": 3,
        "model": "digits",
        "data": "digits",
        "normalize": None,
        "size": None,
        "labels": None,
        "target": None,
        "batch_size": None,
        "threads": None,
        "columns": [],
        "gray": False,
        "attacks": False,
        "metrics": False,
    }
    assert document["attacks"] is None and document["metrics"] is None
    assert document["errors"] == document["skipped"] == []
    assert document["k_count"] == document["keep_count"] == 16
    assert document["versions"]["torch"] == torch.__version__.split("+")[0]
    assert document["versions"].keys() >= {"captum-robust", "captum", "numpy", "scipy", "python"}
    assert document["subject"]["facts"]["test accuracy"] > 0.95


@pytest.mark.parametrize("name", ["uniform", "sparsified"])
def test_numbers_are_the_certificates_own(
    name: str, report: Report, certificates: dict[str, Certificate]
) -> None:
    [method] = [entry for entry in report.document["methods"] if entry["name"] == name]
    certificate, answers = certificates[name], method["answers"]
    direct = {
        "overlap": certificate.overlap(0.02, k=16),
        "cosine": certificate.cosine(0.02),
        "angle": certificate.angle(0.02),
    }
    for question, values in direct.items():
        # The audit ran on one thread, which may sum in another order.
        assert answers[question]["values"] == pytest.approx(values.tolist(), rel=1e-6)
    radii = {
        "overlap": certificate.certified_radius(overlap=0.5, k=16),
        "cosine": certificate.certified_radius(cosine=0.9),
    }
    for question, values in radii.items():
        assert answers[question]["radius"]["values"] == pytest.approx(values.tolist(), rel=1e-4)
    assert [found["nt_samples"] for found in method["certificates"]] == [150] * 3
    law = certificate.to_dict()["noise"]["law"]
    assert [found["noise"]["law"] for found in method["certificates"]] == [law] * 3
    words = certificate.statement(0.02, 16, example=1)
    for said, shown in (
        ("  example 1, ", "  "),
        ("  example 1: ", "  "),
        ("In example 1 the", "The"),
    ):
        words = words.replace(said, shown)
    assert method["statements"][1] == words
    assert "example" not in method["statements"][1].replace("per example", "")
    assert method["examples"] == [0, 1, 2]


@pytest.mark.parametrize("name", ["uniform", "sparsified"])
def test_curves_are_the_answers_one_by_one(
    name: str, report: Report, certificates: dict[str, Certificate]
) -> None:
    [method] = [entry for entry in report.document["methods"] if entry["name"] == name]
    sizes = report.document["epsilons"]
    assert sizes[0] == 0.0 and len(sizes) == 101 and sizes[-1] == 1.0
    for question, arguments in (("overlap", {"k": 16}), ("cosine", {})):
        curves = torch.tensor(method["answers"][question]["curve"], dtype=torch.float64)
        assert curves.shape == (3, 101)
        assert (curves.diff(dim=1) <= 1e-12).all()
        ask = getattr(certificates[name], question)
        for point in (0, 1, 7, 100):
            torch.testing.assert_close(
                curves[:, point], ask(sizes[point], **arguments), rtol=1e-6, atol=1e-9
            )


def test_unsmoothed_methods_have_no_certificate(report: Report) -> None:
    saliency = report.document["methods"][0]
    assert saliency["status"] == "no certificate: unsmoothed"
    assert saliency["certificates"] is None and saliency["answers"] is None


@pytest.mark.usefixtures("trained")
def test_full_overlap_of_all_features_has_no_largest_radius(tmp_path) -> None:
    report = run_audit(
        tmp_path, "--limit", "1", "--nt-samples", "5", "--methods", "sparsified", "--k", "100%"
    )
    overlap = report.document["methods"][0]["answers"]["overlap"]
    assert overlap["values"] == [1.0]
    assert overlap["radius"]["median"] is None
    assert "any" in report.printed


def test_infinities_become_none() -> None:
    answer = summary([None, 1.0, None])
    assert answer == {"values": [None, 1.0, None], "median": None, "quartiles": [1.0, None]}
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 12])
def test_medians_err_on_the_safe_side(count: int) -> None:
    values = torch.rand(count, generator=torch.Generator().manual_seed(count)).double().tolist()
    assert safe_quartiles(values)[1] == median_low(values)
    assert safe_quartiles(values, upper=True)[1] == median_high(values)
    low, median, high = safe_quartiles(values)
    assert low <= median <= high
    for share, quartile in ((0.25, low), (0.5, median), (0.75, high)):
        assert quartile in values
        assert sum(value >= quartile for value in values) >= (1 - share) * count


def test_the_curve_reaches_beyond_noise_and_epsilon() -> None:
    assert epsilons(AuditPlan(noise=0.25, epsilon=0.1))[-1] == 0.5
    assert epsilons(AuditPlan(noise=0.25, epsilon=1.0))[-1] == 1.5
    assert len(epsilons(AuditPlan(), features=10_000)) < len(epsilons(AuditPlan(), features=9_999))


def test_the_command_is_quoted(tmp_path) -> None:
    assert "--out '" + str(tmp_path / "a b") + "'" in command(AuditPlan(out=tmp_path / "a b"))
