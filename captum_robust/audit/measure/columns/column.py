"""What all columns of an audit have: a name, words for a reader, a direction and a way to show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class Column(ABC):
    """A column of the audit's record, ``report.json``, tables and pages.

    Attributes:
        name: the key in records and in ``report.json``, of small letters, digits and hyphens.
        title: the head of the column; ``{k}`` stands for the number of features compared.
        about: what it measures, in a sentence without a full stop.
        source: the paper or package that it comes from.
        higher_is_better: which direction is better.
    """

    name: str
    title: str
    about: str
    source: str = "captum_robust"
    higher_is_better: bool = True

    @abstractmethod
    def show(self, value: float | None) -> str:
        """A value as a reader sees it, rounded to the side on which it stays true."""

    @property
    def direction(self) -> str:
        """``higher`` or ``lower``, the better one."""
        return "higher" if self.higher_is_better else "lower"

    def describe(self, words: Mapping[str, str]) -> dict[str, Any]:
        """The column itself in JSON types.

        Args:
            words: what stands for ``{k}`` and the like.
        """
        return {
            "name": self.name,
            "title": filled(self.title, words),
            "about": filled(self.about, words),
            "source": self.source,
            "higher_is_better": self.higher_is_better,
        }


def filled(text: str, words: Mapping[str, str]) -> str:
    """The text with each ``{word}`` replaced, and every other brace as it is.

    Example:
        >>> from captum_robust.audit.measure.columns.column import filled
        >>> filled("top {k} of {all}", {"k": "16"})
        'top 16 of {all}'
    """
    for word, value in words.items():
        text = text.replace("{" + word + "}", value)
    return text
