"""How often a statement may fail."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

ALPHA = 0.1


def covers(failures: Any, alpha: float = ALPHA) -> bool:
    """Whether a share of failures is at most alpha plus three binomial standard errors."""
    failures = np.asarray(failures, bool)
    return bool(failures.mean() <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / failures.size))
