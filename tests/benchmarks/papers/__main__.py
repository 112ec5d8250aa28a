"""Repeats the papers' experiments; ``--help`` says how."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # started as a path
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.benchmarks.papers.command import main

if __name__ == "__main__":
    main()
