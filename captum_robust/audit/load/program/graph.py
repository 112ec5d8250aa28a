"""An exported graph, run operator by operator: nothing in it is compiled or evaluated."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from captum_robust.audit.load.program.archive import DTYPES, Archive, Refused, entry
from captum_robust.audit.load.program.operators import operator_of

_SYMBOL: Final = re.compile(r"(?:Symbol\('(s[0-9]{1,9})'[^()]*\)|(s[0-9]{1,9}))")
_KINDS: Final = {"parameter": "parameter_name", "buffer": "buffer_name"}
_CONSTANT: Final = "tensor_constant"
_FORMATS: Final = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_PLAIN: Final = {
    "as_int": int,
    "as_bool": bool,
    "as_string": str,
    "as_ints": list,
    "as_bools": list,
}
_SPELLED: Final = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}

Values = dict[str, Any]
Read = Callable[[Values, torch.device], Any]


@dataclass(frozen=True)
class Step:
    """One operator: what it is, how its arguments are read, and where its results go."""

    operator: Callable[..., Any]
    positional: tuple[Read, ...]
    named: dict[str, Read]
    results: tuple[str, ...]
    several: bool
    forgotten: tuple[str, ...]

    def run(self, values: Values, device: torch.device) -> None:
        """Adds the results to the values, and drops what no later step needs."""
        positional = [read(values, device) for read in self.positional]
        named = {name: read(values, device) for name, read in self.named.items()}
        found = self.operator(*positional, **named)
        if self.several:
            values.update(zip(self.results, found, strict=False))
        elif self.results:
            values[self.results[0]] = found
        for name in self.forgotten:
            values.pop(name, None)


class Graph(nn.Module):
    """A graph of known operators with its weights; takes one input and gives one output.

    Args:
        archive: of the file.

    Raises:
        Refused: naming what the graph has that is not on the list.
    """

    def __init__(self, archive: Archive) -> None:
        super().__init__()
        module = entry(archive.program.get("graph_module"), dict, "graph_module")
        graph = entry(module.get("graph"), dict, "graph")
        signature = entry(module.get("signature"), dict, "signature")
        self.training = False
        self._places: dict[str, str] = {}
        self._input = self._read_inputs(signature, archive.tensors)
        self._output = _output(signature)
        nodes = entry(graph.get("nodes"), list, "nodes")
        self._steps = _steps(nodes, {*self._places, self._input, self._output})
        self.rows, self.exact = _rows(archive.program, graph, self._input)

    def forward(self, inputs: Tensor) -> Tensor:
        """The scores.

        Raises:
            RuntimeError: if the graph changes its own weights.
        """
        values: Values = {name: getattr(self, place) for name, place in self._places.items()}
        weights = list(values.values())
        before = _versions(weights)
        values[self._input] = inputs
        for step in self._steps:
            step.run(values, inputs.device)
        if _versions(weights) != before:
            raise RuntimeError(
                "the exported graph changes its own weights while it runs, as BatchNorm does in "
                "training mode; call model.eval() before it is exported."
            )
        return values[self._output]

    def _read_inputs(self, signature: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
        """Registers the weights; returns the name of the one input of the user."""
        given = []
        for spec in entry(signature.get("input_specs"), list, "input_specs"):
            [(kind, found)] = entry(spec, dict, "input_specs").items()
            if kind == "user_input":
                given.append(_tensor_name(entry(found.get("arg"), dict, kind).get("as_tensor")))
            elif kind in (*_KINDS, _CONSTANT):
                name = found.get(_KINDS.get(kind, "tensor_constant_name"))
                if name not in tensors:
                    raise Refused(f"the tensor {name!r} is missing")
                self._register(_tensor_name(found.get("arg")), tensors[name], kind == "parameter")
            else:
                raise Refused(f"the graph takes a {kind!r}")
        if len(given) != 1:
            raise Refused(f"the graph takes {len(given)} inputs, and one is needed")
        return given[0]

    def _register(self, name: str, value: Tensor, trained: bool) -> None:
        place = self._places[name] = f"tensor_{len(self._places)}"
        if trained:
            self.register_parameter(place, nn.Parameter(value, requires_grad=False))
        else:
            self.register_buffer(place, value)


def _steps(nodes: list[Any], kept: set[str]) -> list[Step]:
    """All operators in their order, each dropping what it is the last to need."""
    drafts = [_draft(entry(node, dict, "nodes")) for node in nodes]
    steps, needed = [], set(kept)
    for operator, positional, named, results, several, used in reversed(drafts):
        forgotten = tuple(name for name in (*used, *results) if name not in needed)
        needed |= {*used, *results}
        steps.append(Step(operator, positional, named, results, several, forgotten))
    return steps[::-1]


def _draft(node: dict[str, Any]) -> tuple[Any, ...]:
    """Operator, arguments by place and by name, names of the results, and names used."""
    target = entry(node.get("target"), str, "target")
    operator = operator_of(target)
    if operator is None:
        raise Refused(f"the operator {target!r} is not among those that are run of a file")
    used: list[str] = []
    positional: list[Read] = []
    named: dict[str, Read] = {}
    by_name = _named_only(operator)
    for given in entry(node.get("inputs"), list, target):
        name = entry(given, dict, target).get("name")
        read = _argument(entry(given.get("arg"), dict, target), target, used)
        if name in by_name or named:
            named[entry(name, str, target)] = read
        else:
            positional.append(read)
    results, several = _results(entry(node.get("outputs"), list, target), target)
    return operator, tuple(positional), named, results, several, used


def _named_only(operator: Any) -> set[str]:
    schema = getattr(operator, "_schema", None)
    return set() if schema is None else {a.name for a in schema.arguments if a.kwarg_only}


def _results(outputs: list[Any], target: str) -> tuple[tuple[str, ...], bool]:
    """Names of the results, and whether the operator returns several."""
    names: list[str] = []
    several = len(outputs) > 1
    for output in outputs:
        [(kind, found)] = entry(output, dict, target).items()
        if kind == "as_tensors":
            several = True
            names += [_tensor_name(one) for one in entry(found, list, target)]
        elif kind == "as_tensor":
            names.append(_tensor_name(found))
        elif kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            names.append(entry(entry(found, dict, target).get("as_name"), str, target))
        elif kind == "as_none":
            names.append("")
        else:
            raise Refused(f"{target!r} returns {kind!r}")
    return tuple(names), several


def _argument(argument: dict[str, Any], target: str, used: list[str]) -> Read:
    """How an argument is read when the graph runs; names that it needs are added to ``used``."""
    [(kind, found)] = argument.items()
    if kind in _PLAIN:
        return _constant(_plain(kind, found, target))
    if kind == "as_none":
        return _constant(None)
    if kind in ("as_float", "as_floats"):
        one = _number(found, target) if kind == "as_float" else [_number(x, target) for x in found]
        return _constant(one)
    if kind == "as_scalar_type" and found in DTYPES:
        return _constant(DTYPES[found])
    if kind == "as_memory_format" and found in _FORMATS:
        return _constant(_FORMATS[found])
    if kind == "as_layout" and found == 7:
        return _constant(torch.strided)
    if kind == "as_device":
        return lambda values, device: device  # where the model runs, not where it was exported
    return _named_argument(kind, found, target, used)


def _named_argument(kind: str, found: Any, target: str, used: list[str]) -> Read:
    """An argument that is a result of earlier operators, or a list of them."""
    if kind == "as_tensor":
        return _named(_tensor_name(found), used)
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return _symbolic(found, target, used)
    if kind == "as_tensors":
        return _listed([_named(_tensor_name(one), used) for one in entry(found, list, target)])
    if kind == "as_sym_ints":
        return _listed([_symbolic(one, target, used) for one in entry(found, list, target)])
    if kind in ("as_optional_tensors", "as_optional_tensor"):
        several = found if kind.endswith("s") else [found]
        reads = [_optional(one, target, used) for one in entry(several, list, target)]
        return _listed(reads) if kind.endswith("s") else reads[0]
    raise Refused(f"{target!r} takes {kind!r}")


def _optional(found: Any, target: str, used: list[str]) -> Read:
    tensor = entry(found, dict, target).get("as_tensor")
    return _constant(None) if tensor is None else _named(_tensor_name(tensor), used)


def _symbolic(found: Any, target: str, used: list[str]) -> Read:
    """A number that stands there, or the name of one; never an expression."""
    [(kind, value)] = entry(found, dict, target).items()
    if kind == "as_name":
        return _named(entry(value, str, target), used)
    if kind in ("as_int", "as_float", "as_bool") and isinstance(value, int | float):
        return _constant(value)
    raise Refused(f"{target!r} takes a size {kind!r}")


def _named(name: str, used: list[str]) -> Read:
    used.append(name)
    return lambda values, device: values[name]


def _constant(value: Any) -> Read:
    return lambda values, device: value


def _listed(reads: list[Read]) -> Read:
    return lambda values, device: [read(values, device) for read in reads]


def _plain(kind: str, found: Any, target: str) -> Any:
    value = entry(found, _PLAIN[kind], target)
    if isinstance(value, list):
        return [entry(one, int if kind == "as_ints" else bool, target) for one in value]
    return value


def _number(found: Any, target: str) -> float:
    if isinstance(found, str) and found in _SPELLED:
        return _SPELLED[found]
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Refused(f"{target!r} takes a number that is none")
    return float(found)


def _tensor_name(found: Any) -> str:
    return entry(entry(found, dict, "a tensor").get("name"), str, "a tensor's name")


def _output(signature: Mapping[str, Any]) -> str:
    """The name of the one output."""
    outputs = entry(signature.get("output_specs"), list, "output_specs")
    if len(outputs) != 1 or "user_output" not in entry(outputs[0], dict, "output_specs"):
        raise Refused("the graph returns more than its scores, or changes its own buffers")
    return _tensor_name(
        entry(outputs[0]["user_output"].get("arg"), dict, "output").get("as_tensor")
    )


def _rows(
    program: Mapping[str, Any], graph: Mapping[str, Any], name: str
) -> tuple[int | None, bool]:
    """How many rows the graph takes: any (None), at most so many, or exactly so many."""
    meta = entry(entry(graph.get("tensor_values"), dict, "tensor_values").get(name), dict, name)
    sizes = entry(meta.get("sizes"), list, name)
    if not sizes:
        raise Refused("the graph takes a single number")
    first = entry(sizes[0], dict, name)
    if "as_int" in first:
        return entry(first["as_int"], int, name), True
    text = entry(entry(first.get("as_expr"), dict, name).get("expr_str"), str, name)
    symbol = _SYMBOL.fullmatch(text)
    if symbol is None:
        raise Refused("the number of rows that the graph takes is an expression")
    limits = entry(program.get("range_constraints"), dict, "range_constraints")
    most = entry(limits.get(symbol[1] or symbol[2], {}), dict, "range_constraints").get("max_val")
    return (most, False) if isinstance(most, int) and 0 < most < 2**31 else (None, False)


def _versions(tensors: list[Tensor]) -> list[int]:
    return [0 if value.is_inference() else value._version for value in tensors]
