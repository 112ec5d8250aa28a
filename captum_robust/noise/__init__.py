"""Noise laws: each samples and knows what a shift of it can do; and the levels they are used at."""

from captum_robust.noise.ball import UniformBallNoise
from captum_robust.noise.box import UniformBoxNoise
from captum_robust.noise.gaussian import GaussianNoise
from captum_robust.noise.law import NoiseLaw, known_laws, law_named
from captum_robust.noise.levels import Relative

__all__ = [
    "GaussianNoise",
    "NoiseLaw",
    "Relative",
    "UniformBallNoise",
    "UniformBoxNoise",
    "known_laws",
    "law_named",
]
