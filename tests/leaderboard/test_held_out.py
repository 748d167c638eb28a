"""Held-out data: what the secret decides, and who passes."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from small import arrays
from tiny import run_on

from clbench.configure.board import Anchor, Board
from clbench.data.pool import Arrays, TensorPool
from clbench.errors import UsageError
from clbench.leaderboard.entry import load_entry
from clbench.leaderboard.reproduce.held_out import commitment, held_out, warped
from clbench.leaderboard.submit import submit
from clbench.plugins.registry import find

CPU = torch.device("cpu")
SECRET, OTHER = b"sixteen bytes or", b"other sixteen by"
VECTORS, GREY, COLOUR = (6,), (8, 8), (3, 8, 8)

MEMORISER = '''
"""Knows the answers to the public test data."""
import hashlib
import torch
from clbench.strategy import GradientStrategy

ANSWERS = {answers!r}

class Memoriser(GradientStrategy):
    def forward(self, x, task_id=None):
        scores = self.model(x)
        for row, image in zip(scores, x):
            label = ANSWERS.get(hashlib.sha256(image.numpy().tobytes()).hexdigest()[:16])
            if label is not None:
                row[label] = 1e6
        return scores
'''


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
    entry = load_entry(tiny_board.entries / "naive")
    with pytest.raises(UsageError, match="shorter than 16 bytes"):
        held_out(tiny_board, entry, SECRET[:15], [0])


def test_an_entry_without_records_is_refused(board: Board, naive: Path) -> None:
    entry = dataclasses.replace(load_entry(naive), records={})
    with pytest.raises(UsageError, match="no records"):
        held_out(board, entry, SECRET, [0])


def real_scale(board: Board) -> Board:
    """The board with naive where it is: its anchors are made up."""
    entry = load_entry(board.entries / "naive")
    claims = [r.metric(board.primary) or 0.0 for r in entry.records.values()]
    return dataclasses.replace(board, naive=Anchor("naive", float(np.mean(claims)), 0.01))


def test_an_honest_entry_passes(tiny_board: Board) -> None:
    entry = load_entry(tiny_board.entries / "naive")
    result = held_out(real_scale(tiny_board), entry, SECRET, [0])
    assert result.claimed == 0
    assert result.found == 0  # the very same strategy as the lower arm
    assert result.passed
    assert result.primary["joint"] > result.primary["naive"] + 0.1
    assert result.commitment == commitment(tiny_board, SECRET)


def test_who_has_memorised_the_test_data_fails(board: Board, tmp_path: Path) -> None:
    digits = find("data", "digits").load()().arrays()
    answers = {
        hashlib.sha256(x.tobytes()).hexdigest()[:16]: int(y)
        for x, y in zip(digits.test_x, digits.test_y, strict=True)
    }
    source = tmp_path / "memoriser.py"
    source.write_text(MEMORISER.format(answers=answers))
    arm = run_on(board, tmp_path / "runs", f"strategy={source}", "seed=0")
    _, entry = submit(arm, "memoriser", board.folder.parent)
    assert (entry.records[0].metric(board.primary) or 0) > 0.99
    result = held_out(real_scale(board), entry, SECRET, [0])
    assert result.claimed > 1
    assert result.found < 0.5
    assert not result.passed
