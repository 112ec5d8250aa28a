"""The named smoothed attributions: each fixes a noise law and a transform."""

from __future__ import annotations

from captum.attr import Attribution

from captum_robust._base.checks import check_choice
from captum_robust.attr.smoothed import SmoothedAttribution
from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise
from captum_robust.transforms.elementwise import Abs, Square
from captum_robust.transforms.marks import Relax, Sparsify
from captum_robust.transforms.norms import ScaleToMax
from captum_robust.transforms.transform import Transform, as_transform


class GaussianSmoothing(SmoothedAttribution):
    r"""Averages an attribution over Gaussian noise: SmoothGrad.

    .. math:: \hat h(x) = \frac1N \sum_i g(x + \eta_i), \quad \eta_i \sim \mathcal N(0, \sigma^2 I)

    What :class:`captum.attr.NoiseTunnel` computes. Smilkov et al. (2017), eq. 1.

    Args:
        attribution_method: the attribution :math:`g`.
        transform: applied to every sample; certificates need one of known range.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import GaussianSmoothing
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> GaussianSmoothing(Saliency(model)).attribute(torch.randn(3, 4), target=0).shape
        torch.Size([3, 4])
    """

    def __init__(self, attribution_method: Attribution, transform: Transform | None = None) -> None:
        super().__init__(attribution_method, GaussianNoise(), transform)


class UniformSmoothing(SmoothedAttribution):
    r"""Averages an attribution over uniform noise on a ball or a box.

    .. math:: h(x) = E\, g(x + \eta), \quad \eta \sim U(\{\|\eta\| \le r\})

    Wang and Kong (2024), eq. 2, with ``norm="l2"``; Wang et al. (2020), UniGrad, with
    ``norm="linf"``, whose certificate is about l1 perturbations.

    Args:
        attribution_method: the attribution :math:`g`.
        norm: of the body the noise fills, ``"l2"`` (ball) or ``"linf"`` (box).
        transform: applied to every sample; certificates need one of known range.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import UniformSmoothing
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> smooth = UniformSmoothing(Saliency(model))
        >>> smooth.attribute(torch.randn(3, 4), target=0, radius=1.0, nt_samples=8).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        attribution_method: Attribution,
        norm: str = "l2",
        transform: Transform | None = None,
    ) -> None:
        check_choice("norm", norm, ("l2", "linf"))
        law = UniformBallNoise() if norm == "l2" else UniformBoxNoise()
        super().__init__(attribution_method, law, transform)


class UniGrad(UniformSmoothing):
    r"""Averages an attribution over uniform noise on a box: ``UniformSmoothing(norm="linf")``.

    Wang et al. (2020), section 4.2 (the authors' code draws a box).

    Args:
        attribution_method: the attribution :math:`g`.
        transform: applied to every sample; certificates need one of known range.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import UniGrad
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> UniGrad(Saliency(model)).attribute(torch.randn(3, 4), target=0, radius=0.5).shape
        torch.Size([3, 4])
    """

    def __init__(self, attribution_method: Attribution, transform: Transform | None = None) -> None:
        super().__init__(attribution_method, "linf", transform)


class SparsifiedSmoothGrad(GaussianSmoothing):
    r"""Smooths the mask of the largest features of an attribution instead of its values.

    .. math:: \hat h(x) = \frac1N \sum_i \mathbb 1[\,|g(x+\eta_i)| \text{ in its top } \tau m\,]

    Its values are probabilities, so its top features can be certified tightly. Levine et al.
    (2019), eq. 3.1.

    Args:
        attribution_method: the attribution :math:`g`.
        keep: features marked in each sample (:math:`\tau`), a share in ``(0, 1]`` or a count.
        transform: what is ranked, such as ``Abs() >> SumChannels()``; magnitudes by default.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import SparsifiedSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> smooth = SparsifiedSmoothGrad(Saliency(model), keep=0.5)
        >>> smooth.attribute(torch.randn(3, 4), target=0, stdevs=0.1).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        attribution_method: Attribution,
        keep: int | float = 0.1,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(attribution_method, _magnitudes(transform) >> Sparsify(keep))


class RelaxedSparsifiedSmoothGrad(GaussianSmoothing):
    r"""Sparsified SmoothGrad with values between 0 and 1, through which gradients flow.

    Levine et al. (2019), section 3; ``clip=0`` divides by the largest value.

    Args:
        attribution_method: the attribution :math:`g`.
        keep: features kept in each sample (:math:`\tau`), a share in ``(0, 1]`` or a count.
        clip: features set to 1 (:math:`\gamma`), a share or a count, at most ``keep``.
        transform: what is ranked, such as ``Abs() >> SumChannels()``; magnitudes by default.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import RelaxedSparsifiedSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> smooth = RelaxedSparsifiedSmoothGrad(Saliency(model), keep=0.5, clip=0.25)
        >>> smooth.attribute(torch.randn(3, 4), target=0, stdevs=0.1).shape
        torch.Size([3, 4])
    """

    def __init__(
        self,
        attribution_method: Attribution,
        keep: int | float = 0.1,
        clip: int | float = 0.01,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(attribution_method, _magnitudes(transform) >> Relax(keep, clip))


class ScaledSmoothGrad(GaussianSmoothing):
    r"""SmoothGrad of maps divided by their largest magnitude, :math:`|g| / \max |g|`.

    Levine et al. (2019), section 3.

    Args:
        attribution_method: the attribution :math:`g`.
        transform: what is scaled, such as ``Abs() >> SumChannels()``; magnitudes by default.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import ScaledSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> ScaledSmoothGrad(Saliency(model)).attribute(torch.randn(3, 4), target=0).shape
        torch.Size([3, 4])
    """

    def __init__(self, attribution_method: Attribution, transform: Transform | None = None) -> None:
        super().__init__(attribution_method, _magnitudes(transform) >> ScaleToMax())


class QuadraticSmoothGrad(GaussianSmoothing):
    r"""SmoothGrad of squared maps divided by their largest element, :math:`g^2 / \max g^2`.

    Levine et al. (2019), section 3.

    Args:
        attribution_method: the attribution :math:`g`.
        transform: what is squared, such as ``SumChannels()``; the attribution by default.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import QuadraticSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> QuadraticSmoothGrad(Saliency(model)).attribute(torch.randn(3, 4), target=0).shape
        torch.Size([3, 4])
    """

    def __init__(self, attribution_method: Attribution, transform: Transform | None = None) -> None:
        # Scaled first: the squares of small gradients would vanish in float32.
        super().__init__(attribution_method, as_transform(transform) >> ScaleToMax() >> Square())


def _magnitudes(transform: Transform | None) -> Transform:
    """What a class ranks or scales: magnitudes where nothing else is asked for."""
    return Abs() if transform is None else as_transform(transform)
