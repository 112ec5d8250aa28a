"""Draws the pictures of certificates and of what smoothing costs, from real digits.

    python docs/pictures.py

Needs the ``audit`` extra. Takes about a minute.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from captum.attr import Saliency
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from captum_robust.__main__ import main as audit
from captum_robust.attr import Abs, GaussianSmoothing, SparsifiedSmoothGrad, UnitNorm
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.digits import digits_subject
from captum_robust.audit.load.subject import Subject
from captum_robust.certificates import Certificate, center_smoothing
from captum_robust.metrics import cosine_similarity

FOLDER = Path(__file__).parent / "images"
STDEV, SAMPLES, EPSILON = 0.25, 4096, 0.05
GRID = torch.linspace(0.0, 0.3, 61)
DIGIT = 2
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def main() -> None:
    """Draws every picture."""
    report().save(FOLDER / "report.png")
    subject = digits_subject(AuditPlan(limit=4))
    costs(digits_subject(AuditPlan(limit=60))).savefig(FOLDER / "smoothing-costs.png", dpi=150)
    saliency = Saliency(subject.model)
    sparse = SparsifiedSmoothGrad(saliency, keep=0.25)
    unit = GaussianSmoothing(saliency, transform=Abs() >> UnitNorm())
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[..., 1:7, 2:6] = True

    def certify(smooth: GaussianSmoothing, **terms: Any) -> Certificate:
        return smooth.certify(
            subject.inputs,
            target=subject.targets,
            stdevs=STDEV,
            nt_samples=SAMPLES,
            seed=0,
            masks=mask if smooth is sparse else None,
            **terms,
        )

    best = certify(sparse)
    overlaps = {
        "best": best,
        "elementwise": certify(sparse, route="elementwise"),
        "l2": certify(sparse, route="l2"),
        "Lecuyer et al.": certify(sparse, route="lecuyer"),
    }
    angles = {"best (HCR)": certify(unit), "bounded norm": certify(unit, route="bounded")}
    figure, axes = _row(3)
    _curves(axes[0], overlaps, "overlap", "share of the top 25 % that stays", k=0.25)
    _curves(axes[1], angles, "angle", "angle in degrees")
    _curves(axes[2], {"central region": best}, "region_mass", "share of marks inside the region")
    figure.savefig(FOLDER / "certificate-curves.png", dpi=150)
    figure, axes = _row(4)
    _map(axes[0], subject.inputs[DIGIT, 0], "input", "gray")
    _map(axes[1], best.attributions[DIGIT, 0], "share of samples that mark it", "viridis")
    _map(axes[2], best.pixels(EPSILON)[DIGIT, 0], "in 1, out 0, abstains -1", "cividis")
    _map(axes[3], best.rank(EPSILON)[DIGIT, 0], "worst rank", "viridis_r")
    figure.savefig(FOLDER / "certificate-maps.png", dpi=150)
    found = center_smoothing(unit, subject.inputs, subject.targets, stdevs=STDEV, seed=0)
    print("center smoothing, degrees:", found.angle(EPSILON).tolist())
    print("angle, degrees:", angles["best (HCR)"].angle(EPSILON).tolist())


def report() -> Image.Image:
    """The figures of a report of the digits, as the page has them: maps above, curves below."""
    with TemporaryDirectory() as folder:
        audit(["audit", "--out", folder])
        names = ("maps", "overlap", "cosine")
        maps, *curves = [Image.open(next(Path(folder).rglob(f"{name}.png"))) for name in names]
        width = maps.width // 2
        halves = [curve.resize((width, curve.height * width // curve.width)) for curve in curves]
        page = Image.new("RGB", (maps.width, maps.height + halves[0].height), "white")
        page.paste(maps, (0, 0))
        for place, half in enumerate(halves):
            page.paste(half, (place * width, maps.height))
    return page


def costs(subject: Subject) -> Figure:
    """What more noise certifies, and what it takes away."""
    smooth = SparsifiedSmoothGrad(Saliency(subject.model), keep=0.2)
    plain = Saliency(subject.model).attribute(subject.inputs, target=subject.targets)
    lines: dict[str, list[float]] = {
        f"certified overlap at {EPSILON:g}": [],
        "accuracy on the noisy copies": [],
        "cosine of smoothed and plain map": [],
    }
    for stdev in LEVELS:
        certificate = smooth.certify(
            subject.inputs, target=subject.targets, stdevs=stdev, nt_samples=1024, seed=0
        )
        mean = GaussianSmoothing(Saliency(subject.model)).attribute(
            subject.inputs, target=subject.targets, stdevs=stdev, nt_samples=1024, seed=0
        )
        noise = torch.randn(64, *subject.inputs.shape, generator=torch.Generator().manual_seed(0))
        noisy = (subject.inputs + stdev * noise).flatten(0, 1)
        right = subject.model(noisy).argmax(1) == subject.targets.repeat(64)
        found = (
            certificate.overlap(EPSILON, k=0.2).median(),
            right.double().mean(),
            cosine_similarity(mean, plain).median(),
        )
        for values, value in zip(lines.values(), found, strict=True):
            values.append(float(value))
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, values in lines.items():
        axes.plot(LEVELS, values, marker="o", markersize=3, label=name)
        print(name, [round(value, 2) for value in values])
    axes.set(
        xscale="log", xlabel="standard deviation of the noise, pixels in [0, 1]", ylim=(0, 1.02)
    )
    axes.legend(frameon=False, fontsize="small")
    return figure


def _row(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(3.4 * count, 3.1), layout="constrained")
    return figure, list(figure.subplots(1, count))


def _curves(
    axes: Axes, certificates: dict[str, Certificate], question: str, label: str, **arguments: float
) -> None:
    """Medians over the digits."""
    for name, certificate in certificates.items():
        values = certificate.curve(question, GRID, **arguments).median(0).values
        axes.plot(GRID, values, label=name)
    axes.axvline(STDEV, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xlabel="perturbation size ε (l2)", ylabel=label, xlim=(0, float(GRID[-1])))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")


def _map(axes: Axes, values: Tensor, title: str, colors: str) -> None:
    image = axes.imshow(values.double(), cmap=colors)
    axes.set_title(title, fontsize="medium")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.figure.colorbar(image, ax=axes, shrink=0.8)


if __name__ == "__main__":
    main()
