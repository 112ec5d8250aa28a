"""Sphinx settings: ``sphinx-build -W -b html docs docs/_build/html``."""

from __future__ import annotations

import importlib

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from captum_robust import __version__

project = "captum-robust"
author = "the captum_robust developers"
project_copyright = f"2026, {author}"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
]
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"captum-robust {release}"

# Members follow ``__all__``, so that a page cannot miss or invent a public name.
autodoc_default_options = {"members": True, "member-order": "groupwise", "show-inheritance": True}
autodoc_typehints_format = "short"
napoleon_use_ivar = True  # a dataclass field is described once, in its class
napoleon_google_docstring = True
napoleon_numpy_docstring = False
maximum_signature_line_length = 88

# Pages without names of their own: the top level is described name by name, the audit is a command.
NAMESPACES = (
    "examples",
    "noise",
    "transforms",
    "certificates",
    "attr",
    "robust",
    "metrics",
    "estimates",
    "losses",
    "visualization",
)


def home(name: str, value: object) -> str:
    """The first namespace, from the ground up, that makes an object public under a name."""
    for namespace in NAMESPACES:
        module = importlib.import_module(f"captum_robust.{namespace}")
        if name in module.__all__ and getattr(module, name) is value:
            return namespace
    return ""


def describe_once(
    app: Sphinx, what: str, name: str, value: object, skip: bool, options: object
) -> bool | None:
    """Leaves a name that two namespaces share to the page of the lower one."""
    page = app.env.docname.removeprefix("api/")
    if what == "module" and page in NAMESPACES and home(name, value) not in ("", page):
        return True
    return None


def warn_of_missing_names(app: Sphinx, env: BuildEnvironment) -> None:
    """Fails a ``-W`` build in which a public name has no entry."""
    described = env.domains["py"].objects  # type: ignore[attr-defined]
    public = ["captum_robust.register", "captum_robust.unregister"]
    for namespace in NAMESPACES:
        module = importlib.import_module(f"captum_robust.{namespace}")
        public += [
            f"captum_robust.{home(name, getattr(module, name))}.{name}" for name in module.__all__
        ]
    for name in public:
        if name not in described:
            logging.getLogger(__name__).warning("public name without an API entry: %s", name)


def setup(app: Sphinx) -> None:
    """Adds the check of public names to the build."""
    app.connect("autodoc-skip-member", describe_once)
    app.connect("env-check-consistency", warn_of_missing_names)
