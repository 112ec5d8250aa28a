"""Whether a model answers row by row, which samples in passes of any size rest on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captum_robust.attr.method.probing.probe import probe
from captum_robust.audit.ask.usage import OF_USER_CODE, UsageError, first_line
from captum_robust.audit.load.program.exported import InChunks


def row_by_row(model: nn.Module, example: Tensor) -> nn.Module:
    """The model, or one that hands it single rows where it takes no others.

    Args:
        model: of the user.
        example: a first input, ``(1, C, H, W)``.

    Raises:
        UsageError: if it cannot take the example, or what it says of a row is not its own.
    """
    try:
        alone = _scores(model, example)
    except OF_USER_CODE as error:
        raise UsageError(
            f"`--model` cannot take the examples, float32 of shape {tuple(example.shape[1:])}: "
            f"{first_line(error)} Try --normalize, and --size or --gray for a folder of images."
        ) from None
    if not isinstance(alone, Tensor):
        raise UsageError(
            f"`--model` must give scores (rows, classes) as a Tensor, got {type(alone).__name__}. "
            "Wrap the model in one whose forward returns its scores alone."
        )
    if alone.dim() != 2 or len(alone) != 1 or alone.shape[1] < 2:
        raise UsageError(
            "`--model` must give scores (rows, classes) of at least two classes, "
            f"got shape {tuple(alone.shape)} of one row."
        )
    if _answers_row_by_row(model, example):
        return model
    single = InChunks(model, 1, exact=True)
    if _answers_row_by_row(single, example):
        return single
    raise UsageError(
        "`--model` must answer each row by itself and always the same: its answer to one row "
        "changes from call to call or with the other rows, as Dropout's and BatchNorm's do in "
        "training mode. Call model.eval() before it is exported."
    )


def _answers_row_by_row(model: nn.Module, example: Tensor) -> bool:
    """Whether a row's scores are its own, whichever rows stand beside it and however often."""
    rows = torch.cat([example, example.flip(-1) * 0.5])
    try:
        seen = probe(lambda numbers: _scores(model, rows[numbers]), model, [example])
    except OF_USER_CODE:  # it takes single rows only
        return False
    # A score that is not finite is the example's fault and shows where it is explained.
    return seen.sound


def _scores(model: nn.Module, rows: Tensor) -> Tensor:
    with torch.no_grad():
        return model(rows)
