"""What the command line says of one setting: its words, and how it is read, checked and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field
from pathlib import Path
from typing import Any, Final

ALL: Final = "all"

Normalization = tuple[tuple[float, ...], tuple[float, ...]]


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    Attributes:
        metavar: the word for its value in the help; empty for a switch, which has none.
        help: what it means.
        check: takes the option's name and a value, and raises where the value is not allowed.
        read: makes the value from text.
        write: makes text from the value, as ``read`` takes it.
        to_json: makes a JSON type from the value.
        optional: whether ``None`` is allowed.
        none: the text for ``None``; empty where no text stands for it.
        otherwise: what holds where nothing is given and the default has no text.
    """

    metavar: str
    help: str
    check: Callable[[str, Any], Any]
    read: Callable[[str], Any] = str
    write: Callable[[Any], str] = str
    to_json: Callable[[Any], Any] = _as_it_is
    optional: bool = False
    none: str = ""
    otherwise: str = ""


def asked(default: Any, option: Option) -> Any:
    """The field of a dataclass whose value is asked for by an option."""
    return field(default=default, metadata={"option": option})


def option_of(setting: Field[Any]) -> Option:
    """The option by which a field is asked for."""
    return setting.metadata["option"]


def flag(name: str) -> str:
    """The option of a field, ``nt_samples`` as ``--nt-samples``."""
    return "--" + name.replace("_", "-")


def read_share_or_count(text: str) -> int | float:
    """Reads ``10%`` as a share and ``25`` as a count.

    Example:
        >>> from captum_robust.audit.ask.option import read_share_or_count
        >>> read_share_or_count("10%"), read_share_or_count("25")
        (0.1, 25)
    """
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else int(text)
    except ValueError:
        raise ValueError(f"a share such as 10% or a count such as 25, got {text!r}.") from None


def write_share_or_count(value: int | float) -> str:
    """``10%`` for a share, ``25`` for a count."""
    return str(value) if isinstance(value, int) else f"{100 * value:.12g}%"


def read_number(text: str) -> float:
    """Reads a number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a number, got {text!r}.") from None


def read_whole(text: str) -> int:
    """Reads a whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"a whole number, got {text!r}.") from None


def read_count_or_all(text: str) -> int | None:
    """Reads a whole number, or ``all`` as ``None``."""
    return None if text == ALL else read_whole(text)


def read_names(text: str) -> tuple[str, ...]:
    """Reads names between commas.

    Example:
        >>> from captum_robust.audit.ask.option import read_names
        >>> read_names("saliency, uniform")
        ('saliency', 'uniform')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read_normalization(text: str) -> Normalization:
    """Reads means and standard deviations of the channels.

    Example:
        >>> from captum_robust.audit.ask.option import read_normalization
        >>> read_normalization("0.5,0.4,0.3/0.25")
        ((0.5, 0.4, 0.3), (0.25,))
    """
    parts = text.split("/")
    if len(parts) != 2:
        raise ValueError(f"means and standard deviations such as 0.5/0.25, got {text!r}.")
    means, deviations = (tuple(read_number(word) for word in part.split(",")) for part in parts)
    return means, deviations


def write_normalization(value: Normalization) -> str:
    """Means and standard deviations as the command line takes them.

    Example:
        >>> from captum_robust.audit.ask.option import write_normalization
        >>> write_normalization(((0.5, 0.25), (1.0,)))
        '0.5,0.25/1'
    """
    return "/".join(",".join(f"{number:.12g}" for number in part) for part in value)


def normalization_to_json(value: Normalization) -> list[list[float]]:
    """Two lists of numbers."""
    return [list(part) for part in value]


read_path: Final = Path
