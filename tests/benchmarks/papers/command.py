"""The command: options, forecast, runs, page."""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from captum_robust.certificates import PublishedFormulaWarning
from tests.benchmarks.papers import alignment, deviations, geometry, levine, uniform
from tests.benchmarks.papers.experiment import Experiment, NotMeasured, Row, Size
from tests.benchmarks.papers.page import page
from tests.benchmarks.papers.store import Result, Store, placed
from tests.benchmarks.papers.subjects import Bench

EXPERIMENTS: list[Experiment] = [
    *levine.EXPERIMENTS,
    *uniform.EXPERIMENTS,
    *deviations.EXPERIMENTS,
    *geometry.EXPERIMENTS,
    *alignment.EXPERIMENTS,
]
LIMITS = ("images", "samples", "draws", "steps", "restarts", "seeds")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.papers", description="Repeats the papers' experiments."
    )
    made.add_argument("--data", type=Path, required=True, help="folder of data and weights")
    made.add_argument("--cache", type=Path, help="of results and trained nets; in the user's cache")
    made.add_argument(
        "--only", nargs="+", default=[], help="papers (L19) or experiments (L19-grid)"
    )
    made.add_argument("--out", type=Path, help="page to write, such as docs/papers.rst")
    made.add_argument("--full", action="store_true", help="the papers' sizes; takes weeks")
    made.add_argument("--forecast", action="store_true", help="say what it would cost, run nothing")
    made.add_argument("--again", action="store_true", help="measure anew what is there")
    for name in LIMITS:
        made.add_argument(f"--{name}", type=int, help=f"no more {name} than this")
    made.add_argument("--epochs", type=int, default=3, help="of a training")
    made.add_argument("--train-images", type=int, default=10_000, help="of a training")
    made.add_argument("--threads", type=int, help="of torch; its own choice by default")
    return made


def chosen(names: Sequence[str]) -> list[Experiment]:
    """The experiments that names mean: all for none.

    Raises:
        SystemExit: if a name means nothing.
    """
    for name in names:
        if not any(_means(name, each) for each in EXPERIMENTS):
            known = ", ".join(each.key for each in EXPERIMENTS)
            raise SystemExit(f"`--only` must name papers or experiments of {known}, got {name!r}.")
    return [each for each in EXPERIMENTS if not names or any(_means(name, each) for name in names)]


def _means(name: str, experiment: Experiment) -> bool:
    return name in (experiment.key, experiment.key.split("-")[0])


def forecast(
    experiments: Sequence[Experiment], sizes: Sequence[Size], bench: Bench, store: Store
) -> float:
    """Prints seconds of one core for each experiment not measured yet; their sum."""
    total = 0.0
    trained: set[tuple[str, int]] = set()
    for experiment, size in zip(experiments, sizes, strict=True):
        if store.get(experiment, size, bench.training):
            print(f"{experiment.key:20} measured", flush=True)
            continue
        run = store.pace(experiment) * experiment.cost(size)
        new = bench.missing(experiment.nets, size.seeds or 1) - trained
        training = 0.0 if bench.full else bench.training_seconds(new)
        trained |= new
        total += run + training
        nets = f", training {training:,.0f} s" if training else ""
        print(f"{experiment.key:20} {run:9,.0f} s{nets}   {size}", flush=True)
    print(f"in all {total:,.0f} s of one core, {total / 3600:,.1f} hours", flush=True)
    return total


def run(experiment: Experiment, size: Size, bench: Bench) -> Result:
    """One experiment; what it lacks becomes a line of its table."""
    torch.manual_seed(0)
    for name in experiment.nets:  # so that trainings are not in the time of the experiment
        for seed in range(size.seeds or 1):
            bench.net(name, seed)
    begun = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PublishedFormulaWarning)
        warnings.filterwarnings("ignore", message="Input Tensor|Setting (forward|backward)")
        rows = experiment.run(bench, size)
    spent = time.process_time() - begun
    return Result(size, rows, spent, experiment.cost(size), bench.training)


def lacking(experiment: Experiment, size: Size, bench: Bench, reason: NotMeasured) -> Result:
    """The result of an experiment that cannot be run here."""
    row = Row(experiment.title, "-", "see the paper", "not measured", str(reason))
    return Result(size, [row], 0.0, 0.0, bench.training)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is not measured yet and writes the page."""
    options = parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    cache = options.cache or Path.home() / ".cache" / "captum_robust" / "papers"
    store = Store(cache)
    bench = Bench(options.data, cache, options.epochs, options.train_images, options.full)
    limits = {name: getattr(options, name) for name in LIMITS}
    experiments = chosen(options.only)
    sizes = [experiment.size(limits, options.full) for experiment in experiments]
    if options.forecast:
        forecast(experiments, sizes, bench, store)
        return
    for experiment, size in zip(experiments, sizes, strict=True):
        if options.again or not store.get(experiment, size, bench.training):
            measure(experiment, size, bench, store)
    if options.out:
        write(options.out, limits, bench, store)


def measure(experiment: Experiment, size: Size, bench: Bench, store: Store) -> None:
    """Runs one experiment, prints its rows and keeps them, unless something is lacking."""
    print(f"{experiment.key}: {experiment.title} ({size})", flush=True)
    try:
        result = run(experiment, size, bench)
        store.put(experiment, result)
    except NotMeasured as reason:
        result = lacking(experiment, size, bench, reason)
    for row in result.rows:
        print(f"  {row.name}: {row.ours} | paper {row.paper} | {row.agrees}", flush=True)
    print(f"  {result.seconds:.0f} s", flush=True)


def write(path: Path, limits: dict[str, int | None], bench: Bench, store: Store) -> None:
    """Writes the page from all that was measured, at the sizes asked for or else the largest."""
    results = [
        (each, store.best(each, each.size(limits, bench.full), bench.training))
        for each in EXPERIMENTS
    ]
    text = page(results)
    placed(path, lambda part: part.write_text(text, encoding="utf-8"))
    print(path)
