"""Attention that has second derivatives."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch.nn.attention import SDPBackend, sdpa_kernel


def plain_attention() -> AbstractContextManager[None]:
    """Attention by operations that have second derivatives, which the fused kernels lack."""
    return sdpa_kernel(SDPBackend.MATH)
