"""Several processes on one audit, as ``torchrun`` starts them; one process works alone."""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import timedelta
from types import TracebackType
from typing import Any, Final

import torch
from torch import distributed

from captum_robust.audit.ask.usage import AuditFailure, ExitCode, UsageError

_BEAT: Final = 1.0  # seconds between two signs of life
_SILENCE: Final = 20.0  # seconds without one after which a process is taken for dead
_GRACE: Final = 15.0  # seconds that the others have to end by themselves
_TIMEOUT: Final = timedelta(seconds=60)
_POLL: Final = 0.05


class Processes:
    """The processes of one audit; a context that tells the others how it ended.

    Examples are shared out; no numbers are exchanged but through the journal. Each process gives
    signs of life in the store of ``torch.distributed``; where one falls silent or fails, all others
    end within a minute.

    Args:
        device: of the plan; decides which back ends the process group has.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.size = _place("RANK", 0), _place("WORLD_SIZE", 1)
        self._device = device
        self._store: Any = None
        self._failure: str | None = None
        self._over = threading.Event()
        self._seen: dict[int, tuple[int, float]] = {}
        self._met = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes the plan and the report."""
        return self.rank == 0

    @property
    def device(self) -> str:
        """The plan's device, one accelerator for each process of a machine."""
        kind = torch.device(self._device).type
        if self.size == 1 or kind != "cuda" or ":" in self._device:
            return self._device
        return f"cuda:{_place('LOCAL_RANK', 0) % max(torch.cuda.device_count(), 1)}"

    def __enter__(self) -> Processes:
        if self.size == 1:
            return self
        try:
            store, _, _ = next(distributed.rendezvous("env://", timeout=_TIMEOUT))
            self._store = distributed.PrefixStore("captum_robust", store)
            distributed.init_process_group(
                backend="cpu:gloo,cuda:nccl" if self.device.startswith("cuda") else "gloo",
                store=distributed.PrefixStore("group", store),
                rank=self.rank,
                world_size=self.size,
                timeout=_TIMEOUT,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise AuditFailure(f"the processes cannot meet: {_line(error)}") from None
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.size == 1 or self._store is None:
            return
        self._over.set()
        self._watcher.join(timeout=2 * _BEAT)
        if error is not None:
            # Without ceremony: the group may wait for a process that is gone.
            self._tell(f"end/{self.rank}", _line(error))
            return
        self._add("left", 1)
        patience = time.monotonic() + _GRACE
        # The leader may be the one who keeps the store.
        while self.leads and self._add("left", 0) < self.size and time.monotonic() < patience:
            time.sleep(_POLL)
        distributed.destroy_process_group()

    def check(self) -> None:
        """Raises where another process has failed; to be called between passes.

        Raises:
            AuditFailure: naming the process.
        """
        if self._failure is not None:
            raise AuditFailure(self._failure)

    def share(self, value: Any) -> Any:
        """The leader's value, in every process."""
        if self.size == 1:
            return value
        self.meet("share")
        held = [value]
        try:
            distributed.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        except RuntimeError as error:
            self.check()
            raise AuditFailure(f"the processes lost each other: {_line(error)}") from None
        return held[0]

    def meet(self, place: str) -> None:
        """Waits until every process is here, however long that takes, while all are alive."""
        if self.size == 1:
            return
        self._met += 1  # every process meets in the same order
        key = f"meet/{place}/{self._met}"
        self._add(key, 1)
        while self._add(key, 0) < self.size:
            self.check()
            time.sleep(_POLL)

    def _watch(self) -> None:
        """Gives signs of life and looks for those of the others, in a thread of its own."""
        while not self._over.wait(_BEAT):
            self._add(f"beat/{self.rank}", 1)
            self._failure = self._failure or self._silent()
            if self._failure is not None:
                if not self._over.wait(_GRACE):
                    print(f"captum-robust: {self._failure}; ended.", file=sys.stderr, flush=True)
                    os._exit(ExitCode.FAILED)  # caught in a call that does not come back
                return

    def _silent(self) -> str | None:
        """What is wrong with another process, if anything is."""
        now = time.monotonic()
        for rank in range(self.size):
            if rank == self.rank:
                continue
            beats = self._add(f"beat/{rank}", 0)
            before, since = self._seen.setdefault(rank, (beats, now))
            if beats != before:
                self._seen[rank] = (beats, now)
            reason = self._told(f"end/{rank}")
            if reason is not None:
                return f"process {rank} ended: {reason}"
            if now - since > _SILENCE and beats == before and not self._told(f"done/{rank}"):
                return f"process {rank} has given no sign of life for {_SILENCE:.0f} s"
        return None

    def done(self) -> None:
        """Says that this process has nothing left; the leader waits for all others."""
        if self.size == 1:
            return
        self._tell(f"done/{self.rank}", "yes")
        self.meet("done")

    def _add(self, key: str, amount: int) -> int:
        try:
            return int(self._store.add(key, amount))
        except RuntimeError as error:
            self._failure = self._failure or f"process 0 is gone: {_line(error)}"
            return 0

    def _tell(self, key: str, text: str) -> None:
        try:
            self._store.set(key, text)
        except RuntimeError as error:
            self._failure = self._failure or f"process 0 is gone: {_line(error)}"

    def _told(self, key: str) -> str | None:
        try:
            return self._store.get(key).decode() if self._store.check([key]) else None
        except RuntimeError as error:
            self._failure = self._failure or f"process 0 is gone: {_line(error)}"
            return None


def _place(name: str, default: int) -> int:
    """A whole number that ``torchrun`` set."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise UsageError(f"the environment's {name} must be a whole number, got {text!r}.")
    return int(text)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
