"""Models as files: what ``torch.export`` and TorchScript wrote, read without running code."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final, NoReturn

import torch
from torch import Tensor, nn

from captum_robust.audit.ask.usage import UsageError

# All that torch.export.save writes; compiled code (data/aotinductor) is none of it.
_FOLDERS: Final = ("models/", "data/weights/", "data/constants/", "data/sample_inputs/", ".data/")
_FILES: Final = (
    "archive_format",
    "archive_version",
    "byteorder",
    "version",
    "serialized_exported_program.json",
)
_OLD_PICKLES: Final = (
    "serialized_state_dict.pt",
    "serialized_constants.pt",
    "serialized_example_inputs.pt",
)
_OBJECTS: Final = ("custom_obj_", "opaque_obj_")


class InChunks(nn.Module):
    """A model that takes so many rows and no others, given any number of them.

    Args:
        model: takes ``rows`` rows, or at most so many.
        rows: of one call.
        exact: whether it takes exactly so many; the last chunk is then filled up.
    """

    def __init__(self, model: nn.Module, rows: int, exact: bool) -> None:
        super().__init__()
        self.model, self.rows, self.exact = model, rows, exact
        self.training = False

    def forward(self, inputs: Tensor) -> Tensor:
        """The scores of all rows."""
        return torch.cat([self._scores(chunk) for chunk in inputs.split(self.rows)])

    def _scores(self, chunk: Tensor) -> Tensor:
        missing = self.rows - len(chunk)
        if not self.exact or not missing:
            return self.model(chunk)
        filled = torch.cat([chunk, chunk[-1:].detach().expand(missing, *chunk.shape[1:])])
        return self.model(filled)[: len(chunk)]


class Script(nn.Module):
    """A TorchScript module run as it is written: optimised after some calls, its digits move."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = False

    def forward(self, inputs: Tensor) -> Tensor:
        """The scores."""
        with torch.jit.optimized_execution(False):
            return self.model(inputs)


def load_script(path: Path, device: str) -> nn.Module:
    """A TorchScript file; its tensors and operators, no Python."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated")
        try:
            model = torch.jit.load(str(path), map_location=device)
        except (RuntimeError, ValueError) as error:
            _unreadable(path, error)
    return Script(model.eval())


def load_exported(path: Path, device: str) -> nn.Module:
    """The graph of a ``torch.export`` file, for any number of rows.

    Raises:
        UsageError: if it cannot be read, or opening it could run code.
    """
    refuse_code(path)
    try:
        program = torch.export.load(path)
    except (RuntimeError, ValueError, AssertionError, KeyError) as error:
        _unreadable(path, error)
    if torch.device(device).type != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    rows, exact = _rows(program)
    model = program.module()
    return model if rows is None else InChunks(model, rows, exact)


def refuse_code(path: Path) -> None:
    """Raises where ``torch.export.load`` would run code that a file brings along.

    It unpickles parts of an archive, falls back to doing so without restriction, and loads
    compiled libraries; every such part has to be harmless.

    Raises:
        UsageError: naming the part.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        inner = {name: _without_root(name, names) for name in names}
        if len(set(names)) != len(names):
            _refuse(path, "a name that occurs twice")
        for within in inner.values():
            if within.split("/")[-1].startswith(_OBJECTS):
                _refuse(path, within)
            if not within.startswith(_FOLDERS) and within not in (*_FILES, *_OLD_PICKLES):
                _refuse(path, within)
        pickled = _pickled(archive, inner)
        for name in sorted(pickled):
            try:
                torch.load(io.BytesIO(archive.read(name)), weights_only=True)
            except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
                if archive.getinfo(name).file_size:
                    _refuse(path, inner[name])


def _pickled(archive: zipfile.ZipFile, inner: dict[str, str]) -> set[str]:
    """Members that are unpickled: whole dictionaries, and tensors that are not stored raw."""
    found = {
        name
        for name, within in inner.items()
        if within in _OLD_PICKLES or (within.startswith("data/") and within.endswith(".pt"))
    }
    for name, within in inner.items():
        if within.startswith("data/") and within.endswith("_config.json"):
            entries = json.loads(archive.read(name)).get("config", {}).values()
            marked = {entry["path_name"] for entry in entries if entry.get("use_pickle")}
            found |= {other for other in inner if other.split("/")[-1] in marked}
    return found


def _without_root(name: str, names: list[str]) -> str:
    """The name inside the folder that torch puts everything into, named after the file."""
    root = names[0].split("/")[0] + "/"
    return name.removeprefix(root) if all(other.startswith(root) for other in names) else name


def _rows(program: Any) -> tuple[int | None, bool]:
    """How many rows the graph takes: any (None), at most so many, or exactly so many."""
    named = program.graph_signature.user_inputs
    [first, *others] = [node for node in program.graph.nodes if node.name in named] or [None]
    if first is None or others:
        raise UsageError(
            f"`--model` must take one input, got an exported graph of {len(named)} inputs."
        )
    rows = first.meta["val"].shape[0]
    if isinstance(rows, int):
        return rows, True
    limits = program.range_constraints.get(rows.node.expr)
    upper: Any = getattr(limits, "upper", None)
    return (int(upper), False) if upper is not None and upper < 2**31 else (None, False)


def _refuse(path: Path, part: str) -> NoReturn:
    raise UsageError(
        f"`--model` {str(path)!r} is refused: opening it would unpickle or run {part!r}, and that "
        "can be any code. Export the model without objects of its own, or pass it as "
        "module:factory."
    )


def _unreadable(path: Path, error: BaseException) -> NoReturn:
    said = str(error).strip().splitlines() or [type(error).__name__]
    raise UsageError(f"`--model` {str(path)!r} cannot be read: {said[0]}") from None
