"""Questions and confidences of one's own, and what a certificate remembers."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from scipy.stats import norm

from captum_robust.attr import SparsifiedSmoothGrad
from captum_robust.certificates import Certificate, Confidence, Question, TopKCertificateMixin
from captum_robust.certificates.remembered import Remembered
from captum_robust.examples import example_model

INPUTS = torch.linspace(-1, 1, 12).reshape(3, 4)
SETTINGS = {"target": 0, "stdevs": 0.5, "nt_samples": 200, "seed": 0}


@pytest.fixture
def value():
    """A question from outside the package: a feature's least value at any perturbed input."""

    @dataclass(frozen=True)
    class Value(Question):
        feature: int

        name = "value"
        event = "elementwise"
        thresholds = (0.0, 1.0)

        def answer(self, certificate, shifts):
            each = zip(self.elementwise(certificate), shifts, strict=True)
            return np.array([one.after(shift)[0][self.feature] for one, shift in each])

    yield Value
    Question.forget("value")


def certify(kind=SparsifiedSmoothGrad, **arguments) -> Certificate:
    return kind(Saliency(example_model()), keep=2).certify(INPUTS, **(SETTINGS | arguments))


def test_a_question_of_ones_own(value, tmp_path):
    class Marked(SparsifiedSmoothGrad):
        questions = (value,)

    certificate = certify(Marked)
    assert "value" in certificate.terms.offered
    mean = certificate.mean[:, 1].numpy()
    answers = certificate.ask("value", 0.1, feature=1)
    assert answers.dtype == torch.float64 and (answers.numpy() <= mean).all()
    assert torch.equal(certificate.curve("value", [0.0, 0.1], feature=1)[:, 1], answers)
    # The default inverse, by bisection, against the closed form.
    low = np.array([one.lower[1] for one in value(1).elementwise(certificate)])
    paid = certificate.shift.allowance  # for the arithmetic of the noise, at each input once
    exact = np.clip(norm.ppf(low - paid) - norm.ppf(0.3 + paid), 0, None) * 0.5
    radius = certificate.certified_radius(value=0.3, feature=1).numpy()
    np.testing.assert_allclose(radius, exact, atol=1e-9)
    assert certificate.certified_radius(value=0.0, feature=1).isinf().all()
    assert "the value is at least 0." in certificate.statement(0.1, k=2, feature=1)
    assert "value" not in certificate.statement(0.1, k=2)
    certificate.save(tmp_path / "c")
    loaded = Certificate.load(tmp_path / "c")
    assert torch.equal(loaded.ask("value", 0.1, feature=1), answers)
    joint = certify(Marked, questions=("value", "cosine"))
    assert joint.budget().of("value", "elementwise") == 0.025
    goal = {"value": 0.1, "feature": 1, "epsilon": 0.01}
    assert certify(Marked, nt_samples=None, until=goal, max_samples=256).nt_samples <= 256


def test_any_certificate_answers_a_question_that_is_handed_to_it(value):
    certificate = certify()
    assert certificate.ask(value(feature=1), 0.1).shape == (3,)
    with pytest.raises(ValueError, match="does not answer `value`"):
        certificate.ask("value", 0.1, feature=1)
    joint = certify(questions=("overlap",))
    with pytest.raises(ValueError, match=r"does not answer|not among the questions"):
        joint.ask(value(feature=1), 0.1)


def test_a_joint_question_that_is_unknown_here_is_named(value):
    class Marked(SparsifiedSmoothGrad):
        questions = (value,)

    certificate = certify(Marked, questions=("value", "overlap"))
    apart = certify(Marked)
    Question.forget("value")
    with pytest.raises(ValueError, match="value is not known here; import the module"):
        certificate.overlap(0.1, 2)
    assert apart.overlap(0.1, 2).shape == (3,)


def test_wrong_arguments_are_named():
    certificate = certify()
    with pytest.raises(TypeError, match=r"`overlap` takes k beside the size .* got colour"):
        certificate.ask("overlap", 0.1, colour=3)
    with pytest.raises(ValueError, match="`question` must be one of"):
        certificate.ask("colour", 0.1)
    with pytest.raises(TypeError, match="brings its own arguments, got k"):
        certificate.ask(Question.named("overlap", k=2), 0.1, k=2)


def test_mixins_name_questions_by_class_or_name(value):
    class Mixin(TopKCertificateMixin):
        questions = ("rank", value)

    assert Mixin.certificate_questions[-2:] == ("rank", "value")


def test_a_share_has_a_radius_too():
    certificate = certify()
    radius = certificate.certified_radius(certified_share=0.5)
    inner = (radius > 0) & radius.isfinite()
    at = torch.where(inner, radius, 0.0)
    assert (certificate.certified_share(at) >= 0.5)[inner].all()
    assert (certificate.certified_share(at * (1 + 1e-6) + 1e-9) < 0.5)[inner].all()


def test_a_confidence_of_ones_own():
    class Chebyshev(Confidence):
        name = "chebyshev"

        def bounds(self, means, samples, alpha, comparisons, variances=None):
            half = np.sqrt(comparisons / (4 * samples * alpha))
            return np.clip(means - half, 0, 1), np.clip(means + half, 0, 1)

    try:
        wide = certify(confidence="chebyshev", route="elementwise")
        narrow = certify(route="elementwise")
        radii = [one.certified_radius(overlap=1.0, k=2) for one in (wide, narrow)]
        assert (radii[0] <= radii[1]).all()
    finally:
        Confidence.forget("chebyshev")
    with pytest.raises(ValueError, match="`confidence` must be one of"):
        certify(confidence="chebyshev")


# -- memory -----------------------------------------------------------------------------------


def test_evidence_is_computed_once(monkeypatch):
    from captum_robust.certificates.evidence import norm as module

    certificate = certify()
    calls = []
    real = module.top_eigenvalue_upper
    monkeypatch.setattr(
        module, "top_eigenvalue_upper", lambda *given: calls.append(1) or real(*given)
    )
    first = certificate.curve("cosine", [0.0, 0.1, 0.2])
    certificate.statement(0.1, k=2), certificate.l2_deviation(0.1)
    assert len(calls) == 2 * 3  # of three examples, for all of alpha and for the overlap's half
    assert torch.equal(replace(certificate).curve("cosine", [0.0, 0.1, 0.2]), first)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, replace, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_copies_answer_the_same(copied):
    certificate = certify()
    before = certificate.overlap(0.1, 2)
    assert torch.equal(copied(certificate).overlap(0.1, 2), before)
    stricter = replace(certificate, terms=replace(certificate.terms, alpha=0.001))
    assert (stricter.cosine(0.1) < certificate.cosine(0.1)).all()


def test_threads_get_the_same_answers():
    wanted = certify().cosine(0.1)
    certificate = certify()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: certificate.cosine(0.1), range(32)))
    assert all(torch.equal(one, wanted) for one in found)


def test_memory_is_bounded():
    kept = Remembered(limit=1000)
    made = []

    def build(index):
        made.append(index)
        return np.zeros(40)

    for index in (0, 1, 0, 2, 3, 0):
        kept.get(index, lambda index=index: build(index))
    assert made == [0, 1, 2, 3]  # 0 was asked again in time, 1 went
    kept.get(1, lambda: build(1))
    assert made[-1] == 1
    kept.get("large", lambda: np.zeros(1000))
    assert kept.get("large", lambda: "anew") == "anew"  # too large to keep
