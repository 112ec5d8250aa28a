"""Models of other people: which are taken, which refused, and why."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from captum_robust.__main__ import main
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.ask.usage import UsageError
from captum_robust.audit.load.models import Normalized, load_model, normalized
from captum_robust.audit.load.program.exported import InChunks
from captum_robust.audit.load.row_by_row import row_by_row
from tests.audit.conftest import Report, run_audit

SHAPE = (3, 8, 8)
BRIEF = ["--nt-samples", "12", "--limit", "2"]


def small_net(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        activation(),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(256, 5),
    ).eval()


def exported(
    path: Path, net: nn.Module, rows: int = 2, dim: torch.export.Dim | None = None
) -> Path:
    shapes = None if dim is None else ({0: dim},)
    program = torch.export.export(net, (torch.rand(rows, *SHAPE),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def scripted(path: Path, net: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(net, torch.rand(1, *SHAPE)), str(path))
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "any rows": lambda path: exported(path / "m.pt2", small_net(), dim=torch.export.Dim("n")),
    "at most 4 rows": lambda path: exported(
        path / "m.pt2", small_net(), dim=torch.export.Dim("n", max=4)
    ),
    "2 rows": lambda path: exported(path / "m.pt2", small_net(), rows=2),
    "1 row": lambda path: exported(path / "m.pt2", small_net(), rows=1),
    "TorchScript": lambda path: scripted(path / "m.pt", small_net()),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x=images)
    return tmp_path / "d.npz"


def audit(tmp_path: Path, model: object, data: Path, *options: str, code: int = 0) -> Report:
    where = ["--model", str(model), "--data", str(data)]
    return run_audit(tmp_path / "out", *where, *BRIEF, *options, code=code)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["audit", *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize("kind", MAKERS)
def test_a_file_answers_as_the_net_it_was_made_of(kind: str, tmp_path: Path) -> None:
    model = load_model(AuditPlan(model=str(MAKERS[kind](tmp_path)))).module
    model = row_by_row(model, torch.rand(1, *SHAPE))
    rows = torch.rand(5, *SHAPE, requires_grad=True)
    net = small_net().requires_grad_(False)
    torch.testing.assert_close(model(rows), net(rows))
    mine, there = (torch.autograd.grad(f(rows)[:, 1].sum(), rows)[0] for f in (model, net))
    torch.testing.assert_close(mine, there)


@pytest.mark.parametrize("kind", [pytest.param("2 rows", marks=pytest.mark.slow), "TorchScript"])
def test_the_same_numbers_as_by_the_users_own_code(
    kind: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_factory.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef make():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), "
        "nn.Dropout(), nn.Flatten(), nn.Linear(256, 5))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    own = audit(tmp_path / "own", "a_factory:make", data)
    sys.modules.pop("a_factory")
    file = audit(tmp_path / "file", MAKERS[kind](tmp_path), data)
    for one, other in zip(own.document["methods"], file.document["methods"], strict=True):
        if one["answers"]:
            for question in ("overlap", "cosine"):
                mine, there = (m["answers"][question]["values"] for m in (one, other))
                assert mine == pytest.approx(there, abs=1e-4)


def test_a_pickled_model_is_refused_without_being_opened(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("net.pt", small_net()), ("state.pt", small_net().state_dict())):
        torch.save(content, tmp_path / name)
        said = refusal(capsys, "--model", tmp_path / name, "--data", data)
        assert "A pickled model is refused, since opening one can run any code" in said
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(Bomb(str(tmp_path / "trace"))))
    refusal(capsys, "--model", tmp_path / "bare.pkl", "--data", data)
    weights = f"torchvision:resnet18:{tmp_path / 'bomb.pt'}"
    torch.save({"fc.bias": Bomb(str(tmp_path / "trace"))}, tmp_path / "bomb.pt")
    assert "can run any code" in refusal(capsys, "--model", weights, "--data", data)
    assert not (tmp_path / "trace").exists()


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (self.trace, "w"))


def test_a_graph_in_training_mode_is_refused(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported(tmp_path / "m.pt2", small_net().train(), dim=torch.export.Dim("n"))
    said = refusal(capsys, "--model", path, "--data", data, "--out", tmp_path / "out")
    assert "changes its own weights" in said and "call model.eval()" in said


@pytest.mark.parametrize("kind", ["any rows", "TorchScript"])
def test_what_works_on_graphs_is_said_up_front(
    kind: str, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = MAKERS[kind](tmp_path)
    arguments = ["--model", path, "--data", data, "--out", tmp_path / "out", *BRIEF]
    said = refusal(capsys, *arguments, "--attacks", "--methods", "saliency,uniform")
    assert "saliency, uniform: the net is piecewise linear and its ReLUs cannot be replaced" in said
    assert "Working: none. Without --attacks and --metrics no ReLU is replaced." in said
    assert not (tmp_path / "out" / "plan.json").exists()
    with np.load(data) as file:  # a first example that is not predicted as its label tells as well
        x = file["x"]
    images = torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255
    rows = torch.cat([load_model(AuditPlan(model=str(path))).module(one[None]) for one in images])
    y = rows.argmin(1).numpy()
    np.savez(data, x=x, y=y)
    assert said == refusal(capsys, *arguments, "--attacks", "--methods", "saliency,uniform")


@pytest.mark.usefixtures("gentle")
def test_attacks_work_on_smooth_graphs(tmp_path: Path, data: Path) -> None:
    path = exported(tmp_path / "m.pt2", small_net(nn.GELU), dim=torch.export.Dim("n"))
    report = audit(tmp_path, path, data, "--attacks", "--methods", "saliency,sparsified")
    assert len(report.method("sparsified")["attacks"]["outcomes"]) == 3


def test_a_model_of_other_inputs_is_refused(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scripted(tmp_path / "m.pt", small_net())
    out = ["--out", tmp_path / "out"]
    said = refusal(capsys, "--model", path, "--data", "digits", *out)
    assert "`--model` cannot take the examples, float32 of shape (1, 8, 8)" in said
    torch.manual_seed(0)
    maps = scripted(tmp_path / "maps.pt", nn.Conv2d(3, 2, 3))
    assert "must give scores (rows, classes)" in refusal(
        capsys, "--model", maps, "--data", data, *out
    )


def test_a_net_of_single_rows_is_handed_them() -> None:
    class Single(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return rows.reshape(1, -1)[:, :3] * 2

    model = row_by_row(Single(), torch.rand(1, *SHAPE))
    assert isinstance(model, InChunks)
    rows = torch.rand(4, *SHAPE)
    torch.testing.assert_close(model(rows), rows.flatten(1)[:, :3] * 2)


@pytest.mark.parametrize("classes", [1000, 7])
def test_torchvision_takes_the_weights_of_a_state_dict(classes: int, tmp_path: Path) -> None:
    from torchvision import models

    torch.manual_seed(1)
    there = models.squeezenet1_1(num_classes=classes).eval()
    torch.save({"state_dict": there.state_dict()}, tmp_path / "w.pt")
    name = f"torchvision:squeezenet1_1:{tmp_path / 'w.pt'}"
    state = torch.random.get_rng_state()
    model = load_model(AuditPlan(model=name))
    assert torch.equal(torch.random.get_rng_state(), state)
    rows = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.module(rows), there(rows))
    assert not model.module.training
    untrained = load_model(AuditPlan(model="torchvision:squeezenet1_1"))
    assert untrained.title == "squeezenet1_1, untrained"
    assert untrained.digest != model.digest


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    torch.save(small_net().state_dict(), tmp_path / "w.pt")
    name = f"torchvision:squeezenet1_1:{tmp_path / 'w.pt'}"
    with pytest.raises(UsageError, match="does not fit the weights"):
        load_model(AuditPlan(model=name))
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(UsageError, match="tensors alone"):
        load_model(AuditPlan(model=name))
    for content in (b"", b"words, no weights", b"\x00\x01", b"i1\n(1"):
        (tmp_path / "w.pt").write_bytes(content)
        with pytest.raises(UsageError, match="needs weights that hold tensors alone"):
            load_model(AuditPlan(model=name))


class Pair(nn.Module):
    """Scores and features, as many models of other libraries give."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.flatten(1), images


def test_scores_must_be_a_tensor() -> None:
    with pytest.raises(UsageError, match=r"as a Tensor, got tuple\. Wrap the model"):
        row_by_row(Pair(), torch.rand(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module_here:make", "cannot be imported: ModuleNotFoundError: No module"),
        ("json:no_such_function", "cannot be imported"),
        ("json:loads", r"'json:loads' failed: TypeError: .* missing"),
        ("platform:python_version", "must return a torch.nn.Module, got str"),
    ],
)
def test_a_factory_that_makes_no_model(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_model(AuditPlan(model=name))


def test_normalisation_stands_inside_the_model() -> None:
    net = small_net()
    plan = AuditPlan(normalize=((0.5, 0.4, 0.3), (0.2,)))
    images = torch.rand(2, *SHAPE)
    means = torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(normalized(net, plan)(images), net((images - means) / 0.2))
    assert normalized(net, AuditPlan()) is net
    assert isinstance(normalized(net, plan), Normalized)
