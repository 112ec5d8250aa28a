"""What the numbers of an audit depend on, and how two audits differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata
from typing import Final

import torch
from torch import nn

from captum_robust._version import __version__
from captum_robust.audit.ask.imported import code_digest
from captum_robust.audit.ask.option import flag
from captum_robust.audit.ask.plan import AuditPlan

_PACKAGES: Final = ("captum", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "pillow")


CODE_OF: Final = "code of "


def fingerprint(plan: AuditPlan, model: str, data: str) -> dict[str, str]:
    """Everything that changes a number, by the name under which a reader knows it.

    Args:
        plan: all of it but the folder, which changes none.
        model, data: digests of what was loaded.
    """
    arguments = {flag(name): text for name, text in plan.as_text().items() if name != "out"}
    switches = {flag(name): "on" for name in plan.switched_on()}
    names = [plan.model, *plan.columns]
    code = {
        f"{CODE_OF}{name}": digest for name in names if (digest := code_digest(name)) is not None
    }
    return {**arguments, **switches, "model": model, "data": data, **code, **package_versions()}


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two fingerprints, in words.

    Example:
        >>> from captum_robust.audit.ask.fingerprint import differences
        >>> differences({"--noise": "0.25", "torch": "2.3"}, {"--noise": "0.5", "torch": "2.3"})
        ['--noise was 0.25 and is 0.5']
    """
    return [
        f"{name} was {_short(before.get(name))} and is {_short(now.get(name))}"
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
    ]


def package_versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on, as far as they are installed."""
    found = {"captum-robust": __version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def module_digest(model: nn.Module) -> str:
    """SHA-256 of a module's printed structure, its parameters and buffers."""
    digest = hashlib.sha256(repr(model).encode())
    for name, value in sorted(model.state_dict().items()):
        tensor = value.detach().cpu().contiguous().flatten()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _short(value: str | None) -> str:
    """A digest by its first letters, any other value as it is."""
    if value is None:
        return "not given"
    return value[:12] + "..." if len(value) == 64 else value
