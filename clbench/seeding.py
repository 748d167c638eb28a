"""One root seed, independent axes.

Every random number in a run comes from ``SeedSequence(seed, spawn_key=(axis, ...))`` with the fixed
table below, so that changing the strategy never changes the stream, and experience ``t`` can be
drawn without drawing those before it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np
import torch
import torch.utils.deterministic

from clbench.util.seed_words import Generator, Given, words


class Axis(IntEnum):
    """The purpose of a random number. Values are part of the results: never renumber."""

    STREAM = 0
    """Per scenario: class orders, the subset of classes."""
    TASK = 1
    """Per task: which samples, in which order."""
    SHUFFLE = 2
    """Per experience: the order of epochs after the first."""
    TRANSFORM = 3
    """Per experience or test domain: noise of a random transform."""
    MODEL = 4
    """The strategy's initial weights."""
    LEARN = 5
    """Per experience: whatever the strategy draws."""
    EVALUATE = 6
    """The order in which test samples are predicted, noise of test domains, what diagnostics draw."""
    KEY = 7
    """The opaque identities of samples, and (7, 1), (7, 2), ... what is drawn for each of them."""
    FISHER = 8
    """Which samples a released Fisher is estimated on, in which order, and the labels it draws."""


def sequence(seed: int, axis: Axis, *key: int) -> np.random.SeedSequence:
    """The seed sequence of one axis, optionally of one task on it."""
    return np.random.SeedSequence(seed, spawn_key=(int(axis), *key))


def generator(seed: int, axis: Axis, *key: int) -> np.random.Generator:
    """A numpy generator for one axis."""
    state = _state(seed, axis, key, 4)
    if state is None:
        return Generator(np.random.PCG64(sequence(seed, axis, *key)))
    given: Any = Given(np.array(state, np.uint64))  # numpy's types know its own sequence only
    return Generator(np.random.PCG64(given))


def integer(seed: int, axis: Axis, *key: int) -> int:
    """A 63-bit seed for one axis, for generators that take an integer."""
    state = _state(seed, axis, key, 1)
    if state is None:
        return int(sequence(seed, axis, *key).generate_state(1, np.uint64)[0] >> 1)
    return state[0] >> 1


def _state(seed: int, axis: Axis, key: tuple[int, ...], n: int) -> list[int] | None:
    """The first ``n`` words of 64 bits of a task's sequence; None for keys of another form."""
    if len(key) != 1 or not 0 <= key[0] < 2**32 or seed < 0:
        return None
    found = words(seed, axis, key[0], 2 * n)
    return [low | high << 32 for low, high in zip(found[::2], found[1::2], strict=True)]


def torch_generator(seed: int, axis: Axis, *key: int) -> torch.Generator:
    """A torch generator on the CPU for one axis."""
    return torch.Generator(device="cpu").manual_seed(integer(seed, axis, *key))


def seed_all(seed: int, axis: Axis, *key: int) -> None:
    """Seed torch (every device), numpy and ``random``; only ever called inside ``preserved``."""
    seed_from(integer(seed, axis, *key))


def seed_from(state: int) -> None:
    """Seed all generators with one integer; ``torch.initial_seed()`` gives it back."""
    if torch.accelerator.is_available():
        torch.manual_seed(state)
    else:  # the same state, without 0.1 ms for a query of devices
        torch.default_generator.manual_seed(state)
    np.random.seed(state % 2**32)  # noqa: NPY002 - third-party strategies draw from it
    random.seed(state)


@contextmanager
def preserved(threads: int) -> Iterator[None]:
    """Run deterministically on ``threads`` threads (0: torch's default), then restore all.

    What a run changes in the process, generators, thread count, deterministic mode, is put back, so
    results never depend on what ran before and nothing after depends on the run.
    """
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    n_threads, deterministic = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    deterministic_settings: Any = torch.utils.deterministic
    fill = deterministic_settings.fill_uninitialized_memory
    try:
        if torch.cuda.is_available():  # older releases of torch refuse products without it
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if threads:
            torch.set_num_threads(threads)
        # What use_deterministic_algorithms sets, without the second it takes to import a compiler.
        torch.set_deterministic_debug_mode("error")
        # It guards against reading memory never written and costs a pass over every new tensor.
        deterministic_settings.fill_uninitialized_memory = False
        with torch.random.fork_rng(enabled=torch.cuda.is_available()):
            yield
    finally:
        torch.set_deterministic_debug_mode(deterministic)
        deterministic_settings.fill_uninitialized_memory = fill
        torch.set_num_threads(n_threads)
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
