"""Keyed randomness: one independent stream per decision (Sec. 8 of the method notes)."""

import hashlib
import json

import numpy as np


def stream(seed: int, purpose: str, *, fold: int = 0, cycle: int = 0, image: str = "") -> np.random.Generator:
    """Return the random stream of one decision.

    The key is hashed (BLAKE2b, 128 bits) into the entropy of a `SeedSequence` that feeds a Philox generator, so
    streams of different keys are independent, neighbouring seeds included, and a stream depends neither on the
    number of shards, nor on the order of answers, nor on a restart.

    Args:
        seed: the repeat's seed.
        purpose: what is decided, e.g. ``"images"``, ``"regions"`` or ``"training"``.
        fold: the cross-validation fold.
        cycle: the active-learning cycle, from 1; 0 where no cycle is concerned.
        image: the image's id; empty where no single image is concerned.
    """
    key = json.dumps([seed, purpose, fold, cycle, image]).encode()
    entropy = int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
