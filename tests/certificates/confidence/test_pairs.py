"""Pairs of samples: slow literal loops, and the same numbers however the work is cut."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
import torch

from captum_robust.attr import SmoothedAttribution, UnitNorm
from captum_robust.certificates.confidence import pairs
from captum_robust.certificates.confidence.pairs import PairMoments
from captum_robust.certificates.confidence.spread import sample_top_eigenvalue


def literal(samples, eig_pairs):
    """Traces, inner products and top eigenvalues of ``(N, b, m)``, one pair at a time."""
    rows = []
    for maps in samples.double().numpy():
        pairs = [(maps[i], maps[i + 1]) for i in range(0, len(maps) - 1, 2)]
        trace = np.mean([((a - b) ** 2).sum() / 2 for a, b in pairs])
        inner = np.mean([a @ b for a, b in pairs])
        spread = sum(np.outer(a - b, a - b) / 2 for a, b in pairs[:eig_pairs])
        rows.append((trace, inner, np.linalg.eigvalsh(spread / len(pairs[:eig_pairs]))[-1]))
    return np.array(rows).T


def collected(samples, cuts, **arguments):
    """The evidence of samples added in pieces, and the collector's state after."""
    with PairMoments(len(samples), samples.shape[1], **arguments) as moments:
        for piece in samples.split(cuts, dim=1):
            moments.add(piece)
        return moments.evidence()


@pytest.fixture(params=[(12, 5), (13, 5), (12, 40), (33, 40)])
def samples(request):
    torch.manual_seed(0)
    count, features = request.param
    return torch.randn(3, count, features, dtype=torch.float64)


@pytest.mark.parametrize("eig_pairs", [None, 4, 5, 100])
@pytest.mark.parametrize("cut", [1, 2, 3, 7, 100])
def test_equals_the_literal_loop_however_cut(samples, eig_pairs, cut):
    evidence = collected(samples, cut, eig_pairs=eig_pairs)
    pairs = samples.shape[1] // 2
    assert evidence.pairs == pairs  # an odd sample stays alone
    assert evidence.eig_pairs == min(eig_pairs or pairs, pairs)
    traces, inners, eigenvalues = literal(samples, evidence.eig_pairs)
    np.testing.assert_allclose(evidence.traces, traces, rtol=3e-7)
    assert (evidence.traces >= traces * (1 - 1e-12)).all()  # rounded up, never down
    np.testing.assert_allclose(evidence.inners, inners, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(evidence.eigenvalues, eigenvalues, rtol=3e-6)
    assert (evidence.eigenvalues >= eigenvalues).all()  # never under-estimated


@pytest.mark.parametrize("features", [5, 40])
@pytest.mark.parametrize("eig_pairs", [None, 8])
def test_an_early_look_has_the_pairs_seen_so_far(features, eig_pairs):
    torch.manual_seed(1)
    samples = torch.randn(2, 64, features, dtype=torch.float64)
    with PairMoments(2, 64, eig_pairs) as moments:
        with pytest.raises(RuntimeError, match="no samples"):
            moments.evidence()
        for end in (8, 16, 32, 64):
            moments.add(samples[:, (0 if end == 8 else end // 2) : end])
            evidence = moments.evidence()
            kept = min(end // 2, eig_pairs or end // 2)
            assert (evidence.pairs, evidence.eig_pairs) == (end // 2, kept)
            traces, inners, eigenvalues = literal(samples[:, :end], kept)
            np.testing.assert_allclose(evidence.traces, traces, rtol=3e-7)
            assert (evidence.traces >= traces * (1 - 1e-12)).all()
            np.testing.assert_allclose(evidence.inners, inners, rtol=1e-9, atol=1e-14)
            np.testing.assert_allclose(evidence.eigenvalues, eigenvalues, rtol=3e-6)
            assert (evidence.eigenvalues >= eigenvalues).all()


@pytest.mark.parametrize("features_first", [True, False])
def test_no_digit_lost_in_float32_hides_spread(features_first):
    """Differences +-1 + c whose c is lost, with signs along the top singular vectors."""
    pairs = 96
    features = pairs if features_first else pairs + 1
    signs = np.sign(np.random.default_rng(0).normal(size=(pairs, features)))
    left, _, right = np.linalg.svd(signs)
    lost = 2.0**-25 * np.sign(np.outer(left[:, 0], right[0]))
    samples = torch.tensor(np.stack([signs, -lost], axis=1).reshape(1, -1, features)).float()
    evidence = collected(samples, 50)
    exact = np.linalg.svd(signs + lost, compute_uv=False)[0] ** 2 / (2 * pairs)
    rounded = np.linalg.svd(signs, compute_uv=False)[0] ** 2 / (2 * pairs)
    assert rounded < exact <= evidence.eigenvalues[0] <= exact * (1 + 1e-5)
    assert evidence.traces[0] >= np.square(signs + lost).sum() / (2 * pairs)
    if not features_first:
        gram = np.square((signs + lost) @ (signs + lost).T) / (4 * pairs)
        assert np.linalg.eigvalsh(gram)[-1] <= evidence.fourths[0]


def test_few_features_have_a_bound_on_the_fourth_moment():
    """At least the average of x_p^2 in every direction."""
    samples = torch.randn(2, 1200, 4, generator=torch.Generator().manual_seed(0)) ** 3
    evidence = collected(samples, 77)
    assert collected(samples[:, :1000], 100).fourths is None  # few pairs: the plain bound
    for example, rows in enumerate(samples.double().numpy()):
        gaps = rows[::2] - rows[1::2]
        literal = sum(np.outer(gap, gap) * (gap @ gap) / 4 for gap in gaps) / len(gaps)
        top = np.linalg.eigvalsh(literal)[-1]
        assert top <= evidence.fourths[example] <= top * (1 + 1e-6)
        directions = np.random.default_rng(0).normal(size=(50, 4))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        squares = ((gaps @ directions.T) ** 2 / 2) ** 2
        assert (squares.mean(0) <= evidence.fourths[example]).all()


def test_inner_products_are_summed_without_rounding_their_terms():
    first = torch.full((1, 1, 4096), 1.0 + 2.0**-23)
    samples = torch.cat([first, first], dim=1)
    exact = 4096 * (1.0 + 2.0**-23) ** 2
    assert collected(samples, 2).inners[0] == pytest.approx(exact, rel=1e-15)


def test_features_form_equals_pairs_form():
    torch.manual_seed(2)
    samples = torch.randn(2, 40, 30)
    few = collected(samples, 40)  # 20 pairs, 30 features: pairs by pairs
    padded = torch.cat([samples, torch.zeros(2, 40, 10)], 2)
    many = collected(samples[:, :, :20], 40)  # 20 features: features by features
    wide = torch.cat([samples[:, :, :20], torch.zeros(2, 40, 30)], 2)
    np.testing.assert_allclose(collected(padded, 40).eigenvalues, few.eigenvalues, rtol=1e-12)
    np.testing.assert_allclose(collected(wide, 40).eigenvalues, many.eigenvalues, rtol=1e-11)


@pytest.fixture
def files(monkeypatch):
    """Every temporary file that is opened."""
    opened, open_file = [], tempfile.TemporaryFile

    def recorded(*arguments, **words):
        opened.append(open_file(*arguments, **words))
        return opened[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", recorded)
    return opened


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_a_file_gives_the_numbers_of_memory_and_is_gone(files, cut):
    torch.manual_seed(3)
    samples = torch.randn(3, 21, 50)
    within = collected(samples, cut)
    assert not files
    beyond = collected(samples, cut, memory_limit=100)
    assert len(files) == 1 and files[0].closed
    for name in ("traces", "inners", "eigenvalues"):
        np.testing.assert_allclose(getattr(beyond, name), getattr(within, name), rtol=1e-12)


def test_the_file_is_gone_after_an_error(files, field):
    calls = []

    def function(points):
        calls.append(len(points))
        if calls.count(16) == 4:  # rows of a pass; a probe has others
            raise KeyError("the model broke")
        return points

    smooth = smoothing(field(function))
    with pytest.raises(KeyError, match="the model broke"):
        smooth.certify(
            torch.randn(2, 60), stdevs=1.0, nt_samples=40, nt_samples_batch_size=8, memory_limit=10
        )
    assert len(files) == 1 and files[0].closed


def test_certificates_of_file_and_memory_agree_at_any_batching(files, field):
    inputs = torch.randn(2, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smooth = smoothing(field(lambda points: torch.sin(3 * points)))
    settings = {"stdevs": 0.5, "nt_samples": 41, "seed": 0}
    wanted = smooth.certify(inputs, **settings)
    assert not files
    for batch in (1, 2, 3, 7, 40, 41):
        for limit in (0, 2**30):
            certificate = smooth.certify(
                inputs, nt_samples_batch_size=batch, memory_limit=limit, **settings
            )
            assert certificate.pairs.pairs == 20
            for name in ("traces", "inners", "eigenvalues"):
                np.testing.assert_allclose(
                    getattr(certificate.pairs, name), getattr(wanted.pairs, name), rtol=1e-9
                )
            torch.testing.assert_close(
                certificate.cosine(0.05), wanted.cosine(0.05), rtol=0, atol=1e-9
            )
            torch.testing.assert_close(
                certificate.overlap(0.01, k=3), wanted.overlap(0.01, k=3), rtol=0, atol=0
            )
    assert len(files) == 6 and all(file.closed for file in files)


def test_constant_maps_and_one_heavy_direction():
    constant = torch.ones(1, 20, 6)
    assert collected(constant, 20).eigenvalues == pytest.approx(0.0, abs=1e-12)
    line = torch.randn(1, 400, 1, dtype=torch.float64) * torch.eye(50, dtype=torch.float64)[0]
    evidence = collected(line, 400)
    np.testing.assert_allclose(evidence.eigenvalues, evidence.traces, rtol=3e-6)


def test_the_gram_matrix_has_the_covariance_spectrum():
    rng = np.random.default_rng(0)
    gaps = rng.normal(size=(7, 30))
    wanted = np.linalg.svd(gaps, compute_uv=False)[0] ** 2 / 14
    top = sample_top_eigenvalue(gaps @ gaps.T, pairs=7)
    assert wanted <= top <= wanted * (1 + 1e-10)
    assert sample_top_eigenvalue(gaps.T @ gaps, pairs=7) == pytest.approx(wanted, rel=1e-10)


def smoothing(method):
    from captum_robust.attr import GaussianSmoothing

    assert issubclass(GaussianSmoothing, SmoothedAttribution)
    return GaussianSmoothing(method, UnitNorm())


@pytest.fixture
def field():
    from captum.attr import Attribution

    class Field(Attribution):
        def __init__(self, function):
            super().__init__(function)

        def attribute(self, inputs, **_):
            return self.forward_func(inputs)

    return Field


@pytest.mark.parametrize("scale", [1.0, 1e-15, 1e15])
def test_products_in_float32_hide_no_more_than_is_added(monkeypatch, scale):
    """The allowance covers the rounding, at any scale, and is small beside the trace."""
    monkeypatch.setattr(pairs, "_FEW", 0)
    rng = np.random.default_rng(0)
    # A common direction of large numbers, so that rounding has something to hide.
    rows = (rng.standard_normal((40, 5000)) + 30.0).astype(np.float32) * np.float32(scale)
    gram, unit = pairs._gram(rows)
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    sizes = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert np.all(np.abs(gram - exact) <= unit * np.outer(sizes, sizes))
    assert 0 < unit < 1e-4


@pytest.mark.parametrize("few", [0, 1024])
def test_the_fourth_moment_is_that_of_the_worst_matrix(monkeypatch, few):
    """Top eigenvalue of the average of vec(DD'/2) vec(DD'/2)', formed literally."""
    monkeypatch.setattr(pairs, "_FEW", few)
    torch.manual_seed(0)
    samples = torch.randn(1, 12, 9)
    with PairMoments(1, 12) as moments:
        moments.add(samples)
        got = moments.evidence().fourths
    gaps = (samples[0, 0::2] - samples[0, 1::2]).double().numpy()
    squares = np.stack([np.outer(gap, gap).ravel() / 2 for gap in gaps])
    wanted = np.linalg.eigvalsh(squares.T @ squares / len(gaps))[-1]
    assert wanted <= got[0] <= wanted * (1 + (3e-6 if few else 2e-3))
    anywhere = np.linalg.qr(np.random.default_rng(1).standard_normal((9, 9)))[0]
    assert ((gaps @ anywhere) ** 4 / 4).mean(0).max() <= got[0]
