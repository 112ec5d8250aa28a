"""Models as files of ``torch.export``: their graph, for any number of rows."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from captum_robust.audit.ask.usage import OF_USER_CODE
from captum_robust.audit.load.program.archive import Refused, read_archive
from captum_robust.audit.load.program.graph import Graph


class InChunks(nn.Module):
    """A model that takes so many rows and no others, given any number of them.

    Args:
        model: takes ``rows`` rows, or at most so many.
        rows: of one call.
        exact: whether it takes exactly so many; the last chunk is then filled up.
    """

    def __init__(self, model: nn.Module, rows: int, exact: bool) -> None:
        super().__init__()
        self.model, self.rows, self.exact = model, rows, exact
        self.training = False

    def forward(self, inputs: Tensor) -> Tensor:
        """The scores of all rows."""
        return torch.cat([self._scores(chunk) for chunk in inputs.split(self.rows)])

    def _scores(self, chunk: Tensor) -> Tensor:
        missing = self.rows - len(chunk)
        if not self.exact or not missing:
            return self.model(chunk)
        filled = torch.cat([chunk, chunk[-1:].detach().expand(missing, *chunk.shape[1:])])
        return self.model(filled)[: len(chunk)]


def load_exported(path: Path) -> nn.Module:
    """The graph of a ``torch.export`` file, for any number of rows.

    Raises:
        Refused: if it holds anything that is not on the list of what a graph may hold.
    """
    try:
        model = Graph(read_archive(path))
    except Refused:
        raise
    except OF_USER_CODE as error:  # whatever an entry of another kind leads to
        raise Refused(f"it is not in the form of torch.export ({type(error).__name__})") from None
    return model if model.rows is None else InChunks(model, model.rows, model.exact)
