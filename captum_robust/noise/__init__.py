"""Noise laws: each samples and knows what a shift of it can do; and the levels they are used at."""

from captum_robust.noise._laws import GaussianNoise, NoiseLaw, UniformBallNoise, UniformBoxNoise
from captum_robust.noise._levels import Relative

__all__ = ["GaussianNoise", "NoiseLaw", "Relative", "UniformBallNoise", "UniformBoxNoise"]
