"""The page: the document rendered by Jinja2, every string escaped, images inside."""

from __future__ import annotations

import base64
import math
from typing import Any

from captum_robust.audit import document as numbers
from captum_robust.audit import words
from captum_robust.audit.figures import SHOWN


def render_page(document: dict[str, Any], images: dict[str, bytes]) -> str:
    """The report as one HTML file that loads nothing from anywhere."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # an extra

    environment = Environment(
        loader=PackageLoader("captum_robust.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": words.share,
        "cosine": words.cosine,
        "angle": words.angle,
        "radius": words.radius,
        "fact": words.fact,
        "measured_share": words.measured_share,
        "estimate": words.estimate,
        "interval": words.interval,
    }
    settings = document["settings"]
    return environment.get_template("report.html").render(
        document=document,
        settings=settings,
        certified=[method for method in document["methods"] if method["answers"]],
        images={name: data_uri(image) for name, image in images.items()},
        shown=SHOWN,
        confidence=100 * (1 - settings["alpha"]),
        log_radii=0 if document["metrics"] is None else log_span(document["metrics"]["settings"]),
        evenly=settings["epsilon"] / math.sqrt(document["subject"]["features"]),
        unsmoothed=numbers.UNSMOOTHED,
        overlap_threshold=numbers.OVERLAP_THRESHOLD,
        cosine_threshold=numbers.COSINE_THRESHOLD,
    )


def log_span(settings: dict[str, Any]) -> float:
    """The area of a value of 1 over the binary logarithm of the radius."""
    radii = settings["attack_radii"]
    return math.log2(radii[-1] / radii[0])


def data_uri(image: bytes) -> str:
    """A PNG image as a ``data:`` address."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")
