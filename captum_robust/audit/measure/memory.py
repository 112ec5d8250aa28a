"""Passes that halve themselves where memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import torch

from captum_robust.audit.ask.usage import Skipped

Result = TypeVar("Result")

_ROWS: Final = 128
_ELEMENTS: Final = 2**21
# What torch's allocators say: accelerators', the CPU's on Linux and macOS, and on Windows.
_WORDS: Final = ("out of memory", "can't allocate memory", "not enough memory")

_LOG = logging.getLogger("captum_robust")


def rows_of_a_pass(features: int) -> int:
    """Rows that are run together of inputs of a size; fixed, since it moves the last digits.

    Example:
        >>> from captum_robust.audit.measure.memory import rows_of_a_pass
        >>> rows_of_a_pass(64), rows_of_a_pass(3 * 224 * 224)
        (128, 13)
    """
    return max(1, min(_ROWS, _ELEMENTS // features))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or an accelerator.

    Example:
        >>> from captum_robust.audit.measure.memory import is_out_of_memory
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory")), (
        ...     is_out_of_memory(RuntimeError("shapes differ"))
        ... )
        (True, False)
    """
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _WORDS)


def halving(run: Callable[[int], Result], rows: int) -> tuple[Result, int]:
    """Runs with fewer and fewer rows a pass until memory suffices; returns the rows too.

    Args:
        run: takes the rows of a pass.
        rows: to begin with.

    Raises:
        Skipped: if memory runs out with a single row.
    """
    while True:
        try:
            return run(rows), rows
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if rows == 1:
                raise Skipped("out of memory with a single row a pass", retry=True) from None
        # Outside of the handler, whose traceback holds the tensors that did not fit.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        rows = max(1, rows // 2)
        _LOG.info("out of memory: going on with %d rows a pass", rows)
