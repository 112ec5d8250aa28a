"""What a person sees while waiting, and what Ctrl-C does."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Final

from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_robust.audit.ask.usage import ExitCode

_SHAPE: Final = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
_PATIENCE: Final = 0.7  # seconds that Ctrl-C leaves to a pass


class Metered(nn.Module):
    """A model that reports the rows of every call.

    Args:
        model: what is called.
        tick: takes the number of rows; what it raises ends the work between two passes.
    """

    def __init__(self, model: nn.Module, tick: Callable[[int], object]) -> None:
        super().__init__()
        self.model, self.tick = model, tick
        self.training = False

    def forward(self, inputs: Tensor) -> Tensor:
        """The model's answer."""
        self.tick(len(inputs))
        return self.model(inputs)


class Progress:
    """A bar over all that is left to do, in rows given to the model; results are counted beside it.

    Args:
        rows: of each result, in turn, as forecast.
        shown: whether there is a bar.
    """

    def __init__(self, rows: Sequence[int], shown: bool) -> None:
        self._ends = [0, *accumulate(max(count, 1) for count in rows)]
        self._done = 0
        self._bar: Any = tqdm(
            total=self._ends[-1], bar_format=_SHAPE, disable=not shown, mininterval=0.5
        )
        self._describe()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def rows(self, count: int) -> None:
        """Counts rows of the present result, of which a forecast is never overrun."""
        self._reach(min(self._bar.n + count, self._end(self._done + 1)))

    def result(self) -> None:
        """Counts a finished result."""
        self._done += 1
        self._describe()
        self._reach(self._end(self._done))

    def _end(self, results: int) -> int:
        return self._ends[min(results, len(self._ends) - 1)]

    def _reach(self, rows: int) -> None:
        self._bar.update(max(0, rows - self._bar.n))

    def say(self, text: str) -> None:
        """A line above the bar."""
        tqdm.write(text, file=sys.stderr)

    def _describe(self) -> None:
        results = f"{self._done} of {len(self._ends) - 1} results"
        self._bar.set_description_str(results, refresh=self._bar.n == 0)


def duration(seconds: float) -> str:
    """A time as a person says it.

    Example:
        >>> from captum_robust.audit.run.progress import duration
        >>> duration(0.4), duration(75), duration(5000), duration(200_000)
        ('1 s', '75 s', '83 min', '56 h')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


@contextmanager
def prompt_interrupt(last_words: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C ends the process within a second inside, also in a long call of native code.

    Python delivers Ctrl-C between two of its own steps, and a backward pass is a single one. A
    second thread waits for the signal, leaves the usual way some time, and then ends the process:
    every result is on the disk by then.

    Args:
        last_words: what is printed in that case.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    hear, ring = socket.socketpair()
    ring.setblocking(False)
    over = threading.Event()

    def guard() -> None:
        while heard := hear.recv(1):
            if heard[0] == signal.SIGINT and not over.wait(_PATIENCE):
                print(f"\n{last_words()}", file=sys.stderr, flush=True)
                os._exit(ExitCode.INTERRUPTED)

    watcher = threading.Thread(target=guard, daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(ring.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        ring.close()
        watcher.join()
        hear.close()
