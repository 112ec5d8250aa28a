"""tests/benchmarks/papers: sizes, results kept and resumed, the page, and the printed numbers."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import Saliency

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.papers import command, levine, printed, uniform  # noqa: E402
from tests.benchmarks.papers.experiment import (  # noqa: E402
    Experiment,
    NotMeasured,
    Row,
    Size,
    number,
    spread,
)
from tests.benchmarks.papers.page import page, table  # noqa: E402
from tests.benchmarks.papers.recipes import RECIPES, fit, small  # noqa: E402
from tests.benchmarks.papers.replay import Replay  # noqa: E402
from tests.benchmarks.papers.store import Result, Store  # noqa: E402
from tests.benchmarks.papers.subjects import Bench  # noqa: E402


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "data", tmp_path / "cache", epochs=1, train_images=10)


def counted(rows: list[Row]) -> tuple[Experiment, list[Size]]:
    """An experiment that remembers the sizes it ran at."""
    ran: list[Size] = []

    def run(bench: Bench, size: Size) -> list[Row]:
        ran.append(size)
        return rows

    made = Experiment(
        "L19-made",
        "Made up",
        "Nothing.",
        Size(images=10),
        Size(images=64),
        run,
        lambda size: size.images,
    )
    return made, ran


def test_sizes_are_limited_and_full_ones_are_the_papers() -> None:
    made, _ = counted([])
    assert made.size({"images": 2, "samples": None}, full=False) == Size(images=2)
    assert made.size({"images": 100}, full=False) == Size(images=10)
    assert made.size({"images": 2}, full=True) == Size(images=64)
    assert str(Size(images=10, samples=1024)) == "10 images, 1,024 samples"
    assert str(Size()) == "a formula"


def test_numbers_and_spreads() -> None:
    assert number((0.5, 1)) == "0.50, 1.00"
    assert number(torch.tensor([0.25]), 1) == "0.2"
    assert spread([1.0]) == "1.00"
    assert spread([1.0, 3.0]) == f"2.00 ± {math.sqrt(2):.2f}"
    with pytest.raises(ValueError, match="`agrees` must be one of"):
        Row("a", "b", agrees="perhaps")


def test_results_are_kept_and_not_measured_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, ran = counted([Row("a", "1", "2", "no", "because")])
    monkeypatch.setattr(command, "EXPERIMENTS", [made])
    arguments = ["--data", str(bench.data), "--cache", str(bench.cache), "--images", "3"]
    for _ in range(2):
        command.main(arguments)
    assert ran == [Size(images=3)]
    command.main([*arguments[:-1], "4"])
    command.main([*arguments, "--again"])
    assert ran == [Size(images=3), Size(images=4), Size(images=3)]
    assert not list(bench.cache.rglob("*.part"))
    capsys.readouterr()
    command.main([*arguments, "--forecast"])
    assert "measured" in capsys.readouterr().out


def test_a_forecast_takes_the_pace_of_what_was_measured(bench: Bench) -> None:
    made, _ = counted([])
    store = Store(bench.cache)
    sizes = [Size(images=10)]
    assert command.forecast([made], sizes, bench, store) == 10.0
    store.put(made, Result(Size(images=2), [], 6.0, 2.0, bench.training))
    assert command.forecast([made], sizes, bench, store) == 30.0


def test_the_page_takes_the_size_asked_for_else_the_largest(bench: Bench) -> None:
    made, _ = counted([])
    store = Store(bench.cache)
    for images in (2, 5):
        rows = [Row(f"found with {images}", "1")]
        store.put(made, Result(Size(images=images), rows, 1.0, images, bench.training))
    best = store.best(made, Size(images=2), bench.training)
    assert best is not None and best.rows[0].name == "found with 2"
    best = store.best(made, Size(images=9), bench.training)
    assert best is not None and best.rows[0].name == "found with 5"
    text = page([(made, best)])
    assert "found with 5" in text and ":here: 5 images\n" in text and ":paper: 64 images\n" in text
    assert ":here: not measured" in page([(made, None)])


def test_nothing_in_a_table_is_markup() -> None:
    text = table([Row("I*G |x| `a`", "1")])
    assert r"I\*G \|x\| \`a\`" in text
    assert text.count("* -") == 2


def test_what_is_lacking_is_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(bench: Bench, size: Size) -> list[Row]:
        raise NotMeasured("pip install it")

    made = Experiment("J23-lacking", "Lacking", "-", Size(), Size(), run)
    monkeypatch.setattr(command, "EXPERIMENTS", [made])
    out = bench.cache / "page.rst"
    command.main(["--data", str(bench.data), "--cache", str(bench.cache), "--out", str(out)])
    assert "pip install it" not in out.read_text(encoding="utf-8")  # tried again the next time
    assert "not measured" in capsys.readouterr().out
    with pytest.raises(NotMeasured, match="MNIST is not in"):
        bench.accuracy("mnist-standard", 0)


def test_names_choose_papers_or_experiments() -> None:
    keys = [each.key for each in command.EXPERIMENTS]
    assert len(set(keys)) == len(keys)
    assert [each.key for each in command.chosen(["WK24-theorem"])] == ["WK24-theorem"]
    assert {each.key.split("-")[0] for each in command.chosen(["J23"])} == {"J23"}
    assert len(command.chosen([])) == len(keys)
    with pytest.raises(SystemExit, match="`--only` must name"):
        command.chosen(["L18"])


def test_every_net_of_an_experiment_has_a_recipe() -> None:
    for each in command.EXPERIMENTS:
        assert set(each.nets) <= set(RECIPES)


def test_a_replayed_map_is_the_first_one() -> None:
    calls = []

    class Counting(Saliency):
        def attribute(self, inputs: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            calls.append(len(inputs))
            return super().attribute(inputs, **kwargs)

    net = torch.nn.Linear(4, 3)
    replay, inputs = Replay(Counting(net)), torch.randn(2, 4)
    first = replay.attribute(inputs, target=1)
    assert torch.equal(first, Saliency(net).attribute(inputs.requires_grad_(), target=1))
    assert torch.equal(replay.attribute(inputs.detach().clone(), target=1), first)
    replay.attribute(inputs, target=0)
    assert calls == [2, 2]


@pytest.mark.parametrize("name", [name for name in RECIPES if not name.startswith("lenet")])
def test_every_small_recipe_trains(name: str) -> None:
    recipe = RECIPES[name]
    shape = (1, 28, 28) if recipe.data == "mnist" else (3, 32, 32)
    images, labels = torch.rand(4, *shape), torch.randint(10, (4,))
    before = [
        part.clone()
        for part in fit(recipe, images, labels, epochs=0, seed=0, full=False).parameters()
    ]
    after = fit(recipe, images, labels, epochs=1, seed=0, full=False).parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_the_small_net_is_that_of_the_paper() -> None:
    linear = [part for part in small(1, 28, torch.nn.Softplus) if isinstance(part, torch.nn.Linear)]
    assert [(part.in_features, part.out_features) for part in linear] == [(375, 20), (20, 10)]


def test_formulas_need_no_data(bench: Bench) -> None:
    rows = levine.formulas(bench, Size())
    assert {row.agrees for row in rows} == {"yes"}
    rows = uniform.theorem(bench, Size())
    assert {row.agrees for row in rows} == {"no"}  # the printed theorem does not hold


def test_printed_sizes_imply_an_impossible_norm() -> None:
    # By hand: M/||h|| between .271 and .334 on MNIST at T = 0.9, plainly trained.
    values = printed.LARGEST["MNIST", 0.9, "Standard"]
    found = [
        uniform.implied_ratio(eps, r, 0.9, 784)
        for eps, r in zip(values, printed.RADII, strict=True)
    ]
    assert min(found) == pytest.approx(0.271, abs=2e-3)
    assert max(found) == pytest.approx(0.334, abs=2e-3)


def test_the_page_in_the_docs_was_written_by_the_command() -> None:
    text = (ROOT / "docs" / "papers.rst").read_text(encoding="utf-8")
    assert "do not edit it by hand" in text
    for each in command.EXPERIMENTS:
        assert re.search(rf"--only {each.key}``", text), each.key
