"""The pages: the document and its examples rendered by Jinja2, every string escaped."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.load.images import Picture
from captum_robust.audit.measure import rounding
from captum_robust.audit.measure.columns.registry import columns_of
from captum_robust.audit.report import document as numbers
from captum_robust.audit.report.document import Results
from captum_robust.audit.report.figures import SHOWN


def render_page(document: dict[str, Any], images: dict[str, bytes]) -> str:
    """The report as one HTML file that loads nothing from anywhere.

    Its one script sorts tables; the page allows no other, by the digest of this one.
    """
    settings = document["settings"]
    script = _script()
    return (
        _environment()
        .get_template("report.html")
        .render(
            document=document,
            settings=settings,
            certified=[method for method in document["methods"] if method["answers"]],
            rows=list(_rows(document)),
            images={name: data_uri(image) for name, image in images.items()},
            shown=SHOWN,
            confidence=100 * (1 - settings["alpha"]),
            log_radii=0
            if document["metrics"] is None
            else log_span(document["metrics"]["settings"]),
            evenly=settings["epsilon"] / math.sqrt(document["subject"]["features"]),
            unsmoothed=numbers.UNSMOOTHED,
            script=_safe(script),
            script_hash=_safe(content_hash(script)),
            columns=columns_of(tuple(settings["columns"])),
            norms=norm_words(document["methods"]),
        )
    )


def render_examples(document: dict[str, Any], results: Results) -> Iterator[tuple[str, str]]:
    """A page for each example: its path inside the report's folder, and its HTML."""
    template = _environment().get_template("example.html")
    columns = columns_of(tuple(document["settings"]["columns"]))
    records = {name: dict(found) for name, found in results.methods.items()}
    pages = [Path(example["page"]).name for example in document["examples"]]
    for example, (_, record) in zip(document["examples"], results.examples, strict=True):
        index = example["index"]
        parts = [_part(name, found.get(index)) for name, found in records.items()]
        yield (
            example["page"],
            template.render(
                title=document["subject"]["title"],
                example=example,
                picture=_safe(Picture.from_json(record["picture"]).as_input()),
                parts=parts,
                settings=document["settings"],
                k_count=document["k_count"],
                previous=pages[index - 1] if index else None,
                next=pages[index + 1] if index + 1 < len(pages) else None,
                about=document["columns"],
                attacks=document["attacks"],
                columns=columns,
            ),
        )


def norm_words(methods: Sequence[dict[str, Any]]) -> str:
    """The norms that the certificates of all methods are about, each once.

    Example:
        >>> from captum_robust.audit.report.page import norm_words
        >>> certified = {"answers": {}, "norm": "l2 norm", "title": "A"}
        >>> norm_words([certified | {"answers": {"overlap": {}}}])
        'l2 norm'
    """
    titles: dict[str, list[str]] = {}
    for method in methods:
        if method["answers"]:
            titles.setdefault(method["norm"], []).append(method["title"])
    if len(titles) < 2:
        return "".join(titles)
    return " or ".join(f"{norm} ({', '.join(named)})" for norm, named in titles.items())


def log_span(settings: dict[str, Any]) -> float:
    """The area of a value of 1 over the binary logarithm of the radius."""
    radii = settings["attack_radii"]
    return math.log2(radii[-1] / radii[0])


def data_uri(image: bytes) -> str:
    """A PNG image as a ``data:`` address."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")


def content_hash(script: str) -> str:
    """The digest by which a content security policy names a script.

    Example:
        >>> from captum_robust.audit.report.page import content_hash
        >>> content_hash("")
        'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # an extra

    environment = Environment(
        loader=PackageLoader("captum_robust.audit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": rounding.share,
        "fact": rounding.fact,
    }
    return environment


def _script() -> str:
    return (Path(__file__).parent / "templates" / "sort.js").read_text(encoding="utf-8")


def _safe(text: str) -> Any:
    """Text of this library's own, which is not escaped."""
    from markupsafe import Markup

    return Markup(text)


def _rows(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each example with every certified method's overlap, None where it was skipped."""
    overlaps = [
        dict(zip(method["examples"], method["answers"]["overlap"]["values"], strict=True))
        for method in document["methods"]
        if method["answers"]
    ]
    for example in document["examples"]:
        yield {
            "example": example,
            "overlaps": [found.get(example["index"]) for found in overlaps],
        }


def _part(name: str, record: dict[str, Any] | None) -> dict[str, Any]:
    """What an example's page shows of one method."""
    title = METHODS[name].title
    if record is None:
        nothing = dict.fromkeys(("picture", "answers", "attacks", "statement"))
        return {"title": title, "status": "skipped", **nothing}
    return {
        "title": title,
        "status": numbers.UNSMOOTHED,
        "picture": _safe(Picture.from_json(record["picture"]).as_map()),
        "answers": record.get("answers"),
        "attacks": record["attacks"],
        "statement": record.get("statement"),
    }
