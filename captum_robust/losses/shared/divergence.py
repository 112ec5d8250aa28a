"""How far one predicted distribution is from another."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from captum_robust._base.precision import at_least_single


def divergence(outputs: Tensor, others: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of each example, ``(N,)``, in nats.

    .. math:: \mathrm{KL}(p \,\|\, q) = \sum_c p_c \log \frac{p_c}{q_c}

    Args:
        outputs: logits of p, ``(N, classes)``.
        others: logits of q, ``(N, classes)``.
    """
    log_p, log_q = (
        functional.log_softmax(at_least_single(part), dim=1) for part in (outputs, others)
    )
    return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
