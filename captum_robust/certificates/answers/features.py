"""Answers about features: what stays in the top, in order and in place."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust.certificates.answers.asking import Asked
from captum_robust.certificates.questions.pixels import Pixels
from captum_robust.certificates.questions.precedes import Index
from captum_robust.certificates.questions.rank import Rank


class FeatureAnswers(Asked):
    """Overlap, order, rank and pixels."""

    def overlap(self, epsilon: float | Tensor, k: int | float) -> Tensor:
        r"""Certified share of the top k features that no perturbation can displace.

        .. math:: \frac1K |\mathrm{top}_K(\hat h(x)) \cap \mathrm{top}_K(h(x+\delta))|
                  \ge \text{the share, for all } \|\delta\| \le \epsilon

        Levine et al. (2019), Corollary 2, with the index put right.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.
            k: features compared, a share in ``(0, 1]`` or a count.

        Returns:
            Shares ``(N,)`` in [0, 1], float64.

        Raises:
            ValueError: if the maps have no known range, or an argument is outside its own.
        """
        found: Tensor = self.ask("overlap", epsilon, k=k)
        return found

    def precedes(
        self,
        first: Index,
        second: Index,
        epsilon: float | Tensor,
    ) -> Tensor:
        r"""Whether one feature is certified to stay above another.

        .. math:: \mathrm{lower}(l_i) > \mathrm{upper}(u_j)

        Args:
            first: i, an index into the vector of all features or into the map (without leading axes
                of length 1), or a feature's name.
            second: j.
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Booleans ``(N,)``.
        """
        found: Tensor = self.ask("precedes", epsilon, first=first, second=second)
        return found

    def rank(self, epsilon: float | Tensor) -> Tensor | tuple[Tensor, ...]:
        """Worst rank that any perturbation can give each feature; 1 is the largest.

        The smaller of :func:`~captum_robust.certificates.certified_ranks` and
        :func:`~captum_robust.certificates.conserved_ranks`.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Ranks in the maps' shape ``(N, *)``, int64.
        """
        found: Tensor | tuple[Tensor, ...] = self.ask("rank", epsilon)
        return found

    def top_radius(self, k: int | float) -> Tensor | tuple[Tensor, ...]:
        """Perturbation size up to which each feature stays in the top k, all sizes together.

        Args:
            k: a share in ``(0, 1]`` or a count.

        Returns:
            Radii in the maps' shape ``(N, *)``, float64; 0 where that is never certified.
        """
        self.terms.joint_with("rank")
        return self.as_maps(Rank().staying_radii(self, k), torch.float64)

    def pixels(
        self, epsilon: float | Tensor, simultaneous: bool = True
    ) -> Tensor | tuple[Tensor, ...]:
        """Decides each feature: 1 stays in most samples' top, 0 stays out, -1 abstains.

        Anani et al. (2025), for 0/1 maps such as ``Sparsify(keep)`` gives.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.
            simultaneous: whether answers at all sizes hold together. ``False`` decides more, by
                Holm's procedure, but holds at one size that was fixed before sampling.

        Returns:
            Decisions in the maps' shape ``(N, *)``, int8.
        """
        found: Tensor | tuple[Tensor, ...] = self.ask("pixels", epsilon, simultaneous=simultaneous)
        return found

    def pixel_radius(self) -> Tensor | tuple[Tensor, ...]:
        """Perturbation size up to which each feature's decision holds, all sizes together.

        Returns:
            Radii in the maps' shape ``(N, *)``, float64; 0 where it abstains.
        """
        return self.as_maps(Pixels().pixel_radii(self), torch.float64)

    def certified_share(self, epsilon: float | Tensor, simultaneous: bool = True) -> Tensor:
        """Share of features that :meth:`pixels` decides, ``(N,)`` in [0, 1]."""
        found: Tensor = self.ask("certified_share", epsilon, simultaneous=simultaneous)
        return found
