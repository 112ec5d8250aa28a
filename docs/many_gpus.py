"""Certifies with several processes: ``torchrun --nproc-per-node 2 docs/many_gpus.py``."""

from __future__ import annotations

import torch
import torch.distributed as dist
from captum.attr import Saliency
from torch import nn

from captum_robust.attr import SparsifiedSmoothGrad


def main() -> None:
    """Each process certifies every n-th example; the first prints the answers of all."""
    gpus = torch.cuda.is_available()
    dist.init_process_group("nccl" if gpus else "gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", rank % torch.cuda.device_count()) if gpus else "cpu"

    torch.manual_seed(0)  # your model and data here, the same in every process
    model = nn.Sequential(nn.Linear(12, 16), nn.Softplus(), nn.Linear(16, 3)).eval().to(device)
    inputs = torch.rand(7, 12).to(device)
    target = model(inputs).argmax(1)

    mine = list(range(rank, len(inputs), processes))
    certificate = SparsifiedSmoothGrad(Saliency(model), keep=3).certify(
        inputs[mine],
        target=target[mine],
        stdevs=0.25,
        nt_samples=512,
        seed=0,
        example_ids=mine,
    )
    answers = dict(zip(mine, certificate.overlap(epsilon=0.02, k=3).tolist(), strict=True))
    gathered: list[dict[int, float]] = [{} for _ in range(processes)]
    dist.all_gather_object(gathered, answers)
    if rank == 0:
        for example, share in sorted(pair for part in gathered for pair in part.items()):
            print(example, round(share, 4))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
