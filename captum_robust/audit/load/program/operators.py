"""The operators that a model in a file may use: those that compute, and nothing else.

A file is not trusted. Left out of ATen are operators that read or write files (``from_file``,
``save``), that set a tensor's memory (``set_``, ``resize_``) or that draw the generator's state;
a name that is not here is refused before anything runs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import torch

_ACTIVATIONS: Final = """
relu relu6 leaky_relu elu selu celu gelu silu mish hardtanh hardswish hardsigmoid hardshrink
softshrink softplus sigmoid log_sigmoid tanh prelu threshold softmax _softmax log_softmax
_log_softmax glu logit
"""
_LAYERS: Final = """
conv1d conv2d conv3d convolution _convolution conv_transpose1d conv_transpose2d conv_transpose3d
linear addmm addmv mm bmm mv dot matmul baddbmm einsum bilinear outer tensordot
max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d
adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
batch_norm native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
layer_norm native_layer_norm group_norm native_group_norm instance_norm rms_norm
dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout
scaled_dot_product_attention embedding lstm gru rnn_tanh rnn_relu
upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
grid_sampler grid_sampler_2d affine_grid_generator cosine_similarity pairwise_distance cdist
"""
_ELEMENTS: Final = """
add sub mul div rsub floor_divide remainder fmod pow neg abs sign sgn exp exp2 expm1 log log1p log2
log10 sqrt rsqrt reciprocal square sin cos tan asin acos atan atan2 sinh cosh asinh acosh atanh erf
erfc erfinv floor ceil round trunc frac clamp clamp_min clamp_max clip maximum minimum where lerp
addcmul addcdiv logaddexp hypot isnan isinf isfinite nan_to_num positive eq ne lt le gt ge
logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor
__and__ __or__ masked_fill fill zero copy
"""
_REDUCTIONS: Final = """
sum mean prod var std var_mean std_mean max min amax amin aminmax argmax argmin logsumexp cumsum
cumprod topk sort argsort median any all norm frobenius_norm linalg_vector_norm nansum count_nonzero
"""
_SHAPES: Final = """
view reshape flatten unflatten squeeze unsqueeze transpose t permute expand expand_as repeat
repeat_interleave tile cat concat stack split split_with_sizes tensor_split chunk unsafe_chunk
unsafe_split unbind select slice narrow index index_select gather scatter scatter_add index_add
index_put index_copy slice_scatter select_scatter movedim swapaxes roll flip rot90 pixel_shuffle
pixel_unshuffle channel_shuffle pad constant_pad_nd reflection_pad1d reflection_pad2d
reflection_pad3d replication_pad1d replication_pad2d replication_pad3d unfold im2col col2im
diag diagonal diag_embed tril triu broadcast_to view_as reshape_as numpy_T mT adjoint meshgrid
contiguous clone detach alias to _to_copy type_as lift_fresh_copy lift_fresh _unsafe_view as_strided
one_hot sym_size sym_numel sym_stride size
"""
_NEW: Final = """
zeros ones full empty arange linspace eye scalar_tensor zeros_like ones_like full_like empty_like
new_zeros new_ones new_full new_empty
"""
_CHECKS: Final = """
_assert_tensor_metadata _assert_async _assert_scalar sym_constrain_range
sym_constrain_range_for_size
"""

OPERATORS: Final = frozenset(
    " ".join((_ACTIVATIONS, _LAYERS, _ELEMENTS, _REDUCTIONS, _SHAPES, _NEW, _CHECKS)).split()
)

# Of sizes; powers and shifts are left out, since a few bytes of them make numbers without end.
_OF_PYTHON: Final = "eq ne le ge lt gt neg pos mul add sub floordiv mod truediv and_ or_"
_OF_TORCH: Final = "sym_int sym_float sym_max sym_min sym_not"
_OF_SIZES: Final[dict[str, Callable[..., Any]]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in _OF_PYTHON.split()},
    **{f"torch.{name}": getattr(torch, name) for name in _OF_TORCH.split()},
}


def is_known(name: str) -> bool:
    """Whether an operator of ATen is one of these, in place or not.

    Example:
        >>> from captum_robust.audit.load.program.operators import is_known
        >>> is_known("relu"), is_known("relu_"), is_known("from_file")
        (True, True, False)
    """
    return name in OPERATORS or (name.removesuffix("_") in OPERATORS and not name.endswith("__"))


def operator_of(target: str) -> Callable[..., Any] | None:
    """The operator that a graph names, such as ``torch.ops.aten.relu.default``; or None."""
    if target in _OF_SIZES:
        return _OF_SIZES[target]
    parts = target.split(".")
    if parts[:3] != ["torch", "ops", "aten"] or len(parts) != 5 or not is_known(parts[3]):
        return None
    packet = getattr(torch.ops.aten, parts[3], None)
    if packet is None or parts[4] not in packet.overloads():
        return None
    return getattr(packet, parts[4])
