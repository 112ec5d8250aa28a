"""Question: whether one feature stays above another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captum_robust._base.checks import check_count
from captum_robust.certificates.budget import ELEMENTWISE
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.question import Array, Question

Index = int | str | tuple[int, ...]


@dataclass(frozen=True)
class Precedes(Question):
    r"""Whether one feature is certified to stay above another.

    Strictly above, at every size up to the one asked about: the limit t of
    :meth:`~captum_robust.noise.NoiseLaw.separation` has
    :math:`\mathrm{lower}(l_i, s) > \mathrm{upper}(u_j, s)` for all s < t, and only shifts below it
    are certified.

    Attributes:
        first, second: indices into the vector of all features, into the map (without leading
            axes of length 1), or names of features.
    """

    first: Index
    second: Index

    name = "precedes"
    event = ELEMENTWISE

    def answer(self, certificate: CertificateData, shifts: Array) -> NDArray[np.bool_]:
        limits = [
            one.order_shift(
                _flat_index("first", self.first, certificate, example),
                _flat_index("second", self.second, certificate, example),
            )
            for example, one in enumerate(self.elementwise(certificate))
        ]
        return shifts < np.array(limits)

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        said = []
        for example, holds in enumerate(self.answer(certificate, shifts)):
            first, second = (
                _named(name, index, certificate, example)
                for name, index in (("first", self.first), ("second", self.second))
            )
            stays = f"{first} stays above {second}"
            said.append(stays if holds else f"the order of {first} and {second} is not certified")
        return said


def _named(name: str, index: Index, certificate: CertificateData, example: int) -> str:
    """What a feature is called."""
    return certificate.words.name(_flat_index(name, index, certificate, example), example)


def _flat_index(name: str, index: Index, certificate: CertificateData, example: int = 0) -> int:
    """A feature's place in the vector of all features."""
    shapes, features = certificate.shapes, certificate.features
    if isinstance(index, str):
        return certificate.words.index(index, example)
    if isinstance(index, tuple):
        ahead = len(shapes[0]) - len(index) if len(shapes) == 1 else -1
        if ahead < 0 or any(size != 1 for size in shapes[0][:ahead]):
            raise ValueError(
                f"`{name}` must be an int, or an index into one map of shape "
                f"{[tuple(shape) for shape in shapes]}, got {index}."
            )
        return int(np.ravel_multi_index((0,) * ahead + index, tuple(shapes[0])))
    if not 0 <= check_count(name, index, low=0) < features:
        raise ValueError(f"`{name}` must be in [0, {features - 1}], got {index}.")
    return index
