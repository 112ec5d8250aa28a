"""Wider types: for sums over many values, and for what half precision cannot hold."""

from __future__ import annotations

import torch
from torch import Tensor


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """float64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def wide(tensor: Tensor) -> Tensor:
    """The tensor in the widest type of its device."""
    return tensor.to(accumulation_dtype(tensor.device))


def at_least_single(tensor: Tensor) -> Tensor:
    """The tensor in float32 or wider: squares overflow and drown in half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
