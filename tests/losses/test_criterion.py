"""The base of all losses: sums, terms, modes, precision, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_robust._base.modes import evaluation_mode
from captum_robust.losses import Criterion
from captum_robust.losses.criterion import unwrapped
from captum_robust.losses.tasks.classes import Classes


class Toy(Criterion):
    """Cross-entropy and a quarter of the mean squared logit."""

    def __init__(self, weight: float = 0.25, fault: float = 0.0) -> None:
        super().__init__()
        self.weights = {"cross_entropy": 1.0, "size": weight}
        self.fault = fault

    def values(self, model, inputs, target):
        outputs = self.task.outputs(model, inputs, target)
        size = outputs.square().mean(1) + self.fault
        return {"cross_entropy": self.task.loss(outputs, target), "size": size}


@pytest.fixture
def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Dropout(0.5), nn.Linear(6, 3)).double()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0])


def test_the_loss_is_the_weighted_sum_of_the_means(net, batch):
    net.eval()
    criterion = Toy()
    loss = criterion(net, *batch)
    outputs = net(batch[0])
    expected = functional.cross_entropy(outputs, batch[1]) + 0.25 * outputs.square().mean()
    torch.testing.assert_close(loss, expected)
    assert list(criterion.terms) == ["cross_entropy", "size", "total"]
    torch.testing.assert_close(criterion.terms["size"], outputs.square().mean().detach())
    torch.testing.assert_close(criterion.terms["total"], expected.detach())
    assert not any(term.requires_grad for term in criterion.terms.values())
    loss.backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_it_can_be_evaluated_without_a_graph(net, batch, guard):
    net.eval()
    expected = Toy()(net, *batch)
    with guard():
        inputs, target = batch[0] * 1.0, batch[1] * 1  # tensors made inside
        loss = Toy()(net, inputs, target)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected.detach())


def test_inputs_and_modes_stay(net, batch):
    inputs = batch[0].requires_grad_()
    before = inputs.detach().clone()
    net[1].eval()
    Toy()(net, inputs, batch[1]).backward()
    assert inputs.grad is None and inputs.requires_grad and torch.equal(inputs, before)
    assert [module.training for module in net.modules()] == [True, True, False, True, True]


def test_evaluation_mode_restores_every_mode_also_after_an_error(net):
    net[1].eval()
    before = [module.training for module in net.modules()]
    with pytest.raises(KeyError), evaluation_mode(net):
        assert not any(module.training for module in net.modules())
        raise KeyError
    assert [module.training for module in net.modules()] == before
    with evaluation_mode(lambda x: x):
        pass


def test_targets_of_any_integer_type(net, batch):
    net.eval()
    losses = [Toy()(net, batch[0], batch[1].to(kind)) for kind in (torch.uint8, torch.int32)]
    assert losses[0] == losses[1] == Toy()(net, *batch)


def test_half_precision_outputs_are_summed_in_single():
    outputs = torch.tensor([[300.0, 0.0]], dtype=torch.bfloat16)
    value = Classes().loss(outputs, torch.tensor([1]))
    assert value.dtype == torch.float32 and value == 300
    assert Classes().loss(outputs.double(), torch.tensor([1])).dtype == torch.float64


def test_copies_pickles_and_prints(net, batch):
    criterion = Toy()
    criterion(net, *batch)
    for twin in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert repr(twin) == repr(criterion) == "Toy(cross_entropy=1, size=0.25)"


def test_bare_unwraps_nothing_else(net):
    assert unwrapped(net) is net
    wrapped = nn.DataParallel(net)
    assert unwrapped(wrapped) is wrapped


@pytest.mark.parametrize(
    ("inputs", "target", "error", "message"),
    [
        (torch.zeros(2, 4), torch.tensor([0, 3]), ValueError, r"must be in \[0, 2\].*0 to 3"),
        (torch.zeros(2, 4), torch.tensor([-1, 2]), ValueError, r"must be in \[0, 2\].*-1 to 2"),
        (torch.zeros(2, 4), torch.tensor([0.0, 1.0]), TypeError, "must hold integers"),
        (torch.zeros(2, 4), torch.tensor([True, False]), TypeError, "must hold integers"),
        (torch.zeros(2, 4), [0, 1], TypeError, "must be a Tensor of classes, got list"),
        (torch.zeros(2, 4), torch.tensor([0]), ValueError, r"must have shape \(2,\).*\(1,\)"),
        (torch.zeros(2, 4).long(), torch.tensor([0, 1]), TypeError, "must be floating point"),
        (torch.full((2, 4), torch.nan), torch.tensor([0, 1]), ValueError, "must be finite"),
        (torch.zeros(0, 4), torch.zeros(0).long(), ValueError, "at least one example"),
    ],
)
def test_bad_batches_are_refused(net, inputs, target, error, message):
    with pytest.raises(error, match=message):
        Toy()(net.float(), inputs, target)


def test_bad_models_are_refused(batch):
    inputs, target = batch
    with pytest.raises(ValueError, match=r"logits of shape \(N, classes\), got \(5,\)"):
        Toy()(lambda x: x.sum(1), inputs, target)
    with pytest.raises(TypeError, match="logits as a Tensor, got tuple"):
        Toy()(lambda x: (x, x), inputs, target)


@pytest.mark.parametrize("fault", [torch.nan, torch.inf])
def test_a_term_that_is_not_finite_is_named(net, batch, fault):
    with pytest.raises(RuntimeError, match=rf"'size' of the loss is {fault}.*learning rate"):
        Toy(fault=fault)(net, *batch)


def test_an_overflowing_total_is_named(net, batch):
    with pytest.raises(RuntimeError, match="'total' of the loss is inf"):
        Toy(weight=1e308, fault=100.0)(net, *batch)
