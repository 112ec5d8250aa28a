"""The drawing of the house shows the plan that the code has."""

from __future__ import annotations

import runpy
from pathlib import Path

from PIL import Image

HOUSE = Path(__file__).parents[2] / "docs" / "house.py"


def test_the_drawing_is_current() -> None:
    house = runpy.run_path(str(HOUSE))
    with Image.open(house["PICTURE"]) as picture:
        drawn = picture.info["Description"]
    assert drawn == house["digest"](), "the plan has changed: run python docs/house.py"
