"""Evaluators of maps under attack: over radii, over other attributions, and the area below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_robust._base.checks import check_number
from captum_robust._base.precision import wide
from captum_robust._base.vectors import Tensors
from captum_robust.metrics.evaluators.batch import Batch, Explain, Forward
from captum_robust.metrics.evaluators.evaluation import Evaluation, join
from captum_robust.metrics.evaluators.perturbation import Attack, AttackKwargs
from captum_robust.metrics.evaluators.returns import evaluator, evaluator_by_name
from captum_robust.metrics.evaluators.run import (
    Measure,
    Options,
    Originals,
    RunningResult,
    compare_by,
)
from captum_robust.metrics.similarities.similarity import Similarity
from captum_robust.metrics.similarities.values.cosine_similarity import cosine_similarity


@evaluator
def attack_robustness(
    explanation_func: Explain,
    inputs: Tensors,
    attack: Any,
    similarity: Similarity | str = cosine_similarity,
    *,
    radii: float | Sequence[float],
    attack_kwargs: AttackKwargs = None,
    forward_func: Forward | None = None,
    on_prediction_change: Literal["keep", "nan"] = "keep",
    return_perturbed: bool = False,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> Tensor | Evaluation:
    r"""Similarity of an input's map to its map under attack, for each radius.

    .. math:: S\bigl(g(x), g(x_\epsilon)\bigr),\quad \|x_\epsilon - x\| \le \epsilon

    The experiments of Ghorbani et al. (2019) and Wang et al. (2020), section 5. What one attack
    reached: an upper bound on the similarity at the worst point of the ball (a lower one for a
    distance), as good as the attack is. An input that the attack returns unmoved, as those of this
    library do where the prediction is not ``target``, has equal maps.

    Args:
        explanation_func: such as ``Saliency(model).attribute``.
        inputs: what is explained, ``(N, *)``, or a tuple.
        attack: an attack of this library or of Captum, such as ``PGD(model)``, or a function with
            the words of its ``perturb``; its budget is called ``radius`` or ``epsilon``.
        similarity: a similarity of this module or its name, or any other function of two maps; its
            own options are bound by :func:`functools.partial`. Called as
            ``similarity(original, perturbed)``.
        radii: budgets of the attack >= 0, in input units; one, or one for each column. At 0 the
            attack is not run: the only point is the input.
        attack_kwargs: the other arguments of ``perturb``, such as ``step_size`` and ``step_num``,
            or a function of the radius that gives them. ``target`` and
            ``additional_forward_args`` are passed on from ``kwargs`` unless given here.
        forward_func, on_prediction_change, return_perturbed: shared by all evaluators, see
            :mod:`captum_robust.metrics`.
        max_examples_per_batch, seed, show_progress: likewise; the seed goes to an attack that
            takes one.
        **kwargs: passed to ``explanation_func``.

    Returns:
        Values in the range of ``similarity``, float64, ``(N, R)`` for a sequence of R radii and
        ``(N,)`` for one number; more robust at the end where maps are alike. An
        :class:`Evaluation` with ``forward_func`` or ``return_perturbed``; this one evaluator keeps
        the perturbed inputs and maps of all radii, ``(N, R, *)``, when asked to return them.

    Raises:
        ValueError: if an argument is out of range, or a map or perturbed input is not finite.
        TypeError: if the attack takes neither ``radius`` nor ``epsilon``.

    Example:
        >>> import torch
        >>> from captum.attr import InputXGradient
        >>> from captum.robust import FGSM
        >>> from captum_robust.metrics import attack_robustness
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=1))
        >>> x, attack = torch.ones(2, 4), FGSM(model)
        >>> explain = InputXGradient(model).attribute
        >>> attack_robustness(explain, x, attack, radii=[0.1, 0.2, 0.4], target=1).shape
        torch.Size([2, 3])
    """
    found = _over_radii(
        {"": Batch.of(explanation_func, inputs, kwargs)},
        Attack(attack, attack_kwargs, seed),
        compare_by(similarity),
        radii,
        Options(
            forward_func,
            on_prediction_change,
            return_perturbed,
            max_examples_per_batch,
            show_progress,
        ),
    )
    return found[""]


@evaluator_by_name
def transfer_robustness(
    explanation_funcs: Mapping[str, Explain],
    inputs: Tensors,
    attack: Any,
    similarity: Similarity | str = cosine_similarity,
    *,
    radii: float | Sequence[float],
    attack_kwargs: AttackKwargs = None,
    forward_func: Forward | None = None,
    on_prediction_change: Literal["keep", "nan"] = "keep",
    return_perturbed: bool = False,
    max_examples_per_batch: int | None = None,
    seed: int | None = None,
    show_progress: bool = False,
    **kwargs: Any,
) -> dict[str, Tensor | Evaluation]:
    r"""How well points that attack one attribution attack others.

    .. math:: S\bigl(g_m(x), g_m(x_\epsilon)\bigr) \text{ for each attribution } g_m

    at the same points :math:`x_\epsilon`, attacked once: Wang et al. (2020), section 5.3 and
    appendix C4. The attack knows the attribution it was built with.

    Args:
        explanation_funcs: the attributions to judge, by name; bind arguments that only one takes
            by :func:`functools.partial`.
        inputs, attack, similarity, radii, attack_kwargs: as in :func:`attack_robustness`.
        forward_func, on_prediction_change, return_perturbed: shared by all evaluators, see
            :mod:`captum_robust.metrics`.
        max_examples_per_batch, seed, show_progress: likewise.
        **kwargs: passed to every explanation function.

    Returns:
        For each name what :func:`attack_robustness` returns; range, direction and meaning as there.

    Raises:
        ValueError: as :func:`attack_robustness`, or if there is no explanation function.
        TypeError: if the attack takes neither ``radius`` nor ``epsilon``.

    Example:
        >>> import torch
        >>> from captum.attr import InputXGradient, Saliency
        >>> from captum.robust import FGSM
        >>> from captum_robust.metrics import transfer_robustness
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=1))
        >>> funcs = {"SM": Saliency(model).attribute, "I*G": InputXGradient(model).attribute}
        >>> found = transfer_robustness(funcs, torch.ones(2, 4), FGSM(model), radii=0.1, target=1)
        >>> {name: tuple(values.shape) for name, values in found.items()}
        {'SM': (2,), 'I*G': (2,)}
    """
    if not isinstance(explanation_funcs, Mapping) or not explanation_funcs:
        raise ValueError(
            "`explanation_funcs` must map at least one name to an explanation function, "
            f"got {explanation_funcs!r}."
        )
    return _over_radii(
        {name: Batch.of(func, inputs, kwargs) for name, func in explanation_funcs.items()},
        Attack(attack, attack_kwargs, seed),
        compare_by(similarity),
        radii,
        Options(
            forward_func,
            on_prediction_change,
            return_perturbed,
            max_examples_per_batch,
            show_progress,
        ),
    )


def transfer(
    attack: Any,
    inputs: Tensors,
    explanation_funcs: Mapping[str, Explain],
    similarity: Similarity,
    *,
    target: Any = None,
    explanation_kwargs: Mapping[str, Any] | None = None,
    **attack_kwargs: Any,
) -> dict[str, Tensor]:
    """What ``captum_robust.robust.transfer`` was: :func:`transfer_robustness` at one budget."""

    def perturb(inputs: Tensors, radius: float, target: Any = None) -> Tensors:
        return attack.perturb(inputs, target=target, **attack_kwargs)

    words = {"target": target, **(explanation_kwargs or {})}
    return transfer_robustness(explanation_funcs, inputs, perturb, similarity, radii=1.0, **words)


def area_under_log_radius(values: Tensor, radii: Sequence[float]) -> Tensor:
    r"""Area under a curve over the binary logarithm of the radius.

    .. math:: \sum_{i<R} \tfrac12 (v_i + v_{i+1}) \log_2 \frac{\epsilon_{i+1}}{\epsilon_i}

    The trapezoid of Wang et al. (2020), Fig. 2a: over radii 2, 4, 8, 16 a similarity of 1 has the
    area 3. The area of a mean over examples is the mean of their areas.

    Args:
        values: of a similarity for each radius, ``(*, R)``.
        radii: at least two, increasing, > 0; their unit does not matter.

    Returns:
        Areas ``(*)``, float64, in [0, log2(last / first)] for values in [0, 1]; higher is more
        robust for a similarity, lower for a distance.

    Raises:
        ValueError: if the radii do not increase, or their number differs from that of the values.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import area_under_log_radius
        >>> area_under_log_radius(torch.tensor([[1.0, 1.0, 1.0, 1.0]]), [2, 4, 8, 16])
        tensor([3.], dtype=torch.float64)
    """
    steps = [check_number("radii", radius, low=0, open_low=True) for radius in radii]
    if len(steps) < 2 or any(a >= b for a, b in pairwise(steps)):
        raise ValueError(f"`radii` must be two or more increasing numbers, got {list(radii)}.")
    if values.dim() == 0 or values.shape[-1] != len(steps):
        raise ValueError(
            f"`values` must have one column for each of the {len(steps)} radii, "
            f"got shape {tuple(values.shape)}."
        )
    values = wide(values)
    return torch.trapezoid(values, torch.log2(values.new_tensor(steps)), dim=-1)


def _over_radii(
    batches: dict[str, Batch],
    attack: Attack,
    measure: Measure,
    radii: float | Sequence[float],
    options: Options,
) -> dict[str, Tensor | Evaluation]:
    """Attacks once for each radius and chunk, and judges every batch at the same points."""
    budgets = [
        check_number("radii", radius, low=0, high=float("inf"), open_high=True)
        for radius in (radii if isinstance(radii, Iterable) else [radii])
    ]
    if not budgets:
        raise ValueError("`radii` must hold at least one radius, got an empty sequence.")
    first = next(iter(batches.values()))
    parts: list[list[Evaluation]] = [[] for _ in batches]
    with options.progress(len(first) * len(budgets), "attacks") as bar:
        for chunks in zip(*map(options.chunks, batches.values()), strict=True):
            columns = _columns(chunks, attack, measure, budgets, options, len(first), bar)
            for part, column in zip(parts, columns, strict=True):
                several = isinstance(radii, Iterable)
                part.append(join(column, 1, stack=True) if several else column[0])
    return {
        name: options.result(join(part), is_tuple=first.is_tuple)
        for name, part in zip(batches, parts, strict=True)
    }


def _columns(
    chunks: tuple[Batch, ...],
    attack: Attack,
    measure: Measure,
    budgets: Sequence[float],
    options: Options,
    examples: int,
    bar: tqdm,
) -> list[list[Evaluation]]:
    """For each way of explaining one chunk, an evaluation at each budget of the attack."""
    # The prediction does not depend on the explanation: one look serves all.
    originals = [
        Originals(chunk, None if number else options.forward_func)
        for number, chunk in enumerate(chunks)
    ]
    columns: list[list[Evaluation]] = [[] for _ in chunks]
    for budget in budgets:
        points = attack(chunks[0], budget, examples)
        changed = originals[0].changed(chunks[0], points)
        for column, chunk, original in zip(columns, chunks, originals, strict=True):
            found = RunningResult(len(chunk), options, "mean", largest_is_worst=True)
            comparison = original.compare(chunk, points, changed)
            found.add(measure(comparison), comparison)
            column.append(found.evaluation())
        bar.update(len(chunks[0]))
    return columns
