"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clbench.errors import ClbenchError, StorageError
from clbench.util.atomic import make_folder, storage, sweep_parts, write_atomically


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"file: cannot be written \(No space left on device\)"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["no/such/folder/file", "x" * 300])
def test_an_error_of_the_system_is_one_short_line(tmp_path: Path, name: str):
    with pytest.raises(ClbenchError, match="cannot be written") as caught:
        write_atomically(tmp_path / name, b"data")
    assert isinstance(caught.value, OSError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_first_error_keeps_its_path(tmp_path: Path):
    inner = tmp_path / "missing" / "file"
    with pytest.raises(StorageError, match="missing"), storage(tmp_path / "other"):
        write_atomically(inner, b"")


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        make_folder(tmp_path / "file" / "folder")


def test_what_killed_writers_left_is_swept(tmp_path: Path):
    for name in (".record.json.77.part", ".checkpoint.1.part", "record.json", ".lock"):
        (tmp_path / name).write_bytes(b"")
    sweep_parts(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "record.json"]
