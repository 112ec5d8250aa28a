"""Noise at a layer: its output stands where the input stood."""

from __future__ import annotations

import threading

import pytest
import torch
from captum.attr import (
    DeepLift,
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    NoiseTunnel,
    Saliency,
)
from torch import nn

from captum_robust.attr import Abs, GaussianSmoothing, SparsifiedSmoothGrad, UnitNorm
from captum_robust.noise import Relative

TOKENS = torch.tensor([[1, 4, 2, 0], [3, 3, 5, 1]])


class Reader(nn.Module):
    """Token numbers ``(N, 4)`` and a weight to three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 5)
        self.body = nn.Sequential(nn.Linear(20, 8), nn.Softplus(), nn.Linear(8, 3))

    def forward(self, tokens, weight=None):
        logits = self.body(self.embedding(tokens).flatten(1))
        return logits if weight is None else logits * weight


@pytest.fixture
def reader():
    torch.manual_seed(0)
    return Reader().eval()


def head(reader):
    return lambda embedded: reader.body(embedded.flatten(1))


@pytest.mark.parametrize("method", [Saliency, InputXGradient, IntegratedGradients, FeatureAblation])
def test_equals_smoothing_of_the_head_at_the_embedding(reader, method):
    embedded = reader.embedding(TOKENS).detach()
    words = {"target": torch.tensor([0, 2]), "nt_samples": 7, "stdevs": 0.3, "seed": 4}
    got = GaussianSmoothing(method(reader)).attribute(TOKENS, layer=reader.embedding, **words)
    wanted = GaussianSmoothing(method(head(reader))).attribute(embedded, **words)
    torch.testing.assert_close(got, wanted)
    assert got.shape == (2, 4, 5)


def test_without_noise_it_is_captums_layer_attribution(reader):
    blank = torch.zeros_like(TOKENS)
    baseline = reader.embedding(blank).detach()
    got = GaussianSmoothing(IntegratedGradients(reader)).attribute(
        TOKENS, layer=reader.embedding, baselines=baseline, target=1, stdevs=0.0, nt_samples=1
    )
    wanted = LayerIntegratedGradients(reader, reader.embedding).attribute(
        TOKENS, baselines=blank, target=1
    )
    torch.testing.assert_close(got, wanted)


def test_further_arguments_of_the_net_follow(reader):
    weight = torch.tensor([[1.0], [-2.0]])
    words = {"target": 0, "nt_samples": 3, "seed": 0, "stdevs": 0.1, "layer": reader.embedding}
    smooth = GaussianSmoothing(Saliency(reader), transform=None)
    plain = smooth.attribute(TOKENS, **words)
    weighted = smooth.attribute(TOKENS, additional_forward_args=weight, **words)
    torch.testing.assert_close(weighted, plain * weight.abs().unsqueeze(-1))


def test_a_relative_level_is_of_the_layers_output(reader):
    words = {"target": 0, "nt_samples": 3, "seed": 0, "layer": reader.embedding}
    smooth = GaussianSmoothing(Saliency(reader))
    embedded = reader.embedding(TOKENS).detach()
    spread = embedded.flatten(1).amax(1) - embedded.flatten(1).amin(1)
    stdevs = (0.1 * spread).view(2, 1, 1)
    torch.testing.assert_close(
        smooth.attribute(TOKENS, stdevs=Relative(0.1), **words),
        smooth.attribute(TOKENS, stdevs=stdevs, **words),
    )


def test_the_certificate_is_that_of_the_head_and_names_the_layer(reader):
    words = {"target": 0, "nt_samples": 400, "stdevs": 0.5, "seed": 1}
    got = SparsifiedSmoothGrad(Saliency(reader), keep=4).certify(
        TOKENS, layer=reader.embedding, **words
    )
    embedded = reader.embedding(TOKENS).detach()
    wanted = SparsifiedSmoothGrad(Saliency(head(reader)), keep=4).certify(embedded, **words)
    torch.testing.assert_close(got.overlap(0.01, 4), wanted.overlap(0.01, 4))
    assert "every perturbation of the output of Reader.embedding whose l2" in got.statement(0.01, 4)
    assert "of the output of" not in wanted.statement(0.01, 4)


def test_the_graph_reaches_the_inputs_of_a_float_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 2)).double()
    smooth = GaussianSmoothing(
        Saliency(
            net,
        ),
        transform=Abs() >> UnitNorm(),
    )
    point = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def explain(inputs):
        return smooth.attribute(
            inputs, target=0, layer=net[0], stdevs=0.2, nt_samples=3, seed=0, create_graph=True
        )

    assert torch.autograd.gradcheck(explain, point)


def test_tuples_of_outputs_are_tuples_of_maps():
    class Two(nn.Module):
        def forward(self, inputs):
            return inputs * 2, inputs[:, :2] + 1

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def forward(self, inputs):
            first, second = self.two(inputs)
            return first.square().sum(1) + 3 * second.sum(1)

    net = Net()
    inputs = torch.ones(1, 3)
    first, second = GaussianSmoothing(Saliency(net)).attribute(
        inputs, layer=net.two, stdevs=0.0, nt_samples=2
    )
    torch.testing.assert_close(first, torch.full((1, 3), 4.0))  # 2 * first output
    torch.testing.assert_close(second, torch.full((1, 2), 3.0))


def test_the_method_and_the_net_are_left_as_found(reader):
    base = Saliency(reader)
    smooth = GaussianSmoothing(NoiseTunnel(base))
    smooth.attribute(TOKENS, layer=reader.embedding, target=0, stdevs=0.1, nt_samples=2)
    with pytest.raises(IndexError):
        GaussianSmoothing(base).attribute(
            TOKENS, layer=reader.embedding, target=7, stdevs=0.1, nt_samples=2
        )
    assert base.forward_func is reader
    assert not reader.embedding._forward_hooks


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer": "embedding"}, TypeError, "`layer` must be a torch.nn.Module, got str"),
        ({"layer": nn.ReLU()}, ValueError, "must be called once by the net, got 0 calls of ReLU"),
    ],
)
def test_a_wrong_layer_is_refused(reader, change, error, message):
    with pytest.raises(error, match=message):
        GaussianSmoothing(Saliency(reader)).attribute(TOKENS, target=0, **change)


def test_a_layer_called_twice_is_refused(reader):
    twice = nn.Sequential(reader.body[0], reader.body[1], reader.body[1], reader.body[2])
    with pytest.raises(ValueError, match="called once by the net, got 2 calls of Softplus"):
        GaussianSmoothing(Saliency(twice)).attribute(torch.ones(1, 20), layer=reader.body[1])


def test_a_layer_without_rows_for_examples_is_refused():
    class Mean(nn.Module):
        def forward(self, inputs):
            return inputs.mean(0)

    net = nn.Sequential(Mean())
    with pytest.raises(ValueError, match="one row for each of 2 examples, got shapes"):
        GaussianSmoothing(Saliency(net)).attribute(torch.ones(2, 3), layer=net[0])


def test_methods_with_hooks_or_a_layer_of_their_own_are_refused(reader):
    for base, reason in (
        (DeepLift(reader), "DeepLift hooks nets"),
        (LayerGradientXActivation(reader, reader.embedding), "attributes to a layer of its own"),
    ):
        with pytest.raises(TypeError, match=reason):
            GaussianSmoothing(base).attribute(TOKENS, layer=reader.embedding, target=0)


class InPlace(nn.Module):
    """An operation in place right after the layer, as in many of torchvision's nets."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x, kind=True):
        hidden = self.first(x)
        return self.last(hidden.relu_() if kind else hidden.relu())


@pytest.mark.parametrize("method", [Saliency, InputXGradient, IntegratedGradients, FeatureAblation])
def test_operations_in_place_after_the_layer_change_nothing(method):
    net, x = InPlace().eval(), torch.randn(5, 4)
    words = {"target": 1, "layer": net.first, "stdevs": 0.3, "nt_samples": 3, "seed": 0}
    got = GaussianSmoothing(method(net)).attribute(x, **words)
    wanted = GaussianSmoothing(method(lambda x: net(x, False))).attribute(x, **words)
    torch.testing.assert_close(got, wanted)
    smooth = SparsifiedSmoothGrad(method(net), keep=2)
    smooth.certify(x, **words | {"nt_samples": 8})


def test_other_threads_call_the_net_undisturbed():
    net, x, stop, wrong = InPlace().eval(), torch.randn(5, 4), threading.Event(), []
    wanted = net(x)

    def call():
        while not stop.is_set():
            wrong.append(not torch.equal(net(x), wanted))

    other = threading.Thread(target=call)
    other.start()
    smooth = GaussianSmoothing(Saliency(net))
    for _ in range(60):
        smooth.attribute(x, target=1, layer=net.first, stdevs=1.0, nt_samples=2)
    stop.set()
    other.join()
    assert len(wrong) > 20 and not any(wrong)


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.embed, self.encoder = nn.Embedding(9, 8), nn.TransformerEncoder(layer, 2)
        self.last = nn.Linear(8, 3)

    def forward(self, tokens, padding):
        read = self.encoder(self.embed(tokens), src_key_padding_mask=padding)
        return self.last(read.masked_fill(padding.unsqueeze(2), 0).sum(1))


@pytest.mark.parametrize("method", [Saliency, FeatureAblation])
@pytest.mark.parametrize("place", ["embed", "encoder.layers.0", "encoder.layers.1.self_attn"])
def test_a_padded_transformer_is_explained_off_its_fast_path(method, place):
    net = Words().eval()
    tokens = torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0], [6, 7, 8, 1]])
    words = {"additional_forward_args": tokens == 0, "target": [0, 1, 2], "nt_samples": 2}
    layer = net.get_submodule(place)
    maps = GaussianSmoothing(method(net)).attribute(tokens, layer=layer, stdevs=0.0, **words)
    assert maps.shape == (3, 4, 8) and bool(maps.isfinite().all())
    if method is FeatureAblation and place == "embed":
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad():
            vectors = net.embed(tokens)
            full = net(tokens, tokens == 0)
            vectors[0, 1, 3] = 0
            handle = net.embed.register_forward_hook(lambda *_: vectors)
            less = net(tokens, tokens == 0)
            handle.remove()
        torch.backends.mha.set_fastpath_enabled(True)
        torch.testing.assert_close(maps[0, 1, 3], (full - less)[0, 0], atol=1e-5, rtol=1e-4)


def test_outputs_beside_none_and_outputs_that_are_not_used():
    class Two(nn.Module):
        def forward(self, x):
            return x * 2, None, x + 1

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def forward(self, x):
            return self.two(x)[0].square().sum(1)

    net = Net()
    used, unused = GaussianSmoothing(Saliency(net)).attribute(
        torch.ones(2, 3), layer=net.two, stdevs=0.0, nt_samples=2
    )
    torch.testing.assert_close(used, torch.full((2, 3), 4.0))
    assert not unused.any()


def test_an_input_that_does_not_reach_the_output_has_zeros():
    for method in (Saliency, InputXGradient, IntegratedGradients):
        smooth = GaussianSmoothing(method(lambda a, b: a.square().sum(1)))
        first, second = smooth.attribute((torch.ones(2, 3), torch.ones(2, 2)), stdevs=0.1)
        assert first.any() and not second.any()


def test_a_forward_without_gradients_is_named():
    net = torch.no_grad()(lambda x: x.square().sum(1))
    for explain in (
        lambda smooth: smooth.attribute(torch.ones(2, 3)),
        lambda smooth: smooth.attribute(torch.ones(2, 3), create_graph=True),
        lambda smooth: smooth.certify(torch.ones(2, 3), stdevs=0.1, nt_samples=4),
    ):
        with pytest.raises(RuntimeError, match=r"runs under torch.no_grad\(\)"):
            explain(GaussianSmoothing(Saliency(net), transform=Abs() >> UnitNorm()))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_gets_the_same(context):
    net, x = InPlace().eval(), torch.randn(5, 4)
    words = {"target": 1, "stdevs": 0.3, "nt_samples": 16, "seed": 0}
    smooth = SparsifiedSmoothGrad(Saliency(net), keep=2)
    wanted, certificate = smooth.attribute(x, **words), smooth.certify(x, **words)
    with context():
        inside = x.clone()
        for given in (x, inside):
            torch.testing.assert_close(smooth.attribute(given, **words), wanted)
            got = smooth.certify(given, **words)
            torch.testing.assert_close(got.overlap(0.01, 2), certificate.overlap(0.01, 2))
    torch.testing.assert_close(smooth.attribute(inside, **words), wanted)
