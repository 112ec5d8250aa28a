"""Noise that depends on (seed, sample, example) alone, however the work is batched or shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from captum_robust._base.checks import check_count

# What random numbers are drawn for. Changing a number here changes what a seed draws.

# -- purposes of streams -----------------------------------------------------------------------
NOISE: Final = 0  # of smoothed attributions
BASELINES: Final = 1  # rows of baselines, one for each noisy copy
PERTURBATIONS: Final = 2  # random perturbations of evaluators
DIRECTIONS: Final = 3  # random directions through Hessians
METHOD: Final = 4  # a base method's own draws
ATTACK_NORMAL: Final = 101  # normal numbers of attacks
ATTACK_UNIFORM: Final = 102  # uniform numbers of attacks

# -- offsets of seeds --------------------------------------------------------------------------
SELECTION_SEED: Final = 1 << 62  # the search for a radius, apart from its final certificate

_SEEDS: Final = 2**63 - 1
_WORD: Final = 0xFFFF_FFFF
_LONG: Final = 0xFFFF_FFFF_FFFF_FFFF

Fill = Callable[[Tensor, torch.Generator | None], object]


class SampleStreams:
    """One random stream for each pair of an example and a sample number.

    Torch's CPU generator takes 32 bits of seed. The sample number enters through a bijection of
    those bits, so no two samples of an example ever share a stream.

    Args:
        seed: any int >= 0.
        example_ids: one int >= 0 an example; equal ids get equal noise.
        purpose: keeps draws for different ends apart; the noise itself is 0.
    """

    def __init__(self, seed: int, example_ids: Sequence[int], purpose: int = 0) -> None:
        seed = check_count("seed", seed, low=0)
        root = _mix64(_mix64(seed) + purpose)
        ids = [check_count("example_ids", example, low=0) for example in example_ids]
        self._keys = [_mix64(root ^ _mix64(example ^ 0x5851_F42D)) for example in ids]

    def fill(self, out: Tensor, samples: range, fill: Fill) -> None:
        """Fills rows ``(examples * samples, *)``, example-major, each from its own stream."""
        generator = torch.Generator(device=out.device)
        rows = iter(out.split(1))
        for key in self._keys:
            for sample in samples:
                fill(next(rows), generator.manual_seed(_stream_seed(key, sample)))

    def seed_of(self, example: int, sample: int) -> int:
        """The seed of one stream, for generators that are not torch's."""
        return _stream_seed(self._keys[example], sample)


def _stream_seed(key: int, sample: int) -> int:
    """A 64-bit seed whose low word is a bijection of the sample number."""
    low = _mix32((sample + key) & _WORD) ^ (key >> 32)
    return (_mix64(key ^ sample) & ~_WORD & _LONG | low) & 0x7FFF_FFFF_FFFF_FFFF


def _mix32(word: int) -> int:
    """Bijection of 32 bits: xor-shifts and odd multipliers are each invertible."""
    word = ((word ^ (word >> 16)) * 0x85EB_CA6B) & _WORD
    word = ((word ^ (word >> 13)) * 0xC2B2_AE35) & _WORD
    return word ^ (word >> 16)


def _mix64(word: int) -> int:
    """Bijection of 64 bits with the constants of SplitMix64 (Steele et al., 2014)."""
    word = (word + 0x9E37_79B9_7F4A_7C15) & _LONG
    word = ((word ^ (word >> 30)) * 0xBF58_476D_1CE4_E5B9) & _LONG
    word = ((word ^ (word >> 27)) * 0x94D0_49BB_1331_11EB) & _LONG
    return word ^ (word >> 31)


def resolved_seed(seed: int | None) -> int:
    """The seed as given, or one drawn from torch's global generator.

    One draw at the beginning decides everything: a method or a model that sets torch's seed while
    it runs cannot repeat the noise.

    Example:
        >>> from captum_robust._base.streams import resolved_seed
        >>> resolved_seed(5)
        5
    """
    return int(torch.randint(_SEEDS, ())) if seed is None else seed
