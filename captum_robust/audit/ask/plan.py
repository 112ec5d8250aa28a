"""The plan of an audit: what is asked, checked once, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from captum_robust._base.checks import check_count, check_share_or_count
from captum_robust.audit.ask import option, rules
from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.option import Normalization, Option, asked, flag, option_of

DIGITS: Final = "digits"
TARGETS: Final = ("label", "prediction")


def _switch(help: str) -> Any:
    return asked(False, Option("", help, rules.switch))


@dataclass(frozen=True)
class AuditPlan:
    """Settings of one audit, each with the words by which the command line asks for it."""

    model: str = asked(
        DIGITS,
        Option(
            "MODEL",
            "digits, a torch.export or TorchScript file, torchvision:NAME[:WEIGHTS], or "
            "module:factory, which runs that code",
            rules.text,
        ),
    )
    data: str = asked(
        DIGITS,
        Option("DATA", "digits, a folder of images, or an .npz file with x and y", rules.text),
    )
    normalize: Normalization | None = asked(
        None,
        Option(
            "MEAN/STD",
            "means and standard deviations of the channels, applied inside the model, such as "
            "0.485,0.456,0.406/0.229,0.224,0.225",
            rules.normalization,
            read=option.read_normalization,
            write=option.write_normalization,
            to_json=option.normalization_to_json,
            otherwise="none",
            optional=True,
        ),
    )
    size: int | None = asked(
        None,
        Option(
            "S",
            "images of a folder: shorter side brought to S, central square",
            rules.at_most(2**14),
            read=option.read_whole,
            otherwise="as they are",
            optional=True,
        ),
    )
    labels: Path | None = asked(
        None,
        Option(
            "FILE",
            "classes of a folder's images, in lines name,class",
            rules.path,
            read=option.read_path,
            to_json=str,
            otherwise="none",
            optional=True,
        ),
    )
    target: str | None = asked(
        None,
        Option(
            "CLASS",
            "the class explained: label or prediction",
            rules.one_of(TARGETS),
            otherwise="label where there is one",
            optional=True,
        ),
    )
    limit: int | None = asked(
        12,
        Option(
            "N",
            "at most so many examples, the first ones, or all",
            check_count,
            read=option.read_count_or_all,
            none=option.ALL,
            optional=True,
        ),
    )
    methods: tuple[str, ...] = asked(
        ("saliency", "uniform", "sparsified"),
        Option(
            "NAMES",
            f"comma-separated, of {', '.join(METHODS)}",
            rules.some_of(METHODS),
            read=option.read_names,
            write=",".join,
            to_json=list,
        ),
    )
    noise: float = asked(
        0.25,
        Option(
            "SD",
            "standard deviation of the noise in each feature, under every noise law",
            rules.positive,
            read=option.read_number,
        ),
    )
    nt_samples: int = asked(
        4096,
        Option("N", "noisy copies of each example", rules.at_most(10**9), read=option.read_whole),
    )
    alpha: float = asked(
        0.05,
        Option(
            "P",
            "probability of error of each statement",
            rules.probability,
            read=option.read_number,
        ),
    )
    epsilon: float = asked(
        0.05,
        Option(
            "E",
            "size of the perturbations that the statements are about",
            rules.nonnegative,
            read=option.read_number,
        ),
    )
    k: int | float = asked(
        0.25,
        Option(
            "K",
            "features compared: a share such as 10% or a count",
            check_share_or_count,
            read=option.read_share_or_count,
            write=option.write_share_or_count,
        ),
    )
    keep: int | float = asked(
        0.25,
        Option(
            "K",
            "features the sparsified methods keep, as for --k",
            check_share_or_count,
            read=option.read_share_or_count,
            write=option.write_share_or_count,
        ),
    )
    seed: int = asked(
        0,
        Option(
            "SEED",
            "of the noise, and of the digits' split and training",
            rules.seed,
            read=option.read_whole,
        ),
    )
    out: Path = asked(
        Path("captum-robust-report"),
        Option(
            "FOLDER",
            "where the report and its results go",
            rules.path,
            read=option.read_path,
            to_json=str,
        ),
    )
    device: str = asked(
        "cpu", Option("DEVICE", "where the model runs, such as cpu or cuda", rules.device)
    )
    batch_size: int | None = asked(
        None,
        Option(
            "N",
            "rows of a pass",
            rules.at_most(2**20),
            read=option.read_whole,
            otherwise="128, fewer of large inputs",
            optional=True,
        ),
    )
    threads: int | None = asked(
        None,
        Option(
            "N",
            "CPU threads",
            rules.at_most(2**10),
            read=option.read_whole,
            otherwise="1 for the digits' network, else torch's",
            optional=True,
        ),
    )
    columns: tuple[str, ...] = asked(
        (),
        Option(
            "NAMES",
            "comma-separated columns of your own, as module:name, which runs that code",
            rules.imported,
            read=option.read_names,
            write=",".join,
            to_json=list,
            otherwise="none",
        ),
    )
    gray: bool = _switch("images of a folder in one channel")
    attacks: bool = _switch("also attack every method, and hold the result against its certificate")
    metrics: bool = _switch("also measure every method by the metrics of the literature")

    def __post_init__(self) -> None:
        for name, asked_by in OPTIONS.items():
            value = getattr(self, name)
            if value is not None or not asked_by.optional:
                asked_by.check(flag(name), value)

    @property
    def is_digits(self) -> bool:
        """Whether the library's own small network is what is explained."""
        return self.model == DIGITS

    def as_text(self) -> dict[str, str]:
        """Every option with a value, as the command line takes it; none that was not given."""
        values = {name: getattr(self, name) for name in OPTIONS if name not in SWITCHES}
        written = {
            name: OPTIONS[name].none if value is None else OPTIONS[name].write(value)
            for name, value in values.items()
        }
        return {name: text for name, text in written.items() if text}

    def switched_on(self) -> list[str]:
        """The options without a value that are on."""
        return [name for name in SWITCHES if getattr(self, name)]

    def settings(self) -> dict[str, Any]:
        """Every option in JSON types."""
        values = {name: getattr(self, name) for name in OPTIONS}
        return {
            name: None if value is None else OPTIONS[name].to_json(value)
            for name, value in values.items()
        }


OPTIONS: Final[dict[str, Option]] = {
    setting.name: option_of(setting) for setting in fields(AuditPlan)
}
SWITCHES: Final = tuple(name for name, asked_by in OPTIONS.items() if not asked_by.metavar)
