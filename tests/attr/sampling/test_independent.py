"""Certificates rest on independent samples of one function: what breaks that is seen and said."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from captum.attr import (
    Attribution,
    FeatureAblation,
    GradientShap,
    IntegratedGradients,
    KernelShap,
    Lime,
    NoiseTunnel,
    Saliency,
    ShapleyValues,
    ShapleyValueSampling,
)
from torch import nn
from torch.nn import functional

from captum_robust.attr import Abs, GaussianSmoothing, SparsifiedSmoothGrad, Sparsify, UnitNorm

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(7))
HEAD = nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 3)).requires_grad_(False)


def certify(method, inputs=X, **words):
    smooth = SparsifiedSmoothGrad(method, keep=2)
    settings = {"target": 0, "stdevs": 0.5, "nt_samples": 16, "seed": 0}
    return smooth.certify(inputs, **(settings | words))


class Net(nn.Module):
    """A net in evaluation mode; ``forward`` is a function of its own batch."""

    def __init__(self) -> None:
        super().__init__()
        self.head = HEAD
        self.register_buffer("mean", torch.zeros(4))
        self.cache = None
        self.list: list = []
        self.eval()


class Dropped(Net):
    def forward(self, x):
        return self.head(functional.dropout(x))


class DroppedWeights(Net):
    def forward(self, x):
        weight = self.head[0].weight
        return self.head[1:](functional.linear(x, functional.dropout(weight), self.head[0].bias))


class BatchMean(Net):
    def forward(self, x):
        return self.head(x - x.mean(0))


class Standardised(Net):
    def forward(self, x):
        return self.head((x - x.mean()) / x.std())


class SoftmaxOverBatch(Net):
    def forward(self, x):
        return self.head(x).softmax(0)


class RunningAverage(Net):
    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.head(x - self.mean)


class CachedFirst(Net):
    def forward(self, x):
        if self.cache is None:
            self.cache = x.detach().mean(0)
        return self.head(x - self.cache)


class CachedInList(Net):
    def forward(self, x):
        self.list.append(x.detach().mean(0))
        return self.head(x - self.list[0])


class SeedsTorch(Net):
    def forward(self, x):
        torch.manual_seed(0)
        return self.head(functional.dropout(x))


class Counting(Net):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return self.head(x * (1 + self.calls // 9))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Dropped, "draws random numbers"),
        (DroppedWeights, "draws random numbers"),
        (SeedsTorch, "draws random numbers"),
        (BatchMean, "output for a row changed by .* mixes examples"),
        (Standardised, "mixes examples"),
        (SoftmaxOverBatch, "mixes examples"),
        (RunningAverage, "remembers earlier inputs|mixes examples"),
        (CachedFirst, "remembers earlier inputs"),
        (CachedInList, "remembers earlier inputs"),
        (Counting, "after the samples were drawn"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("examples", [1, 3])
def test_models_that_are_no_function_of_a_row_are_refused(net, message, examples):
    model = net()
    with pytest.raises(RuntimeError, match=message):
        certify(Saliency(model), X[:examples], nt_samples_batch_size=1)
    if net is not Counting:  # seen before any sample was drawn
        assert model.cache is None and not model.list and not model.mean.any()


def test_one_standardised_example():
    """Statistics of the whole pass: with one example, of all its samples."""
    with pytest.raises(RuntimeError, match="mixes examples"):
        certify(Saliency(Standardised()), X[:1], stdevs=0.01)


class Encoder(nn.Module):
    def __init__(self, batch_first) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=batch_first)
        self.layer, self.head = layer, nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


def test_a_transformer_layer_that_takes_examples_for_tokens():
    tokens = torch.randn(2, 5, 4)
    with pytest.raises(RuntimeError, match=r"mixes examples.*batch_first=True"):
        certify(Saliency(Encoder(batch_first=False).eval()), tokens)
    certify(Saliency(Encoder(batch_first=True).eval()), tokens)


def test_one_sequence_with_its_steps_in_front():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(4, 5), nn.Linear(5, 3)

        def forward(self, x):  # (S, B, E)
            return self.head(self.rnn(x)[0][-1])

    with pytest.raises(RuntimeError, match=r"gave 1 rows of output for 2 rows.*count examples"):
        certify(Saliency(Reader().eval()), torch.randn(6, 1, 4))


NORM = nn.Sequential(nn.BatchNorm1d(4), HEAD)


def _called(x):
    return NORM(x)


class Holds:
    def __init__(self) -> None:
        self.nets = {"first": [NORM]}

    def predict(self, x):
        return self.nets["first"][0](x)


@pytest.mark.parametrize(
    "function",
    [
        Holds().predict,
        lambda x: _called(x),
        lambda x, nets={"a": NORM}: nets["a"](x),
        functools.partial(lambda net, x: net(x), NORM),
    ],
    ids=["method", "function", "dict", "partial"],
)
def test_batch_norm_in_training_mode_is_found_wherever_it_is(function):
    with pytest.raises(RuntimeError, match=r"evaluation mode|mixes examples|draws"):
        certify(Saliency(function))


@pytest.mark.parametrize("compiled", ["script", "trace"])
@pytest.mark.filterwarnings("ignore:(`torch.jit|Converting)")
def test_batch_norm_in_training_mode_is_found_in_compiled_modules(compiled):
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)).train()
    net = (
        torch.jit.script(net)
        if compiled == "script"
        else torch.jit.trace(net, X, check_trace=False)
    )
    with pytest.raises(RuntimeError, match=r"BatchNorm1d|mixes examples"):
        certify(Saliency(net))


def test_stochastic_depth_is_found():
    class StochasticDepth(nn.Module):  # as torchvision's, with mode "batch"
        p = 0.2

        def forward(self, x):
            if not self.training:
                return x
            return x * torch.empty(1).bernoulli_(0.8) / 0.8

    net = nn.Sequential(StochasticDepth(), HEAD)
    with pytest.raises(RuntimeError, match=r"StochasticDepth.*call model.eval\(\)"):
        certify(Saliency(net))
    certify(Saliency(net.eval()))


def test_dropout_of_nothing_is_harmless():
    certify(Saliency(nn.Sequential(nn.Dropout(0.0), HEAD).train()))


class DrawsOnce(Attribution):
    """A method of a user's own: one random direction a call."""

    def attribute(self, inputs, target=None):
        return inputs * torch.randn(1, inputs.shape[1])


class MixesMaps(Attribution):
    def attribute(self, inputs, target=None):
        return inputs - inputs.mean(0)


class OwnGenerator(Attribution):
    def attribute(self, inputs, target=None):
        self.generator = getattr(self, "generator", np.random.default_rng(0))
        return inputs * torch.tensor(self.generator.normal(size=4), dtype=inputs.dtype)


def test_methods_are_repaired_or_refused():
    method = DrawsOnce(lambda x: x)
    first, second = certify(method, nt_samples=32), certify(method, nt_samples=32)
    assert torch.equal(first.attributions, second.attributions)
    with pytest.raises(RuntimeError, match="MixesMaps's map of a row changed"):
        certify(MixesMaps(lambda x: x))
    with pytest.raises(RuntimeError, match=r"OwnGenerator gave another answer.*draw from torch's"):
        certify(OwnGenerator(lambda x: x))


@pytest.mark.parametrize("base", ["method", "shapley"])
def test_draws_shared_by_a_pass_make_no_false_certificate(base):
    """One pair product: a permutation gives the whole of it to one of two features.

    By symmetry the expected map has equal entries, so whichever order is certified is false for
    half of the runs. At alpha 0.05, more than 5 of 30 runs certify one with probability 0.003.
    """
    method, words = ShapleyValueSampling(lambda x: x[:, 0] * x[:, 1]), {"n_samples": 1}
    if base == "method":
        method, words = _Half(lambda x: x), {}
    smooth = SparsifiedSmoothGrad(method, keep=1)
    certified = 0
    for seed in range(30):
        found = smooth.certify(torch.ones(1, 2), stdevs=1e-3, nt_samples=64, seed=seed, **words)
        assert 0.2 < found.attributions[0, 0] < 0.8  # of 64 draws: 4.8 standard deviations
        certified += int(found.overlap(0.0, 1)[0] > 0)
    assert certified <= 5


class _Half(Attribution):
    """One of two features by the toss of a coin, for all rows of a call."""

    def attribute(self, inputs):
        first = torch.rand(()) < 0.5
        return torch.tensor([[1.0, 0.0]] if first else [[0.0, 1.0]]).expand_as(inputs)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (Saliency(HEAD), {}),
        (IntegratedGradients(HEAD), {"n_steps": 5}),
        (FeatureAblation(HEAD), {}),
        (ShapleyValues(HEAD), {}),
        (NoiseTunnel(Saliency(HEAD)), {}),
        (GaussianSmoothing(Saliency(HEAD)), {}),
        (GradientShap(HEAD), {"baselines": torch.zeros(2, 4), "n_samples": 2}),
        (KernelShap(HEAD), {"n_samples": 12}),
        (Lime(HEAD), {"n_samples": 12}),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.filterwarnings("ignore:You are providing")
def test_ordinary_methods_pass_and_leave_the_generators(method, words):
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = (certify(method, nt_samples=8, **words) for _ in range(2))
    torch.testing.assert_close(first.attributions, second.attributions)
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])


class Ordinary:
    """Nets of every kind, with an input."""

    @staticmethod
    def lstm():
        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn, self.head = nn.LSTM(4, 6, 2, batch_first=True), nn.Linear(6, 3)

            def forward(self, x):
                return self.head(self.rnn(x)[0][:, -1])

        return Last(), torch.randn(2, 5, 4)

    @staticmethod
    def attention():
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        flat = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(40, 3))
        return flat, torch.randn(2, 5, 8)

    @staticmethod
    def convolutions():
        norm = nn.BatchNorm2d(8)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), norm, nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Flatten(), nn.LazyLinear(3),
        ), torch.randn(2, 3, 9, 9)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", ["lstm", "attention", "convolutions"])
def test_ordinary_nets_raise_no_false_alarm(kind, dtype):
    net, inputs = getattr(Ordinary, kind)()
    net(inputs)
    certify(Saliency(net.eval().to(dtype)), inputs.to(dtype), nt_samples=8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "swin_t"])
def test_torchvisions_nets_raise_no_false_alarm(name):
    models = pytest.importorskip("torchvision.models")
    images = torch.rand(2, 3, 224, 224)
    net = getattr(models, name)(weights=None).eval()
    certify(Saliency(net), images, nt_samples=1, stdevs=0.25)


def test_the_cost_is_seven_maps():
    class Counts(Saliency):
        rows = 0

        def attribute(self, inputs, **words):
            self.rows += len(inputs)
            return super().attribute(inputs, **words)

    method = Counts(HEAD)
    certify(method, nt_samples=16)
    assert method.rows == 3 * 16 + 7


def test_two_inputs_and_further_arguments():
    def net(a, b, scale):
        return HEAD(a + b.sum(2)) * scale

    inputs = (X, torch.randn(3, 4, 2))
    smooth = GaussianSmoothing(Saliency(net), transform=Abs() >> Sparsify(2))
    words = {"target": [0, 1, 2], "additional_forward_args": torch.ones(3, 1)}
    smooth.certify(inputs, stdevs=0.2, nt_samples=4, **words)
    with pytest.raises(RuntimeError, match="mixes examples"):
        GaussianSmoothing(
            Saliency(lambda a, b, scale: HEAD(a + b.mean(0).sum(-1)) * scale), transform=UnitNorm()
        ).certify(inputs, stdevs=0.2, nt_samples=4, **words)
