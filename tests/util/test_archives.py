"""Zip files of arrays: headers as numpy reads them, and nothing unpacked that claims too much."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clbench.util import archives
from clbench.util.archives import ArchiveError

ANY = arrays.arrays(
    st.sampled_from(["u1", "<f4", ">i8", "<U3", "?"]), arrays.array_shapes(min_dims=0, min_side=0)
)
SAME = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SAME
@given(ANY, st.booleans())
def test_headers_are_those_that_numpy_reads(tmp_path: Path, array: np.ndarray, packed: bool):
    path = tmp_path / "a.npz"
    (np.savez_compressed if packed else np.savez)(path, one=array)
    assert archives.header(path, "one") == (array.shape, array.dtype)
    assert archives.header(path, "other") is None
    assert list(archives.members(path)) == ["one.npy"]


@SAME
@given(ANY, st.integers(1, 2000))
def test_of_a_cut_file_nothing(tmp_path: Path, array: np.ndarray, n: int):
    path = tmp_path / "a.npz"
    np.savez(path, one=array)
    path.write_bytes(path.read_bytes()[:-n])
    with pytest.raises(ArchiveError):
        archives.members(path)


def test_compressed_zeros_of_an_honest_size_are_read(tmp_path: Path):
    np.savez_compressed(tmp_path / "a.npz", one=np.zeros((4000, 784), np.uint8))
    assert archives.header(tmp_path / "a.npz", "one") == ((4000, 784), np.uint8)


@pytest.mark.parametrize("change", [-1, 1])
def test_an_array_is_as_long_as_its_header_says(tmp_path: Path, change: int):
    np.save(tmp_path / "one.npy", np.arange(10, dtype=np.uint8))
    data = (tmp_path / "one.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("one.npy", data[:-1] if change < 0 else data + b"x")
    with pytest.raises(ArchiveError, match=f"states 10 bytes and holds {10 + change}"):
        archives.header(tmp_path / "a.npz", "one")


def test_numpy_packs_in_one_way_only(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("one.npy", bytes(10**6))
    with pytest.raises(ArchiveError, match="in a way that numpy never does"):
        archives.members(tmp_path / "a.npz")
