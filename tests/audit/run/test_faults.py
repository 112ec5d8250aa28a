"""One bad example does not end the night: skipped, named with its reason, the rest as it was."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from captum_robust.__main__ import main
from captum_robust.audit.ask.usage import AuditFailure, Skipped
from captum_robust.audit.load import source
from captum_robust.audit.load.digits import threads
from captum_robust.audit.load.models import Model
from captum_robust.audit.measure import memory
from captum_robust.audit.measure.memory import halving, is_out_of_memory
from captum_robust.audit.run import work
from captum_robust.audit.run.journal import Journal
from captum_robust.audit.run.work import faults
from tests.audit.conftest import Report, run_audit

BRIEF = ["--nt-samples", "16", "--methods", "saliency,sparsified", "--limit", "all"]
OUT_OF_MEMORY = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"


class Net(nn.Module):
    """A small smooth net that can be made to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 6 * 6, 4)
        self.rows: list[int] = []
        self.most = 10**9

    def forward(self, images: Tensor) -> Tensor:
        self.rows.append(len(images))
        if len(images) > self.most:
            raise RuntimeError(OUT_OF_MEMORY)
        return torch.tanh(self.linear(images.flatten(1)))


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    """The net that ``--model net:make`` is from here on."""
    torch.manual_seed(0)
    made = Net().eval()
    monkeypatch.setattr(source, "load_model", lambda plan: Model(made, "a net", "0" * 64, {}))
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).random((4, 3, 6, 6), dtype=np.float32)
    np.savez(tmp_path / "d.npz", x=x)
    return tmp_path / "d.npz"


def audit(out: Path, data: Path, *options: str, code: int = 0) -> Report:
    return run_audit(out, "--model", "net:make", "--data", str(data), *BRIEF, *options, code=code)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (RuntimeError(OUT_OF_MEMORY), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 b"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_known(error: BaseException, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


def test_passes_halve_until_they_fit() -> None:
    tried = []

    def run(rows: int) -> str:
        tried.append(rows)
        if rows > 13:
            raise RuntimeError(OUT_OF_MEMORY)
        return "done"

    assert halving(run, 100) == ("done", 12)
    assert tried == [100, 50, 25, 12]


def test_a_single_row_too_much_is_skipped_and_tried_again_later() -> None:
    def run(rows: int) -> None:
        raise MemoryError

    with pytest.raises(Skipped, match="single row") as error:
        halving(run, 5)
    assert error.value.retry


def test_other_errors_are_not_taken_for_it() -> None:
    def run(rows: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        halving(run, 5)


def test_rows_of_a_pass_fit_the_model_that_runs_out(tmp_path: Path, net: Net, data: Path) -> None:
    whole = audit(tmp_path / "whole", data).document
    net.most = 5
    net.rows.clear()
    small = audit(tmp_path / "small", data, "--quiet", "--batch-size", "16")
    assert net.rows.count(16) == 1  # tried once, and smaller ones from then on
    journal = Journal(small.folder)
    assert [journal.read("sparsified", number)["rows"] for number in range(4)] == [4] * 4
    for one, other in zip(whole["methods"], small.document["methods"], strict=True):
        if one["answers"]:
            mine, there = (found["answers"]["overlap"]["values"] for found in (one, other))
            assert mine == pytest.approx(there)


def test_out_of_memory_for_good_is_skipped_then_done(
    tmp_path: Path, net: Net, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise Skipped("out of memory with a single row a pass", retry=True)

    monkeypatch.setattr("captum_robust.audit.measure.runner.halving", never)
    arguments = ["audit", "--out", str(tmp_path), "--model", "net:make", "--data", str(data)]
    assert main([*arguments, *BRIEF]) == 1
    monkeypatch.setattr("captum_robust.audit.measure.runner.halving", memory.halving)
    assert audit(tmp_path, data).document["skipped"] == []


def test_examples_that_are_not_finite_are_skipped(tmp_path: Path, net: Net) -> None:
    x = np.random.default_rng(0).random((4, 3, 6, 6), dtype=np.float32)
    np.savez(tmp_path / "sound.npz", x=x)
    sound = audit(tmp_path / "sound", tmp_path / "sound.npz").document
    x[1, 0, 0, 0] = np.nan
    np.savez(tmp_path / "broken.npz", x=x)
    report = audit(tmp_path / "broken", tmp_path / "broken.npz", code=4)
    [entry] = report.document["skipped"]
    assert entry == {"id": 1, "name": "row 1", "method": None, "reason": "not finite"}
    assert [example["id"] for example in report.document["examples"]] == [0, 2, 3]
    mine, there = (
        found["methods"][1]["answers"]["overlap"]["values"] for found in (report.document, sound)
    )
    assert mine == [there[0], there[2], there[3]]
    assert "skipped row 1: not finite" in report.progress
    assert "row 1" in report.page and "1 result was skipped" in report.page


def test_a_map_that_is_not_finite_is_skipped_by_that_method_alone(
    tmp_path: Path, net: Net, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Net.forward
    with np.load(data) as file:
        broken = torch.from_numpy(file["x"][2])

    def near(self: Net, images: Tensor) -> Tensor:
        scores = real(self, images)
        close = float((images[0].detach() - broken).norm()) < 1
        noisy = len(images) > 3 and close
        return scores + images.flatten(1).sum(1, keepdim=True) * np.nan if noisy else scores

    monkeypatch.setattr(Net, "forward", near)
    report = audit(tmp_path / "out", data, "--noise", "0.01", "--batch-size", "8", code=4)
    [entry] = report.document["skipped"]
    assert entry["id"] == 2 and entry["method"] == "SparsifiedSmoothGrad"
    assert "attributions must be finite" in entry["reason"]
    assert report.method("saliency")["examples"] == [0, 1, 2, 3]
    assert report.method("sparsified")["examples"] == [0, 1, 3]
    page = (report.folder / report.document["examples"][2]["page"]).read_text(encoding="utf-8")
    assert "skipped" in page


def test_a_lost_device_ends_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(RuntimeError):
        pass

    monkeypatch.setattr(work, "_LOST", Lost)
    with pytest.raises(AuditFailure, match="the device failed: assert"), work.faults():
        raise Lost("assert")


def test_nothing_that_can_be_explained_is_a_failure(
    tmp_path: Path, net: Net, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(data) as file:
        x = file["x"] * np.float32("nan")
    np.savez(data, x=x)
    arguments = ["--model", "net:make", "--data", str(data), *BRIEF]
    assert main(["audit", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert "`--data` must hold an example that can be read" in capsys.readouterr().err


def test_an_error_of_any_class_skips_the_example(
    tmp_path: Path, net: Net, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the IndexError of an embedding, from the third example on."""
    with np.load(data) as file:
        x = file["x"]
    x[2] = 7.0
    np.savez(data, x=x)

    def forward(self: Net, images: Tensor) -> Tensor:
        if images.mean() > 3:
            raise IndexError("index out of range in self")
        return torch.tanh(self.linear(images.flatten(1)))

    monkeypatch.setattr(Net, "forward", forward)
    report = audit(tmp_path / "out", data, code=4)
    assert [each["reason"] for each in report.document["skipped"]] == ["index out of range in self"]
    assert [each["id"] for each in report.document["examples"]] == [0, 1, 3]


def test_no_report_of_before_stays_beside_another_audit(
    tmp_path: Path, net: Net, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = audit(tmp_path / "out", data)
    (report.folder / "notes.html").write_text("mine")
    net.linear.weight.data.fill_(float("nan"))
    arguments = ["--model", "net:make", "--data", str(data), *BRIEF, "--restart"]
    assert main(["audit", "--out", str(report.folder), *arguments]) == 2
    said = capsys.readouterr().err
    assert "no example could be explained" in said
    assert ".." not in said
    left = {path.name for path in report.folder.iterdir() if path.is_file()}
    assert left == {"notes.html", "plan.json"}
    assert not list((report.folder / "examples").glob("*.html"))


def test_attacks_leave_out_examples_of_another_prediction(
    tmp_path: Path, net: Net, gentle: SimpleNamespace
) -> None:
    x = np.random.default_rng(0).random((3, 3, 6, 6), dtype=np.float32)
    with torch.no_grad():
        predicted = net(torch.from_numpy(x)).argmax(1).numpy()
    labels = predicted.copy()
    labels[1] = (predicted[1] + 1) % 4
    np.savez(tmp_path / "d.npz", x=x, y=labels)
    report = audit(tmp_path / "out", tmp_path / "d.npz", "--attacks", "--metrics")
    for method in report.document["methods"]:
        assert method["examples"] == [0, 1, 2]
        assert method["attacks"]["examples"] == method["metrics"]["examples"] == [0, 2]
    assert f"class {predicted[1]}" in report.page


LONG = "a" * 5000


@pytest.mark.parametrize(
    "arguments",
    [["--model", LONG], ["--data", LONG], ["--out", LONG], ["--out", "\0x"], ["--labels", "\0"]],
)
def test_names_that_no_file_can_have_are_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


class Own(Exception):
    """Of somebody's package."""


@pytest.mark.parametrize("error", [Own("mine"), SystemExit(0)])
def test_whatever_a_model_ends_with_skips_the_example_alone(error: BaseException) -> None:
    with pytest.raises(Skipped), faults():
        raise error


def test_more_threads_than_cores_are_not_taken() -> None:
    before = torch.get_num_threads()
    with threads(1024):
        assert torch.get_num_threads() <= (os.cpu_count() or 1024)
    assert torch.get_num_threads() == before
