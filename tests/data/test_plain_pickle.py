"""Pickles are read as plain data; whatever would run something is refused."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clbench.data.plain_pickle import read
from clbench.data.sets.cifar10 import Cifar10
from clbench.data.sets.cifar100 import Cifar100
from clbench.errors import UsageError


def write(path: Path, what: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(what, protocol))
    return path


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    "values",
    [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.arange(6, dtype=">i4"),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 5), dtype=np.uint8),
    ],
)
def test_arrays_come_back(tmp_path: Path, values: np.ndarray, protocol: int):
    file = write(tmp_path / "a", {b"data": values, b"labels": [1, 2]}, protocol)
    found = read(file)
    assert found[b"labels"] == [1, 2]
    assert found[b"data"].dtype == values.dtype
    np.testing.assert_array_equal(found[b"data"], values)
    assert found[b"data"].flags.writeable  # or torch warns where a tensor shares its memory


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch RAN",)


class Reads:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1+1",)


@pytest.mark.parametrize(
    "what",
    [
        Runs(),
        Reads(),
        OrderedDict(a=1),
        np.array([Runs()], dtype=object),
        np.array([{}], dtype=object),
        np.zeros(2, dtype=[("a", "i4")]),
        np.random.default_rng(0),
        {b"data": [Runs()]},
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_anything_else_is_refused_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: Any, protocol: int
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        read(write(tmp_path / "a", what, protocol))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        b"\x80\x02}",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",
        b"(" * 5000 + b".",
        b"\x80\x02Pouter\n.",
    ],
)
def test_damaged_pickles_are_one_line(tmp_path: Path, content: bytes):
    file = tmp_path / "a"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"a: (cannot be read|holds)") as error:
        read(file)
    assert "\n" not in str(error.value)


def test_what_is_named_often_is_gone_through_once(tmp_path: Path):
    nested: list[Any] = [1]
    for _ in range(100):
        nested = [nested, nested]
    assert len(read(write(tmp_path / "a", nested))) == 2


@pytest.mark.parametrize("plugin", [Cifar10, Cifar100])
@pytest.mark.parametrize("protocol", [2, 4])
def test_the_python_version_of_cifar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: Any, protocol: int
):
    folder = tmp_path / plugin.torchvision_folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = []
    for name in plugin(path=tmp_path)._python_files():
        x = rng.integers(0, 256, (3, 3072), dtype=np.uint8)
        pixels.append(x)
        labels = [0, 1, plugin.n_classes - 1]
        other = {b"coarse_labels": [0, 0, 0], b"batch_label": b"x", b"filenames": [b"f"] * 3}
        write(folder / name, {b"data": x, plugin.label_key: labels, **other}, protocol)
    names = [f"name {i}".encode() for i in range(plugin.n_classes)]
    write(folder / plugin.python_names[0], {plugin.python_names[1]: names}, protocol)
    monkeypatch.delenv("CLBENCH_DATA", raising=False)
    for path in (tmp_path, folder):
        arrays = plugin(path=path).arrays()
        whole = np.concatenate((arrays.train_x, arrays.test_x))
        np.testing.assert_array_equal(whole.reshape(-1, 3072), np.concatenate(pixels))
        assert arrays.test_y.tolist() == [0, 1, plugin.n_classes - 1]
        assert arrays.class_names[1] == "name 1"
    write(
        folder / plugin.test_file.removesuffix(".bin"),
        {b"data": pixels[0], plugin.label_key: [0, 1, 999]},
    )
    with pytest.raises(UsageError, match="label is outside"):
        plugin(path=tmp_path).arrays()
    write(folder / plugin.test_file.removesuffix(".bin"), [1, 2])
    with pytest.raises(UsageError, match="needs 'data'"):
        plugin(path=tmp_path).arrays()
