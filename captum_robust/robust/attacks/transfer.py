"""What an attack on one attribution does to others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.examples import usable
from captum_robust.robust.template.attack import AttributionAttack


def transfer(
    attack: AttributionAttack,
    inputs: Any,
    explanation_funcs: Mapping[str, Callable[..., Any]],
    similarity: Callable[[Any, Any], Tensor],
    *,
    target: Any = None,
    explanation_kwargs: Mapping[str, Any] | None = None,
    **attack_kwargs: Any,
) -> dict[str, Tensor]:
    """Attacks one attribution and compares the maps of others before and after, on the same points.

    Wang et al. (2020), section 5.3.

    Args:
        attack: finds the points, on its own attribution.
        inputs: tensors ``(N, *)``.
        explanation_funcs: the other attributions, such as ``Saliency(model).attribute``, by name.
        similarity: two maps in, ``(N,)`` out.
        target: class explained, for the attack and for the others.
        explanation_kwargs: further keywords of every explanation function.
        **attack_kwargs: those of :meth:`AttributionAttack.perturb`.

    Returns:
        By name, the similarity of the clean and the perturbed map, ``(N,)``.

    Example:
        >>> import torch
        >>> from captum.attr import InputXGradient, Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import TopKAttack, transfer
        >>> model = example_model()
        >>> x, others = torch.rand(2, 4), {"x grad": InputXGradient(model).attribute}
        >>> found = transfer(
        ...     TopKAttack(model, Saliency(model), k=2), x, others,
        ...     torch.nn.functional.cosine_similarity,
        ...     target=model(x).argmax(1), radius=0.1, step_num=5)
        >>> found["x grad"].shape
        torch.Size([2])
    """
    perturbed = attack.perturb(inputs, target=target, **attack_kwargs)
    with torch.inference_mode(False):  # maps need graphs
        kwargs = usable({"target": target, **(explanation_kwargs or {})})
        before, after = _as_leaves(inputs), _as_leaves(perturbed)
        return {
            name: similarity(explain(before, **kwargs), explain(after, **kwargs)).detach()
            for name, explain in explanation_funcs.items()
        }


def _as_leaves(inputs: Any) -> Any:
    """Copies that require gradients: Captum neither warns nor changes the user's tensors."""
    if isinstance(inputs, Tensor):
        return inputs.detach().clone().requires_grad_()
    return tuple(part.detach().clone().requires_grad_() for part in inputs)
