"""The certificate: sampled once, asked often."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from captum_robust._base.vectors import unflatten
from captum_robust.certificates.answers import statement, storage
from captum_robust.certificates.answers.features import FeatureAnswers
from captum_robust.certificates.answers.maps import MapAnswers


class Certificate(FeatureAnswers, MapAnswers):
    r"""What holds of a smoothed map for every perturbation up to a size, with a probability.

    Made by :meth:`captum_robust.attr.SmoothedAttribution.certify`; immutable; all answers come from
    the same samples and cost no gradient. Perturbations ``epsilon`` are in input units, in the l2
    norm for Gaussian and ball noise and in the l1 norm for box noise. Each answer holds with
    probability ``1 - alpha`` by itself; overlaps for all k and epsilon hold jointly, as do all
    cosines, angles and deviations; across the two kinds, ask for ``questions=`` beforehand.

    Not covered: an adversary who knows the seed and attacks the empirical map of those very draws.

    Attributes:
        terms: what was asked for.
        shift: the frozen noise law.
        mean: the smoothed maps as vectors, ``(N, m)`` float64.
        shapes: one example's map shapes.
        is_tuple: whether maps come as a tuple.
        range: what is known of every single map beforehand.
        nt_samples: samples per example.
        seed: of the noise, or None.
        target: the target explained.
        variance: sample variances ``(N, m)``, for the empirical Bernstein bound alone.
        pairs: the spread between pairs of samples, where it was collected.
        shares: each sample's share of marked features inside the masks, ``(N, nt_samples)``.
        device: where answers are put.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import SparsifiedSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> certificate = SparsifiedSmoothGrad(Saliency(model), keep=2).certify(
        ...     torch.randn(3, 4), target=0, stdevs=0.5, nt_samples=500, seed=0
        ... )
        >>> certificate.kind, certificate.nt_samples, certificate.attributions.shape
        ('certified', 500, torch.Size([3, 4]))
    """

    @property
    def noise(self) -> str:
        """The noise law and level in words."""
        return statement.describe_noise(self)

    @property
    def attributions(self) -> Tensor | tuple[Tensor, ...]:
        """The smoothed maps, ``(N, *)`` float64."""
        maps = tuple(self.tensor(part).clone() for part in unflatten(self.mean, self.shapes))
        return maps if self.is_tuple else maps[0]

    def statement(
        self,
        epsilon: float,
        k: int | float | None = None,
        example: int | None = None,
        **arguments: Any,
    ) -> str:
        """What holds, for which perturbations, with what probability, in plain English.

        The probability is that of one example; :meth:`for_all_examples` covers all together.

        Args:
            epsilon: perturbation size, >= 0.
            k: features compared, for the overlap; left out of the statement where ``None``.
            example: one example, all where ``None``.
            **arguments: of other questions; a question whose arguments are missing is left out.
        """
        arguments |= {} if k is None else {"k": k}
        return statement.statement(self, epsilon, example, arguments)

    def for_all_examples(self) -> Certificate:
        """A certificate of the same samples whose answers hold for all its examples together.

        Answers otherwise hold for each example by itself; here alpha is shared among the examples,
        so that they are a little weaker.

        Example:
            >>> import torch
            >>> from captum.attr import Saliency
            >>> from captum_robust.attr import SparsifiedSmoothGrad
            >>> from captum_robust.examples import example_model
            >>> certificate = SparsifiedSmoothGrad(Saliency(example_model()), keep=2).certify(
            ...     torch.randn(3, 4), target=0, stdevs=0.5, nt_samples=500, seed=0
            ... )
            >>> bool((certificate.for_all_examples().cosine(0.1) <= certificate.cosine(0.1)).all())
            True
        """
        return replace(self, terms=replace(self.terms, examples=len(self.mean)))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the maps, as JSON types, with ``schema_version``."""
        return storage.to_dict(self)

    def save(self, path: str | Path) -> None:
        """Writes an ``.npz`` file without pickle."""
        storage.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Reads what :meth:`save` wrote; answers are the same."""
        return cls(**storage.load(path))
