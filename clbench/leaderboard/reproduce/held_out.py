"""Held-out verification: runs an entry on fresh data generated from a secret.

A real pool is warped: classes are relabelled; images are rotated, scaled, shifted and their
intensities changed by amounts drawn from the secret; features of vectors are permuted and scaled.
Generated data, such as synbols, are generated again from the secret. The secret is drawn when the entry
is verified, so that nobody can have tuned on the data, or brought their answers or weights that were
trained on them. The entry and the board's lower anchor run on the fresh data; the entry passes if it
keeps its place, which is 0 at that anchor and 1 without error. The ceiling is not run: it takes
minutes. One draw is noisy: where the place there is not near that on the board, two more draws decide
with it.

The root seed of these runs is of the secret too. A board's seeds are small numbers, so that a
strategy can find out which one it runs under, from the state of torch's generator, and with it the
order in which test samples of sorted classes are predicted. What that wins on the board is lost here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clbench.configure.board import Board
from clbench.configure.config import resolve_point
from clbench.configure.protocol import FRESH_SEEDS
from clbench.data.dataset import DataSet
from clbench.data.pool import Arrays, Pool, TensorPool
from clbench.engine.assemble import assemble
from clbench.engine.build import prepare
from clbench.engine.harness import run_stream, start_ledger
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.rerun import anchor_point, rerun
from clbench.results.record import Record

NEAR = 0.1
"""By how much the place on the first draw may be below that on the board without further draws. Both
limits are times the entry's error on the board over the anchor's, where that is above one."""
SLACK = 0.2
"""By how much the mean of the places on ``DRAWS`` draws may be below the place on the board."""
DRAWS = 3


@dataclass(frozen=True)
class HeldOut:
    """The result on the fresh data."""

    passed: bool
    seed: int
    """Of the record whose settings ran; the root seed is of the secret."""
    claimed: float
    """The entry's place on the board: 0 at the lower anchor, 1 without error."""
    found: float
    """The entry's place on the fresh data, as the mean over ``draws``."""
    draws: tuple[float, ...]
    """Its place on each draw: one, or ``DRAWS``."""
    primary: dict[str, float]
    """Means over the draws, of ``entry`` and of the strategy that is the board's lower anchor."""
    commitment: str
    """Hash of the secret and the board; published in advance, it proves which secret was used."""
    secret: str
    """In hexadecimal, where it was drawn for this run; empty where it is kept."""


class Fresh:
    """A board's fresh data of one secret, and what its lower anchor reaches on them."""

    def __init__(
        self, board: Board, secret: bytes | None = None, folders: Sequence[Path] = ()
    ) -> None:
        """Take a secret, or draw one.

        Args:
            board: the board.
            secret: None: one is drawn.
            folders: where files are looked for that settings of entries name.

        Raises:
            UsageError: the secret is too short.
        """
        if secret is not None and len(secret) < 16:
            raise UsageError("the secret is shorter than 16 bytes")
        self.board, self.is_drawn, self.folders = board, secret is None, folders
        self.secret = secrets.token_bytes(32) if secret is None else secret
        digest = hmac.new(self.secret, b"clbench seed 1", hashlib.sha256).digest()
        self.seed = FRESH_SEEDS + int.from_bytes(digest[:7], "big")
        """The root seed of all runs."""
        self.pools: dict[Any, Pool] = {}
        self.anchors: dict[str, float] = {}

    @cached_property
    def others(self) -> tuple[Fresh, ...]:
        """The further draws that the same secret gives."""
        keys = (b"clbench draw %d" % n for n in range(2, DRAWS + 1))
        drawn = (hmac.new(self.secret, key, hashlib.sha256).digest() for key in keys)
        return tuple(Fresh(self.board, secret, self.folders) for secret in drawn)

    def anchor(self, device: str) -> float:
        """The primary of the lower anchor, run once."""
        if device not in self.anchors:
            point = self._anchor_point(device)
            run = prepare(resolve_point(point), self._pools(device))
            strategy = run.strategy()
            outcome = run_stream(run, strategy, start_ledger(run))
            record = assemble(run, strategy, outcome, datetime.now(UTC))
            self.anchors[device] = self._primary(record)
        return self.anchors[device]

    def entry(self, point: dict[str, Any], zygote: Zygote | None = None) -> float:
        """The primary of an entry, isolated and rebuilt."""
        pools = self._pools(point["device"])
        point = {**point, "seed": self.seed}
        found = rerun(point, pools, count=False, folders=self.folders, zygote=zygote)
        return self._primary(found.record)

    def _pools(self, device: str) -> dict[Any, Pool]:
        if not self.pools:
            # From the built-in arm, so that no source of an entry is imported.
            config = resolve_point(self._anchor_point(device))
            where = torch.device(device)
            self.pools[config.data, where, "test"] = unseen(config.data, self.secret, where)
        return self.pools

    def _anchor_point(self, device: str) -> dict[str, Any]:
        return anchor_point(self.board, self.seed, device)

    def _primary(self, record: Record) -> float:
        if record.status == "error":
            raise ClbenchError(f"held-out run failed: {record.error}")
        if record.status == "interrupted":
            raise KeyboardInterrupt
        value = record.metric(self.board.primary) if record.status == "completed" else None
        return 0.0 if value is None else value


def commitment(board: Board, secret: bytes) -> str:
    """The hash that may be published of a secret."""
    return hashlib.sha256(b"clbench held-out " + board.sha256.encode() + secret).hexdigest()


def held_out(
    fresh: Fresh, point: dict[str, Any], shown: float, zygote: Zygote | None = None
) -> HeldOut:
    """Run an entry and its board's lower anchor on fresh data.

    Args:
        fresh: the data.
        point: the configuration of one of the entry's records.
        shown: the entry's primary on the board's own data, by which it would be ranked: the mean of all
            its seeds.
        zygote: what processes are forked from, where it is there already.

    Raises:
        ClbenchError: one of the runs failed.
    """
    board, device = fresh.board, point["device"]
    claimed = place(shown, board.naive.mean)

    def run(draw: Fresh) -> tuple[float, float]:
        return draw.entry(point, zygote), draw.anchor(device)

    # Noise is a share of the ratio of errors, where that is above one.
    room = max(1.0, 1 - claimed)
    runs = [run(fresh)]
    if place(*runs[0]) < claimed - NEAR * room:
        runs += map(run, fresh.others)
    draws = tuple(place(*one) for one in runs)
    entry, anchor = (math.fsum(values) / len(runs) for values in zip(*runs, strict=True))
    found = math.fsum(draws) / len(draws)
    return HeldOut(
        passed=found >= claimed - SLACK * room,
        seed=point["seed"],
        claimed=claimed,
        found=found,
        draws=draws,
        primary={"entry": entry, board.naive.strategy: anchor},
        commitment=commitment(board, fresh.secret),
        secret=fresh.secret.hex() if fresh.is_drawn else "",
    )


def place(value: float, anchor: float) -> float:
    """Where a primary is between the lower anchor (0) and no error (1): 1 less a ratio of errors."""
    return (value - anchor) / max(0.01, 1 - anchor)


def unseen(data: DataSet, secret: bytes, device: torch.device) -> Pool:
    """Make a pool from the secret: generated again if the data are generated, else warped."""
    digest = hmac.new(secret, b"clbench fresh 1", hashlib.sha256).digest()
    other = data.fresh(int.from_bytes(digest[:7], "big"))
    return warped(data.arrays(), secret, device) if other is None else other.pool(device)


def warped(arrays: Arrays, secret: bytes, device: torch.device) -> TensorPool:
    """Apply the secret's relabelling and warp to train and test."""
    digest = hmac.new(secret, b"clbench warp 1", hashlib.sha256).digest()
    rng = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
    relabel = rng.permutation(arrays.n_classes)
    if arrays.train_x.ndim == 2:
        change = _warp_vectors(arrays.train_x.shape[1], rng)
    else:
        change = _warp_images(arrays.scale, rng)
    return TensorPool(
        dataclasses.replace(
            arrays,
            train_x=change(arrays.train_x),
            test_x=change(arrays.test_x),
            train_y=relabel[arrays.train_y],
            test_y=relabel[arrays.test_y],
        ),
        device,
    )


def _warp_vectors(width: int, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    order, gain = rng.permutation(width), rng.uniform(0.8, 1.25, width)

    def change(x: np.ndarray) -> np.ndarray:
        return np.asarray((x[:, order] * gain).astype(x.dtype))

    return change


def _warp_images(scale: float, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """An affine map (rotation to 12 degrees, scale to 10 %, shift to 6 %) and a gamma."""
    angle, zoom = rng.uniform(-12, 12) * np.pi / 180, rng.uniform(0.9, 1.1, 2)
    shift, gamma = rng.uniform(-0.12, 0.12, 2), rng.uniform(0.8, 1.25)
    matrix = torch.tensor(
        [
            [np.cos(angle) / zoom[0], -np.sin(angle), shift[0]],
            [np.sin(angle), np.cos(angle) / zoom[1], shift[1]],
        ],
        dtype=torch.float32,
        device="cpu",
    )

    def change(x: np.ndarray) -> np.ndarray:
        shape = x.shape if x.ndim == 4 else (len(x), 1, *x.shape[1:])
        parts = []
        for start in range(0, len(x), 1024):
            part = torch.as_tensor(x[start : start + 1024].reshape(-1, *shape[1:])).float() * scale
            grid = torch.nn.functional.affine_grid(
                matrix.expand(len(part), 2, 3), list(part.shape), align_corners=False
            )
            moved = torch.nn.functional.grid_sample(part, grid, align_corners=False)
            parts.append((moved.clamp(0, 1) ** gamma / scale).numpy())
        out = np.concatenate(parts).reshape(x.shape)
        return np.asarray(
            out.round().astype(x.dtype) if x.dtype == np.uint8 else out.astype(x.dtype)
        )

    return change
