"""What one training step costs with each loss, in steps of cross-entropy, interleaved.

    python tests/benchmarks/losses.py --nets lenet resnet18 --batch 128 16 --rounds 7

A step is loss and backward pass, without the optimiser, on random images of 3 x 32 x 32; the nets
are those of Joo et al. (2023) with softplus units, beta 3, in training mode. Beside it stand the
times of their Table 2. For SmoothSurface the unit is also (classes + 1) backward passes of the
cross-entropy. Seconds are the process's own, of all its threads, so that other work on the machine
counts less. "released code" is the step of Joo et al. (2023) written out, one pass after the other.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet18

from captum_robust import losses

Step = Callable[[nn.Module, Tensor, Tensor], Tensor]
CLASSES = 10
# Joo et al. (2023), Table 2: time of a step over that of cross-entropy.
PRINTED = {
    ("lenet", "HessianNorm"): 4.25,
    ("lenet", "LocalGradientAlignment"): 2.75,
    ("lenet", "ATEX"): 2.25,
    ("lenet", "ART"): 31.0,
    ("resnet18", "HessianNorm"): 8.95,
    ("resnet18", "LocalGradientAlignment"): 4.10,
}


def lenet() -> nn.Module:
    """Four convolutions and two linear layers, as in appendix A of Joo et al. (2023)."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.Softplus(3)]
        if before == after:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(4096, 256), nn.Softplus(3), nn.Linear(256, CLASSES)
    )


def small_resnet18() -> nn.Module:
    """ResNet-18 for images of 32 x 32: a first convolution of 3 x 3 and no pooling after it."""
    net = resnet18(num_classes=CLASSES)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Softplus(3))
    return net


NETS = {"lenet": lenet, "resnet18": small_resnet18}


def cross_entropy(model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(model(inputs), target)


def released_alignment(model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    """What the released code of Joo et al. (2023) computes in a step."""
    points = inputs.clone().requires_grad_()
    outputs = model(points)
    picked = outputs.gather(1, target[:, None]).sum()
    (source,) = torch.autograd.grad(picked, points, create_graph=True)
    source = source.detach().flatten(1)
    points = (inputs + torch.empty_like(inputs).uniform_(-4 / 255, 4 / 255)).requires_grad_()
    picked = model(points).gather(1, target[:, None]).sum()
    (moved,) = torch.autograd.grad(picked, points, create_graph=True)
    moved = moved.flatten(1)
    cosine = (1 - functional.cosine_similarity(source, moved).mean()) / 2
    square = (source - moved).square().sum(1).mean()
    return functional.cross_entropy(outputs, target) + 0.1 * square + cosine


def criteria(model: nn.Module) -> dict[str, Step]:
    """Every loss at its defaults; path losses as their paper has them for inputs of this size."""
    path = {"path_steps": 50, "approx_factor": 10}
    return {
        "cross-entropy": cross_entropy,
        "GradientL2": losses.GradientL2(),
        "LocalGradientAlignment": losses.LocalGradientAlignment(),
        "  released code": released_alignment,
        "HessianNorm": losses.HessianNorm(),
        "SmoothSurface": losses.SmoothSurface(),
        "AdversarialTraining": losses.AdversarialTraining(),
        "TRADES": losses.TRADES(),
        "ATEX": losses.ATEX(copy.deepcopy(model), radius=0.08),
        "ART": losses.ART(),
        "AAT": losses.AAT(),
        "AdvAAT": losses.AdvAAT(),
        "IGR": losses.IGR(),
        "IGNorm": losses.IGNorm(8 / 255, 7, 2 / 255, **path),
        "IGSumNorm": losses.IGSumNorm(8 / 255, 7, 2 / 255, **path),
        "SaliencyConsistency": losses.SaliencyConsistency(radius=0.5),
    }


def seconds(step: Step, model: nn.Module, inputs: Tensor, target: Tensor) -> tuple[float, float]:
    """Of the whole step, and of its backward pass."""
    model.zero_grad()
    start = time.process_time()
    loss = step(model, inputs, target)
    middle = time.process_time()
    loss.backward()
    end = time.process_time()
    return end - start, end - middle


def measure(net: str, batch: int, rounds: int, wanted: list[str] | None) -> None:
    torch.manual_seed(0)
    model = NETS[net]()
    inputs, target = torch.rand(batch, 3, 32, 32), torch.randint(CLASSES, (batch,))
    steps = {name: step for name, step in criteria(model).items() if not wanted or name in wanted}
    steps = {"cross-entropy": cross_entropy, **steps}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            found = seconds(step, model, inputs, target)
            if turn:  # the first round warms up
                times[name].append(found)
    base = times["cross-entropy"]
    print(f"\n{net}, batch {batch}, {rounds} rounds: steps of cross-entropy, median (min, max)")
    for name, found in times.items():
        ratios = [one[0] / ce[0] for one, ce in zip(found, base, strict=True)]
        printed = PRINTED.get((net, name))
        line = (
            f"  {name:24}{spread(ratios)}   {1e3 * statistics.median(x[0] for x in found):9.1f} ms"
        )
        line += "" if printed is None else f"   printed {printed:.2f}"
        if name == "SmoothSurface":
            passes = [x[0] / (CLASSES + 1) / ce[1] for x, ce in zip(found, base, strict=True)]
            line += f"   of {CLASSES + 1} backward passes: {spread(passes)}"
        print(line, flush=True)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):7.2f} ({min(values):.2f}, {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--batch", nargs="+", type=int, default=[128, 16], help="one for each net")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--losses", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, {given.threads} thread(s)")
    for net, batch in zip(given.nets, given.batch, strict=True):
        measure(net, batch, given.rounds, given.losses)


if __name__ == "__main__":
    main()
