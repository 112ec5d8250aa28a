"""``--model``: where the model comes from, and what is refused."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from captum_robust.audit.ask.fingerprint import module_digest
from captum_robust.audit.ask.imported import IMPORTED, file_digest, import_name, told
from captum_robust.audit.ask.option import Normalization
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.ask.usage import OF_USER_CODE, UsageError
from captum_robust.audit.load.program.archive import Refused, load_tensors
from captum_robust.audit.load.program.exported import load_exported
from captum_robust.audit.load.program.script import load_script

_TORCHVISION: Final = "torchvision:"


@dataclass(frozen=True, eq=False)
class Model:
    """A model in evaluation mode, on the plan's device.

    Attributes:
        module: takes ``(N, C, H, W)``, gives scores ``(N, classes)``.
        title: what the report calls it.
        digest: of what was loaded.
        facts: for the report.
    """

    module: nn.Module
    title: str
    digest: str
    facts: dict[str, Any]


class Normalized(nn.Module):
    """A model behind the normalisation of its inputs, so that noise and epsilon are of pixels.

    Args:
        model: takes normalised inputs.
        normalization: means and standard deviations of the channels, or one for all.
    """

    def __init__(self, model: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.model = model
        self.training = False
        means, deviations = (torch.tensor(part).reshape(1, -1, 1, 1) for part in normalization)
        self.register_buffer("means", means)
        self.register_buffer("deviations", deviations)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of images that are not normalised."""
        means: Any = self.means
        deviations: Any = self.deviations
        return self.model((images - means.to(images)) / deviations.to(images))


def load_model(plan: AuditPlan) -> Model:
    """The model that ``--model`` names: a file, a torchvision architecture, or a factory.

    A file is what ``torch.export.save`` or ``torch.jit.save`` wrote. Nothing is downloaded, and no
    code but a factory's own is run.

    Raises:
        UsageError: if there is none, or it could run code of its own.
    """
    name = plan.model
    if name.startswith(_TORCHVISION):
        model = _from_torchvision(name.removeprefix(_TORCHVISION), plan.seed)
    elif Path(name).is_file():
        model = _from_file(Path(name), plan)
    elif IMPORTED.fullmatch(name):
        model = _from_factory(name)
    else:
        raise UsageError(
            f"`--model` must be digits, a torch.export or TorchScript file, "
            f"torchvision:NAME[:WEIGHTS] or module:factory, got {name!r}, which is no file. "
            "Try --model torchvision:resnet18."
        )
    module = model.module.requires_grad_(False).to(plan.device)
    return Model(module, model.title, model.digest, {"model": model.title, **model.facts})


def normalized(model: nn.Module, plan: AuditPlan) -> nn.Module:
    """The model behind ``--normalize``, where it was given."""
    if plan.normalize is None:
        return model
    return Normalized(model, plan.normalize).to(plan.device)


def _from_file(path: Path, plan: AuditPlan) -> Model:
    """An exported graph or a TorchScript file, told apart by what is inside."""
    names = _members(path)
    try:
        if any(name.endswith("/constants.pkl") for name in names):
            module, kind = load_script(path, plan.device), "TorchScript"
        elif any(name.endswith(("models/model.json", "exported_program.json")) for name in names):
            module, kind = load_exported(path), "torch.export"
        else:
            raise UsageError(
                f"`--model` {str(path)!r} is neither a torch.export nor a TorchScript file. A "
                "pickled model is refused, since opening one can run any code; save it by "
                "torch.export.save, or pass its weights as torchvision:NAME:WEIGHTS, or code of "
                "yours as module:factory."
            )
    except Refused as refused:
        raise UsageError(
            f"`--model` {str(path)!r} is refused: {refused}. Export the model anew, or pass it as "
            "module:factory."
        ) from None
    facts = {"model file": f"{kind}, {path.name}"}
    return Model(module, f"{path.stem} ({kind})", file_digest(path), facts)


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        return []


def _from_torchvision(name: str, seed: int) -> Model:
    """An architecture of torchvision, with the weights of a state dict or untrained."""
    from torchvision import models

    architecture, colon, weights = name.partition(":")
    if architecture not in models.list_models(module=models):  # others would download a backbone
        raise UsageError(
            f"`--model` must name a classifier of torchvision, got {architecture!r}. "
            "Try --model torchvision:resnet18."
        )
    if colon and not weights:
        raise UsageError(
            f"`--model` must name a file of weights after the second colon, got {name!r} without "
            f"any. Try --model torchvision:{architecture} for random weights."
        )
    module = _untrained(architecture, seed)
    if not weights:
        title = f"{architecture}, untrained"
        return Model(module.eval(), title, module_digest(module), _parameters(module))
    state = _state_dict(Path(weights))
    module = _of_as_many_classes(architecture, module, state)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(
            f"`--model` {architecture} does not fit the weights in {weights!r}: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from None
    return Model(module.eval(), architecture, module_digest(module), _parameters(module))


def _state_dict(path: Path) -> dict[str, Tensor]:
    """A state dict read without running code; one inside a checkpoint is found."""
    try:
        return load_tensors(path)
    except (Refused, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"`--model` needs weights that hold tensors alone (a state dict), got {str(path)!r}: "
            f"{reason}."
        ) from None


def _untrained(architecture: str, seed: int, **settings: Any) -> nn.Module:
    """An architecture with weights of the seed; torch's global generator stays as it is."""
    from torchvision import models

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.get_model(architecture, weights=None, **settings)


def _of_as_many_classes(
    architecture: str, module: nn.Module, state: Mapping[str, Tensor]
) -> nn.Module:
    """The architecture again where the weights' last layer has another number of classes."""
    own = module.state_dict()
    last = [name for name in own if name.endswith("bias")][-1]
    if last not in state or state[last].shape == own[last].shape:
        return module
    return _untrained(architecture, 0, num_classes=len(state[last]))


def _from_factory(name: str) -> Model:
    """What the user's own function returns; the one source that runs code."""
    factory = import_name("--model", name)
    try:
        module = factory()
    except OF_USER_CODE as error:
        raise UsageError(f"`--model` {name!r} failed: {told(error)}") from None
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"`--model` {name!r} must return a torch.nn.Module, got {type(module).__name__}."
        )
    facts = {"model factory": name, **_parameters(module)}
    return Model(module.eval(), name, module_digest(module), facts)


def _parameters(module: nn.Module) -> dict[str, Any]:
    return {"parameters": sum(parameter.numel() for parameter in module.parameters())}
