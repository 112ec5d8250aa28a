"""Which noise is drawn: by seeds, by the global generator, for baselines; and the deltas."""

from __future__ import annotations

import pytest
import torch
from captum.attr import DeepLiftShap, IntegratedGradients, Saliency

from captum_robust.attr import GaussianSmoothing, UniformSmoothing, UniGrad

LAWS = [GaussianSmoothing, UniformSmoothing, UniGrad]


def noise_of(recorder, inputs, make=GaussianSmoothing, **settings):
    base = recorder()
    make(base).attribute(inputs, **settings)
    first = inputs[0] if isinstance(inputs, tuple) else inputs
    return base.noisy(first.shape[0])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("batch", [1, 2, 5, 11, None])
def test_seeded_noise_is_the_same_in_passes_of_any_size(recorder, law, batch):
    inputs = (torch.randn(3, 4), torch.randn(3, 2, 2))
    once = noise_of(recorder, inputs, law, seed=5, nt_samples=11, nt_samples_batch_size=11)
    again = noise_of(recorder, inputs, law, seed=5, nt_samples=11, nt_samples_batch_size=batch)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("law", LAWS)
def test_seeded_noise_follows_the_example(recorder, law):
    inputs = torch.randn(5, 6)
    whole = noise_of(recorder, inputs, law, seed=5, nt_samples=3)[0]
    tail = noise_of(recorder, inputs[2:], law, seed=5, nt_samples=3, example_ids=[2, 3, 4])[0]
    assert torch.equal(whole[2:], tail)
    order = [4, 0, 3, 1, 2]
    mixed = noise_of(recorder, inputs[order], law, seed=5, nt_samples=3, example_ids=order)[0]
    assert torch.equal(whole[order], mixed)
    ids = torch.tensor(order)
    assert torch.equal(
        mixed, noise_of(recorder, inputs[order], law, seed=5, nt_samples=3, example_ids=ids)[0]
    )


def test_more_samples_begin_with_the_fewer(recorder):
    inputs = torch.zeros(2, 3)
    few = noise_of(recorder, inputs, seed=5, nt_samples=4)[0]
    more = noise_of(recorder, inputs, seed=5, nt_samples=9)[0]
    assert torch.equal(few, more[:, :4])


def test_every_sample_example_and_seed_has_noise_of_its_own(recorder):
    inputs = torch.zeros(4, 3)
    rows = [noise_of(recorder, inputs, seed=seed, nt_samples=6)[0] for seed in (0, 1, 2**40)]
    flat = torch.cat([row.reshape(-1, 3) for row in rows])
    assert len(torch.unique(flat, dim=0)) == 3 * 4 * 6
    same = noise_of(recorder, inputs, seed=0, nt_samples=2, example_ids=[7, 7, 7, 8])[0]
    assert torch.equal(same[0], same[1]) and not torch.equal(same[0], same[3])


def test_results_agree_however_the_work_is_cut(relu_net):
    smooth = UniformSmoothing(Saliency(relu_net))
    inputs = torch.randn(6, 4)
    settings = {"target": 1, "seed": 9, "nt_samples": 20, "stdevs": 0.3}
    whole = smooth.attribute(inputs, **settings)
    for batch in (1, 3, 20):
        parts = [
            smooth.attribute(
                inputs[start : start + 4],
                nt_samples_batch_size=batch,
                example_ids=range(start, min(start + 4, 6)),
                **settings,
            )
            for start in (0, 4)
        ]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-6, atol=1e-7)


def test_a_seed_leaves_the_global_generator_alone(relu_net):
    before = torch.get_rng_state()
    GaussianSmoothing(IntegratedGradients(relu_net)).attribute(
        torch.randn(2, 4, generator=torch.Generator()),
        target=0,
        seed=3,
        baselines=torch.ones(7, 4),
        draw_baseline_from_distrib=True,
    )
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("law", LAWS)
def test_without_a_seed_the_global_generator_decides(recorder, law):
    inputs = torch.zeros(2, 3)
    torch.manual_seed(11)
    first, second = (noise_of(recorder, inputs, law)[0] for _ in range(2))
    torch.manual_seed(11)
    again = noise_of(recorder, inputs, law)[0]
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_the_global_generator_is_never_reseeded(recorder, monkeypatch):
    def refuse(*_):
        raise AssertionError("reseeded")

    monkeypatch.setattr(torch, "manual_seed", refuse)
    monkeypatch.setattr(torch, "seed", refuse)
    monkeypatch.setattr(torch.random, "set_rng_state", refuse)
    noise_of(recorder, torch.zeros(2, 3))
    noise_of(recorder, torch.zeros(2, 3), seed=1)


# -- baselines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 4])
def test_drawn_baselines_are_rows_of_those_given(recorder, seed):
    base = recorder()
    given = torch.arange(5.0).unsqueeze(1).expand(5, 3)
    GaussianSmoothing(base).attribute(
        torch.zeros(2, 3),
        baselines=given,
        draw_baseline_from_distrib=True,
        nt_samples=300,
        seed=seed,
    )
    drawn = torch.cat([kept["baselines"] for kept in base.arguments])
    assert drawn.shape == (600, 3) and (drawn == drawn[:, :1]).all()
    counts = torch.bincount(drawn[:, 0].long(), minlength=5).double()
    # Binomial counts of 600 draws with probability 1/5.
    assert ((counts - 120).abs() < 4 * (600 * 0.2 * 0.8) ** 0.5).all()


def test_seeded_baselines_are_the_same_in_passes_of_any_size(recorder):
    drawn = []
    for batch in (1, 4, 9):
        base = recorder()
        GaussianSmoothing(base).attribute(
            (torch.zeros(2, 3), torch.zeros(2, 1)),
            baselines=(torch.arange(50.0).unsqueeze(1).expand(50, 3), 0.5),
            draw_baseline_from_distrib=True,
            nt_samples=9,
            nt_samples_batch_size=batch,
            seed=4,
        )
        rows = [kept["baselines"][0].reshape(2, -1, 3) for kept in base.arguments]
        assert all(kept["baselines"][1] == 0.5 for kept in base.arguments)
        drawn.append(torch.cat(rows, dim=1))
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])


def test_drawing_without_baselines_draws_nothing(recorder):
    base = recorder()
    GaussianSmoothing(base).attribute(torch.zeros(2, 3), draw_baseline_from_distrib=True)
    assert base.arguments == [{}]


@pytest.mark.parametrize("draw", [True, False])
def test_methods_with_many_baselines_keep_them_all(relu_net, draw):
    """As Captum's own tunnel repeats them, passes of two sizes gave deltas of two shapes."""
    inputs, baselines = torch.randn(3, 4), torch.randn(6, 4)
    smooth = GaussianSmoothing(DeepLiftShap(relu_net))
    results = []
    for batch in (5, 2):
        maps, delta = smooth.attribute(
            inputs,
            target=0,
            baselines=baselines,
            nt_samples=5,
            nt_samples_batch_size=batch,
            draw_baseline_from_distrib=draw,
            return_convergence_delta=True,
            stdevs=0.3,
            seed=1,
        )
        assert delta.shape == (3 * 5 * 6,)
        results.append((maps, delta))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    still, _ = smooth.attribute(
        inputs, target=0, baselines=baselines, stdevs=0, return_convergence_delta=True
    )
    plain = DeepLiftShap(relu_net).attribute(inputs, baselines, target=0)
    torch.testing.assert_close(still, plain)


# -- deltas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 1, 2, 3])
def test_deltas_are_those_of_every_noisy_copy_example_by_example(recorder, relu_net, batch):
    base = IntegratedGradients(relu_net)
    inputs = torch.randn(3, 4)
    settings = {"target": 1, "n_steps": 4, "return_convergence_delta": True}
    _, delta = GaussianSmoothing(base).attribute(
        inputs, seed=2, nt_samples=5, nt_samples_batch_size=batch, stdevs=0.5, **settings
    )
    assert delta.shape == (15,) and not delta.requires_grad
    spy = recorder()
    GaussianSmoothing(spy).attribute(inputs, seed=2, nt_samples=5, stdevs=0.5)
    noisy = spy.noisy(3)[0]
    for example in range(3):
        for sample in range(5):
            _, expected = base.attribute(noisy[example, sample].unsqueeze(0), **settings)
            assert delta.view(3, 5)[example, sample].item() == pytest.approx(
                expected.item(), rel=1e-4, abs=1e-6
            )
