"""Held-out data: what the secret decides, and who passes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import arrays

from clbench.configure.board import Anchor, Board
from clbench.data.pool import Arrays, TensorPool
from clbench.errors import UsageError
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.held_out import (
    Fresh,
    HeldOut,
    commitment,
    held_out,
    warped,
)
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.rerun import Rerun, point_of
from clbench.leaderboard.reproduce.spent import Account
from clbench.leaderboard.reproduce.verify import Verifier
from clbench.leaderboard.scores import score_run

CPU = torch.device("cpu")
SECRET, OTHER = b"sixteen bytes or", b"other sixteen by"
VECTORS, GREY, COLOUR = (6,), (8, 8), (3, 8, 8)


def parts(pool: TensorPool) -> dict[str, np.ndarray]:
    every = {split: np.arange(pool.size(split)) for split in ("train", "test")}
    x = {f"{split}_x": pool.gather(split, index).numpy() for split, index in every.items()}
    return {**x, **{f"{split}_y": pool.labels(split) for split in every}}


@pytest.mark.parametrize("shape", [VECTORS, GREY, COLOUR])
def test_the_secret_alone_decides_the_warp(shape: tuple[int, ...]) -> None:
    data = arrays(n_classes=10, shape=shape)
    one, again, other = (parts(warped(data, s, CPU)) for s in (SECRET, SECRET, OTHER))
    for name, values in one.items():
        assert np.array_equal(values, again[name])
        assert not np.array_equal(values, other[name])
        assert not np.array_equal(values, getattr(data, name))
        assert values.dtype == getattr(data, name).dtype
        assert values.shape == getattr(data, name).shape


@pytest.mark.parametrize("shape", [VECTORS, GREY, COLOUR])
def test_labels_are_permuted_alike_in_train_and_test(shape: tuple[int, ...]) -> None:
    data = arrays(n_classes=10, shape=shape)
    new = parts(warped(data, SECRET, CPU))
    pairs = {*zip(data.train_y, new["train_y"], strict=True)}
    pairs |= {*zip(data.test_y, new["test_y"], strict=True)}
    assert len(pairs) == 10  # one to one
    assert {int(b) for _, b in pairs} == set(range(10))


@pytest.mark.parametrize("shape", [VECTORS, GREY])
def test_train_and_test_are_warped_alike(shape: tuple[int, ...]) -> None:
    data = arrays(shape=shape)
    both = dataclasses.replace(data, test_x=data.train_x, test_y=data.train_y)
    new = parts(warped(both, SECRET, CPU))
    assert np.array_equal(new["train_x"], new["test_x"])


def test_integers_stay_in_range() -> None:
    """Digits go to 16, not to 255; what is white stays within the range."""
    x = np.full((3, 8, 8), 16, np.uint8)
    data = Arrays(x, np.arange(3), x, np.arange(3), 3, 1 / 16)
    new = parts(warped(data, SECRET, CPU))["train_x"]
    assert new.dtype == np.uint8
    assert new.max() == 16  # the middle of the image stays white
    assert new.min() < 16  # and its border comes from outside


def test_a_commitment_binds_board_and_secret_and_tells_neither(tiny_board: Board) -> None:
    other = dataclasses.replace(tiny_board, sha256="0" * 64)
    found = {commitment(b, s) for b in (tiny_board, other) for s in (SECRET, OTHER)}
    assert len(found) == 4
    one = commitment(tiny_board, SECRET)
    assert len(bytes.fromhex(one)) == 32
    assert SECRET.hex() not in one
    assert one == commitment(tiny_board, SECRET)


def test_short_secrets_are_refused(tiny_board: Board) -> None:
    with pytest.raises(UsageError, match="shorter than 16 bytes"):
        Fresh(tiny_board, SECRET[:15])


def real_scale(board: Board) -> Board:
    """The board with naive where it is: its anchors are made up."""
    entry = load_entry(board.entries / "naive")
    claims = [r.metric(board.primary) or 0.0 for r in entry.records.values()]
    return dataclasses.replace(board, naive=Anchor("naive", float(np.mean(claims)), 0.01))


def test_the_lower_anchor_has_the_settings_that_the_board_names(tiny_board: Board) -> None:
    still = dataclasses.replace(tiny_board.naive, words=("naive.lr=1e-9",))
    with_words = Fresh(dataclasses.replace(tiny_board, naive=still), SECRET).anchor("cpu")
    assert with_words != Fresh(tiny_board, SECRET).anchor("cpu")


@pytest.mark.slow
def test_an_honest_entry_passes(tiny_board: Board, zygote: Zygote) -> None:
    """What memorises the test data does not: see the attacks."""
    board, entry = real_scale(tiny_board), load_entry(tiny_board.entries / "naive")
    point = point_of(board, entry, entry.records[0])
    fresh = Fresh(board, SECRET)
    result = held_out(fresh, point, board.naive.mean, zygote)
    assert result.claimed == 0
    assert result.found == 0  # the very same strategy as the lower arm
    assert result.passed
    assert result.commitment == commitment(tiny_board, SECRET)
    assert result.secret == ""  # it is kept
    better = held_out(fresh, point, 0.95, zygote)
    assert not better.passed
    assert better.claimed > 0.9
    assert better.draws == (0, 0, 0)  # far from it on the first draw: two more decide with it
    assert better.found == 0


def drawn(board: Board, found: list[tuple[float, float]]) -> Fresh:
    """Fresh data on whose draws an entry and the anchor reach what is given."""
    fresh = Fresh(board, SECRET)
    for draw, (entry, anchor) in zip((fresh, *fresh.others), found, strict=True):
        draw.entry = lambda *_, value=entry: value  # type: ignore[method-assign]
        draw.anchor = lambda *_, value=anchor: value  # type: ignore[method-assign]
    return fresh


POINT = {"device": "cpu", "seed": 0}


@pytest.mark.parametrize(
    ("found", "passed", "draws"),
    [
        ([0.72, 0.0, 0.0], True, 1),  # .6 on the board, .53 here
        ([0.62, 0.8, 0.8], True, 3),  # .37, but the mean is .56
        ([0.62, 0.62, 0.62], False, 3),
        ([0.4, 0.8, 0.8], True, 3),
        ([0.4, 0.7, 0.7], False, 3),
    ],
)
def test_one_near_draw_passes_or_the_mean_of_three(
    tiny_board: Board, found: list[float], passed: bool, draws: int
) -> None:
    board = dataclasses.replace(tiny_board, naive=Anchor("naive", 0.5, 0.01))
    fresh = drawn(board, [(value, 0.4) for value in found])
    result = held_out(fresh, POINT, 0.8, None)
    assert (result.passed, len(result.draws)) == (passed, draws)
    assert result.claimed == pytest.approx(0.6)
    assert result.found == pytest.approx(float(np.mean(result.draws)))


def test_draws_of_one_secret_differ_and_are_its_own(tiny_board: Board) -> None:
    def seeds(secret: bytes) -> set[int]:
        fresh = Fresh(tiny_board, secret)
        return {draw.seed for draw in (fresh, *fresh.others)}

    assert len(seeds(SECRET)) == 3
    assert seeds(SECRET) == seeds(SECRET)
    assert not seeds(SECRET) & seeds(OTHER)


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        ([0.15, 0.0, 0.0], True),  # its error is 1.72 anchors on the board, here not a tenth more
        ([0.06, 0.07, 0.09], True),  # not a fifth more
        ([0.06, 0.07, 0.08], False),
    ],
)
def test_where_the_error_is_above_the_anchors_its_ratio_counts(
    tiny_board: Board, found: list[float], passed: bool
) -> None:
    board = dataclasses.replace(tiny_board, naive=Anchor("naive", 0.5, 0.01))
    fresh = drawn(board, [(value, 0.55) for value in found])
    assert held_out(fresh, POINT, 0.14, None).passed is passed


def test_a_secret_that_is_drawn_is_another_each_time(tiny_board: Board) -> None:
    one, other = Fresh(tiny_board), Fresh(tiny_board)
    assert len(one.secret) == 32
    assert one.secret != other.secret


def test_the_place_on_the_board_is_that_of_all_seeds(
    board: Board, naive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lucky seed alone would claim what no fresh data give."""
    entry, shown = load_entry(naive), []

    def again(self: Verifier, point: dict[str, Any], **_: Any) -> Rerun:
        record = entry.records[point["seed"]]
        return Rerun(record, record.cost, Account(), True)

    def stand_in(fresh: Fresh, point: dict[str, Any], claimed: float, *_: Any) -> HeldOut:
        shown.append(claimed)
        return HeldOut(True, 1, 0.5, 0.5, (0.5,), {"entry": 0.5, "naive": 0.3}, "c" * 64, "")

    monkeypatch.setattr(Verifier, "_rerun", again)
    monkeypatch.setattr(Verifier, "_zygote", lambda *_: None)
    monkeypatch.setattr("clbench.leaderboard.reproduce.verify.held_out", stand_in)
    scores = [score_run(board, record) for record in entry.records.values()]
    best = max(entry.records, key=lambda seed: score_run(board, entry.records[seed]))
    with Verifier(board, perturbed=0) as verifier:
        for seeds in ([best], list(board.seeds)):
            assert verifier.verify(entry, seeds).refusals == []
    assert shown == [pytest.approx(np.mean(scores))] * 2
    assert shown[0] < max(scores)
