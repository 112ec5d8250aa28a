r"""How the probability of error :math:`\alpha` is shared. No other file divides it.

Read from top to bottom. Every bound of a certificate is an event that fails with a small
probability, and by the union bound a set of events fails with at most the sum of their
probabilities. So each step below hands out shares that add up to no more than it was given:

1. *examples and looks*: :math:`\alpha` is that of one example, unless all examples are to hold
   together; samples that are looked at L times pay for L looks;
2. *events*: what can make an answer false. Answers that rest on one event share its probability;
   questions that hold jointly divide :math:`\alpha` among all their events;
3. *claim*: a map that is drawn anew at the perturbed input can fail as well as the one drawn here;
4. *within an event*: sides and features of intervals, parts of the spread, bounds on a region.

:meth:`captum_robust.certificates.Certificate.budget` prints the shares of one certificate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ELEMENTWISE: Final = "elementwise"  # intervals of all features at once
OUTCOMES: Final = "outcomes"  # intervals of all features and of "no feature", for the Renyi route
NORM: Final = "norm"  # the mean as a vector: its error, its spread and its length
REGION: Final = "region"  # the mean share inside a mask
PREDICTION: Final = "prediction"  # how often the net predicts the explained label

# -- 1 and 2: examples, looks and events ------------------------------------------------------


def per_event(alpha: float, examples: int, looks: int, events: int) -> float:
    """The probability of one event: an equal share for each example, look and event.

    Example:
        >>> from captum_robust.certificates.budget import per_event
        >>> per_event(0.05, examples=1, looks=5, events=2)
        0.005
    """
    return alpha / examples / looks / events


# -- 3: the claim -----------------------------------------------------------------------------


def at_both_inputs(alpha: float, redrawn: bool) -> tuple[float, float]:
    """What the draw at the input may spend, and the draw at the perturbed input.

    Example:
        >>> from captum_robust.certificates.budget import at_both_inputs
        >>> at_both_inputs(0.05, redrawn=False), at_both_inputs(0.05, redrawn=True)
        ((0.05, 0.0), (0.025, 0.025))
    """
    return (alpha / 2, alpha / 2) if redrawn else (alpha, 0.0)


# -- 4: within an event -----------------------------------------------------------------------


def per_side(alpha: float, comparisons: int) -> float:
    """One side of one of so many two-sided intervals.

    Example:
        >>> from captum_robust.certificates.budget import per_side
        >>> per_side(0.05, comparisons=10)
        0.0025
    """
    return alpha / (2 * comparisons)


def bernstein_side(side: float) -> float:
    """Each of the mean and the variance that one side of Maurer and Pontil's bound rests on."""
    return side / 2


_SPREAD: Final = {"trace": 0.1, "eigenvalue": 0.35, "radius": 0.45, "length": 0.1}


def norm_shares(alpha: float, spread: bool, population: bool, redrawn: bool) -> dict[str, float]:
    """What each part of the norm event may spend.

    Args:
        alpha: of the event.
        spread: whether the spread between pairs of samples is used.
        population: whether a lower bound on the length of the expected map is needed.
        redrawn: whether the second map is drawn anew.

    Example:
        >>> from captum_robust.certificates.budget import norm_shares
        >>> norm_shares(0.05, spread=False, population=False, redrawn=True)
        {'radius': 0.025, 'fresh': 0.025}
    """
    here, fresh = at_both_inputs(alpha, redrawn)
    shares = {"radius": here}
    if spread:
        used = {part: of for part, of in _SPREAD.items() if population or part != "length"}
        shares = {part: here * of / sum(used.values()) for part, of in used.items()}
    return shares | ({"fresh": fresh} if redrawn else {})


def stake_shares(alpha: float) -> tuple[tuple[float, float], ...]:
    """The two bets on the top eigenvalue: each stake and what it may spend.

    The large stake is for spectra that are small beside the maps, the small one for the rest.
    """
    return (0.8, 0.8 * alpha), (0.2, 0.2 * alpha)


_REGION: Final = {"lower": 0.7, "upper": 0.1, "variance": 0.2}


def region_shares(alpha: float, redrawn: bool) -> dict[str, float]:
    """What the bounds on the mean share inside a region and on its variance may spend.

    Example:
        >>> from captum_robust.certificates.budget import region_shares
        >>> region_shares(1.0, redrawn=False)
        {'lower': 0.7, 'upper': 0.1, 'variance': 0.2}
    """
    here, fresh = at_both_inputs(alpha, redrawn)
    shares = {part: here * of for part, of in _REGION.items()}
    return shares | ({"fresh": fresh} if redrawn else {})


# -- other procedures -------------------------------------------------------------------------


def holm_limits(alpha: float, hypotheses: int) -> NDArray[np.float64]:
    """Limits of the sorted p-values in Holm's procedure.

    Example:
        >>> from captum_robust.certificates.budget import holm_limits
        >>> holm_limits(0.06, 3).round(3)
        array([0.02, 0.03, 0.06])
    """
    return alpha / np.arange(hypotheses, 0, -1)


def center_test(alpha: float, selection: float) -> float:
    """Each of the two tests of center smoothing, from what the selection leaves."""
    return (alpha - selection) / 2


# -- the table --------------------------------------------------------------------------------

_WORDS: Final = {
    "interval": "intervals at the input",
    "fresh": "map drawn anew at the perturbed input",
    "trace": "trace of the covariance",
    "eigenvalue": "top eigenvalue of the covariance",
    "radius": "distance of the average from its expectation",
    "length": "length of the expected map",
    "lower": "lower bound on the mean share",
    "upper": "upper bound on the mean share",
    "variance": "variance of the share",
    "votes": "share of copies with the explained label",
}


@dataclass(frozen=True)
class Share:
    """One line of a budget.

    Attributes:
        questions: the questions whose answers rest on it.
        event: the event.
        part: what of the event.
        alpha: what it may spend.
        pieces: how many equal pieces it is cut into: sides times features.
    """

    questions: tuple[str, ...]
    event: str
    part: str
    alpha: float
    pieces: int = 1


@dataclass(frozen=True)
class Budget:
    """Who may spend which share of alpha in one certificate; prints as a table.

    Attributes:
        alpha: probability of error in all.
        events: the events that each question rests on.
        joint: whether all these questions hold together.
        examples: how many examples hold together.
        looks: how often the samples may be looked at.
        features: number of features of a map.
        spread: whether the spread between pairs of samples is used.
        claim: which two maps are compared.

    Example:
        >>> from captum_robust.certificates import Budget
        >>> print(Budget(0.05, {"pixels": ("elementwise",)}, joint=False, features=10))
        alpha = 0.05 for each example and each question by itself
        question  event        part                    alpha  pieces  alpha of a piece
        pixels    elementwise  intervals at the input  0.05   20      0.0025
    """

    alpha: float
    events: Mapping[str, tuple[str, ...]]
    joint: bool
    examples: int = 1
    looks: int = 1
    features: int = 1
    spread: bool = False
    claim: str = "reported"

    def of(self, question: str, event: str) -> float:
        """The probability of one event behind a question.

        Example:
            >>> from captum_robust.certificates import Budget
            >>> budget = Budget(0.05, {"overlap": ("elementwise", "norm")}, joint=False)
            >>> budget.of("overlap", "norm")
            0.025
        """
        asked = self.events if self.joint else (question,)
        together = {needed for name in asked for needed in self.events[name]} | {event}
        return per_event(self.alpha, self.examples, self.looks, len(together))

    @property
    def shares(self) -> tuple[Share, ...]:
        """Every share, one line each."""
        return tuple(self._lines())

    def _lines(self) -> Iterator[Share]:
        groups: dict[tuple[str, ...], list[str]] = {}
        for name, events in self.events.items():
            for key in [(event,) for event in events] if self.joint else [events]:
                groups.setdefault(key, []).append(name)
        for events, names in groups.items():
            for event in events:
                yield from self._parts(tuple(names), event)

    def _parts(self, names: tuple[str, ...], event: str) -> Iterator[Share]:
        """The parts of one event."""
        alpha, redrawn = self.of(names[0], event), self.claim == "redrawn"
        parts, pieces = {event: alpha}, 1
        if event == NORM:
            parts = norm_shares(alpha, self.spread, self.claim == "population", redrawn)
        elif event == REGION:
            parts = region_shares(alpha, redrawn)
        elif event in (ELEMENTWISE, OUTCOMES):
            here, fresh = at_both_inputs(alpha, redrawn)
            parts = {"interval": here} | ({"fresh": fresh} if redrawn else {})
            pieces = 2 * (self.features + (event == OUTCOMES))
        elif event == PREDICTION:
            here, fresh = at_both_inputs(alpha, redrawn)
            parts = {"votes": here} | ({"fresh": fresh} if redrawn else {})
        for part, share in parts.items():
            yield Share(names, event, part, share, pieces)

    def __str__(self) -> str:
        rows = [("question", "event", "part", "alpha", "pieces", "alpha of a piece")]
        rows += [
            (
                ", ".join(one.questions),
                one.event,
                _WORDS.get(one.part, one.part),
                f"{one.alpha:.4g}",
                str(one.pieces),
                f"{one.alpha / one.pieces:.4g}",
            )
            for one in self.shares
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([self._heading(), *lines])

    def _heading(self) -> str:
        """What alpha is the probability of."""
        whose = "each example" if self.examples == 1 else f"all {self.examples} examples together"
        which = "all questions together" if self.joint else "each question by itself"
        looks = "" if self.looks == 1 else f", shared among {self.looks} looks at the samples"
        return f"alpha = {self.alpha:g} for {whose} and {which}{looks}"
