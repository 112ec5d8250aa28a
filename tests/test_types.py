"""What a type checker sees of a user's script."""

from __future__ import annotations

import textwrap

import pytest

SCRIPT = """
    import torch
    from captum.attr import Saliency
    from typing_extensions import assert_type

    from captum_robust.attr import Sampling, SparsifiedSmoothGrad
    from captum_robust.certificates import Certificate, Claim

    smooth = SparsifiedSmoothGrad(Saliency(torch.nn.Identity()), keep=2)
    one, two = torch.zeros(2, 4), (torch.zeros(2, 4), torch.zeros(2, 3))
    pair: tuple[torch.Tensor, ...] = two
    ways = Sampling(clamp=(0.0, 1.0))

    assert_type(smooth.attribute(one, target=0, stdevs=0.1, sampling=ways), torch.Tensor)
    assert_type(smooth.attribute(pair, target=0), tuple[torch.Tensor, ...])
    assert_type(
        smooth.attribute(one, target=0, return_convergence_delta=True),
        tuple[torch.Tensor, torch.Tensor],
    )
    assert_type(smooth.attribute(one, "vargrad", 5), torch.Tensor)
    claim = Claim("redrawn", route="l2")
    certificate = smooth.certify(one, 0, stdevs=0.1, nt_samples=10, claim=claim)
    assert_type(certificate, Certificate)
    assert_type(certificate.overlap(0.1, k=1), torch.Tensor)
    smooth.certify(one, 0, stdevs=0.1, nt_samples=10, claim="population")
"""
WRONG = {
    'smooth.attribute(one, nt_type="smooth")': "No overload variant",
    'smooth.certify(one, claim="reporte")': "incompatible type",
    'Claim("reported", route="l3")': "incompatible type",
    'Sampling(clamp="no")': "incompatible type",
    "Sampling(layr=None)": "Unexpected keyword argument",
}


@pytest.mark.slow
def test_mypy_follows_attribute_and_certify(tmp_path):
    api = pytest.importorskip("mypy.api")
    script = textwrap.dedent(SCRIPT)
    lines = len(script.splitlines())
    path = tmp_path / "user.py"
    path.write_text(script + "\n".join(WRONG) + "\n")
    options = ["--python-version", "3.10", "--follow-imports=silent", "--ignore-missing-imports"]
    found, errors, _ = api.run([*options, "--cache-dir", str(tmp_path / "cache"), str(path)])
    assert not errors, errors
    complaints = [line for line in found.splitlines() if "error:" in line]
    assert not [line for line in complaints if int(line.split(":")[1]) <= lines], found
    for number, (call, words) in enumerate(WRONG.items(), start=lines + 1):
        mine = [line for line in complaints if f"user.py:{number}:" in line]
        assert mine and words in mine[0], f"{call}: {found}"
