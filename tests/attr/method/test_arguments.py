"""What belongs to an example reaches the net with it; what all examples share reaches it whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLift,
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    NoiseTunnel,
    Saliency,
)
from torch import nn

from captum_robust.attr import (
    GaussianSmoothing,
    SparsifiedSmoothGrad,
    UnitNorm,
    per_example,
    shared,
)
from captum_robust.robust import TopKAttack

TARGETS = [2, 0, 3, 1, 2]


class ZeroShot(nn.Module):
    """Images ``(N, 4)`` against class vectors ``(classes, 6)``, whatever their number."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 7), nn.Softplus(), nn.Linear(7, 6))

    def forward(self, images, classes):
        return self.body(images) @ classes.T


class Bound(nn.Module):
    """The same net with its class vectors inside."""

    def __init__(self, net, classes) -> None:
        super().__init__()
        self.net, self.classes = net, classes

    def forward(self, images):
        return self.net(images, self.classes)


@pytest.fixture
def net():
    return ZeroShot().eval()


CLASSES = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
X = torch.randn(5, 4, generator=torch.Generator().manual_seed(4))
WORDS = {"target": TARGETS, "nt_samples": 4, "stdevs": 0.3, "seed": 1}


@pytest.mark.parametrize(
    "method", [Saliency, InputXGradient, IntegratedGradients, FeatureAblation, DeepLift]
)
@pytest.mark.filterwarnings("ignore:Setting (forward|backward)")
def test_class_vectors_reach_the_net_whole(net, method):
    bound = GaussianSmoothing(method(Bound(net, CLASSES))).attribute(X, **WORDS)
    got = GaussianSmoothing(method(net)).attribute(X, additional_forward_args=CLASSES, **WORDS)
    torch.testing.assert_close(got, bound)


@pytest.mark.parametrize("method", [Saliency, IntegratedGradients, FeatureAblation])
def test_a_mark_tells_what_sizes_cannot(net, method):
    """Four examples and four class vectors."""
    words = WORDS | {"target": TARGETS[:4]}
    bound = GaussianSmoothing(method(Bound(net, CLASSES))).attribute(X[:4], **words)
    given = GaussianSmoothing(method(net)).attribute(
        X[:4], additional_forward_args=shared(CLASSES), **words
    )
    torch.testing.assert_close(given, bound)


def test_through_a_noise_tunnel_and_a_layer(net):
    bound = Bound(net, CLASSES)
    words = {"target": TARGETS, "stdevs": 0.0, "nt_samples": 3}
    given = {"additional_forward_args": CLASSES}
    tunnel = GaussianSmoothing(NoiseTunnel(IntegratedGradients(net)))
    assert tunnel.attribute(X, **words, **given).shape == X.shape
    layered = GaussianSmoothing(IntegratedGradients(net)).attribute(
        X, layer=net.body[0], **words, **given
    )
    wanted = GaussianSmoothing(IntegratedGradients(bound)).attribute(X, layer=net.body[0], **words)
    torch.testing.assert_close(layered, wanted)


def test_certificates_and_attacks_are_those_of_the_bound_net(net):
    bound = Bound(net, CLASSES)
    words = WORDS | {"nt_samples": 64}
    got, wanted = (
        SparsifiedSmoothGrad(Saliency(model), keep=2).certify(X, **words, **extra).attributions
        for model, extra in ((net, {"additional_forward_args": CLASSES}), (bound, {}))
    )
    torch.testing.assert_close(got, wanted)
    labels = bound(X).argmax(1)
    attacked = [
        TopKAttack(model, Saliency(model), k=1).perturb(
            X, 0.2, step_num=3, target=labels, seed=0, **extra
        )
        for model, extra in ((net, {"additional_forward_args": CLASSES}), (bound, {}))
    ]
    torch.testing.assert_close(*attacked)


def test_an_edge_list_is_not_repeated():
    edges = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])  # (2, E)

    def graph_net(nodes, edges):  # nodes (N, 4): a value for each of four nodes
        return (nodes[:, edges[0]] * nodes[:, edges[1]]).sum(1)

    x = torch.randn(3, 4)
    words = {"nt_samples": 3, "stdevs": 0.2, "seed": 0}
    got = GaussianSmoothing(Saliency(graph_net)).attribute(
        x, additional_forward_args=edges, **words
    )
    wanted = GaussianSmoothing(Saliency(lambda x: graph_net(x, edges))).attribute(x, **words)
    torch.testing.assert_close(got, wanted)
    two = GaussianSmoothing(Saliency(graph_net)).attribute(
        x[:2], additional_forward_args=shared(edges), **words
    )
    torch.testing.assert_close(two, wanted[:2])


class Recurrent(nn.Module):
    """Sequences ``(N, L, 3)`` with the state ``(1, N, 5)``, or a pair of states."""

    def __init__(self, kind) -> None:
        super().__init__()
        self.rnn = kind(3, 5, batch_first=True)

    def forward(self, x, state):
        return self.rnn(x, state)[0][:, -1]


@pytest.mark.parametrize("method", [Saliency, IntegratedGradients])
def test_hidden_states_go_with_the_examples_along_their_own_dimension(method):
    x, hidden = torch.randn(2, 4, 3), torch.randn(1, 2, 5)
    words = {"target": [1, 4], "nt_samples": 3, "stdevs": 0.1, "seed": 0}
    gru, lstm = Recurrent(nn.GRU).eval(), Recurrent(nn.LSTM).eval()
    for net, state, one in (
        (gru, per_example(hidden, dim=1), lambda row: hidden[:, row]),
        (lstm, ((per_example(hidden, 1),) * 2,), lambda row: (hidden[:, row],) * 2),
    ):
        got = GaussianSmoothing(method(net)).attribute(x, additional_forward_args=state, **words)
        for row in range(2):
            state_of_row = one(slice(row, row + 1))

            def alone(x, net=net, state=state_of_row):
                hidden = state if isinstance(state, tuple) else (state,)
                wide = tuple(part.expand(1, len(x), 5).contiguous() for part in hidden)
                return net(x, wide if isinstance(state, tuple) else wide[0])

            wanted = GaussianSmoothing(method(alone)).attribute(
                x[row : row + 1],
                **words | {"target": words["target"][row]},
                example_ids=[row],
            )
            torch.testing.assert_close(got[row : row + 1], wanted, atol=1e-6, rtol=1e-5)


def test_a_state_without_a_mark_is_named(net):
    gru = Recurrent(nn.GRU).eval()
    with pytest.raises(
        RuntimeError, match=r"\(1, 2, 5\) has no 2 rows .* per_example\(value, dim=1"
    ):
        GaussianSmoothing(Saliency(gru)).attribute(
            torch.randn(2, 4, 3), additional_forward_args=torch.randn(1, 2, 5), target=0
        )
    with pytest.raises(ValueError, match=r"must have 2 examples along dim=1"):
        GaussianSmoothing(Saliency(gru)).attribute(
            torch.randn(2, 4, 3), additional_forward_args=per_example(torch.randn(1, 3, 5), 1)
        )


@pytest.mark.parametrize("bad, error", [([1.0], TypeError), (torch.tensor(1.0), ValueError)])
def test_wrong_marks(bad, error):
    with pytest.raises(error):
        per_example(bad, 1)


def test_a_feature_mask_without_rows_is_not_cut():
    """A mask (1, 3) beside three examples of three features, and one of (3, 3) beside three."""
    x, net = torch.randn(3, 3), nn.Linear(3, 2)
    words = {"target": 1, "nt_samples": 2, "stdevs": 0.1, "seed": 0}
    smooth = GaussianSmoothing(FeatureAblation(net))
    mask = torch.tensor([[0, 0, 1]])
    torch.testing.assert_close(
        smooth.attribute(x, feature_mask=mask, **words),
        smooth.attribute(x, feature_mask=mask.expand(3, 3), **words),
    )


@pytest.mark.parametrize(
    "target",
    [
        np.int64(1),
        np.array([1, 1, 1, 1, 1]),
        [np.int32(1)] * 5,
        torch.full((5,), 1, dtype=torch.uint8),
        torch.tensor(1, dtype=torch.int16),
        [torch.tensor(1)] * 5,
        np.array(1, dtype=np.uint8),
    ],
    ids=repr,
)
def test_targets_in_every_form(net, target):
    words = {"additional_forward_args": CLASSES, "nt_samples": 2, "stdevs": 0.1, "seed": 0}
    smooth = GaussianSmoothing(Saliency(net), transform=UnitNorm())
    wanted = smooth.attribute(X, target=1, **words)
    torch.testing.assert_close(smooth.attribute(X, target=target, **words), wanted)
    assert smooth.certify(X, target=target, **words).cosine(0.0).shape == (5,)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([1, 2], ValueError, r"one for each of the 5 examples, got shape \(2,\)"),
        (torch.zeros(5, 1).long(), ValueError, r"got shape \(5, 1\)"),
        (np.zeros(4, dtype=int), ValueError, r"got shape \(4,\)"),
        (-1, ValueError, r"classes >= 0, got -1"),
        ([0, 1, -1, 0, 1], ValueError, r"classes >= 0, got -1"),
        (torch.tensor([0.0] * 5), TypeError, r"got torch.float32; convert it by .long\(\)"),
        (True, TypeError, "got bool"),
        ("cat", TypeError, "got str"),
    ],
)
def test_targets_that_are_none(net, target, error, message):
    words = {"additional_forward_args": CLASSES, "stdevs": 0.1, "target": target}
    smooth = GaussianSmoothing(Saliency(net), transform=UnitNorm())
    with pytest.raises(error, match=message):
        smooth.attribute(X, **words)
    with pytest.raises(error, match=message):
        smooth.certify(X, nt_samples=8, **words)
    with pytest.raises(error, match=message):
        TopKAttack(net, Saliency(net), k=1).perturb(
            X, 0.1, target=target, additional_forward_args=CLASSES
        )


@pytest.mark.filterwarnings("ignore:You are providing")
def test_methods_with_draws_take_marks_too(net):
    maps = GaussianSmoothing(KernelShap(net)).attribute(
        X, target=0, additional_forward_args=CLASSES, nt_samples=2, stdevs=0.1, n_samples=5
    )
    assert maps.shape == X.shape
