"""The one sampling loop: smoothed attributions in the place of Captum's NoiseTunnel."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Final, Literal, TypeVar, overload

import torch
from captum.attr import Attribution, NoiseTunnel
from torch import Tensor
from tqdm.auto import tqdm

from captum_robust._base.captum_privates import (
    SUPPORTED_NOISE_TUNNEL_TYPES,
    _format_output,
    _is_tuple,
    log_usage,
)
from captum_robust._base.checks import check_choice, check_inputs
from captum_robust.attr.method.differentiable import differentiable
from captum_robust.attr.method.groups import groups_of
from captum_robust.attr.method.guards import (
    checked_method,
    draws_for_itself,
    refuse_dependent_samples,
    takes_many_baselines,
    warn_of_dependence,
)
from captum_robust.attr.method.watch import watching
from captum_robust.attr.sampling.evidence import EvidenceCollector
from captum_robust.attr.sampling.independent import independent_samples
from captum_robust.attr.sampling.layer import name_of
from captum_robust.attr.sampling.moments import MapMoments
from captum_robust.attr.sampling.passes import Pass, one_pass
from captum_robust.attr.sampling.plan import SamplingPlan
from captum_robust.attr.sampling.prepared import prepared
from captum_robust.attr.sampling.spec import Sampling
from captum_robust.attr.sampling.words import refuse_incomplete, refuse_unknown, routed
from captum_robust.certificates import Certificate, Shift
from captum_robust.certificates.claim import About, Claim, Terms
from captum_robust.certificates.mixins import (
    CertificateMixin,
    CosineCertificateMixin,
    RankCertificateMixin,
    TopKCertificateMixin,
)
from captum_robust.certificates.procedures.until import Until
from captum_robust.noise import GaussianNoise, NoiseLaw
from captum_robust.noise.levels import Levels, resolve_level
from captum_robust.transforms.transform import Transform, as_transform, refuse_other_examples

Maps = tuple[Tensor, ...]
MapsT = TypeVar("MapsT", Tensor, Maps)
Moment = Literal["smoothgrad", "smoothgrad_sq", "vargrad"]


class SmoothedAttribution(CertificateMixin, NoiseTunnel):
    r"""Averages a transformed attribution over noisy inputs.

    .. math:: \hat h(x) = \frac1N \sum_{i=1}^N t(g(x + \eta_i)),
              \quad \eta_i \sim \text{noise law}

    Used like :class:`captum.attr.NoiseTunnel`, over any Captum attribution. Subclasses fix the
    noise law and the transform. :meth:`certify` answers the questions of all certificate mixins, as
    far as the law and the transform admit them; a subclass adds a question by a mixin of its own.

    Args:
        attribution_method: the attribution :math:`g`.
        noise: the noise law; Gaussian by default.
        transform: the per-sample transform :math:`t`; none by default. See
            :mod:`captum_robust.transforms.transform`.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import Abs, SmoothedAttribution, UnitNorm
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> smooth = SmoothedAttribution(Saliency(model), transform=Abs() >> UnitNorm())
        >>> smooth.attribute(torch.randn(3, 4), target=0, stdevs=0.1, nt_samples=8).shape
        torch.Size([3, 4])
    """

    questions = (
        *TopKCertificateMixin.questions,
        *RankCertificateMixin.questions,
        *CosineCertificateMixin.questions,
        "prediction",
    )
    understands_marks: Final = True  # of captum_robust._base.per_example

    def __init__(
        self,
        attribution_method: Attribution,
        noise: NoiseLaw | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(checked_method(attribution_method))
        self.noise = GaussianNoise() if noise is None else noise
        self.transform = as_transform(transform)
        self._graph = False

    def __repr__(self) -> str:
        base = type(self.attribution_method).__name__
        return f"{type(self).__name__}({base}, {self.noise.name} noise, {self.transform!r})"

    @overload
    def attribute(
        self, inputs: MapsT, *args: Any, return_convergence_delta: Literal[True], **kwargs: Any
    ) -> tuple[MapsT, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: MapsT,
        nt_type: Moment = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: Levels | None = None,
        draw_baseline_from_distrib: bool = False,
        *,
        radius: Levels | None = None,
        seed: int | None = None,
        create_graph: bool = False,
        sampling: Sampling | None = None,
        **kwargs: Any,
    ) -> MapsT: ...

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | Maps,
        nt_type: Moment = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: Levels | None = None,
        draw_baseline_from_distrib: bool = False,
        *,
        radius: Levels | None = None,
        seed: int | None = None,
        create_graph: bool = False,
        sampling: Sampling | None = None,
        **kwargs: Any,
    ) -> Tensor | Maps | tuple[Tensor | Maps, Tensor]:
        r"""Smoothed attributions; the words of :meth:`captum.attr.NoiseTunnel.attribute`, and more.

        Memory does not grow with ``nt_samples`` (unless a graph is kept). Sums are float64.

        Args:
            inputs: floating-point tensors ``(N, *)``; a tuple is one concatenated vector.
            nt_type: ``"smoothgrad"`` (mean), ``"smoothgrad_sq"`` (mean of squares) or
                ``"vargrad"`` (variance, divided by N) of the transformed maps.
            nt_samples: noisy copies of each example.
            nt_samples_batch_size: see :class:`Sampling`.
            stdevs: per-coordinate standard deviation under every noise law: a number, a tensor
                that broadcasts to its input, a :class:`~captum_robust.noise.Relative`, or a tuple
                of these, one an input. Default 1.0.
            draw_baseline_from_distrib: draws a row of ``baselines`` for every noisy copy.
            radius: the ball's or box's radius in place of ``stdevs``.
            seed: fixes the noise of sample i of example j as a function of (seed, i, j) alone;
                where ``None``, one seed is drawn from torch's global generator.
            create_graph: keeps the graph, so that losses and attacks go through the map.
            sampling: how the copies are made and run; its fields may be given by themselves.
            **kwargs: fields of :class:`Sampling`; the rest is passed on to the base method,
                expanded as Captum does. With ``return_convergence_delta=True`` the deltas
                ``(N * nt_samples,)`` come with the map, example-major:
                ``delta.view(N, nt_samples)`` has a row for each example; a method that averages
                over baselines has a delta for each of them, last.

        Returns:
            Maps as the base method gives them, after the transform, in their dtype: a tensor for a
            tensor, a tuple for a tuple (of ``layer``'s output, where one is given).

        Raises:
            ValueError: if an argument lies outside its range.
            TypeError: if inputs cannot carry noise, the method cannot carry a graph, or an argument
                is unknown.
            RuntimeError: if an attribution is not finite; says which sample and example.
        """
        check_choice("nt_type", nt_type, SUPPORTED_NOISE_TUNNEL_TYPES)
        spec = routed(sampling or Sampling(), kwargs)
        if nt_samples_batch_size is not None:
            spec = replace(spec, nt_samples_batch_size=nt_samples_batch_size)
        refuse_unknown(self, "attribute", kwargs, Sampling)
        graph = create_graph or self._graph
        noise: dict[str, Any] = {
            "stdevs": stdevs,
            "radius": radius,
            "samples": nt_samples,
            "seed": seed,
        }
        with (
            self._planned(
                inputs, spec, kwargs, graph, draw_baseline=draw_baseline_from_distrib, **noise
            ) as plan,
            self.with_graph() if create_graph else nullcontext(),
        ):
            warn_of_dependence(self)
            return self._averaged(plan, nt_type, spec.show_progress)

    @contextmanager
    def _planned(
        self,
        inputs: Tensor | Maps,
        spec: Sampling,
        arguments: dict[str, Any],
        graph: bool = False,
        **settings: Any,
    ) -> Iterator[SamplingPlan]:
        """The sampling plan of a call, with the net as it is to be explained while it is open."""
        base = self.attribution_method
        with prepared(base, spec, inputs, arguments, graph) as (point, given):
            yield self._plan(point, spec, arguments=given, **settings)

    def _averaged(self, plan: SamplingPlan, nt_type: str, show_progress: bool) -> Any:
        """The moment of all samples, with the base method's deltas where they were asked for."""
        with_delta = self.is_delta_supported and bool(
            plan.arguments.get("return_convergence_delta")
        )
        moments = MapMoments(nt_type)
        deltas: list[Tensor] = []
        for drawn in self._passes(plan, with_delta, show_progress, self._graph):
            moments.add(drawn.maps)
            deltas += drawn.deltas
        maps = tuple(
            value.to(dtype) for value, dtype in zip(moments.values, drawn.dtypes, strict=True)
        )
        if plan.groups is not None:
            maps = plan.groups.spread(maps, drawn.base_shapes)
        output = _format_output(drawn.is_tuple, maps)
        return (output, torch.cat(deltas, dim=1).flatten()) if with_delta else output

    def certify(
        self,
        inputs: Tensor | Maps,
        target: Any = None,
        *,
        nt_samples: int | None = None,
        stdevs: Levels | None = None,
        radius: Levels | None = None,
        alpha: float = 0.05,
        seed: int | None = None,
        masks: Tensor | Maps | None = None,
        claim: Claim | About | None = None,
        sampling: Sampling | None = None,
        **kwargs: Any,
    ) -> Certificate:
        r"""Samples the map once and returns what holds of it for every perturbed input.

        The map certified is :math:`h(x) = E\,t(g(x+\eta))` with everything but :math:`x` frozen:
        target, baselines, and the noise level as resolved at ``inputs``. The base method may
        depend on its noisy input alone.

        Args:
            inputs: floating-point tensors ``(N, *)``; a tuple is one concatenated vector.
            target: as in the base method's ``attribute``; frozen.
            nt_samples: independent noisy copies of each example, fixed beforehand; or give
                ``until``, a field of ``claim``.
            stdevs: noise level, see :meth:`attribute`; give this or ``radius``.
            radius: the ball's or box's radius.
            alpha: each answer is wrong with probability of at most ``alpha``, in (0, 1).
            seed: see :meth:`attribute`.
            masks: boolean regions for ``region_mass``, chosen before sampling: of the maps' shape,
                or of the input's, converted by share (a region 30 % inside counts 0.3).
            claim: what is claimed and by which means; its fields may be given by themselves, such
                as ``claim="redrawn"``, ``confidence=``, ``route=``, ``questions=`` or ``until=``.
            sampling: how the copies are made and run; its fields may be given by themselves.
            **kwargs: fields of :class:`~captum_robust.certificates.Claim` and :class:`Sampling`;
                the rest is passed on to the base method.

        Returns:
            An immutable :class:`~captum_robust.certificates.Certificate`.

        Raises:
            ValueError: if an argument lies outside its range, or a standard deviation is 0.
            TypeError: if inputs cannot carry noise, or an argument is unknown.
            RuntimeError: if the model is in a mode that makes samples dependent, an attribution is
                not finite, or a map exceeds ``norm_bound``.

        Example:
            >>> import torch
            >>> from captum.attr import Saliency
            >>> from captum_robust.attr import SparsifiedSmoothGrad
            >>> from captum_robust.examples import example_model
            >>> model = example_model()
            >>> smooth = SparsifiedSmoothGrad(Saliency(model), keep=0.5)
            >>> certificate = smooth.certify(
            ...     torch.randn(3, 4), target=0, stdevs=0.5, nt_samples=500, seed=0
            ... )
            >>> certificate.overlap(epsilon=0.01, k=0.5).shape
            torch.Size([3])
        """
        asked = routed(Claim.of(claim), kwargs)
        spec = routed(sampling or Sampling(), kwargs)
        refuse_incomplete(stdevs, radius, nt_samples, asked.until, kwargs)
        refuse_unknown(self, "certify", kwargs, Sampling, Claim)
        refuse_dependent_samples(self)
        goal = None if asked.until is None else Until.parsed(asked.until, asked.max_samples)
        terms = Terms.of(
            asked,
            alpha=alpha,
            offered=self.certificate_questions,
            method=repr(self),
            layer=None if spec.layer is None else name_of(spec.layer, self),
            looks=len(goal.looks) if goal else 1,
        )
        arguments = kwargs | ({} if target is None else {"target": target})
        noise: dict[str, Any] = {"stdevs": stdevs, "radius": radius, "seed": seed}
        count, stops = (goal.looks[-1], goal.looks) if goal else (nt_samples, ())
        with self._planned(inputs, spec, arguments, samples=count, stops=stops, **noise) as plan:
            shift = Shift.of_level(self.noise, plan.level)
            if goal:
                shift.of_epsilon(goal.epsilon)  # refused before anything is sampled
            bound = asked.norm_bound
            with (
                EvidenceCollector(plan, terms, bound, masks, spec, self.transform) as evidence,
                independent_samples(self.attribution_method, plan),
                watching(self.attribution_method, asked.prediction) as plan.watch,
            ):
                return self._collected(evidence, plan, shift, target, goal, spec.show_progress)

    def samples(
        self,
        inputs: Tensor | Maps,
        *,
        nt_samples: int,
        stdevs: Levels | None = None,
        radius: Levels | None = None,
        seed: int | None = None,
        sampling: Sampling | None = None,
        **kwargs: Any,
    ) -> Iterator[Pass]:
        """Transformed maps of single samples, pass by pass, for procedures of your own.

        Samples are those that :meth:`attribute` and :meth:`certify` would average, independent for
        each example; a model in a mode that makes them dependent is refused.

        Args:
            inputs, nt_samples, stdevs, radius, seed, sampling: see :meth:`attribute`.
            **kwargs: fields of :class:`Sampling`; the rest is passed on to the base method.

        Yields:
            Passes with ``maps`` of shape ``(N, b, *)``, at least float32.

        Example:
            >>> import torch
            >>> from captum.attr import Saliency
            >>> from captum_robust.attr import GaussianSmoothing
            >>> from captum_robust.examples import example_model
            >>> smooth = GaussianSmoothing(Saliency(example_model()))
            >>> drawn = smooth.samples(torch.zeros(2, 4), target=0, nt_samples=6, stdevs=0.1)
            >>> [one.maps[0].shape for one in drawn]
            [torch.Size([2, 6, 4])]
        """
        spec = routed(sampling or Sampling(), kwargs)
        refuse_unknown(self, "samples", kwargs, Sampling)
        refuse_dependent_samples(self)
        noise: dict[str, Any] = {"stdevs": stdevs, "radius": radius, "seed": seed}
        with (
            self._planned(inputs, spec, kwargs, samples=nt_samples, **noise) as plan,
            independent_samples(self.attribution_method, plan),
        ):
            yield from self._passes(plan, show_progress=spec.show_progress)

    def _collected(
        self,
        evidence: EvidenceCollector,
        plan: SamplingPlan,
        shift: Shift,
        target: Any,
        goal: Until | None,
        show_progress: bool,
    ) -> Certificate:
        """The certificate of all samples, or of those that settle the goal."""
        for drawn in self._passes(plan, show_progress=show_progress):
            evidence.add(drawn)
            if goal and evidence.samples in goal.looks:
                certificate = evidence.certificate(shift, plan.seed, target)
                if goal.settled(certificate):
                    break
        return certificate if goal else evidence.certificate(shift, plan.seed, target)

    @contextmanager
    def with_graph(self) -> Iterator[None]:
        """Keeps the graph of every map computed inside; what ``differentiable(self)`` enters."""
        if not self.transform.differentiable:
            raise TypeError(
                f"{self.transform!r} is a step function without gradient; "
                "use Relax(keep, clip) or RelaxedSparsifiedSmoothGrad in its place."
            )
        before = self._graph
        with differentiable(self.attribution_method), torch.enable_grad():
            self._graph = True
            try:
                yield
            finally:
                self._graph = before

    def _plan(self, inputs: Tensor | Maps, spec: Sampling, **settings: Any) -> SamplingPlan:
        """The sampling plan of a call, its inputs checked and its noise level resolved."""
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        refuse_other_examples(self.transform, check_inputs(tensors))
        level = resolve_level(self.noise, tensors, settings.pop("stdevs"), settings.pop("radius"))
        plan = SamplingPlan(
            tensors,
            _is_tuple(inputs),
            self.noise,
            level,
            batch=spec.nt_samples_batch_size,
            example_ids=spec.example_ids,
            clamp=spec.clamp,
            draws=draws_for_itself(self.attribution_method),
            own_baselines=takes_many_baselines(self.attribution_method),
            **settings,
        )
        given = plan.expanded_arguments(1)
        plan.groups = groups_of(self.attribution_method, given, self.transform, tensors)
        return plan

    def of_rows(self, rows: Tensor) -> SmoothedAttribution:
        """The smoothing of examples of these numbers, where the transform has a part for each."""
        if self.transform.examples == 1:
            return self
        part = copy.copy(self)
        part.transform = self.transform.of_rows(rows)
        return part

    def _passes(
        self,
        plan: SamplingPlan,
        with_delta: bool = False,
        show_progress: bool = False,
        graph: bool = False,
    ) -> Iterator[Pass]:
        """The sampling loop: one pass after the other, each computed as it is asked for."""
        label = f"{type(self).__name__} of {plan.samples} samples"
        for samples in tqdm(plan.passes(), desc=label, disable=not show_progress):
            with torch.inference_mode(False), torch.set_grad_enabled(graph):
                drawn = one_pass(self, plan, samples, with_delta, graph)
            yield drawn
