"""Which columns an audit has: the built-in ones, and those of the user's that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from captum_robust.audit.ask.imported import import_name
from captum_robust.audit.ask.usage import UsageError
from captum_robust.audit.measure.columns.attacked import ATTACKED
from captum_robust.audit.measure.columns.attacked.attacked import AttackColumn
from captum_robust.audit.measure.columns.certified import CERTIFIED
from captum_robust.audit.measure.columns.certified.certified import CertifiedColumn
from captum_robust.audit.measure.columns.column import Column
from captum_robust.audit.measure.columns.measured import MEASURED
from captum_robust.audit.measure.columns.measured.measured import MeasuredColumn

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")  # of a key and of a figure's file
_TAKEN: Final = ("maps", "attacks", "epsilon", "certified", "contradicted")


@dataclass(frozen=True)
class Columns:
    """The columns of one audit, in the report's order."""

    certified: tuple[CertifiedColumn, ...]
    attacked: tuple[AttackColumn, ...]
    measured: tuple[MeasuredColumn, ...]

    def __iter__(self) -> Iterator[Column]:
        yield from (*self.certified, *self.attacked, *self.measured)

    def of_certificate(self, name: str) -> CertifiedColumn:
        """The certified column of a name."""
        [found] = [column for column in self.certified if column.name == name]
        return found


BUILT_IN: Final = Columns(CERTIFIED, ATTACKED, MEASURED)


@cache
def columns_of(names: tuple[str, ...]) -> Columns:
    """The built-in columns and those that ``--columns`` names, imported once.

    Args:
        names: of the form ``module:name``: a class, an instance, or several of them.

    Raises:
        UsageError: if one cannot be imported, is no column, or takes a name that is in use.
    """
    found = [column for name in names for column in _imported(name)]
    together: list[Column] = [*BUILT_IN, *found]
    for column in found:
        if not _NAME.fullmatch(column.name) or column.name in _TAKEN:
            raise UsageError(
                f"`--columns` must have names of small letters, digits and hyphens, none of "
                f"{', '.join(_TAKEN)}; got {column.name!r}."
            )
        if [other.name for other in together].count(column.name) > 1:
            raise UsageError(
                f"`--columns` must have names of their own, got {column.name!r} twice."
            )
    return Columns(
        tuple(column for column in together if isinstance(column, CertifiedColumn)),
        tuple(column for column in together if isinstance(column, AttackColumn)),
        tuple(column for column in together if isinstance(column, MeasuredColumn)),
    )


def _imported(name: str) -> list[Column]:
    found: Any = import_name("--columns", name)
    several = found if isinstance(found, Sequence) and not isinstance(found, str) else [found]
    columns = [
        one() if isinstance(one, type) and issubclass(one, Column) else one for one in several
    ]
    for column in columns:
        if not isinstance(column, CertifiedColumn | AttackColumn | MeasuredColumn):
            raise UsageError(
                f"`--columns` {name!r} must be a CertifiedColumn, an AttackColumn or a "
                f"MeasuredColumn of captum_robust.audit, got {type(column).__name__}."
            )
    return columns
