"""Attacks beside certificates: what is compared with what, and what becomes of a contradiction."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest
import torch

from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.digits import predict
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure import attacks, rounding
from captum_robust.audit.measure.attacks import (
    AttackOutcome,
    attack_method,
    attackable,
    norm_of,
    redrawn,
    top_attack,
)
from captum_robust.audit.measure.explanation import Purpose, explanation, seed_for
from captum_robust.audit.measure.runner import cost, run_method
from captum_robust.certificates import Certificate
from tests.audit.conftest import GENTLE, SMALL, Report, run_audit

FALSE_SAMPLES = 10**6


def certify(plan: AuditPlan, subject: Subject, name: str, **settings: object) -> Certificate:
    return (
        METHODS[name]
        .build(subject.model, plan.keep)
        .certify(
            subject.inputs,
            target=subject.targets,
            stdevs=plan.noise,
            nt_samples=plan.nt_samples,
            seed=plan.seed,
            example_ids=subject.example_ids,
            **settings,
        )
    )


def falsified(certificate: Certificate) -> Certificate:
    """The certificate of a thousand times the noise and far more samples than were drawn."""
    shift = replace(certificate.shift, smallest=1000 * certificate.shift.smallest)
    return replace(redrawn(certificate), shift=shift, nt_samples=FALSE_SAMPLES)


@pytest.mark.parametrize("name", ["uniform", "sparsified", "gaussian"])
def test_redrawn_is_the_certificate_that_sampling_anew_gives(
    name: str, plan: AuditPlan, subject: Subject
) -> None:
    reused = redrawn(certify(plan, subject, name))
    asked = certify(plan, subject, name, claim="redrawn")
    assert reused.claim == "redrawn"
    for epsilon in (0.0, 0.02, 0.3):
        assert torch.equal(reused.overlap(epsilon, 16), asked.overlap(epsilon, 16))
    assert torch.equal(reused.cosine(0.02), asked.cosine(0.02))
    assert (asked.overlap(0.02, 16) <= certify(plan, subject, name).overlap(0.02, 16)).all()


def test_measures_what_is_written_down(thorough: Report, plan: AuditPlan, subject: Subject) -> None:
    assert thorough.document["attacks"]["epsilons"] == [0.02, 0.04, 0.08]
    assert thorough.document["attacks"]["settings"]["steps"] == 3
    certificate = redrawn(certify(plan, subject, "sparsified"))
    found = thorough.method("sparsified")["attacks"]
    for outcome in found["outcomes"]:
        direct = certificate.overlap(outcome["epsilon"], 16)
        assert outcome["certified"]["values"] == pytest.approx(direct.tolist())
        for values in (outcome["measured"]["values"], outcome["random"]["values"]):
            assert all(0 <= value <= 1 and (16 * value).is_integer() for value in values)
        assert outcome["contradicted"] == []
    assert found["redrawn"]["values"] != [1.0] * 3  # 150 fresh draws alone move some features
    assert torch.tensor(found["curve"]).shape == (3, 101)
    saliency = thorough.method("saliency")["attacks"]
    assert saliency["curve"] is None and saliency["redrawn"] is None
    assert [outcome["certified"] for outcome in saliency["outcomes"]] == [None] * 3


@pytest.mark.parametrize("name", ["saliency", "sparsified"])
@pytest.mark.usefixtures("gentle")
def test_attacked_points_lie_in_ball_and_box_and_keep_the_prediction(
    name: str, plan: AuditPlan, subject: Subject
) -> None:
    points = top_attack(name, plan, subject).perturb(
        subject.inputs, radius=0.5, target=subject.targets, step_num=5, seed=0
    )
    moved = (points - subject.inputs).flatten(1).norm(dim=1)
    assert (moved > 0.05).all() and (moved <= 0.5 * (1 + 1e-6)).all()
    assert points.min() >= 0 and points.max() <= 1
    assert torch.equal(predict(subject.model, points), subject.targets)


def test_judged_by_as_many_draws_as_certified_but_others(
    plan: AuditPlan, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = attacks.explanation

    def watched(method, its_plan, its_subject, samples, seed):
        asked.append((samples, seed))
        return real(method, its_plan, its_subject, samples, seed)

    monkeypatch.setattr(attacks, "explanation", watched)
    monkeypatch.setattr(attacks, "SETTINGS", replace(GENTLE, steps=1))
    attack_method("uniform", plan, subject, certify(plan, subject, "uniform"))
    assert [samples for samples, _ in asked] == [plan.nt_samples]
    assert asked[0][1] not in (plan.seed, seed_for(plan.seed, Purpose.ATTACK))
    method = METHODS["uniform"].build(subject.model, plan.keep)
    first, second = (explanation(method, plan, subject, 20, seed) for seed in (0, 1))
    assert not torch.equal(first(subject.inputs), second(subject.inputs))


def test_gradient_attack_moves_an_unsmoothed_map_more_than_random_search(
    plan: AuditPlan, subject: Subject
) -> None:
    outcomes = attack_method("saliency", replace(plan, epsilon=0.1), subject, None).outcomes
    measured = torch.stack([outcome.left["measured"] for outcome in outcomes])
    random = torch.stack([outcome.left["random"] for outcome in outcomes])
    assert measured.mean() < random.mean()
    assert measured[-1].mean() < measured[0].mean()


def test_a_value_below_the_certified_one_is_a_contradiction() -> None:
    shares = torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64)
    outcome = AttackOutcome(
        epsilon=0.1,
        left={
            "measured": torch.tensor([0.5, 0.4375, 1.0, 1.0], dtype=torch.float64),
            "random": torch.tensor([0.5, 1.0, 0.4375, 1.0], dtype=torch.float64),
        },
        certified=shares,
    )
    assert outcome.contradicted == [1, 2]
    assert replace(outcome, certified=None).contradicted == []


@pytest.mark.usefixtures("gentle")
def test_a_method_is_attacked_in_the_norm_of_its_noise_law(
    plan: AuditPlan, subject: Subject
) -> None:
    """Box noise certifies l1 balls; the attack's points lie in one and reach its surface."""
    few = replace(plan, nt_samples=40, epsilon=0.5)
    certificate = certify(few, subject, "box")
    assert norm_of(certificate) == "l1 norm" and attackable(certificate)
    found = attack_method("box", few, subject, certificate)
    assert found.norm == "l1 norm"
    assert all(outcome.contradicted == [] for outcome in found.outcomes)
    points = top_attack("box", few, subject, "l1 norm").perturb(
        subject.inputs, radius=0.5, target=subject.targets, step_num=20, seed=0
    )
    moved = (points - subject.inputs).flatten(1).norm(p=1, dim=1)
    assert (moved > 0.05).all() and (moved <= 0.5 * (1 + 1e-5)).all()
    weighted = replace(certificate.shift, smallest=certificate.shift.smallest / 2)
    other = replace(certificate, shift=weighted)
    assert attackable(other) == (norm_of(other) == "l1 norm")


@pytest.mark.usefixtures("trained", "gentle")
def test_a_false_certificate_is_an_error_everywhere(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacks, "redrawn", falsified)
    report = run_audit(
        tmp_path, *SMALL, "--attacks", "--methods", "sparsified", "--epsilon", "1", code=3
    )
    errors = report.document["errors"]
    outcomes = report.method("sparsified")["attacks"]["outcomes"]
    assert len(errors) == sum(len(outcome["contradicted"]) for outcome in outcomes) > 0
    for error in errors:
        assert error in html.unescape(report.page)
        assert f"ERROR of the library, please report it: {error}" in report.progress
    assert "contradicted by an attack" in report.page
    assert report.page.index('role="alert"') < report.page.index("The maps, side by side")
    assert any("ERROR" in line for line in report.printed.splitlines())


@pytest.mark.slow
@pytest.mark.usefixtures("trained", "gentle")
def test_every_method_is_attacked_and_measured(tmp_path) -> None:
    options = ["--limit", "1", "--nt-samples", "20", "--noise", "0.5", "--attacks", "--metrics"]
    report = run_audit(tmp_path, *options, "--methods", ",".join(METHODS))
    for method in report.document["methods"]:
        assert len(method["attacks"]["outcomes"]) == 3
        for found in method["metrics"]["columns"].values():
            assert found["mean"] is not None and found["interval"] is None  # of one example


@pytest.mark.usefixtures("gentle")
def test_epsilon_zero_is_sampling_alone(plan: AuditPlan, subject: Subject) -> None:
    still = replace(plan, epsilon=0.0)
    [outcome] = attack_method("saliency", still, subject, None).outcomes
    assert outcome.epsilon == 0.0
    assert outcome.left["measured"].tolist() == outcome.left["random"].tolist() == [1.0] * 3


def test_the_cost_said_beforehand(plan: AuditPlan, subject: Subject, thorough: Report) -> None:
    # Of one smoothed digit at three radii: 3 points climbed (doubly) and judged, 3 more judged at
    # random; two fresh maps of 150 draws, and one at the input. An unsmoothed map is a gradient.
    smoothed = 3 * (3 * 2 * (4 + 8) + 2 * 150) + 150
    plain = 3 * (3 * 2 * (1 + 1) + 2) + 1
    assert f"Attacking 3 examples: {3 * (2 * smoothed + plain):,} gradients" in thorough.progress
    assert f"Certifying 3 examples: {cost(plan, subject):,} gradients" in thorough.progress


def test_off_by_default(plan: AuditPlan, subject: Subject, report: Report) -> None:
    result = run_method("saliency", plan, subject)
    assert result.attacked is None and result.measured is None
    assert "Attacking" not in report.progress and "Measuring" not in report.progress
    assert "What attacks reach" not in report.page
    assert "Robustness metrics" not in report.page


def test_page_and_table_show_the_attacks(thorough: Report) -> None:
    text = html.unescape(thorough.page)
    assert "What attacks reach" in text and "no certificate" in text
    for method in thorough.document["methods"]:
        for outcome in method["attacks"]["outcomes"]:
            left = rounding.measured_share(outcome["measured"]["median"])
            assert left in text
            assert any(
                method["title"] in line and left in line for line in thorough.printed.splitlines()
            )
    assert (thorough.folder / "attacks.png").exists()
