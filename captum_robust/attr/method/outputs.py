"""What a net returns, checked in words that its user knows."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def checked_output(output: Any) -> Tensor:
    """What a net returned if it is a Tensor of outputs.

    Raises:
        TypeError: saying how to wrap a net that returns something else.
    """
    if isinstance(output, Tensor):
        return output
    fields = [name for name in ("logits", "out", "output") if hasattr(output, name)]
    if isinstance(output, dict):
        fields = [name for name, value in output.items() if isinstance(value, Tensor)]
        take = f'["{fields[0]}"]' if fields else '["logits"]'
    else:
        take = f".{fields[0]}" if fields else "[0]"
    raise TypeError(
        f"the model must return a Tensor of outputs, got {type(output).__name__}; wrap it: "
        f"lambda x: model(x){take}."
    )
