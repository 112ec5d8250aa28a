"""Certificates that version 0.2 saved answer as they did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from captum_robust.certificates import Certificate

FOLDER = Path(__file__).parent / "saved"
SAVED = json.loads((FOLDER / "answers.json").read_text())
SIZES = [0.0, 0.01, 0.05, 0.2]
THRESHOLDS = {
    "overlap": {"overlap": 0.5, "k": 3},
    "cosine": {"cosine": 0.8},
    "angle": {"angle": 20.0},
    "l2_deviation": {"l2_deviation": 0.3},
    "region_mass": {"region_mass": 0.3},
}
# What has changed since, and why: answers are weaker, by at most a relative tolerance.
LAW = (
    "every answer of the comparator is by its own law, where some were by Neyman and Pearson's",
    1.0,
)
MENDED = {
    ("renyi", "overlap"): ("rounding may add to the sum of a map, which was taken for one", 1e-3),
    ("lecuyer", "certified_share"): LAW,
    ("lecuyer", "pixels"): LAW,
    ("lecuyer", "rank"): LAW,
}


def ask(certificate, key):
    """The answer that was saved under a key such as "curve overlap k=3"."""
    kind, *rest = key.split()
    if kind == "curve":
        k = {"k": json.loads(rest[1].removeprefix("k="))} if len(rest) > 1 else {}
        return certificate.curve(rest[0], SIZES, **k)
    if kind == "radius":
        return certificate.certified_radius(**THRESHOLDS[rest[0]])
    if kind == "routes":
        k = {"k": 3} if rest[0] == "overlap" else {}
        return certificate.winning_routes(rest[0], 0.02, **k)
    if kind == "precedes":
        return certificate.precedes(0, 1, 0.02)
    if kind in ("rank", "pixels"):
        return getattr(certificate, kind)(0.02)
    return certificate.pixel_radius()


def test_weighted_sizes_of_old_files_keep_their_unit(tmp_path):
    old = Certificate.load(FOLDER / "weighted.npz")
    assert old.shift.norm == "l2 norm of delta / stdev"
    assert "(so every one whose l2 norm is at most 0.03)" in old.statement(0.1, k=3)
    old.save(tmp_path / "again.npz")
    again = Certificate.load(tmp_path / "again.npz")
    assert torch.equal(again.certified_radius(cosine=0.8), old.certified_radius(cosine=0.8))


@pytest.mark.parametrize("name", list(SAVED))
def test_answers_are_those_of_the_version_that_saved_it(name):
    certificate = Certificate.load(FOLDER / f"{name}.npz")
    saved = SAVED[name]
    assert certificate.kind == saved["kind"]
    assert certificate.nt_samples == saved["nt_samples"]
    for key in set(saved) - {"kind", "noise", "nt_samples"}:
        found = ask(certificate, key)
        if not torch.is_tensor(found):
            assert found == saved[key], key
            continue
        before, now = np.array(saved[key]), found.numpy()
        topic = name, key.split()[1] if " " in key else key
        if topic in MENDED:
            reason, tolerance = MENDED[topic]
            larger_is_weaker = topic[1] == "rank"
            assert (now >= before if larger_is_weaker else now <= before).all(), reason
            if tolerance < 1.0:
                np.testing.assert_allclose(now, before, rtol=tolerance, err_msg=reason)
        else:
            np.testing.assert_allclose(now, before, rtol=1e-12, atol=0, err_msg=key)
