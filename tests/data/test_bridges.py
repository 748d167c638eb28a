"""Data of other libraries by name: refused in one line, and read as the libraries have them."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import go

import clbench
from clbench.configure.config import resolve_point
from clbench.data.foreign import numbered
from clbench.data.mapped import MappedPool
from clbench.data.offline import Offline, offline
from clbench.data.pool import TensorPool
from clbench.data.sets.hf import Hf
from clbench.data.sets.joined import Joined
from clbench.data.sets.torchvision import SETS, Torchvision
from clbench.errors import ClbenchError, UsageError
from clbench.plugins.registry import find

CPU = torch.device("cpu")
WORDS = {"scenario": "class_incremental", "strategy": "naive"}


@pytest.fixture(autouse=True)
def no_installed_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLBENCH_DATA", raising=False)


def refused(**point: Any) -> str:
    with pytest.raises(ClbenchError) as error:
        clbench.prepare(*(f"{k}={v}" for k, v in {**WORDS, **point}.items()))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("torchvision:SVNH", "did you mean 'SVHN'"),
        ("torchvision:ImageFolder", "no set 'ImageFolder'"),
        ("torchvision", "needs a set"),
        ("torchvison:SVHN", "did you mean 'torchvision'"),
        ("digits:3", "takes nothing after a colon"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(data: str, said: str):
    assert said in refused(data=data)


def test_what_stands_after_the_colon_is_a_setting():
    config = resolve_point({**WORDS, "data": "torchvision:SVHN", "data.path": "x", "model": "mlp"})
    assert config.data.set == "SVHN"
    same = resolve_point(
        {**WORDS, "data": "torchvision", "data.set": "SVHN", "data.path": "x", "model": "mlp"}
    )
    assert config.identity() == same.identity()
    other = resolve_point({**WORDS, "data": "torchvision:STL10", "data.path": "x", "model": "mlp"})
    assert config.identity() != other.identity()
    assert "give it once" in refused(data="torchvision:SVHN", **{"data.set": "STL10"})


@pytest.mark.parametrize("argument", ["model=linear:x", "scenario=scole:x"])
def test_plugins_without_a_word_refuse_one(argument: str):
    group, _, word = argument.partition("=")
    assert "takes nothing after a colon" in refused(**{group: word})


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="it is installed")
def test_a_library_that_is_missing_is_named_with_its_command(tmp_path: Path):
    assert "pip install 'clbench[vision]'" in refused(
        data="torchvision:SVHN", **{"data.path": tmp_path}
    )


@pytest.mark.skipif(importlib.util.find_spec("datasets") is not None, reason="it is installed")
def test_the_other_libraries_too(tmp_path: Path):
    assert "pip install 'clbench[hf]'" in refused(data="hf:mnist")


class Array:
    """A set of torchvision whose images are an array."""

    def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
        if not Path(root, "there").exists():
            if not download:
                raise RuntimeError("Dataset not found. You can use download=True\nto download it")
            socket.getaddrinfo("example.org", 80)
        n = {"train": 12, "test": 6}[split]
        rng = np.random.default_rng(n)
        self.data = rng.integers(0, 256, (n, 3, 10, 10), dtype=np.uint8)
        self.labels = np.arange(n) % 3 + 1  # as of a set that counts from one

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.data[number].transpose(1, 2, 0)), int(self.labels[number])


class Parts:
    """A set of two parts with different classes, whose images are files."""

    def __init__(self, root: str, background: bool = True, download: bool = False) -> None:
        names = ("a", "b") if background else ("c",)
        files = [p for name in names for p in sorted(Path(root, name).glob("*.png"))]
        self._samples = [(str(p), names.index(p.parent.name)) for p in files]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        file, label = self._samples[number]
        return Image.open(file), label


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A torchvision with two sets, and a folder with their files."""
    package, module = ModuleType("torchvision"), ModuleType("torchvision.datasets")
    module.SVHN, module.Omniglot = Array, Parts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    root = tmp_path / "root"
    for name in "abc":
        (root / name).mkdir(parents=True)
        for i in range(4):
            pixels = np.full((12, 12), 80 * "abc".index(name) + i, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    (root / "there").touch()
    return root


@pytest.mark.parametrize("storage", ["mapped", "resident"])
def test_a_set_is_read_as_the_library_has_it(library: Path, storage: Any):
    pool = Torchvision(set="SVHN", path=library, storage=storage).pool(CPU)
    assert isinstance(pool, MappedPool if storage == "mapped" else TensorPool)
    train = Array(str(library))
    assert torch.equal(pool.gather("train", np.arange(12)), torch.from_numpy(train.data))
    assert pool.labels("train").tolist() == (train.labels - 1).tolist()
    assert (pool.size("test"), pool.n_classes) == (6, 3)
    gray = Torchvision(set="SVHN", path=library, gray=True, size=5).arrays()
    assert gray.train_x.shape == (12, 5, 5)


def test_parts_with_different_classes_stand_side_by_side(library: Path):
    arrays = Torchvision(set="Omniglot", path=library, split=0.25).arrays()
    assert arrays.train_x.shape == (9, 12, 12)
    assert np.bincount(arrays.train_y).tolist() == [3, 3, 3]
    assert [int(x[0, 0]) // 80 for x in arrays.test_x] == [0, 1, 2]
    assert "data.split=0.2" in refused(data="torchvision:Omniglot", **{"data.path": library})


def test_a_set_that_is_not_there_is_never_fetched_in_silence(library: Path, tmp_path: Path):
    away = tmp_path / "away"
    for given in ({"data.path": away}, {}, {"data.download": "true"}):
        said = refused(data="torchvision:SVHN", **given)
        assert "data.download=true" in said
        assert "data.path=FOLDER" in said
    assert "does not have it" in refused(data="torchvision:Food101", **{"data.path": library})


def test_images_of_several_sizes_need_one(library: Path):
    for i, side in enumerate((12, 9)):
        Image.new("L", (side, side)).save(library / "a" / f"{i}.png")
    with pytest.raises(UsageError, match=r"image 1: has 9x9 pixels.*set data\.size=12"):
        Torchvision(set="Omniglot", path=library, split=0.25).arrays()
    Image.new("L", (12, 8)).save(library / "a" / "0.png")
    with pytest.raises(UsageError, match=r"12x8 pixels; set data\.size"):
        Torchvision(set="Omniglot", path=library, split=0.25).arrays()
    assert (
        Torchvision(set="Omniglot", path=library, split=0.25, size=7).arrays().train_x.shape[1] == 7
    )


def test_a_run_of_joined_sets_takes_any_of_them(library: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLBENCH_DATA", str(library))
    module: Any = sys.modules["torchvision.datasets"]
    module.STL10 = Array
    arrays = Joined(parts=("torchvision:SVHN", "torchvision:STL10")).arrays()
    assert arrays.parts == (3, 3)
    assert arrays.train_x.shape == (24, 3, 10, 10)
    words = ("scenario=class_incremental", "strategy=naive", "data=torchvision:SVHN", "device=cpu")
    run = clbench.prepare(*words, "model=mlp", "model.hidden=[4]")
    assert go(run)[1].status == "completed"


def test_every_set_can_be_listed():
    assert set(Torchvision.options()) == set(SETS)
    assert len(SETS) > 25
    assert find("data", "torchvision:SVHN").argument == "SVHN"


def test_only_this_thread_is_offline():
    with offline(), pytest.raises(Offline):
        socket.getaddrinfo("localhost", 80)
    with offline(download=True):
        socket.getaddrinfo("localhost", 80)
    assert socket.getaddrinfo("localhost", 80)


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        ([0, 2, 1], ("a", "b", "c"), ([0, 2, 1], ("a", "b", "c"))),
        ([1, 3, 1], ("n", "a", "b", "c"), ([0, 1, 0], ("a", "c"))),
        ([5, 9], ("a", "b"), ([0, 1], ())),
        ([-1, 1], ("a", "b"), ([0, 1], ())),
    ],
)
def test_classes_that_occur_are_numbered(labels: list[int], names: tuple[str, ...], expected: Any):
    y, found = numbered(np.array(labels), names)
    assert (y.tolist(), found) == expected


needs_hf = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="datasets is not installed: clbench[hf]"
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    import datasets

    rng = np.random.default_rng(0)
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "word": datasets.Value("string"),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
        }
    )

    def part(n: int) -> Any:
        images = [
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(n)
        ]
        columns = {"picture": images, "word": ["x"] * n, "kind": [i % 2 for i in range(n)]}
        return datasets.Dataset.from_dict(columns, features=features)

    folder = tmp_path / "saved"
    datasets.DatasetDict({"train": part(10), "validation": part(4)}).save_to_disk(str(folder))
    return folder


@needs_hf
@pytest.mark.parametrize("storage", ["mapped", "resident"])
@pytest.mark.filterwarnings("ignore")
def test_a_saved_set_of_hugging_face(saved: Path, storage: Any):
    import datasets

    pool = Hf(path=saved, storage=storage).pool(CPU)
    there = datasets.load_from_disk(str(saved))["train"]
    pixels = np.stack([np.asarray(row["picture"]) for row in there]).transpose(0, 3, 1, 2)
    assert torch.equal(pool.gather("train", np.arange(10)), torch.from_numpy(pixels))
    assert pool.labels("train").tolist() == there["kind"][:]
    assert pool.class_names == ("cat", "dog")
    assert pool.size("test") == 4


@needs_hf
@pytest.mark.filterwarnings("ignore")
def test_what_hugging_face_lacks_is_one_line(saved: Path, tmp_path: Path):
    assert "data.download=true" in refused(data="hf:nobody/nothing")
    assert "data=hf needs a set" in refused(data="hf")
    assert "no such folder" in refused(data="hf", **{"data.path": tmp_path / "none"})
    assert "no column 'colour'" in refused(
        data="hf", **{"data.path": saved, "data.label": "colour"}
    )
    assert "holds no images" in refused(data="hf", **{"data.path": saved, "data.image": "word"})
