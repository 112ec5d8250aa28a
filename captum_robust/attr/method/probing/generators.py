"""The global random generators that methods and models draw from: torch's, numpy's, Python's."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GeneratorStates:
    """Where the global generators stand."""

    torch_cpu: Tensor
    cuda: dict[torch.device, Tensor]
    numpy: Any
    python: Any

    @classmethod
    def of(cls, tensors: Iterable[Tensor]) -> GeneratorStates:
        """The states now; of CUDA's generators those on the tensors' devices."""
        devices = {tensor.device for tensor in tensors if tensor.is_cuda}
        return cls(
            torch.get_rng_state(),
            {device: torch.cuda.get_rng_state(device) for device in devices},
            np.random.get_state(),
            random.getstate(),
        )

    def restore(self) -> None:
        """Puts the generators back."""
        torch.set_rng_state(self.torch_cpu)
        for device, state in self.cuda.items():
            torch.cuda.set_rng_state(state, device)
        np.random.set_state(self.numpy)
        random.setstate(self.python)

    def moved(self) -> bool:
        """Whether anything was drawn from one of them, or one was seeded, since."""
        numpy_now: Any = np.random.get_state()
        cuda = self.cuda
        return (
            not torch.equal(self.torch_cpu, torch.get_rng_state())
            or any(not torch.equal(cuda[d], torch.cuda.get_rng_state(d)) for d in cuda)
            or self.numpy[2:] != numpy_now[2:]
            or not np.array_equal(self.numpy[1], numpy_now[1])
            or self.python != random.getstate()
        )


@contextmanager
def generators_kept(tensors: Iterable[Tensor], seed: int | None = None) -> Iterator[None]:
    """Leaves the global generators where they were.

    Args:
        tensors: on the devices whose generators are meant, beside the CPU's.
        seed: what they are seeded with inside; they go on from where they stand if ``None``.
    """
    before = GeneratorStates.of(tensors)
    if seed is not None:
        seed_generators(seed, before.cuda)
    try:
        yield
    finally:
        before.restore()


def seed_generators(seed: int, devices: Iterable[torch.device]) -> None:
    """Seeds the CPU's generators and those of some CUDA devices."""
    torch.random.default_generator.manual_seed(seed)
    for device in devices:
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
