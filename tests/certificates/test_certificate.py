"""The certificate as an object: answers, inverses, words, storage."""

from __future__ import annotations

import json
import math
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from captum.attr import Attribution, Saliency
from torch import nn

from captum_robust.attr import (
    Abs,
    GaussianSmoothing,
    SparsifiedSmoothGrad,
    Sparsify,
    UniformSmoothing,
    UniGrad,
    UnitNorm,
)
from captum_robust.certificates import Certificate, PublishedFormulaWarning
from captum_robust.noise import Relative

KINDS = {
    "sparse": lambda base: SparsifiedSmoothGrad(base, keep=3),
    "ball": lambda base: UniformSmoothing(base, transform=UnitNorm()),
    "box": lambda base: UniGrad(base, transform=Abs() >> UnitNorm()),
    "unit": lambda base: GaussianSmoothing(base, transform=UnitNorm()),
}
CLAIMS = ["reported", "population", "redrawn"]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.Softplus(), nn.Linear(12, 3)).double().eval()


@pytest.fixture(scope="module")
def make(net):
    """Certificates of three examples; equal ones are made once, being immutable."""
    made = {}

    def make(kind="sparse", **arguments):
        key = kind, repr(sorted(arguments.items()))
        if key not in made:
            torch.manual_seed(2)
            x = torch.randn(3, 6, dtype=torch.float64)
            settings = {"target": 1, "stdevs": 0.5, "nt_samples": 1500, "seed": 0}
            settings |= {"nt_samples_batch_size": 500}
            made[key] = KINDS[kind](Saliency(net)).certify(x, **(settings | arguments))
        return made[key]

    return make


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture(params=CLAIMS)
def claim(request):
    return request.param


# -- answers and inverses ---------------------------------------------------------------------


def test_curves_are_the_questions(make, kind, claim):
    certificate = make(kind, claim=claim)
    sizes = [0.0, 0.01, 0.1, 0.5]
    for question, arguments in (
        ("overlap", {"k": 2}),
        ("overlap", {"k": 0.4}),
        ("cosine", {}),
        ("angle", {}),
        ("l2_deviation", {}),
    ):
        curve = certificate.curve(question, sizes, **arguments)
        ask = getattr(certificate, question)
        assert torch.equal(curve, torch.stack([ask(e, **arguments) for e in sizes], 1))
        assert curve.shape == (3, 4) and curve.dtype == torch.float64
        each = ask(torch.tensor([0.0, 0.01, 0.1]).double().round(decimals=3), **arguments)
        assert torch.equal(each, curve[[0, 1, 2], [0, 1, 2]])


@pytest.mark.parametrize("share, k", [(1.0, 2), (0.5, 2), (0.4, 5), (1.0, 1), (0.5, 6), (0.34, 3)])
def test_radius_of_an_overlap(make, kind, claim, share, k):
    certificate = make(kind, claim=claim)
    radius = certificate.certified_radius(overlap=share, k=k)
    inner = radius.isfinite() & (radius > 0)
    just_below = torch.where(inner, radius * (1 - 1e-9), 0.0)
    just_above = torch.where(inner, radius * (1 + 1e-4), 0.0)
    assert (certificate.overlap(just_below, k) >= share - 1e-12)[inner].all()
    assert (certificate.overlap(radius.clamp(max=9), k) >= share - 1e-12)[inner].all()
    assert (certificate.overlap(just_above, k) < share)[inner].all()
    assert (certificate.overlap(50.0, k) >= share - 1e-12)[radius.isinf()].all()
    assert (certificate.overlap(1e-9, k) < share)[radius == 0].all()


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_radius_of_a_cosine(make, kind, claim, threshold):
    certificate = make(kind, claim=claim)
    radius = certificate.certified_radius(cosine=threshold)
    inner = radius.isfinite() & (radius > 0)
    at = torch.where(inner, radius, 0.0)
    assert (certificate.cosine(at) >= threshold)[inner].all()
    assert (certificate.cosine(at * (1 + 1e-4)) < threshold + 1e-12)[inner].all()
    if not (threshold == 0.0 and certificate.range.nonnegative):
        assert (certificate.cosine(1e-9) < threshold)[radius == 0].all()
    else:
        assert radius.isinf().all()  # a cosine of nonnegative maps cannot be negative


@pytest.mark.parametrize("degrees", [0.0, 5.0, 30.0, 90.0])
def test_radius_of_an_angle(make, kind, claim, degrees):
    certificate = make(kind, claim=claim)
    radius = certificate.certified_radius(angle=degrees)
    inner = radius.isfinite() & (radius > 0)
    at = torch.where(inner, radius, 0.0)
    assert (certificate.angle(at) <= degrees + 1e-8)[inner].all()
    assert (certificate.angle(at * (1 + 1e-3)) > degrees - 1e-8)[inner].all()
    same = certificate.certified_radius(cosine=math.cos(math.radians(degrees)))
    finite = radius.isfinite()
    torch.testing.assert_close(radius[finite], same[finite], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 1.0, 2.0])
def test_radius_of_a_deviation(make, kind, claim, threshold):
    certificate = make(kind, claim=claim)
    radius = certificate.certified_radius(l2_deviation=threshold)
    inner = radius.isfinite() & (radius > 0)
    at = torch.where(inner, radius, 0.0)
    assert (certificate.l2_deviation(at) <= threshold)[inner].all()
    above = certificate.l2_deviation(at * (1 + 1e-4)) > threshold - 1e-9
    never = certificate.l2_deviation(1e6) <= threshold  # a safe, finite answer where none can fail
    assert (above | never)[inner].all()
    assert (certificate.l2_deviation(50.0) <= threshold + 4)[radius.isinf()].all()


def test_a_deviation_that_no_two_maps_exceed_has_no_radius(make, kind, claim):
    certificate = make(kind, claim=claim)
    nonnegative = certificate.range.nonnegative
    farthest = (2**0.5 if nonnegative else 2.0) * certificate.range.norm
    assert certificate.certified_radius(l2_deviation=farthest * (1 + 1e-4)).isinf().all()
    assert (certificate.l2_deviation(1e6) <= farthest * (1 + 1e-4)).all()
    assert certificate.certified_radius(l2_deviation=farthest * 0.5).isfinite().all()


def test_claims_are_ordered(make, kind):
    reported, population, redrawn = (make(kind, claim=claim) for claim in CLAIMS)
    for size in (0.0, 0.05, 0.2):
        assert (redrawn.overlap(size, 2) <= reported.overlap(size, 2)).all()
        assert (redrawn.cosine(size) <= reported.cosine(size)).all()
        assert (reported.cosine(size) <= population.cosine(size) + 1e-12).all()
        deviations = [c.l2_deviation(size) for c in (population, reported, redrawn)]
        assert (deviations[0] < deviations[1]).all() and (deviations[1] < deviations[2]).all()


def test_shares_need_not_be_integers(make):
    certificate = make()
    assert torch.equal(certificate.overlap(0.01, 0.4), certificate.overlap(0.01, 3))  # 2.4 up
    half = certificate.certified_radius(overlap=0.5, k=3)  # 1.5 up
    assert torch.equal(half, certificate.certified_radius(overlap=2 / 3, k=3))
    assert (certificate.overlap(100.0, 6) == 1).all()


def test_joint_questions_share_alpha(make):
    alone, joint = make(), make(questions=("overlap", "cosine", "angle"))
    halved = make(alpha=0.025)
    for size in (0.01, 0.1):
        assert torch.equal(joint.overlap(size, 2), halved.overlap(size, 2))
        assert torch.equal(joint.cosine(size), halved.cosine(size))
        assert (joint.cosine(size) <= alone.cosine(size)).all()
    with pytest.raises(ValueError, match=r"`l2_deviation` is not among the questions"):
        joint.l2_deviation(0.1)
    same_event = make(questions=("cosine", "l2_deviation"))
    assert torch.equal(same_event.cosine(0.1), alone.cosine(0.1))


def test_published_formulas_warn_and_are_marked(make):
    with pytest.warns(PublishedFormulaWarning, match="is not a bound"):
        certificate = make(published=True)  # made nowhere else
    assert certificate.kind == "as-published"
    valid = make(confidence="hoeffding", route="bounded")
    assert valid.kind == "certified"
    assert (certificate.overlap(0.0, 2) < 1).all()
    assert (certificate.cosine(0.1) > valid.cosine(0.1)).all()
    elementwise = make(confidence="hoeffding", route="elementwise")
    assert (certificate.overlap(0.05, 2) <= elementwise.overlap(0.05, 2)).all()
    assert "not valid bounds" in certificate.statement(0.1, k=2)


# -- immutable --------------------------------------------------------------------------------


def test_immutable_also_through_what_it_hands_out(make, kind):
    certificate = make(kind)
    with pytest.raises(FrozenInstanceError):
        certificate.nt_samples = 10**9
    before = certificate.cosine(0.05), certificate.overlap(0.05, 2)
    certificate.attributions.mul_(100.0)
    certificate.overlap(0.0, 2).zero_()
    assert torch.equal(certificate.cosine(0.05), before[0])
    assert torch.equal(certificate.overlap(0.05, 2), before[1])


# -- words ------------------------------------------------------------------------------------


def test_statement_says_what_holds(make):
    certificate = make()
    text = certificate.statement(0.02, k=2)
    overlap, cosine = certificate.overlap(0.02, 2), certificate.cosine(0.02)
    for index in range(3):
        assert f"example {index}, target 1" in text
        if overlap[index] > 0:
            assert f"at least {round(float(overlap[index]) * 2)} of the top 2 of 6" in text
        assert f"the cosine is at least {math.floor(float(cosine[index]) * 1e4) / 1e4:.4f}" in text
    for part in (
        "SparsifiedSmoothGrad(Saliency",
        "1500 samples",
        "1500 samples per example; Gaussian noise with a standard deviation of 0.5 per coordinate.",
        "With probability at least 95 % over the noise drawn, for each example by itself, for each "
        "answer by itself, the following holds for every perturbation whose l2 norm is at most "
        "0.02. The map computed here is compared with the expected map at the perturbed input:",
        "The model's prediction is not certified",
    ):
        assert part in text
    one = certificate.statement(0.02, k=2, example=1)
    assert "example 1" in one and "example 0" not in one


def test_statement_of_other_laws_and_claims(make):
    text = make("box", radius=1.0, stdevs=None, claim="redrawn").statement(0.02)
    assert "l1 norm" in text and "uniform box noise" in text and "(radius 1)" in text
    assert "computed anew" in text
    joint = make(questions=("overlap", "cosine"))
    assert "all answers together, the following" in joint.statement(0.02, k=1)
    assert "nothing is certified" in make().statement(5.0, k=2)


def test_statement_says_of_which_examples_the_probability_is(make):
    certificate = make()
    alone = make(questions=("cosine",)).statement(0.02, example=1)
    assert "noise drawn, the following holds" in alone
    one = certificate.statement(0.02, k=2, example=1)
    assert "example by itself" not in one and "for each answer by itself" in one
    together = certificate.for_all_examples()
    assert "at least 95 % over the noise drawn, for all 3 examples together" in together.statement(
        0.02, k=2
    )
    third = make(alpha=0.05 / 3)
    for size in (0.0, 0.05):
        torch.testing.assert_close(together.cosine(size), third.cosine(size), rtol=1e-14, atol=0)
        assert torch.equal(together.overlap(size, 2), third.overlap(size, 2))
    assert together.budget().of("cosine", "norm") == pytest.approx(0.05 / 3, rel=1e-14)
    assert "all 3 examples together" in str(together.budget())


@pytest.mark.parametrize("example", [3, 9, -1])
def test_statement_of_an_example_that_is_not_there(make, example):
    with pytest.raises(ValueError, match=r"`example` must be (in \[0, 2\]|at least 0), got"):
        make().statement(0.02, k=2, example=example)


def test_statement_of_a_zero_map():
    class Zero(Attribution):
        def attribute(self, inputs, **_):
            return torch.where(inputs[:, :1] > 3, inputs, torch.zeros_like(inputs))

    inputs = torch.tensor([[0.0, 1, 2], [9.0, 1, 2]])
    for transform in (Abs() >> Sparsify(2), UnitNorm()):
        smooth = GaussianSmoothing(Zero(lambda x: x), transform=transform)
        certificate = smooth.certify(inputs, stdevs=0.1, nt_samples=50, seed=0)
        first, second = certificate.statement(0.1, k=1).splitlines()[2:4]
        assert "example 0: the smoothed map is zero" in first and "samples" not in first
        assert "zero" not in second


def test_angles_and_cosines_in_words_are_rounded_to_the_safe_side(make):
    for size in torch.linspace(0.0, 0.3, 40).tolist():
        text = make().statement(size)
        for index, line in enumerate(text.splitlines()[2:5]):
            found = re.search(r"at least ([\d.]+), an angle of at most ([\d.]+) degrees", line)
            if found:
                cosine, angle = map(float, found.groups())
                assert cosine <= make().cosine(size)[index] and angle >= make().angle(size)[index]


@pytest.mark.parametrize(
    "alpha, percent",
    [(0.05, "95 %"), (0.1, "90 %"), (1e-7, "99.99999 %"), (0.0123456, "98.76544 %")],
)
def test_statement_never_promises_more_than_alpha_allows(make, alpha, percent):
    assert f"at least {percent}" in make(alpha=alpha).statement(0.02, k=2)


def test_statement_never_rounds_a_size_up(make):
    size = 0.123456789
    assert f"at most {size!r}" in make().statement(size, k=2)
    stdevs = torch.tensor([0.5, 0.6, 0.5, 0.7, 0.5, 2.0])
    text = make(stdevs=stdevs).statement(size, k=2)
    assert f"l2 norm is at most {size!r} (and every one" in text
    assert "l2 norm of delta / stdev is at most 0.2469)" in text


def test_noise_in_words(make):
    assert "smallest 0.5" in make(stdevs=torch.tensor([0.5, 1, 1, 1, 1, 1])).noise
    assert "across examples" in make(stdevs=Relative(0.2)).noise
    assert "(radius 2)" in make("ball", stdevs=None, radius=2.0).noise


# -- storage ----------------------------------------------------------------------------------


def same(first, second):
    assert first.to_dict() == second.to_dict()
    assert torch.equal(first.attributions, second.attributions)
    for name in ("kind", "alpha", "claim", "noise", "nt_samples", "seed", "features", "terms"):
        assert getattr(first, name) == getattr(second, name)
    assert first.range == second.range
    assert torch.equal(first.overlap(0.03, 2), second.overlap(0.03, 2))
    assert first.statement(0.03, k=2) == second.statement(0.03, k=2)


def test_round_trip(make, kind, claim, tmp_path):
    certificate = make(kind, claim=claim)
    certificate.save(tmp_path / "certificate.npz")
    loaded = Certificate.load(tmp_path / "certificate.npz")
    same(certificate, loaded)
    assert torch.equal(certificate.cosine(0.03), loaded.cosine(0.03))


@pytest.mark.parametrize(
    "arguments",
    [
        {"target": torch.tensor([0, 1, 2])},
        {"target": [2, 0, 1]},
        {"target": torch.tensor([1])},
        {"stdevs": torch.tensor([0.5, 0.6, 0.5, 0.7, 0.5, 2.0])},
        {"stdevs": Relative(0.2)},
        {"questions": ("overlap", "cosine")},
        {"seed": None},
        {"seed": np.int64(4), "nt_samples": np.int64(200)},
        {"seed": 2**70},
    ],
    ids=str,
)
def test_round_trip_of_every_field(make, arguments, tmp_path):
    certificate = make(**arguments)
    certificate.save(tmp_path / "c")
    same(certificate, Certificate.load(tmp_path / "c"))


def test_round_trip_of_targets_with_several_parts(tmp_path):
    net = nn.Sequential(nn.Linear(6, 6), nn.Unflatten(1, (2, 3))).double()
    x = torch.zeros(3, 6, dtype=torch.float64)
    for target in ((0, 1), [(0, 1), (1, 2), (1, 0)]):
        certificate = SparsifiedSmoothGrad(Saliency(net), keep=2).certify(
            x, target=target, stdevs=0.5, nt_samples=50, seed=0
        )
        certificate.save(tmp_path / "c")
        same(certificate, Certificate.load(tmp_path / "c"))


def test_masks_may_be_arrays(make):
    half = np.arange(6) < 3
    for given in (half, torch.from_numpy(half), np.stack([half] * 3)):
        certificate = make(masks=given, nt_samples=100)
        assert torch.equal(
            certificate.shares, make(masks=torch.from_numpy(half), nt_samples=100).shares
        )


def test_tuples_of_maps(tmp_path):
    def model(first, second):
        return (first.sin().sum(1) + second.flatten(1).square().sum(1)).unsqueeze(1)

    inputs = (torch.randn(3, 2), torch.randn(3, 2, 2))
    smooth = SparsifiedSmoothGrad(Saliency(model), keep=2)
    certificate = smooth.certify(inputs, target=0, stdevs=0.5, nt_samples=100, seed=0)
    certificate.save(tmp_path / "c")
    loaded = Certificate.load(tmp_path / "c")
    assert [part.shape for part in loaded.attributions] == [(3, 2), (3, 2, 2)]
    assert all(map(torch.equal, certificate.attributions, loaded.attributions))
    assert certificate.features == 6


def test_json_and_no_pickle(make, kind, tmp_path):
    certificate = make(kind)
    saved = json.loads(json.dumps(certificate.to_dict()))
    assert saved["schema_version"] == 1 and saved["kind"] == "certified"
    certificate.save(tmp_path / "c")
    with np.load(tmp_path / "c", allow_pickle=False) as file:
        assert all(file[name].dtype.kind != "O" for name in file.files)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 broken", b"\x93NUMPY", None])
def test_files_that_hold_no_certificate(content, tmp_path):
    if content is None:
        np.savez(tmp_path / "c.npz", something=np.zeros(3))
    else:
        (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(ValueError, match="`path` must be a file that a certificate's `save` wrote"):
        Certificate.load(tmp_path / "c.npz")
    with pytest.raises(FileNotFoundError):
        Certificate.load(tmp_path / "missing.npz")


def test_other_schema_versions_are_refused(make, tmp_path):
    certificate = make()
    text = certificate.to_dict() | {"schema_version": 99}
    with (tmp_path / "c").open("wb") as file:
        np.savez(file, mean=certificate.mean.numpy(), text=np.array(json.dumps(text)))
    with pytest.raises(ValueError, match=r"`path` must hold schema_version 1, got 99"):
        Certificate.load(tmp_path / "c")
