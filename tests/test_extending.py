"""Each family takes a new member from outside, and everything that uses the family knows it."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Attribution, Saliency
from scipy import integrate, stats
from torch import Tensor

from captum_robust.attr import Abs, SmoothedAttribution, Sparsify
from captum_robust.audit.ask.methods import METHODS, Method
from captum_robust.certificates import Certificate, Confidence, Question
from captum_robust.examples import example_model
from captum_robust.metrics import Scale, random_perturbation_similarity
from captum_robust.noise import GaussianNoise, NoiseLaw, known_laws
from captum_robust.robust import AttributionAttack
from tests.helpers.coverage import covers
from tests.helpers.members import new_members


@pytest.fixture(scope="module", autouse=True)
def members() -> Iterator[None]:
    global extension
    with new_members() as extension:
        yield


@pytest.fixture
def inputs() -> Tensor:
    return torch.linspace(-1, 1, 20).reshape(5, 4)


def smoothed(law: NoiseLaw | None = None, transform: Any = None) -> SmoothedAttribution:
    law = law or extension.LaplaceNoise()
    return SmoothedAttribution(
        Saliency(example_model()), noise=law, transform=transform or Abs() >> Sparsify(2)
    )


def reloaded(certificate: Certificate, folder: Path) -> Certificate:
    certificate.save(folder / "certificate.npz")
    return Certificate.load(folder / "certificate.npz")


# -- a noise law ---------------------------------------------------------------------------------


def test_the_laplace_law_draws_what_it_says() -> None:
    noise = extension.LaplaceNoise().sample(200_000, 2, dtype=torch.float64)
    for column in noise.T:
        found = stats.kstest(column, stats.laplace(scale=math.sqrt(0.5)).cdf)
        assert found.pvalue > 1e-4
    assert noise.std(0).sub(1).abs().max() < 4 * math.sqrt(5 / 4 / 200_000)  # kurtosis 6


@pytest.mark.parametrize("delta", [(0.7,), (0.4, 0.3), (2.0,), (1.5, -0.5), (0.0, 0.0)])
def test_its_total_variation_is_exact_for_one_coordinate_and_a_bound_for_two(delta) -> None:
    density = stats.laplace(scale=math.sqrt(0.5)).pdf

    def common(*point: Any) -> Any:
        here = math.prod(density(p) for p in point)
        there = math.prod(density(p - d) for p, d in zip(point, delta, strict=True))
        return np.minimum(here, there)

    found = extension.LaplaceNoise().total_variation(sum(map(abs, delta)), len(delta))
    if len(delta) == 1:
        kept = integrate.quad(common, -30, 30, points=[0, delta[0] / 2, delta[0]], limit=200)[0]
        assert found == pytest.approx(1 - kept, abs=1e-9)
    else:
        axis = np.linspace(-12, 12, 1201)
        kept = integrate.trapezoid(integrate.trapezoid(common(axis[:, None], axis), axis), axis)
        assert 1 - kept <= found + 1e-3  # the trapezoids' error at the kinks


class HalfSpace(Attribution):
    """Marks the first feature up to an edge of the first coordinate, the second beyond it."""

    def __init__(self, edge: float) -> None:
        super().__init__(lambda x: x)
        self.edge = edge

    def attribute(self, inputs: Tensor, **_: Any) -> Tensor:
        first = (inputs[:, :1] <= self.edge).to(inputs.dtype)
        return torch.cat([first, 1 - first], 1)


@pytest.mark.parametrize("confidence", ["clopper-pearson", "second-moment"])
def test_its_certificates_cover_at_the_worst_case(confidence: str) -> None:
    # Halfway between the input and the perturbed one, the half-space loses all the law allows.
    shift, repetitions = 0.6, 200
    after = stats.laplace(scale=math.sqrt(0.5)).cdf(-shift / 2)
    smooth = SmoothedAttribution(
        HalfSpace(shift / 2), noise=extension.LaplaceNoise(), transform=Sparsify(1)
    )
    certificate = smooth.certify(
        torch.zeros(repetitions, 2), stdevs=1.0, nt_samples=200, alpha=0.1, seed=0,
        confidence=confidence,
    )  # fmt: skip
    answers = certificate.ask(extension.FeatureValue(feature=0), epsilon=shift)
    assert covers(answers.numpy() > after)
    assert answers.max() > 0.8 * after or confidence == "second-moment"  # and it is not loose


def test_the_law_is_listed_stated_saved_and_loaded(inputs: Tensor, tmp_path: Path) -> None:
    assert "Laplace" in known_laws()
    certificate = smoothed().certify(inputs, target=0, stdevs=0.5, nt_samples=400, seed=0)
    text = certificate.statement(epsilon=0.05)
    assert "Laplace" in str(text) and "l1" in str(text)
    again = reloaded(certificate, tmp_path)
    assert torch.equal(again.cosine(0.05), certificate.cosine(0.05))
    assert str(again.statement(epsilon=0.05)) == str(text)
    assert (certificate.overlap(0.05, k=2) >= certificate.overlap(0.5, k=2)).all()


@pytest.mark.slow
def test_no_l1_attack_breaks_its_certificate(inputs: Tensor) -> None:
    smooth, epsilon = smoothed(), 0.05
    certificate = smooth.certify(inputs, target=0, stdevs=0.5, nt_samples=500, seed=0)
    attack = AttributionAttack(
        example_model(), smooth, objective=extension.SpreadOut(), norm="L1",
        attribute_kwargs={"stdevs": 0.5, "nt_samples": 16, "seed": 1},
    )  # fmt: skip
    found = attack.perturb(inputs, radius=epsilon, target=0, step_num=4, keep_prediction=False)
    assert ((found - inputs).abs().sum(1) <= epsilon * (1 + 1e-5)).all()
    maps = [
        smooth.attribute(x, target=0, stdevs=0.5, nt_samples=4000, seed=seed)
        for seed, x in enumerate((inputs, found))
    ]
    cosine = torch.nn.functional.cosine_similarity(*maps)
    assert (cosine >= certificate.cosine(epsilon)).all()


# -- a transform, a question, a confidence -------------------------------------------------------


def test_the_transform_composes_declares_and_pickles(inputs: Tensor) -> None:
    chain = extension.Positive() >> Sparsify(1)
    assert repr(chain).startswith("Positive() >> Sparsify(")
    assert torch.equal(chain((torch.tensor([[-3.0, 1.0]]),))[0], torch.tensor([[0.0, 1.0]]))
    smooth = smoothed(GaussianNoise(), chain)
    certificate = smooth.certify(inputs, target=0, stdevs=0.5, nt_samples=200, seed=0)
    assert certificate.overlap(0.01, k=1).shape == (5,)
    for twin in (copy.deepcopy(smooth), pickle.loads(pickle.dumps(smooth))):
        assert repr(twin) == repr(smooth)


def test_the_question_is_asked_stated_budgeted_saved_and_has_radius_and_curve(
    inputs: Tensor, tmp_path: Path
) -> None:
    class Marked(SmoothedAttribution):
        questions = (*SmoothedAttribution.questions, extension.FeatureValue)

    assert Question.known()["feature_value"] is extension.FeatureValue
    smooth = Marked(
        Saliency(example_model()), noise=GaussianNoise(), transform=Abs() >> Sparsify(2)
    )
    terms: dict[str, Any] = {"target": 0, "stdevs": 0.5, "nt_samples": 400, "seed": 0}
    certificate = smooth.certify(inputs, **terms)
    question = extension.FeatureValue(feature=3)
    answers = certificate.ask(question, epsilon=0.05)
    assert answers.shape == (5,) and ((answers >= 0) & (answers <= 1)).all()
    radii = certificate.certified_radius(feature_value=0.2, feature=3)
    assert (radii > 1e-6).all()
    at_radius = certificate.ask(question, epsilon=radii * 0.999)
    assert (at_radius >= 0.2).all()
    beyond = certificate.ask(question, epsilon=radii * 1.01)
    assert (beyond < 0.2).all()
    assert "feature_value" in str(certificate.budget())
    joint = smooth.certify(inputs, **terms, questions=("feature_value", "cosine"))
    again = reloaded(joint, tmp_path)
    assert torch.equal(again.ask(question, epsilon=0.05), joint.ask(question, epsilon=0.05))
    assert (joint.ask(question, epsilon=0.05) <= answers).all()  # alpha is shared with the cosine
    del terms["nt_samples"]
    goal = {"feature_value": 0.2, "feature": 3, "epsilon": 0.01}
    until = smooth.certify(inputs[:1], **terms, until=goal)
    assert until.ask(question, epsilon=0.01).shape == (1,)


def test_the_confidence_is_listed_used_and_saved(inputs: Tensor, tmp_path: Path) -> None:
    assert "second-moment" in Confidence.names()
    terms: dict[str, Any] = {"target": 0, "stdevs": 0.5, "nt_samples": 400, "seed": 0}
    smooth = smoothed(GaussianNoise())
    certificate = smooth.certify(inputs, **terms, confidence="second-moment")
    tight = smooth.certify(inputs, **terms)
    assert (certificate.overlap(0.05, k=2) <= tight.overlap(0.05, k=2)).all()
    again = reloaded(certificate, tmp_path)
    assert torch.equal(again.overlap(0.05, k=2), certificate.overlap(0.05, k=2))


# -- attacks, metrics, losses --------------------------------------------------------------------


def test_the_objective_the_ball_and_the_step_rule_make_an_attack(inputs: Tensor) -> None:
    model = example_model()
    attack = AttributionAttack(
        model, Saliency(model), objective=extension.SpreadOut(), norm="pairs",
        step_rule=extension.HalvingStep(),
    )  # fmt: skip
    target = model(inputs).argmax(1)
    found = attack.search(inputs, radius=0.2, target=target, step_num=8)
    pairs = (found.perturbed - inputs).unflatten(1, (2, 2)).norm(dim=2)
    assert (pairs <= 0.2 * (1 + 1e-5)).all() and pairs.max() > 0.19
    assert (found.score >= found.clean_score).all() and (found.score > found.clean_score).any()
    assert torch.equal(model(found.perturbed).argmax(1), target)


def test_the_similarity_is_known_by_name(inputs: Tensor) -> None:
    assert Scale.of("sign_agreement") == Scale(0, 1, True)
    method = Saliency(example_model())
    values = random_perturbation_similarity(
        lambda x, **kwargs: method.attribute(x, abs=False, **kwargs),
        inputs, perturb_radius=0.1, target=0, similarity="sign_agreement", seed=0,
    )  # fmt: skip
    assert values.shape[0] == 5 and ((values >= 0) & (values <= 1)).all()


def test_the_loss_trains_and_prints(inputs: Tensor) -> None:
    model, criterion = example_model(), extension.SmallGradients(weight=0.3)
    loss = criterion(model, inputs, torch.tensor([0, 1, 2, 0, 1]))
    loss.backward()
    assert all(parameter.grad is not None for parameter in model[:1].parameters())
    expected = criterion.terms["cross_entropy"] + 0.3 * criterion.terms["gradient"]
    assert loss.item() == pytest.approx(expected.item())
    assert repr(criterion) == "SmallGradients(cross_entropy=1, gradient=0.3)"


# -- the audit -----------------------------------------------------------------------------------

FACTORY = """
from captum_robust.examples import example_model
from tests.helpers.extension import FirstFeature, Silence

COLUMNS = [FirstFeature, Silence]


def net():
    return example_model((1, 4, 4))
"""


@pytest.mark.slow
def test_the_audit_takes_the_law_the_question_and_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.audit.conftest import run_audit

    (tmp_path / "of_my_own.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(str(tmp_path))
    data = np.random.default_rng(0).random((3, 1, 4, 4), dtype=np.float32)
    np.savez(tmp_path / "data.npz", x=data, y=np.array([0, 1, 2]))
    laplace = Method(
        "Laplace",
        "How often each feature is among the largest gradients under Laplace noise.",
        lambda model, keep: SmoothedAttribution(
            Saliency(model), noise=extension.LaplaceNoise(), transform=Abs() >> Sparsify(keep)
        ),
    )
    monkeypatch.setitem(METHODS, "laplace", laplace)
    report = run_audit(
        tmp_path / "report", "--model", "of_my_own:net", "--data", str(tmp_path / "data.npz"),
        "--methods", "laplace", "--columns", "of_my_own:COLUMNS", "--metrics",
        "--nt-samples", "100", "--noise", "0.5", "--epsilon", "0.02",
    )  # fmt: skip
    [method] = report.document["methods"]
    assert len(method["answers"]["first-feature"]["values"]) == 3
    assert 0 <= method["metrics"]["columns"]["silence"]["mean"] <= 1
    for text in ("Laplace", "first feature", "features at zero"):
        assert text in report.page and text in report.printed
