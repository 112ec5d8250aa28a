"""Certificates on disk: an npz file of arrays and one JSON text, without pickle."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Size, Tensor

from captum_robust._version import __version__
from captum_robust.certificates.claim import Terms
from captum_robust.certificates.confidence.pairs import PairEvidence
from captum_robust.certificates.confidence.votes import Votes
from captum_robust.certificates.data import CertificateData
from captum_robust.noise.law import law_named
from captum_robust.noise.shift import Shift, WeightedShift
from captum_robust.transforms.features import Features
from captum_robust.transforms.ranges import MapRange

SCHEMA_VERSION: Final = 1


def to_dict(certificate: CertificateData) -> dict[str, Any]:
    """Everything but the maps, as JSON types."""
    shift = certificate.shift
    return {
        "schema_version": SCHEMA_VERSION,
        "captum_robust": __version__,
        "kind": certificate.kind,
        "terms": _jsonable(asdict(certificate.terms)),
        "noise": {
            "law": shift.law.name,
            "norm": shift.norm,
            "dimension": shift.dimension,
            "weighted": shift.weighted,
            "unit": "stdev" if isinstance(shift, WeightedShift) else "input",
            "smallest_stdevs": shift.smallest.tolist(),
            "allowance": shift.allowance,
        },
        "range": _jsonable(asdict(certificate.range)),
        "shapes": [list(shape) for shape in certificate.shapes],
        "is_tuple": certificate.is_tuple,
        "nt_samples": certificate.nt_samples,
        "seed": None if certificate.seed is None else int(certificate.seed),
        "target": _jsonable(certificate.target),
        "target_is_tuple": isinstance(certificate.target, tuple),
        "pairs": None if certificate.pairs is None else _jsonable(asdict(certificate.pairs)),
        "named": None if certificate.named is None else certificate.named.to_dict(),
        "votes": None if certificate.votes is None else _jsonable(asdict(certificate.votes)),
        "norms": certificate.mean.norm(dim=1).tolist(),
    }


def save(certificate: CertificateData, path: str | Path) -> None:
    """Writes maps and JSON text; the suffix ``.npz`` is not added."""
    with Path(path).open("wb") as file:
        arrays: dict[str, Any] = {"mean": certificate.mean.numpy()}
        for name in ("variance", "shares"):
            kept = getattr(certificate, name)
            if kept is not None:
                arrays[name] = kept.numpy()
        if certificate.named is not None and certificate.named.owners is not None:
            arrays["owners"] = certificate.named.owners.numpy().astype(np.int32)
        np.savez_compressed(file, text=np.array(json.dumps(to_dict(certificate))), **arrays)


def load(path: str | Path) -> dict[str, Any]:
    """The arguments of the certificate that was saved."""
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            saved = json.loads(str(file["text"]))
            mean = torch.from_numpy(file["mean"])
            variance, shares = (
                torch.from_numpy(file[name]) if name in file else None
                for name in ("variance", "shares")
            )
            owners = file.get("owners")
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"`path` must be a file that a certificate's `save` wrote, got {path} ({error})."
        ) from error
    if saved["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"`path` must hold schema_version {SCHEMA_VERSION}, got {saved['schema_version']}; "
            f"it was written by captum_robust {saved['captum_robust']}."
        )
    noise, limits = saved["noise"], saved["range"]
    shapes = tuple(Size(shape) for shape in saved["shapes"])
    named, votes = saved.get("named"), saved.get("votes")
    return {
        "terms": Terms(**{name: _tuple(value) for name, value in saved["terms"].items()}),
        "shift": _shift(noise),
        "mean": mean,
        "variance": variance,
        "shares": shares,
        "pairs": _pairs(saved["pairs"]),
        "named": None if named is None else Features.from_dict(named, shapes, owners),
        "votes": None if votes is None else _votes(votes),
        "shapes": shapes,
        "is_tuple": saved["is_tuple"],
        "range": MapRange(
            low=-math.inf if limits["low"] is None else limits["low"],
            high=math.inf if limits["high"] is None else limits["high"],
            norm=math.inf if limits["norm"] is None else limits["norm"],
            binary=limits["binary"],
            total=math.inf if limits["total"] is None else limits["total"],
        ),
        "nt_samples": saved["nt_samples"],
        "seed": saved["seed"],
        "target": _target(saved["target"], saved["target_is_tuple"]),
    }


def _target(value: Any, is_tuple: bool) -> Any:
    """The target as it was: an output's index of several parts is a tuple, for one or for all."""
    if not isinstance(value, list):
        return value
    return tuple(value) if is_tuple else [_tuple(entry) for entry in value]


def _shift(noise: dict[str, Any]) -> Shift:
    """The noise at its level; files of versions before 0.3 name no unit and no allowance."""
    before = "stdev" if noise["weighted"] else "input"
    kind = WeightedShift if noise.get("unit", before) == "stdev" else Shift
    return kind(
        law_named(noise["law"]),
        noise["dimension"],
        torch.tensor(noise["smallest_stdevs"], dtype=torch.float64),
        noise["weighted"],
        noise.get("allowance"),
    )


def _pairs(saved: dict[str, Any] | None) -> PairEvidence | None:
    """Pair evidence out of its JSON types."""
    if saved is None:
        return None
    names = ("traces", "inners", "eigenvalues", "fourths")
    arrays = {name: np.array(saved[name]) for name in names if saved.get(name) is not None}
    return PairEvidence(saved["pairs"], saved["eig_pairs"], **arrays)


def _votes(saved: dict[str, Any]) -> Votes:
    """Votes out of their JSON types."""
    samples = saved.pop("samples")
    return Votes(samples, **{name: np.array(value, np.int64) for name, value in saved.items()})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _jsonable(value: Any) -> Any:
    """The value in JSON types; tensors become lists, infinities null."""
    if isinstance(value, dict):
        return {name: _jsonable(entry) for name, entry in value.items()}
    if isinstance(value, Tensor | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_jsonable(entry) for entry in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return value
