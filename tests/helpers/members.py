"""Brings the members of ``extension`` into their families, for as long as a test needs them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from captum_robust.certificates import Confidence, Question
from captum_robust.metrics import SIMILARITIES
from captum_robust.robust import Ball

NAME = "tests.helpers.extension"


@contextmanager
def new_members() -> Iterator[ModuleType]:
    """Imports the module, and takes its members out again: other tests list whole families."""
    yield importlib.import_module(NAME)
    Question.forget("feature_value")
    Confidence.forget("second-moment")
    SIMILARITIES.pop("sign_agreement", None)
    Ball.names.pop("pairs", None)
    sys.modules.pop(NAME, None)
