"""The options of ``audit``: their texts, and the plan that they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.plan import ALL, SWITCHES, AuditPlan, Normalization, flag
from captum_robust.audit.ask.usage import UsageError


@dataclass(frozen=True)
class Option:
    """One option: how its text is read, what it means, and what holds without it."""

    metavar: str
    read: Callable[[str], Any]
    help: str
    otherwise: str = ""


def share_or_count(text: str) -> int | float:
    """Reads ``10%`` as a share and ``25`` as a count.

    Example:
        >>> from captum_robust.audit.ask.options import share_or_count
        >>> share_or_count("10%"), share_or_count("25")
        (0.1, 25)
    """
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else int(text)
    except ValueError:
        raise ValueError(f"a share such as 10% or a count such as 25, got {text!r}.") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a number, got {text!r}.") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"a whole number, got {text!r}.") from None


def _count_or_all(text: str) -> int | None:
    return None if text == ALL else _whole(text)


def read_normalization(text: str) -> Normalization:
    """Reads means and standard deviations of the channels.

    Example:
        >>> from captum_robust.audit.ask.options import read_normalization
        >>> read_normalization("0.5,0.4,0.3/0.25")
        ((0.5, 0.4, 0.3), (0.25,))
    """
    parts = text.split("/")
    if len(parts) != 2:
        raise ValueError(f"means and standard deviations such as 0.5/0.25, got {text!r}.")
    means, deviations = (tuple(_number(word) for word in part.split(",")) for part in parts)
    return means, deviations


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


OPTIONS: Final[dict[str, Option]] = {
    "model": Option(
        "MODEL",
        str,
        "digits, a torch.export or TorchScript file, torchvision:NAME[:WEIGHTS], or "
        "module:factory, which runs that code",
    ),
    "data": Option("DATA", str, "digits, a folder of images, or an .npz file with x and y"),
    "normalize": Option(
        "MEAN/STD",
        read_normalization,
        "of the channels, such as 0.485,0.456,0.406/0.229,0.224,0.225",
        "none",
    ),
    "size": Option("S", _whole, "images of a folder as central squares of side S", "as they are"),
    "labels": Option("FILE", Path, "lines name,class of a folder's images", "none"),
    "target": Option(
        "CLASS", str, "class explained, label or prediction", "label where there are labels"
    ),
    "methods": Option("NAMES", _names, f"comma-separated, of {', '.join(METHODS)}"),
    "noise": Option("SD", _number, "standard deviation of the noise in each feature"),
    "nt_samples": Option("N", _whole, "noisy copies of each example"),
    "alpha": Option("P", _number, "probability of error of each statement"),
    "epsilon": Option("E", _number, "size of the perturbations that the statements are about"),
    "k": Option("K", share_or_count, "features compared: a share such as 10%% or a count"),
    "keep": Option("K", share_or_count, "features the sparsified methods keep, as for --k"),
    "seed": Option("SEED", _whole, "of the noise, and of the digits' split and training"),
    "out": Option("FOLDER", Path, "where the report and its results go"),
    "device": Option("DEVICE", str, "where the model runs, such as cpu or cuda"),
    "limit": Option("N", _count_or_all, "at most so many examples, the first ones, or all"),
    "batch_size": Option("N", _whole, "rows of a pass", "128, fewer of large inputs"),
    "threads": Option("N", _whole, "CPU threads", "1 for the digits' network, else torch's"),
}

SWITCH_HELP: Final[dict[str, str]] = {
    "gray": "images of a folder in one channel",
    "attacks": "also attack every method, and hold the result against its certificate",
    "metrics": "also measure every method by the metrics of the literature",
}


PROCESS_HELP: Final[dict[str, str]] = {
    "restart": "discard the results that the folder holds",
    "json": "print report.json to standard output, and nothing else",
    "quiet": "print neither forecast, progress nor tables",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``audit``; their texts are read by :func:`read_plan`."""
    defaults = AuditPlan().as_text()
    for name, option in OPTIONS.items():
        default = defaults.get(name, option.otherwise).replace("%", "%%")
        parser.add_argument(
            flag(name), metavar=option.metavar, help=f"{option.help} (default {default})"
        )
    for name, text in (SWITCH_HELP | PROCESS_HELP).items():
        parser.add_argument(flag(name), action="store_true", help=text)


def read_plan(arguments: argparse.Namespace) -> AuditPlan:
    """The plan that the options ask for.

    Raises:
        UsageError: naming the option, its rule, what came and an example that works.
    """
    plan, defaults = AuditPlan(), AuditPlan().as_text()
    for name, option in OPTIONS.items():
        text = getattr(arguments, name)
        if text is None:
            continue
        if not _is_text(text):
            raise UsageError(
                f"`{flag(name)}` must be text in UTF-8, got {text!r}; rename it. "
                "See captum-robust audit --help."
            )
        try:
            value = option.read(text)
        except ValueError as error:
            raise UsageError(f"`{flag(name)}` must be {error}{_remedy(name, defaults)}") from None
        try:
            plan = replace(plan, **{name: value})
        except (ValueError, TypeError) as error:
            raise UsageError(f"{error}{_remedy(name, defaults)}") from None
    return replace(plan, **{name: getattr(arguments, name) for name in SWITCHES})


def _is_text(text: str) -> bool:
    """Whether the words of the command line could be decoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remedy(name: str, defaults: dict[str, str]) -> str:
    """An example that works, of an option that has one."""
    if name in defaults:
        return f" Try {flag(name)} {defaults[name]}."
    return " See captum-robust audit --help."
