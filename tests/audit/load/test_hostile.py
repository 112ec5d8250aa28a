"""A corpus of hostile files: none runs code, each ends in one line or in an ordinary audit.

Every payload leaves a trace, a file, when it runs.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from captum_robust.__main__ import main
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.models import load_model

SHAPE = (3, 8, 8)
JSON = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.trace), "w"))


def python(trace: Path) -> str:
    """An expression that leaves a trace when Python evaluates it."""
    return f"__import__('pathlib').Path({str(trace)!r}).touch()"


def saved(content: object) -> bytes:
    written = io.BytesIO()
    torch.save(content, written)
    return written.getvalue()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The records of a good file of ``torch.export``, by their names inside its folder."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    path = tmp_path_factory.mktemp("good") / "m.pt2"
    dim = torch.export.Dim("rows")
    program = torch.export.export(net, (torch.rand(2, *SHAPE),), dynamic_shapes=({0: dim},))
    torch.export.save(program, path)
    with zipfile.ZipFile(path) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


Records = dict[str, bytes]
Change = Callable[[Records, Path], None]


def edited(name: str, edit: Callable[[Any, Path], object]) -> Change:
    """A change of one record that is JSON."""

    def change(records: Records, trace: Path) -> None:
        content = json.loads(records[name])
        edit(content, trace)
        records[name] = json.dumps(content).encode()

    return change


def added(name: str, content: Callable[[Path], bytes] = lambda trace: saved(Bomb(trace))) -> Change:
    """One record more, or in the place of another."""
    return lambda records, trace: records.update({name: content(trace)})


def graph(program: Any) -> Any:
    return program["graph_module"]["graph"]


def node(program: Any, place: int = 0) -> Any:
    return graph(program)["nodes"][place]


def weight(config: Any) -> Any:
    return next(iter(config["config"].values()))


def pickled_weight(where: str) -> Change:
    def change(records: Records, trace: Path) -> None:
        edited(WEIGHTS, lambda c, t: weight(c).update(use_pickle=True, path_name=where))(
            records, trace
        )
        records[f"data/weights/{where}"] = saved(Bomb(trace))

    return change


def opaque(where: str) -> Change:
    def change(records: Records, trace: Path) -> None:
        entry = {"path_name": where, "is_param": False, "use_pickle": False, "tensor_meta": None}
        records[CONSTANTS] = json.dumps({"config": {"o": entry}}).encode()
        records[f"data/constants/{where}"] = pickle.dumps(Bomb(trace))

    return change


def old_layout(records: Records, trace: Path) -> None:
    program = records[JSON]
    records.clear()
    records |= {
        "version": b"8.1",
        "serialized_exported_program.json": program,
        "serialized_state_dict.pt": saved({"0.weight": Bomb(trace)}),
        "serialized_constants.pt": saved({}),
        "serialized_example_inputs.pt": saved(Bomb(trace)),
    }


def expression(trace: Path) -> dict[str, Any]:
    return {"as_expr": {"expr_str": python(trace), "hint": None}}


def writes_a_file(program: Any, trace: Path) -> None:
    node(program).update(
        target="torch.ops.aten.from_file.default",
        inputs=[
            {"name": "filename", "arg": {"as_string": str(trace)}, "kind": 1},
            {"name": "shared", "arg": {"as_bool": True}, "kind": 1},
            {"name": "size", "arg": {"as_int": 4}, "kind": 1},
        ],
    )


def target(name: str) -> Change:
    return edited(JSON, lambda program, trace: node(program).update(target=name))


def argument(kind: str, value: Callable[[Path], Any]) -> Change:
    return edited(
        JSON, lambda program, trace: node(program)["inputs"][0].update(arg={kind: value(trace)})
    )


def sizes(value: Callable[[Path], Any], key: str = "sizes") -> Change:
    return edited(WEIGHTS, lambda c, trace: weight(c)["tensor_meta"].update({key: value(trace)}))


REFUSED: dict[str, Change] = {
    "size of a weight as text": sizes(lambda trace: [expression(trace)]),
    "stride of a weight as text": sizes(lambda trace: [expression(trace)] * 4, "strides"),
    "offset of a weight as text": sizes(expression, "storage_offset"),
    "rows as text": edited(
        JSON, lambda p, t: graph(p)["tensor_values"]["input"]["sizes"].insert(0, expression(t))
    ),
    "pickled weight": pickled_weight("weight_0"),
    "pickled weight in a folder": pickled_weight("sub/w0"),
    "pickled weight beside": pickled_weight("../constants/w0"),
    "opaque object": opaque("opaque_obj_0"),
    "opaque object in a folder": opaque("opaque_obj_0/x"),
    "custom object": opaque("custom_obj_0"),
    "sample inputs in capitals": added("data/sample_inputs/MODEL.PT"),
    "second model": added("models/other.json", lambda trace: b"{}"),
    "compiled library": added("data/aotinductor/model/a.so", lambda trace: b"x"),
    "legacy weights": added("data/weights/model.pt"),
    "legacy constants": added("data/constants/model.pt"),
    "old layout": old_layout,
    "operator that writes files": edited(JSON, writes_a_file),
    "function of Python": target("os.system"),
    "built-in of Python": target("builtins.eval"),
    "operator of another library": target("torch.ops.image.write_file.default"),
    "attribute of an operator": target("torch.ops.aten.relu.__class__"),
    "operator that sets memory": target("torch.ops.aten.set_.source_Tensor"),
    "operator of higher order": target("torch.ops.higher_order.cond"),
    "operator as argument": argument("as_operator", lambda trace: "os.system"),
    "graph as argument": argument("as_graph", lambda trace: {"name": "g", "graph": {}}),
    "custom object as argument": argument("as_custom_obj", lambda trace: {"name": "o"}),
    "size of an argument as text": argument("as_sym_int", expression),
    "weight beyond its record": sizes(lambda trace: [{"as_int": 10**6}] * 4),
    "negative offset": sizes(lambda trace: {"as_int": -4}, "storage_offset"),
    "strides without end": sizes(lambda trace: [{"as_int": 2**60}] * 4, "strides"),
    "unknown element type": sizes(lambda trace: 99, "dtype"),
    "sparse layout": sizes(lambda trace: 1, "layout"),
    "endless nesting": added(JSON, lambda trace: b"[" * 100_000),
    "no JSON": added(JSON, lambda trace: python(trace).encode()),
    "a list for a graph": added(JSON, lambda trace: b"[]"),
    "an empty graph": added(JSON, lambda trace: b"{}"),
    "other byte order": added("byteorder", lambda trace: b"big"),
    "inputs of another kind": edited(
        JSON,
        lambda p, t: p["graph_module"]["signature"]["input_specs"].append(
            {"custom_obj": {"arg": {"name": "o", "class_fqn": "os.system"}, "custom_obj_name": "o"}}
        ),
    ),
}
HARMLESS: dict[str, Change] = {
    "guards": edited(JSON, lambda program, trace: program.update(guards_code=[python(trace)])),
    "sample inputs": added("data/sample_inputs/model.pt"),
    "name of a node": edited(JSON, lambda p, t: node(p).update(name=f"x\n{python(t)}")),
    "stack trace": edited(
        JSON, lambda p, t: node(p)["metadata"].update(nn_module_stack=python(t), torch_fn=python(t))
    ),
    "structure of the inputs": edited(
        JSON,
        lambda p, t: p["graph_module"]["module_call_graph"][0]["signature"].update(
            in_spec=f'[1, {{"type": "os.system", "context": "{python(t)}", "children_spec": []}}]'
        ),
    ),
    "range of a symbol": edited(
        JSON, lambda p, t: p["range_constraints"].update({python(t): {"min_val": 0, "max_val": 1}})
    ),
}


def written(path: Path, records: Records, how: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", how) as archive:
        warnings.simplefilter("ignore")  # of names that occur twice
        for name, content in records.items():
            archive.writestr(f"m/{name}", content)
    return path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command says of arguments that it must refuse, in one line."""
    assert main(["audit", "--quiet", "--nt-samples", "4", *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("captum-robust: ")
    return said


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.fixture
def here(tmp_path: Path) -> list[object]:
    """Options of a small audit in a fresh folder."""
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 8, 8, 3), dtype=np.uint8))
    return ["--data", tmp_path / "d.npz", "--out", tmp_path / "out", "--methods", "saliency"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_export_is_refused_in_one_line(
    name: str,
    records: Records,
    here: list[object],
    trace: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = dict(records)
    REFUSED[name](changed, trace)
    assert changed != records
    said = refusal(capsys, "--model", written(tmp_path / "h.pt2", changed), *here)
    assert "is refused" in said
    assert not trace.exists()


@pytest.mark.parametrize("name", HARMLESS)
def test_parts_that_are_never_read_do_nothing(
    name: str, records: Records, trace: Path, tmp_path: Path
) -> None:
    changed = dict(records)
    HARMLESS[name](changed, trace)
    assert changed != records
    path = written(tmp_path / "h.pt2", changed)
    model = load_model(AuditPlan(model=str(path))).module
    assert model(torch.rand(3, *SHAPE)).shape == (3, 5)
    assert not trace.exists()


def test_twice_the_same_name_compressed_and_truncated_archives(
    records: Records, here: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "twice.pt2", records)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(f"m/{JSON}", b"{}")
    assert "a name occurs twice" in refusal(capsys, "--model", path, *here)
    bomb = written(tmp_path / "bomb.pt2", records | {JSON: b" " * 10**8}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 10**6
    assert "is compressed" in refusal(capsys, "--model", bomb, *here)
    whole = written(tmp_path / "cut.pt2", records).read_bytes()
    (tmp_path / "cut.pt2").write_bytes(whole[: len(whole) // 2])
    refusal(capsys, "--model", tmp_path / "cut.pt2", *here)
    damaged = bytearray(whole)
    damaged[whole.index(b'"graph_module"') + 30] ^= 0xFF
    (tmp_path / "damaged.pt2").write_bytes(damaged)
    assert "damaged" in refusal(capsys, "--model", tmp_path / "damaged.pt2", *here)


def test_a_graph_that_changes_its_weights_is_refused(
    records: Records, here: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = dict(records)
    program = json.loads(changed[JSON])
    [bias] = [
        spec["parameter"]["arg"]["name"]
        for spec in program["graph_module"]["signature"]["input_specs"]
        if spec.get("parameter", {}).get("parameter_name") == "3.bias"
    ]
    change = {
        "target": "torch.ops.aten.add_.Scalar",
        "inputs": [
            {"name": "self", "arg": {"as_tensor": {"name": bias}}, "kind": 1},
            {"name": "other", "arg": {"as_float": 1.0}, "kind": 1},
        ],
        "outputs": [{"as_tensor": {"name": "moved"}}],
        "metadata": {},
    }
    graph(program)["nodes"].insert(0, change)
    changed[JSON] = json.dumps(program).encode()
    said = refusal(capsys, "--model", written(tmp_path / "h.pt2", changed), *here)
    assert "changes its own weights" in said


class Writes(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "TRACE")
        return x.flatten(1)


class Maps(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) + torch.from_file("TRACE", shared=True, size=4)[0]


class Method(nn.Module):
    """Its call of ``sin`` is renamed to ``save`` in the source."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sin().flatten(1)


class OnLoad(nn.Module):
    """Writes when it is loaded, before any call."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.zeros(1)

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        torch.save(state[0], "TRACE")
        self.weight = state[0]
        self.training = state[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


class Forks(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        future = torch.jit.fork(torch.sin, x)
        return torch.jit.wait(future).flatten(1)


def scripted(path: Path, net: nn.Module, trace: Path) -> Path:
    """A TorchScript file whose texts name the trace."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(str(path))
    with zipfile.ZipFile(path) as archive:
        records = {
            info.filename.split("/", 1)[1]: archive.read(info) for info in archive.infolist()
        }
    for name, content in records.items():
        if name.endswith(".py"):
            content = content.replace(b"TRACE", str(trace).encode())
            records[name] = content.replace(b"torch.sin(x)", f'x.save("{trace}")'.encode())
    return written(path, records)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("net", [Writes, Maps, OnLoad, Forks])
def test_a_script_that_does_more_than_compute_is_refused(
    net: type[nn.Module],
    here: list[object],
    trace: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = scripted(tmp_path / "s.pt", net(), trace)
    assert "not among the operators" in refusal(capsys, "--model", path, *here)
    assert not trace.exists()


def test_a_script_that_calls_an_operator_as_a_method_is_refused(
    here: list[object], trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scripted(tmp_path / "s.pt", Method(), trace)
    assert "uses 'save'" in refusal(capsys, "--model", path, *here)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["bytecode.pkl", "data/../x", "DATA.PKL", "attributes.pkl"])
def test_records_that_are_no_part_of_a_script_are_refused(
    name: str, here: list[object], trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scripted(tmp_path / "s.pt", Forks(), trace)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"m/{name}", saved(Bomb(trace)))
    assert "is refused" in refusal(capsys, "--model", path, *here)
    assert not trace.exists()


def tar_weights(path: Path, trace: Path) -> None:
    """The format of torch 0.1, whose parts are pickles."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle", "sys_info"):
            content = pickle.dumps(Bomb(trace))
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


PICKLES: dict[str, Callable[[Path, Path], object]] = {
    "pickle": lambda path, trace: path.write_bytes(pickle.dumps(Bomb(trace))),
    "torch.save": lambda path, trace: torch.save(Bomb(trace), path),
    "torch.save of old": lambda path, trace: torch.save(
        {"fc.bias": Bomb(trace)}, path, _use_new_zipfile_serialization=False
    ),
    "tar": tar_weights,
    "no file": lambda path, trace: path.write_bytes(b"\x00" * 100),
    "empty": lambda path, trace: path.write_bytes(b""),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_are_never_opened_as_models_or_weights(
    name: str, here: list[object], trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PICKLES[name](tmp_path / "h.pt", trace)
    refusal(capsys, "--model", tmp_path / "h.pt", *here)
    refusal(capsys, "--model", f"torchvision:resnet18:{tmp_path / 'h.pt'}", *here)
    assert not trace.exists()


def npy(shape: tuple[int, ...]) -> bytes:
    """An array of zeros whose head says that it has this shape."""
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    head = head.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + b"\x00" * 100


def arrays(path: Path, content: bytes, how: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("x.npy", content)


def encrypted(path: Path) -> None:
    arrays(path, npy((1, 8, 8)))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


ARRAYS: dict[str, Callable[[Path, Path], object]] = {
    "objects": lambda path, trace: np.savez(path, x=np.array([Bomb(trace)], dtype=object)),
    "larger than any memory": lambda path, trace: arrays(path, npy((10**12, 8, 8))),
    "head that is code": lambda path, trace: arrays(
        path, npy((1, 8, 8)).replace(b"'|u1'", python(trace).encode()[:5])
    ),
    "damaged": lambda path, trace: path.write_bytes(b"PK\x03\x04" + b"x" * 50),
    "cut": lambda path, trace: arrays(path, npy((50, 8, 8))),
    "encrypted": lambda path, trace: encrypted(path),
    "no array": lambda path, trace: arrays(path, b"hello"),
    "complex": lambda path, trace: np.savez(path, x=np.zeros((1, 1, 8, 8), dtype=complex)),
    "text": lambda path, trace: np.savez(path, x=np.array(["a", "b"])),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_hostile_arrays_are_refused_in_one_line(
    name: str, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "h.npz"
    ARRAYS[name](path, trace)
    refusal(capsys, "--data", path, "--out", tmp_path / "out")
    assert not trace.exists()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(TRACE) (w) file closefile\n"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff"])
def test_an_image_of_another_kind_is_handed_to_no_other_program(
    suffix: str, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PostScript is a program, which Pillow would hand to Ghostscript."""
    folder = tmp_path / "images"
    folder.mkdir()
    path = folder / f"h{suffix}"
    path.write_bytes(POSTSCRIPT.replace(b"TRACE", str(trace).encode()))
    said = refusal(capsys, "--data", folder, "--out", tmp_path / "out")
    assert "not an image that can be decoded" in said
    assert not trace.exists()


def test_the_corpus_is_large() -> None:
    assert len(REFUSED) + len(HARMLESS) + len(ARRAYS) + 2 * len(PICKLES) >= 30
