"""Streams in plain numpy, from what is promised alone: generators, keys, and the chain of hashes."""

from __future__ import annotations

import hashlib

import numpy as np

from clbench.data.pool import TensorPool
from clbench.stream import Stream

MASK = (1 << 64) - 1


def rng_of(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def splitmix(value: int, salt: int) -> int:
    z = (value + salt) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def salt_of(seed: int, *key: int) -> int:
    state = np.random.SeedSequence(seed, spawn_key=(7, *key)).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def chain_of(tasks: list[list[int]], on: TensorPool, seed: int, sha256: str) -> str:
    """The hash over all experiences, from the pool's indices of each task's samples by class."""
    of = on.labels("train")
    for t, members in enumerate(tasks):
        index = np.array(members)[rng_of(seed, 1, t).permutation(len(members))]
        keys = np.array([splitmix(int(i), salt_of(seed)) for i in index], dtype=np.uint64)
        digest = hashlib.sha256(sha256.encode())
        digest.update(keys.tobytes())
        digest.update(of[index].astype(np.int64).tobytes())
        sha256 = digest.hexdigest()
    return sha256


def chain(stream: Stream) -> str:
    """The stream's own hash over all experiences."""
    sha256 = stream.sha256
    for t in range(stream.n_tasks or 0):
        sha256 = stream.extend(sha256, stream.draw(t))
    return sha256
