"""The one sampling loop: smoothed attributions in the place of Captum's NoiseTunnel."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import torch
from captum.attr import Attribution, NoiseTunnel
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_robust._base.captum_privates import (
    SUPPORTED_NOISE_TUNNEL_TYPES,
    _format_output,
    _format_tensor_into_tuples,
    _is_tuple,
    log_usage,
)
from captum_robust._base.checks import check_choice, check_inputs
from captum_robust._base.vectors import feature_shapes
from captum_robust.attr.method.arguments import travelling
from captum_robust.attr.method.differentiable import differentiable
from captum_robust.attr.method.guards import (
    refuse_dependent_samples,
    refuse_non_finite,
    takes_many_baselines,
    warn_of_own_randomness,
)
from captum_robust.attr.sampling.evidence import EvidenceCollector
from captum_robust.attr.sampling.fast_copy import sampling_on_copy
from captum_robust.attr.sampling.layer import explained_at, name_of
from captum_robust.attr.sampling.moments import MapMoments
from captum_robust.attr.sampling.passes import Pass, full_precision
from captum_robust.attr.sampling.plan import Clamp, SamplingPlan
from captum_robust.certificates import Certificate, MapRange, Shift
from captum_robust.certificates.claim import Terms
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
    )
    understands_marks: Final = True  # of captum_robust._base.per_example

    def __init__(
        self,
        attribution_method: Attribution,
        noise: NoiseLaw | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(attribution_method)
        self.noise = GaussianNoise() if noise is None else noise
        self.transform = as_transform(transform)
        self._graph = False

    def __repr__(self) -> str:
        base = type(self.attribution_method).__name__
        return f"{type(self).__name__}({base}, {self.noise.name} noise, {self.transform!r})"

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Tensor | Maps,
        nt_type: str = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: Levels | None = None,
        draw_baseline_from_distrib: bool = False,
        *,
        radius: Levels | None = None,
        layer: nn.Module | None = None,
        clamp: Clamp | None = None,
        seed: int | None = None,
        example_ids: Sequence[int] | None = None,
        create_graph: bool = False,
        optimize_model: bool = False,
        show_progress: bool = False,
        **kwargs: Any,
    ) -> Any:
        r"""Smoothed attributions; the words of :meth:`captum.attr.NoiseTunnel.attribute`, and more.

        Memory does not grow with ``nt_samples`` (unless a graph is kept). Sums are float64.

        Args:
            inputs: floating-point tensors ``(N, *)``; a tuple is one concatenated vector.
            nt_type: ``"smoothgrad"`` (mean), ``"smoothgrad_sq"`` (mean of squares) or
                ``"vargrad"`` (variance, divided by N) of the transformed maps.
            nt_samples: noisy copies of each example.
            nt_samples_batch_size: noisy copies of each example run together; chosen so that a pass
                stays small where ``None``.
            stdevs: per-coordinate standard deviation under every noise law: a number, a tensor
                that broadcasts to its input, a :class:`~captum_robust.noise.Relative`, or a tuple
                of these, one an input. Default 1.0.
            draw_baseline_from_distrib: draws a row of ``baselines`` for every noisy copy.
            radius: the ball's or box's radius in place of ``stdevs``.
            layer: a module of the net, called once: noise is put on its output and the map is of
                its output, all else as it is for these inputs. Then ``inputs`` may hold token
                numbers, and noise levels, ``clamp`` and ``baselines`` are in units of the layer's
                output (``captum.attr.LayerActivation`` gives that of a baseline).
            clamp: ``(low, high)`` put on the noisy inputs; part of the explained function.
            seed: fixes the noise of sample i of example j as a function of (seed, i, j) alone;
                torch's global generator decides where ``None``.
            example_ids: the j of each example, default ``0 .. N-1``.
            create_graph: keeps the graph, so that losses and attacks go through the map.
            optimize_model: samples on a frozen copy of the net with batch normalisation folded into
                convolutions and channels last: the same function up to rounding, faster.
            show_progress: a progress bar over passes.
            **kwargs: passed on to the base method, expanded as Captum does. With
                ``return_convergence_delta=True`` the deltas ``(N * nt_samples,)`` come with the
                map, example-major: ``delta.view(N, nt_samples)`` has a row for each example;
                a method that averages over baselines has a delta for each of them, last.

        Returns:
            Maps as the base method gives them, after the transform, in their dtype.

        Raises:
            ValueError: if an argument lies outside its range.
            TypeError: if inputs cannot carry noise, or the method cannot carry a graph.
            RuntimeError: if an attribution is not finite; says which sample and example.
        """
        check_choice("nt_type", nt_type, SUPPORTED_NOISE_TUNNEL_TYPES)
        graph = create_graph or self._graph
        with (
            sampling_on_copy(self.attribution_method, optimize_model, layer, graph),
            travelling(self.attribution_method, inputs, kwargs) as kwargs,
            explained_at(self.attribution_method, layer, inputs, kwargs, graph) as (point, given),
        ):
            plan = self._plan(
                point,
                stdevs=stdevs,
                radius=radius,
                samples=nt_samples,
                batch=nt_samples_batch_size,
                seed=seed,
                example_ids=example_ids,
                clamp=clamp,
                arguments=given,
                draw_baseline=draw_baseline_from_distrib,
            )
            with self.with_graph() if create_graph else nullcontext():
                return self._averaged(plan, nt_type, show_progress)

    def _averaged(self, plan: SamplingPlan, nt_type: str, show_progress: bool) -> Any:
        """The moment of all samples, with the base method's deltas where they were asked for."""
        with_delta = self.is_delta_supported and bool(
            plan.arguments.get("return_convergence_delta")
        )
        moments = MapMoments(nt_type)
        deltas: list[Tensor] = []
        for drawn in self._passes(plan, with_delta, show_progress):
            moments.add(drawn.maps)
            deltas += drawn.deltas
        maps = tuple(
            value.to(dtype) for value, dtype in zip(moments.values, drawn.dtypes, strict=True)
        )
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
        confidence: str = "auto",
        claim: str = "reported",
        route: str = "best",
        published: bool = False,
        norm_bound: float | None = None,
        questions: Sequence[str] | None = None,
        masks: Tensor | Maps | None = None,
        until: Mapping[str, Any] | None = None,
        max_samples: int = 8192,
        eig_pairs: int | None = None,
        memory_limit: int = 2**30,
        nt_samples_batch_size: int | None = None,
        layer: nn.Module | None = None,
        clamp: Clamp | None = None,
        seed: int | None = None,
        example_ids: Sequence[int] | None = None,
        optimize_model: bool = False,
        show_progress: bool = False,
        **attribute_kwargs: Any,
    ) -> Certificate:
        r"""Samples the map once and returns what holds of it for every perturbed input.

        The map certified is :math:`h(x) = E\,t(g(x+\eta))` with everything but :math:`x` frozen:
        target, baselines, and the noise level as resolved at ``inputs``. The base method may
        depend on its noisy input alone.

        Args:
            inputs: floating-point tensors ``(N, *)``; a tuple is one concatenated vector.
            target: as in the base method's ``attribute``; frozen.
            nt_samples: independent noisy copies of each example, fixed beforehand; or give
                ``until``.
            stdevs: noise level, see :meth:`attribute`; give this or ``radius``.
            radius: the ball's or box's radius.
            alpha: each answer is wrong with probability of at most ``alpha``, in (0, 1).
            confidence: ``"hoeffding"``, ``"kl"``, ``"empirical-bernstein"``,
                ``"clopper-pearson"`` (0/1 maps), or ``"auto"``: the last for 0/1 maps, else kl.
                ``"exact"`` takes the samples' averages for the expectations, so that what is lost
                to sampling can be told from what is lost to the shift; an ``estimate``.
            claim: ``"reported"`` compares the map computed here with the expected map at the
                perturbed input, ``"population"`` the two expected maps, ``"redrawn"`` the map
                computed here with one of as many fresh samples at the perturbed input.
            route: ``"best"`` takes every admissible route, alpha shared among the events they rest
                on; ``"elementwise"``, ``"l2"`` or, to compare with, ``"lecuyer"`` (Lecuyer et al.,
                2019) and ``"renyi"`` (Liu et al., 2022, over ``UnitSum()``, with kl bounds) for
                overlaps; ``"bounded"`` or ``"hcr"`` for cosines, angles and deviations. Center
                smoothing has samples of its own:
                :func:`~captum_robust.certificates.center_smoothing`.
            published: the printed formulas, valid or not, to reproduce a paper; warns.
            norm_bound: a proven bound on the l2 norm of every transformed map.
            questions: questions that shall hold jointly; ``alpha`` is split among the events they
                rest on.
            masks: boolean regions that broadcast to the maps, for ``region_mass``; chosen before
                sampling.
            until: a statement such as ``{"overlap": 0.5, "epsilon": 0.03, "k": 0.1}``: looks after
                128, 256, 512, ... samples, alpha shared among the looks, and stops when every
                example has it or will not get it; ``certificate.nt_samples`` says when that was.
            max_samples: the budget of ``until``.
            eig_pairs: cap on the pairs of samples whose spectrum is taken.
            memory_limit: bytes of pair differences kept in memory; beyond it in a temporary file.
            layer: see :meth:`attribute`; perturbations are then those of the layer's output.
            nt_samples_batch_size, clamp, seed, example_ids, optimize_model, show_progress: see
                :meth:`attribute`.
            **attribute_kwargs: passed on to the base method.

        Returns:
            An immutable :class:`~captum_robust.certificates.Certificate`.

        Raises:
            ValueError: if an argument lies outside its range, or a standard deviation is 0.
            TypeError: if inputs cannot carry noise.
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
        _check_request(stdevs, radius, nt_samples, until, attribute_kwargs)
        refuse_dependent_samples(self)
        goal = None if until is None else Until.parsed(until, max_samples)
        terms = Terms.checked(
            alpha=alpha,
            confidence=confidence,
            claim=claim,
            route=route,
            published=published,
            questions=questions,
            offered=self.certificate_questions,
            method=repr(self),
            layer=None if layer is None else name_of(layer, self),
            looks=len(goal.looks) if goal else 1,
        )
        arguments = attribute_kwargs | ({} if target is None else {"target": target})
        with (
            sampling_on_copy(self.attribution_method, optimize_model, layer),
            travelling(self.attribution_method, inputs, arguments) as arguments,
            explained_at(self.attribution_method, layer, inputs, arguments) as (point, given),
        ):
            plan = self._plan(
                point,
                stdevs=stdevs,
                radius=radius,
                samples=nt_samples if goal is None else goal.looks[-1],
                stops=goal.looks if goal else (),
                batch=nt_samples_batch_size,
                seed=seed,
                example_ids=example_ids,
                clamp=clamp,
                arguments=given,
            )
            shift = Shift.of_level(self.noise, plan.level)
            if goal:
                shift.of_epsilon(goal.epsilon)  # refused before anything is sampled
            collector = EvidenceCollector(plan, terms, norm_bound, masks, eig_pairs, memory_limit)
            with collector as evidence:
                return self._collected(evidence, plan, shift, target, goal, show_progress)

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
            evidence.add(drawn.maps, drawn.range, drawn.is_tuple)
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

    def _plan(self, inputs: Tensor | Maps, **settings: Any) -> SamplingPlan:
        """The sampling plan of a call, its inputs checked and its noise level resolved."""
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        refuse_other_examples(self.transform, check_inputs(tensors))
        warn_of_own_randomness(self)
        level = resolve_level(self.noise, tensors, settings.pop("stdevs"), settings.pop("radius"))
        settings["own_baselines"] = takes_many_baselines(self.attribution_method)
        return SamplingPlan(tensors, _is_tuple(inputs), self.noise, level, **settings)

    def of_rows(self, rows: Tensor) -> SmoothedAttribution:
        """The smoothing of some examples alone, for a transform with a part for each example.

        Args:
            rows: numbers of examples, in the order and as often as they are explained.
        """
        if self.transform.examples == 1:
            return self
        part = copy.copy(self)
        part.transform = self.transform.of_rows(rows)
        return part

    def _passes(
        self, plan: SamplingPlan, with_delta: bool = False, show_progress: bool = False
    ) -> Iterator[Pass]:
        """The sampling loop: one pass after the other, each computed as it is asked for."""
        label = f"{type(self).__name__} of {plan.samples} samples"
        for samples in tqdm(plan.passes(), desc=label, disable=not show_progress):
            with torch.set_grad_enabled(self._graph):
                drawn = self._one_pass(plan, samples, with_delta)
            yield drawn

    def _one_pass(self, plan: SamplingPlan, samples: range, with_delta: bool) -> Pass:
        """Noise, attribution and transform of some samples of every example."""
        noisy = plan.noisy_inputs(samples)
        if self.is_gradient_method:
            noisy = tuple(tensor.requires_grad_() for tensor in noisy)
        output = self.attribution_method.attribute(
            noisy if plan.is_tuple else noisy[0], **plan.arguments_of(samples)
        )
        output, delta = output if with_delta else (output, None)
        given = _format_tensor_into_tuples(output)
        # A graph that nobody asked for would be kept over all passes.
        base = full_precision(given if self._graph else tuple(part.detach() for part in given))
        rows = noisy[0].shape[0]
        if any(part.shape[:1] != (rows,) for part in base):
            raise ValueError(
                "the base method must return one map for each row of its input "
                f"({rows}), got shapes {[tuple(part.shape) for part in base]}."
            )
        shape = (-1, len(samples))
        # Before the transform as well: a mask of undefined values would be finite.
        refuse_non_finite(tuple(part.unflatten(0, shape) for part in base), samples)
        maps = tuple(part.unflatten(0, shape) for part in self.transform(base))
        refuse_non_finite(maps, samples)
        return Pass(
            maps=maps,
            dtypes=tuple(part.dtype for part in given),
            is_tuple=_is_tuple(output),
            # Methods that average over baselines have several deltas a row.
            deltas=[] if delta is None else [delta.reshape(*shape, delta.numel() // rows)],
            range=self.transform.range(MapRange(), feature_shapes(base)),
            base_shapes=feature_shapes(base),
        )


def _check_request(
    stdevs: Levels | None,
    radius: Levels | None,
    nt_samples: int | None,
    until: Mapping[str, Any] | None,
    arguments: Mapping[str, Any],
) -> None:
    """Raises where a certificate is asked for without its noise or its samples."""
    if stdevs is None and radius is None:
        raise ValueError("exactly one of `stdevs` and `radius` must be given, got neither.")
    if (nt_samples is None) == (until is None):
        raise ValueError("exactly one of `nt_samples` and `until` must be given.")
    if arguments.get("return_convergence_delta"):
        raise ValueError("`return_convergence_delta` has no meaning for a certificate.")
