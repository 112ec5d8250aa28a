"""What the audit costs beside sampling, and what a second process brings.

    python tests/benchmarks/audit.py [--nt-samples 1024] [--images 1] [--net resnet18]

First: of the wall time of an audit of an ImageNet-size net, how much its passes take: noise,
gradient and transform. Second: the wall time of two processes of one thread each over that of one,
on four images. Needs two cores that nobody else uses.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from captum_robust.__main__ import main as command
from captum_robust.attr import smoothed


def main() -> None:
    """Prints both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="resnet18")
    parser.add_argument("--nt-samples", type=int, default=1024)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--methods", default="uniform,sparsified")
    parser.add_argument("--only", choices=("sampling", "processes"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only != "processes":
            sampling(folder, options)
        if options.only != "sampling":
            processes(folder, options)


def arguments(folder: Path, options: argparse.Namespace, images: int, out: str) -> list[str]:
    """An audit of random images of ImageNet's size by an untrained net."""
    data = folder / f"{images}.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (images, 224, 224, 3), dtype=np.uint8)
    np.savez(data, x=pixels)
    return [
        "audit",
        *("--model", f"torchvision:{options.net}", "--data", str(data), "--limit", "all"),
        *("--methods", options.methods, "--nt-samples", str(options.nt_samples)),
        *("--threads", "1", "--out", str(folder / out), "--quiet"),
    ]


def sampling(folder: Path, options: argparse.Namespace) -> None:
    """The share of the wall time that passes take."""
    spent = 0.0
    real = smoothed.SmoothedAttribution._one_pass

    def timed(self: Any, *given: Any) -> Any:
        nonlocal spent
        begun = time.perf_counter()
        try:
            return real(self, *given)
        finally:
            spent += time.perf_counter() - begun

    smoothed.SmoothedAttribution._one_pass = timed  # type: ignore[method-assign]
    begun = time.perf_counter()
    code = command(arguments(folder, options, options.images, "whole"))
    whole = time.perf_counter() - begun
    smoothed.SmoothedAttribution._one_pass = real  # type: ignore[method-assign]
    print(
        f"{options.net}, {options.images} images, N {options.nt_samples}, {options.methods}: "
        f"{whole:.1f} s, of which passes {spent:.1f} s, {100 * spent / whole:.1f} % (exit {code})"
    )


def processes(folder: Path, options: argparse.Namespace) -> None:
    """Wall times of one and of two processes of a thread each, from start to exit."""
    times = {}
    for size in (1, 2):
        given = arguments(folder, options, 4, f"of{size}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        begun = time.perf_counter()
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "captum_robust", *given],
                env=os.environ | environment(rank, size, port),
            )
            for rank in range(size)
        ]
        codes = [process.wait() for process in started]
        times[size] = time.perf_counter() - begun
        print(f"{size} processes: {times[size]:.1f} s (exit {codes})")
    print(f"two over one: {times[2] / times[1]:.2f}")


def environment(rank: int, size: int, port: str) -> dict[str, str]:
    """What torchrun sets."""
    return {
        "OMP_NUM_THREADS": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }


if __name__ == "__main__":
    main()
