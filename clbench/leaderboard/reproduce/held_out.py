"""Held-out verification: runs an entry on fresh data generated from a secret seed.

A real pool is warped: classes are relabelled; images are rotated, scaled, shifted and their
intensities changed by amounts drawn from the secret; features of vectors are permuted and scaled.
Generated data, such as synbols, are generated again from the secret. Nobody can have tuned on them.
The entry and the board's two anchors run on the fresh data; the entry passes if it keeps its place
between the two.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from clbench.configure.board import Board
from clbench.configure.config import resolve_point
from clbench.data.dataset import DataSet
from clbench.data.pool import Arrays, Pool, TensorPool
from clbench.engine.assemble import assemble
from clbench.engine.build import prepare
from clbench.engine.harness import run_stream, start_ledger
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.entry import Entry
from clbench.leaderboard.reproduce.verify import isolated_run, point_of
from clbench.plugins.registry import find

SLACK = 0.25
"""The largest loss of an entry's place between the lower anchor (0) and the ceiling (1)."""


@dataclass(frozen=True)
class HeldOut:
    """The result on the fresh data."""

    passed: bool
    claimed: float
    """The entry's place between the lower anchor (0) and the ceiling (1) on the board."""
    found: float
    """The entry's place on the fresh data."""
    primary: dict[str, float]
    """Means over the seeds on the fresh data, of ``entry`` and of the two strategies that are the
    board's anchors."""
    commitment: str
    """Hash of the secret and the board; published in advance, it proves which secret was used."""


def commitment(board: Board, secret: bytes) -> str:
    """The hash that may be published of a secret."""
    return hashlib.sha256(b"clbench held-out " + board.sha256.encode() + secret).hexdigest()


def held_out(
    board: Board,
    entry: Entry,
    secret: bytes,
    seeds: Sequence[int],
    *,
    isolate: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> HeldOut:
    """Run an entry and its board's anchors on fresh data.

    Raises:
        UsageError: the secret is too short, or the entry has no records.
        ClbenchError: one of the runs failed.
    """
    if len(secret) < 16:
        raise UsageError("the secret on stdin is shorter than 16 bytes")
    if not entry.records:
        raise UsageError(f"{entry.folder}: has no records")
    some = next(iter(entry.records.values()))
    arms: dict[str, dict[str, Any]] = {"entry": point_of(board, entry, some)}
    for name, anchor in (("naive", board.naive), ("ceiling", board.ceiling)):
        arms[name] = {
            "board": str(board.folder),
            "strategy": str(find("strategy", anchor.strategy).path),
            "device": arms["entry"]["device"],
        }
    pools: dict[Any, Pool] = {}
    means = {}
    for name, point in arms.items():
        values = []
        for seed in seeds:
            tell(f"held-out: {name} seed {seed}")
            point = {**point, "seed": seed}
            if not pools:
                # From the built-in arm, so that the entry's own source is not imported.
                config = resolve_point({**arms["naive"], "seed": seed})
                key = (config.data, torch.device(some.environment["device"]), "test")
                pools[key] = unseen(config.data, secret, key[1])
            values.append(_primary(board, point, pools, isolate and name == "entry"))
        means[name] = float(np.mean(values))
    claims = [r.metric(board.primary) or 0.0 for r in entry.records.values()]
    claimed = _place(float(np.mean(claims)), board.naive.mean, board.ceiling.mean)
    found = _place(means["entry"], means["naive"], means["ceiling"])
    primary = {
        "entry": means["entry"],
        board.naive.strategy: means["naive"],
        board.ceiling.strategy: means["ceiling"],
    }
    return HeldOut(found >= claimed - SLACK, claimed, found, primary, commitment(board, secret))


def _primary(board: Board, point: dict[str, Any], pools: dict[Any, Pool], isolate: bool) -> float:
    if isolate:
        record = isolated_run(point, pools)
    else:
        run = prepare(resolve_point(point), pools)
        strategy = run.strategy()
        outcome = run_stream(run, strategy, start_ledger(run))
        record = assemble(run, strategy, outcome, datetime.now(UTC))
    if record.status == "error":
        raise ClbenchError(f"held-out run failed: {record.error}")
    value = record.metric(board.primary) if record.status == "completed" else None
    return 0.0 if value is None else value


def _place(value: float, naive: float, ceiling: float) -> float:
    return (value - naive) / max(1e-9, abs(ceiling - naive))


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
