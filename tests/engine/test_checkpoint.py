"""Checkpoints: what goes in comes out; of another run or version nothing does."""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from clbench.engine import checkpoint
from clbench.engine.ledger import Ledger
from clbench.errors import ClbenchError, StorageError

CPU = torch.device("cpu")


def ledger() -> Ledger:
    books = Ledger("s" * 64, "p" * 64, experiences=3, samples=7)
    books.evaluated([4, 2], b"answers", 0.6, {"loss": 0.5})
    books.learned.append((0, 7, 1000, 3, False))
    return books


def state() -> dict[str, object]:
    return {
        "weights": torch.arange(6.0, dtype=torch.float64).reshape(2, 3),
        "seen": torch.tensor([True, False]),
        "deep": {"steps": 3, "list": [torch.ones(2), 1.5], "none": None},
    }


def test_round_trip(tmp_path: Path):
    checkpoint.save(tmp_path / "checkpoint", "me", ledger(), state())
    books, back = checkpoint.load(tmp_path / "checkpoint", "me", CPU)
    assert books.to_dict() == ledger().to_dict()
    for name in ("weights", "seen"):
        assert back[name].dtype == state()[name].dtype  # type: ignore[attr-defined]
        assert torch.equal(back[name], state()[name])  # type: ignore[arg-type]
    assert back["deep"]["steps"] == 3
    assert back["deep"]["none"] is None
    assert torch.equal(back["deep"]["list"][0], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_of_another_run_or_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "checkpoint"
    checkpoint.save(path, "me", ledger(), state())
    before = path.read_bytes()
    with pytest.raises(ClbenchError, match="another run or version"):
        checkpoint.load(path, "you", CPU)
    monkeypatch.setattr(checkpoint, "SCHEMA", checkpoint.SCHEMA + 1)
    with pytest.raises(ClbenchError, match="another run or version"):
        checkpoint.load(path, "me", CPU)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "data", [[], {}, {"schema": checkpoint.SCHEMA, "identity": "me", "ledger": {"x": 1}}]
)
def test_a_file_of_torch_that_is_no_checkpoint_is_named(tmp_path: Path, data: object):
    path = tmp_path / "checkpoint"
    buffer = io.BytesIO()
    torch.save(data, buffer)
    payload = buffer.getvalue()
    path.write_bytes(f"{checkpoint.FIRST}{sha256(payload).hexdigest()}\n".encode() + payload)
    with pytest.raises(ClbenchError, match="is damaged") as caught:
        checkpoint.load(path, "me", CPU)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "checkpoint"
    checkpoint.save(path, "me", ledger(), state())
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="no space"):
        checkpoint.save(path, "me", Ledger("a", "b"), {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_of_whichever_run(tmp_path: Path):
    checkpoint.save(tmp_path / "checkpoint", "me", ledger(), state())
    _, back = checkpoint.load(tmp_path / "checkpoint", None, CPU)
    assert back.keys() == state().keys()


def test_no_flipped_bit_is_resumed_from(tmp_path: Path):
    path = tmp_path / "checkpoint"
    checkpoint.save(path, "me", ledger(), state())
    whole = path.read_bytes()
    for at in range(0, 8 * len(whole), max(1, 8 * len(whole) // 300)):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(ClbenchError) as caught:
            checkpoint.load(path, "me", CPU)
        assert str(path) in str(caught.value)
        assert path.read_bytes() == bytes(changed), "it is left in place"


def test_a_checkpoint_of_the_first_format_is_of_another_version(tmp_path: Path):
    path = tmp_path / "checkpoint"
    torch.save({"schema": 1}, path)
    with pytest.raises(ClbenchError, match="another run or version"):
        checkpoint.load(path, "me", CPU)
