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

# Why each extra is there:
#   audit: jinja2 renders the report with autoescaping, scikit-learn ships the real digits.
#   metrics: scikit-image is the reference of SSIM, torchmetrics of speed comparisons.
#   lrp: zennit has the LRP rules and guided backpropagation with a graph.
AUDIT = ["jinja2>=3.1", "scikit-learn>=1.3"]
DOCS = ["sphinx>=7", "furo>=2023.9.10"]
METRICS = ["scikit-image>=0.22"]
TEST = [
    "pytest>=7.4",
    "pytest-xdist>=3.5",  # both cores
    "hypothesis>=6.90",  # property tests
    "mpmath>=1.3",  # the noise laws' functions to fifty digits
]
TUTORIALS = ["jupyter>=1.0", "nbconvert>=7", "ipykernel>=6"]
LINT = ["ruff>=0.6", "mypy>=1.11"]

setup(
    name="captum-robust",
    version=VERSION,
    description="Smoothed, certified and audited attributions: a Captum plugin.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["captum_robust", "captum_robust.*"]),
    package_data={
        "captum_robust": ["py.typed"],
        "captum_robust.audit": ["templates/*"],
    },
    install_requires=[
        "captum>=0.8",
        "torch>=2.3",
        "torchvision",
        "numpy",
        "scipy>=1.11",
    ],
    extras_require={
        "audit": AUDIT,
        "docs": DOCS + AUDIT,
        "metrics": METRICS,
        "tutorials": TUTORIALS + AUDIT,
        "test": TEST + AUDIT,
        "dev": TEST + AUDIT + DOCS + LINT,
    },
    entry_points={
        "console_scripts": ["captum-robust = captum_robust.__main__:main"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
