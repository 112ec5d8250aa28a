"""Question: whether one feature stays above another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captum_robust._base.checks import check_count
from captum_robust.certificates.budget import ELEMENTWISE
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.question import Array, Question

Index = int | tuple[int, ...]


@dataclass(frozen=True)
class Precedes(Question):
    r"""Whether one feature is certified to stay above another.

    Strictly above, at every size up to the one asked about: the limit t of
    :meth:`~captum_robust.noise.NoiseLaw.separation` has
    :math:`\mathrm{lower}(l_i, s) > \mathrm{upper}(u_j, s)` for all s < t, and only shifts below it
    are certified.

    Attributes:
        first, second: indices into the vector of all features, or into the map.
    """

    first: Index
    second: Index

    name = "precedes"
    event = ELEMENTWISE

    def answer(self, certificate: CertificateData, shifts: Array) -> NDArray[np.bool_]:
        pair = (
            _flat_index("first", self.first, certificate),
            _flat_index("second", self.second, certificate),
        )
        limits = [one.order_shift(*pair) for one in self.elementwise(certificate)]
        return shifts < np.array(limits)

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        stays = f"feature {self.first} stays above feature {self.second}"
        unknown = f"the order of features {self.first} and {self.second} is not certified"
        return [stays if one else unknown for one in self.answer(certificate, shifts)]


def _flat_index(name: str, index: Index, certificate: CertificateData) -> int:
    """A feature's place in the vector of all features."""
    shapes, features = certificate.shapes, certificate.features
    if isinstance(index, tuple):
        if len(shapes) != 1 or len(index) != len(shapes[0]):
            raise ValueError(
                f"`{name}` must be an int, or an index into one map of shape "
                f"{[tuple(shape) for shape in shapes]}, got {index}."
            )
        return int(np.ravel_multi_index(index, tuple(shapes[0])))
    if not 0 <= check_count(name, index, low=0) < features:
        raise ValueError(f"`{name}` must be in [0, {features - 1}], got {index}.")
    return index
