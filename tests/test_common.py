"""What every public class and function must do; they are discovered, not listed."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import pickle
from abc import ABC
from pathlib import Path

import pytest
import torch
from captum.attr import Saliency
from torch import nn

import captum_robust
from captum_robust._base.printed import Printed
from captum_robust.attr import SmoothedAttribution, Transform
from captum_robust.certificates import Certificate
from captum_robust.noise import NoiseLaw
from tests.helpers.nets import TwoInputs

NAMESPACES = [
    name for name in captum_robust.__all__ if inspect.ismodule(getattr(captum_robust, name))
]
PACKAGE = Path(captum_robust.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
# How to make what has no default: one entry for each parameter without one.
REQUIRED = {
    "attribution_method": lambda: Saliency(_net()),
    "keep": lambda: 2,
    "bound": lambda: 0.5,
    "share": lambda: 0.1,
    "dim": lambda: -1,
    # For the maps of test_transforms_keep_tuples_inputs_and_state.
    "labels": lambda: (torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[2, 2, 3, 3, 4]]])),
}
# One of several arguments that have defaults, where one must be given.
GIVEN = {"Pool": {"grid": 1}}


def _net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 3)).eval()


def _public(namespace):
    module = importlib.import_module(f"captum_robust.{namespace}")
    return [(namespace, name) for name in module.__all__]


PUBLIC = [entry for namespace in NAMESPACES for entry in _public(namespace)]
TOP_LEVEL = [("", name) for name in captum_robust.__all__ if name not in NAMESPACES]


def _get(entry):
    return getattr(importlib.import_module(f"captum_robust.{entry[0]}".rstrip(".")), entry[1])


def _concrete(kind):
    found = [_get(entry) for entry in PUBLIC]
    classes = [one for one in found if inspect.isclass(one) and issubclass(one, kind)]
    return [one for one in classes if not inspect.isabstract(one) and ABC not in one.__bases__]


def _make(kind, **given):
    wanted = inspect.signature(kind).parameters.values()
    for one in wanted:
        if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD:
            given.setdefault(one.name, REQUIRED[one.name]() if one.name in REQUIRED else None)
    return kind(**(GIVEN.get(kind.__name__, {}) | given))


# -- names and words ---------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_all_is_sorted_complete_and_importable(namespace):
    module = importlib.import_module(f"captum_robust.{namespace}")
    listed = list(module.__all__)

    # ruff's order: constants, then classes, then functions.
    def rank(name):
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    assert listed == sorted(listed, key=rank) and len(set(listed)) == len(listed)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("captum_robust")
        for alias in node.names
    ]
    made = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert {name for name in imported + made if not name.startswith("_")} == set(listed)
    assert getattr(captum_robust, namespace) is module and namespace in captum_robust.__all__


@pytest.mark.parametrize("entry", PUBLIC + TOP_LEVEL, ids=".".join)
def test_is_documented_with_an_example(entry):
    thing = _get(entry)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        pytest.skip("a constant")
    lines = (inspect.getdoc(thing) or "").splitlines()
    assert lines and lines[0].endswith("."), "the first line is a sentence"
    # Without an inherited text: a class is documented by itself.
    assert thing.__doc__
    # A base class is shown by its subclasses, a warning by what warns.
    root = (
        inspect.isclass(thing)
        and set(thing.__bases__) <= {object, Printed}
        and thing.__subclasses__()
    )
    result = inspect.isclass(thing) and "see :func:`" in lines[0]  # shown by what returns it
    base = root or result or inspect.isabstract(thing)
    if not base and not (inspect.isclass(thing) and issubclass(thing, Warning)):
        methods = vars(thing).values() if inspect.isclass(thing) else ()
        texts = [thing.__doc__, *(one.__doc__ or "" for one in methods if callable(one))]
        assert any(">>>" in text for text in texts), "no example that runs"


@pytest.mark.parametrize("entry", PUBLIC + TOP_LEVEL, ids=".".join)
def test_public_methods_and_arguments_are_documented(entry):
    thing = _get(entry)
    if inspect.isfunction(thing):
        text = thing.__doc__ or ""
        # A text may leave to another function what they share; then it links that function.
        wanted = () if ":func:" in text else inspect.signature(thing).parameters
        for name in wanted:
            assert name.strip("_") in text, f"`{name}` is not mentioned"
    if inspect.isclass(thing):
        for name, member in vars(thing).items():
            if name.startswith("_") or not inspect.isfunction(member):
                continue
            inherited = inspect.getdoc(getattr(thing, name))
            assert inherited, f"{name} has no text"


# What a net, a user's argument, zennit or a question of any shape hands over has no type of ours.
ANYTHING = {
    "per_example", "shared", "composite", "SoftplusSurrogate.forward", "Question.answer",
    "Question.reached", "default_step_size", "RuleAttribution.attribute",
}  # fmt: skip


def _functions(entry):
    """A public function, or the public methods that a class defines itself, with their names."""
    thing = _get(entry)
    if inspect.isfunction(thing):
        yield entry[1], thing
    for name, member in vars(thing).items() if inspect.isclass(thing) else ():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isfunction(function) and not name.startswith("_"):
            yield f"{entry[1]}.{name}", inspect.unwrap(function)


@pytest.mark.parametrize("entry", PUBLIC + TOP_LEVEL, ids=".".join)
def test_public_callables_are_annotated_and_return_more_than_any(entry):
    for label, function in _functions(entry):
        signature = inspect.signature(function)
        for one in signature.parameters.values():
            assert one.annotation is not one.empty or one.name in ("self", "cls"), (label, one)
        assert signature.return_annotation is not signature.empty, label
        if label not in ANYTHING and label.rpartition(".")[2] not in ANYTHING:
            assert signature.return_annotation != "Any", label


# -- transforms and noise laws -----------------------------------------------------------------


@pytest.mark.parametrize("kind", _concrete(Transform), ids=lambda kind: kind.__name__)
def test_transforms_keep_tuples_inputs_and_state(kind):
    transform = _make(kind)
    maps = (torch.randn(3, 2, 4), torch.randn(3, 1, 5))
    before = tuple(part.clone() for part in maps)
    result = transform(maps)
    assert isinstance(result, tuple) and len(result) == 2
    assert all(torch.equal(one, two) for one, two in zip(maps, before, strict=True))
    assert [part.shape[1:] for part in result] == list(
        transform.shapes([part.shape[1:] for part in maps])
    )
    for twin in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert repr(twin) == repr(transform)
        assert all(torch.equal(a, b) for a, b in zip(twin(maps), result, strict=True))
    assert isinstance(transform.differentiable, bool)


@pytest.mark.parametrize("kind", _concrete(NoiseLaw), ids=lambda kind: kind.__name__)
def test_noise_laws_are_values(kind):
    law = _make(kind)
    twins = (copy.deepcopy(law), pickle.loads(pickle.dumps(law)), kind())
    assert all(twin == law and hash(twin) == hash(law) for twin in twins)
    assert repr(law) == f"{kind.__name__}()" and law.name and law.norm in ("l1", "l2")


# -- attributions ------------------------------------------------------------------------------

SMOOTHED = _concrete(SmoothedAttribution)


def test_attributions_are_found():
    assert len(SMOOTHED) >= 8 and len(_concrete(Transform)) >= 9 and len(_concrete(NoiseLaw)) >= 3


@pytest.mark.parametrize("kind", SMOOTHED, ids=lambda kind: kind.__name__)
def test_attributions_take_tensors_and_tuples(kind):
    inputs = (torch.randn(4, 6, requires_grad=True), torch.randn(4, 2, 3))
    before = [part.detach().clone() for part in inputs]
    one = _make(kind).attribute(inputs[0], target=1, nt_samples=3, stdevs=0.1)
    assert isinstance(one, torch.Tensor) and one.shape == (4, 6) and not one.requires_grad
    pair = _make(kind, attribution_method=Saliency(TwoInputs(6, 6, activation=nn.Softplus).eval()))
    both = pair.attribute(inputs, target=torch.tensor([0, 1, 2, 0]), nt_samples=3, stdevs=0.1)
    assert isinstance(both, tuple) and [part.shape for part in both] == [(4, 6), (4, 2, 3)]
    single = _make(kind).attribute(inputs[:1], target=1, nt_samples=3, stdevs=0.1)
    assert isinstance(single, tuple) and len(single) == 1
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))
    assert inputs[0].requires_grad and inputs[0].grad is None and not inputs[1].requires_grad


@pytest.mark.parametrize("kind", SMOOTHED, ids=lambda kind: kind.__name__)
def test_attributions_print_copy_and_pickle(kind):
    smooth, inputs = _make(kind), torch.randn(3, 6)
    assert repr(smooth).startswith(f"{kind.__name__}(Saliency, ") and "noise" in repr(smooth)
    maps = smooth.attribute(inputs, target=0, seed=1, stdevs=0.2)
    for twin in (copy.deepcopy(smooth), pickle.loads(pickle.dumps(smooth))):
        assert repr(twin) == repr(smooth)
        assert torch.equal(twin.attribute(inputs, target=0, seed=1, stdevs=0.2), maps)


@pytest.mark.parametrize("kind", SMOOTHED, ids=lambda kind: kind.__name__)
def test_attributions_name_the_questions_they_answer(kind):
    questions = kind.certificate_questions
    assert len(set(questions)) == len(questions)
    if kind is not SmoothedAttribution:
        assert {"overlap", "cosine"} <= set(questions)


def test_certificates_copy_and_pickle():
    smooth = _make(captum_robust.attr.SparsifiedSmoothGrad)
    certificate = smooth.certify(torch.randn(2, 6), target=0, stdevs=0.5, nt_samples=50, seed=0)
    assert isinstance(certificate, Certificate)
    for twin in (copy.deepcopy(certificate), pickle.loads(pickle.dumps(certificate))):
        ours, theirs = (one.overlap(epsilon=0.02, k=2) for one in (certificate, twin))
        assert torch.equal(torch.as_tensor(ours), torch.as_tensor(theirs))


# -- the source itself -------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_library_code_has_no_asserts_broad_catches_or_prints(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Assert), where
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""
            assert caught not in ("", "Exception", "BaseException"), where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name = node.func.id
            assert name != "print" or {"audit", "__main__.py"} & {*path.parts}, where


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_can_be_read_in_one_sitting(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = node.body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines < 60, f"{path.name}: {node.name} has {lines} lines"
