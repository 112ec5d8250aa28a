"""What this library relies on in Captum, so that an upgrade of Captum breaks here first."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import captum.attr
import captum.metrics
import captum.robust
import pytest
import torch
from captum.attr import Attribution, IntegratedGradients, NoiseTunnel, Saliency
from captum.attr._utils.attribution import GradientAttribution
from captum.log import log_usage
from torch import nn

import captum_robust
from captum_robust._base import captum_privates
from captum_robust.attr import SmoothedAttribution

PACKAGE = Path(captum_robust.__file__).parent
SIGNATURES = {
    "_expand_and_update_additional_forward_args": ["n_samples", "kwargs"],
    "_expand_and_update_baselines": ["inputs", "n_samples", "kwargs", "draw_baseline_from_distrib"],
    "_expand_and_update_feature_mask": ["n_samples", "kwargs"],
    "_expand_and_update_target": ["n_samples", "kwargs"],
    "_format_additional_forward_args": ["additional_forward_args"],
    "_format_output": ["is_inputs_tuple", "output"],
    "_format_tensor_into_tuples": ["inputs"],
    "_is_tuple": ["inputs"],
    "compute_gradients": ["forward_fn", "inputs", "target_ind", "additional_forward_args"],
    "_run_forward": ["forward_func", "inputs", "target", "additional_forward_args"],
}


def parameters(function):
    return list(inspect.signature(function).parameters)


def test_every_private_name_is_listed_and_every_helper_has_its_signature_checked():
    helpers = {
        name
        for name in captum_privates.__all__
        if inspect.isfunction(getattr(captum_privates, name))
    }
    assert helpers - {"log_usage"} == set(SIGNATURES)


@pytest.mark.parametrize("name", SIGNATURES)
def test_private_helpers_have_the_parameters_we_pass(name):
    expected = SIGNATURES[name]
    found = parameters(getattr(captum_privates, name))
    assert found[: len(expected)] == expected
    rest = list(inspect.signature(getattr(captum_privates, name)).parameters.values())[
        len(expected) :
    ]
    assert all(one.default is not one.empty or one.kind is one.VAR_KEYWORD for one in rest)


def test_helpers_repeat_example_by_example():
    arguments = {
        "target": [1, 2],
        "additional_forward_args": (torch.tensor([5, 6]), "word"),
        "feature_mask": torch.tensor([[1], [2]]),
        "baselines": torch.tensor([[3.0], [4.0]]),
    }
    captum_privates._expand_and_update_target(2, arguments)
    captum_privates._expand_and_update_additional_forward_args(2, arguments)
    captum_privates._expand_and_update_feature_mask(2, arguments)
    captum_privates._expand_and_update_baselines((torch.zeros(2, 1),), 2, arguments)
    assert list(arguments["target"]) == [1, 1, 2, 2]
    extra, word = arguments["additional_forward_args"]
    assert extra.tolist() == [5, 5, 6, 6] and word == "word"
    assert [part.flatten().tolist() for part in arguments["baselines"]] == [[3, 3, 4, 4]]
    masks = arguments["feature_mask"]
    masks = masks if isinstance(masks, tuple) else (masks,)
    assert [part.flatten().tolist() for part in masks] == [[1, 1, 2, 2]]


def test_our_attribute_begins_with_noise_tunnels():
    theirs = inspect.signature(NoiseTunnel.attribute).parameters
    ours = inspect.signature(SmoothedAttribution.attribute).parameters
    positional = [name for name, one in theirs.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert list(ours)[: len(positional)] == positional == list(theirs)[:-1]
    for name in positional:
        assert ours[name].kind is theirs[name].kind
        if name != "stdevs":  # None there stands for Captum's 1.0, so that `radius` can be given
            assert ours[name].default == theirs[name].default
    assert theirs["stdevs"].default == 1.0 and ours["stdevs"].default is None
    added = [one for name, one in ours.items() if name not in theirs]
    assert all(one.kind is one.KEYWORD_ONLY for one in added)


def test_noise_tunnels_constructor_and_moments():
    assert parameters(NoiseTunnel.__init__) == ["self", "attribution_method"]
    assert captum_privates.SUPPORTED_NOISE_TUNNEL_TYPES == [
        "smoothgrad",
        "smoothgrad_sq",
        "vargrad",
    ]
    tunnel = NoiseTunnel(Saliency(nn.Linear(2, 1)))
    for name in ("attribution_method", "is_delta_supported", "is_gradient_method", "forward_func"):
        assert hasattr(tunnel, name)


def test_noise_tunnel_reaches_behind_the_logging_decorator():
    assert "__wrapped__" in inspect.getsource(NoiseTunnel._compute_partial_attribution)
    decorated = log_usage(part_of_slo=True)(lambda: 3)
    assert decorated() == decorated.__wrapped__() == 3
    assert hasattr(SmoothedAttribution.attribute, "__wrapped__")


def test_gradient_methods_compute_by_an_instance_attribute():
    """``differentiable`` replaces it."""
    for kind in (Saliency, captum.attr.InputXGradient, IntegratedGradients):
        method = kind(nn.Linear(2, 1))
        assert isinstance(method, GradientAttribution) and "gradient_func" in vars(method)
        assert parameters(method.gradient_func)[:4] == [
            "forward_fn",
            "inputs",
            "target_ind",
            "additional_forward_args",
        ]


def test_integrated_gradients_marks_batches_of_steps_by_a_keyword():
    source = inspect.getsource(captum.attr._utils.batching._batch_attribution)
    assert "step_sizes_and_alphas=" in source and ".detach()" in source
    assert "step_sizes_and_alphas" in parameters(IntegratedGradients._attribute)


def test_shapley_values_is_a_sampling_method_by_name_only():
    assert issubclass(captum.attr.ShapleyValues, captum.attr.ShapleyValueSampling)
    assert not issubclass(captum.attr.LayerGradientShap, captum.attr.GradientShap)
    assert not issubclass(captum.attr.NeuronGradientShap, captum.attr.GradientShap)


def test_attribution_has_what_we_inherit():
    assert inspect.isfunction(Attribution.has_convergence_delta)
    assert inspect.isfunction(NoiseTunnel.attribute_future)
    assert isinstance(NoiseTunnel.multiplies_by_inputs, property)


@pytest.mark.parametrize("namespace", [captum.attr, captum.metrics, captum.robust])
def test_namespaces_list_their_names(namespace):
    assert isinstance(namespace.__all__, list)


def test_privates_of_captum_are_imported_in_one_place():
    for path in PACKAGE.rglob("*.py"):
        if path.name == "captum_privates.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("captum."):
                private = [part for part in node.module.split(".") if part.startswith("_")]
                private += [one.name for one in node.names if one.name.startswith("_")]
                assert not private, f"{path.name}:{node.lineno}"
