"""The only place that imports Captum's private names, so that an upgrade of Captum breaks here."""

from captum._utils.common import (
    _expand_and_update_additional_forward_args,
    _expand_and_update_baselines,
    _expand_and_update_feature_mask,
    _expand_and_update_target,
    _format_additional_forward_args,
    _format_output,
    _format_tensor_into_tuples,
    _is_tuple,
    _run_forward,
)
from captum._utils.gradient import compute_gradients
from captum._utils.typing import BaselineType, TargetType, TensorOrTupleOfTensorsGeneric
from captum.attr._core.noise_tunnel import SUPPORTED_NOISE_TUNNEL_TYPES
from captum.log import log_usage

__all__ = [
    "SUPPORTED_NOISE_TUNNEL_TYPES",
    "BaselineType",
    "TargetType",
    "TensorOrTupleOfTensorsGeneric",
    "_expand_and_update_additional_forward_args",
    "_expand_and_update_baselines",
    "_expand_and_update_feature_mask",
    "_expand_and_update_target",
    "_format_additional_forward_args",
    "_format_output",
    "_format_tensor_into_tuples",
    "_is_tuple",
    "_run_forward",
    "compute_gradients",
    "log_usage",
]
