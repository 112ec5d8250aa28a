"""The plan of an audit: what is asked, checked once, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import torch

from captum_robust._base.checks import check_choice, check_count, check_number, check_share_or_count
from captum_robust.audit.ask.methods import METHODS

SWITCHES: Final = ("gray", "attacks", "metrics")
DIGITS: Final = "digits"
ALL: Final = "all"
TARGETS: Final = ("label", "prediction")

Normalization = tuple[tuple[float, ...], tuple[float, ...]]

_OPTIONAL: Final = ("limit", "normalize", "size", "labels", "target", "batch_size", "threads")


@dataclass(frozen=True)
class AuditPlan:
    """Settings of one audit; an error names the option, its rule and what came.

    Attributes:
        methods: names from :data:`~captum_robust.audit.ask.methods.METHODS`, in the report's order.
        noise: per-coordinate standard deviation under every noise law, in input units, > 0.
        nt_samples: noisy copies of each example.
        alpha: each statement is wrong with probability of at most this, in (0, 1).
        epsilon: size of the perturbations that the tables and statements are about, >= 0.
        k: features compared by the overlap, a share in (0, 1] or a count.
        keep: features that the sparsified methods keep, a share in (0, 1] or a count.
        seed: of the split, the training and the noise.
        out: folder of the report.
        device: where the model runs.
        limit: at most so many examples, the first of the data; all where ``None``.
        model: what is explained, see :func:`captum_robust.audit.load.models.load_model`.
        data: the examples, see :func:`captum_robust.audit.load.data.open_data`.
        normalize: means and standard deviations of the channels, applied inside the model.
        size: side of the square that images are brought to; as they are where ``None``.
        gray: whether images have one channel.
        labels: file of ``name,class`` lines of a folder of images.
        target: class explained, ``"label"`` or ``"prediction"``; the label where there is one
            where ``None``.
        batch_size: rows of a pass; chosen by the inputs' size where ``None``.
        threads: of torch on the CPU; one for the digits' network, else torch's own choice, where
            ``None``.
        attacks: whether methods are attacked too.
        metrics: whether robustness metrics are computed too.
    """

    methods: tuple[str, ...] = ("saliency", "uniform", "sparsified")
    noise: float = 0.25
    nt_samples: int = 4096
    alpha: float = 0.05
    epsilon: float = 0.05
    k: int | float = 0.25
    keep: int | float = 0.25
    seed: int = 0
    out: Path = Path("captum-robust-report")
    device: str = "cpu"
    limit: int | None = 12
    model: str = DIGITS
    data: str = DIGITS
    normalize: Normalization | None = None
    size: int | None = None
    labels: Path | None = None
    target: str | None = None
    batch_size: int | None = None
    threads: int | None = None
    gray: bool = False
    attacks: bool = False
    metrics: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name not in _OPTIONAL:
                _CHECKS[field.name](flag(field.name), value)

    @property
    def is_digits(self) -> bool:
        """Whether the library's own small network is what is explained."""
        return self.model == DIGITS

    def as_text(self) -> dict[str, str]:
        """Every option with a value, as the command line takes it; none that was not given."""
        written = asdict(self) | {
            "methods": ",".join(self.methods),
            "k": share_or_count_text(self.k),
            "keep": share_or_count_text(self.keep),
            "limit": ALL if self.limit is None else self.limit,
            "normalize": None if self.normalize is None else normalization_text(self.normalize),
        }
        return {
            name: str(value)
            for name, value in written.items()
            if name not in SWITCHES and value is not None
        }

    def switched_on(self) -> list[str]:
        """The options without a value that are on."""
        return [name for name in SWITCHES if getattr(self, name)]

    def settings(self) -> dict[str, Any]:
        """Every option in JSON types."""
        return asdict(self) | {
            "methods": list(self.methods),
            "out": str(self.out),
            "labels": None if self.labels is None else str(self.labels),
            "normalize": None if self.normalize is None else [*map(list, self.normalize)],
        }


def flag(name: str) -> str:
    """The option of a field, ``nt_samples`` as ``--nt-samples``."""
    return "--" + name.replace("_", "-")


def share_or_count_text(value: int | float) -> str:
    """``10%`` for a share, ``25`` for a count."""
    return str(value) if isinstance(value, int) else f"{100 * value:.12g}%"


def normalization_text(value: Normalization) -> str:
    """Means and standard deviations as the command line takes them.

    Example:
        >>> from captum_robust.audit.ask.plan import normalization_text
        >>> normalization_text(((0.5, 0.25), (1.0,)))
        '0.5,0.25/1'
    """
    return "/".join(",".join(f"{number:.12g}" for number in part) for part in value)


def _check_positive(name: str, value: Any) -> None:
    check_number(name, value, low=0, high=math.inf, open_low=True, open_high=True)


def _check_size(name: str, value: Any) -> None:
    check_number(name, value, low=0, high=math.inf, open_high=True)


def _check_probability(name: str, value: Any) -> None:
    check_number(name, value, low=0, high=1, open_low=True, open_high=True)


def _check_methods(name: str, value: Any) -> None:
    if not value:
        raise ValueError(f"`{name}` must name at least one of {', '.join(METHODS)}, got none.")
    for method in value:
        check_choice(name, method, tuple(METHODS))
    if len(set(value)) != len(value):
        raise ValueError(f"`{name}` must name each method once, got {','.join(value)}.")


def _check_seed(name: str, value: Any) -> None:
    if check_count(name, value, low=0) >= 2**63:
        raise ValueError(f"`{name}` must be below 2**63, got {value}.")


def _check_device(name: str, value: Any) -> None:
    try:
        torch.zeros(1, device=torch.device(value)).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Torch raises AssertionError where it was built without CUDA.
        raise ValueError(f"`{name}` must be a device torch can use here, got {value!r}.") from error


def _check_at_most(most: int) -> Callable[[str, Any], Any]:
    """A check of counts that what comes after can take."""

    def check(name: str, value: Any) -> None:
        if check_count(name, value) > most:
            raise ValueError(f"`{name}` must be at most {most:,}, got {value:,}.")

    return check


def _check_switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be a bool, got {type(value).__name__}.")


def _check_normalization(name: str, value: Any) -> None:
    means, deviations = value
    for mean in means:
        check_number(name, mean, low=-math.inf, high=math.inf, open_low=True, open_high=True)
    for deviation in deviations:
        _check_positive(name, deviation)
    if len({len(means), len(deviations)} - {1}) > 1 or not means or not deviations:
        raise ValueError(
            f"`{name}` must have one mean and one standard deviation a channel, "
            f"got {len(means)} and {len(deviations)}."
        )


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` must be a word, got {value!r}.")


def _check_target(name: str, value: Any) -> None:
    check_choice(name, value, TARGETS)


def _check_path(name: str, value: Any) -> None:
    if not isinstance(value, Path):
        raise TypeError(f"`{name}` must be a Path, got {type(value).__name__}.")


_CHECKS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "methods": _check_methods,
    "noise": _check_positive,
    "nt_samples": _check_at_most(10**9),
    "alpha": _check_probability,
    "epsilon": _check_size,
    "k": check_share_or_count,
    "keep": check_share_or_count,
    "seed": _check_seed,
    "out": _check_path,
    "device": _check_device,
    "limit": check_count,
    "model": _check_text,
    "data": _check_text,
    "normalize": _check_normalization,
    "size": _check_at_most(2**14),
    "labels": _check_path,
    "target": _check_target,
    "batch_size": _check_at_most(2**20),
    "threads": _check_at_most(2**10),
    **dict.fromkeys(SWITCHES, _check_switch),
}
