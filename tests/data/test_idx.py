"""IDX files: found where they are said to be, read exactly, refused when malformed."""

import gzip
import struct

import numpy as np
import pytest

from clbench.data import files, idx
from clbench.data.idx import read_idx
from clbench.data.sets.fashion_mnist import FashionMnist
from clbench.data.sets.kmnist import Kmnist
from clbench.data.sets.mnist import Mnist
from clbench.errors import UsageError

SETS = (Mnist, FashionMnist, Kmnist)


@pytest.fixture(autouse=True)
def no_installed_data(monkeypatch, tmp_path):
    monkeypatch.delenv(files.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(idx, "DEBIAN_ROOT", tmp_path / "debian")


def encode(array):
    return (
        bytes((0, 0, 8, array.ndim))
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


def write_set(folder, separator="-", compress=False):
    """Four files of 20 training and 10 test images; returns their arrays."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    arrays = []
    for split, n in (("train", 20), ("t10k", 10)):
        for kind, array in (
            ("images", rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)),
            ("labels", np.arange(n, dtype=np.uint8) % 10),
        ):
            name = f"{split}-{kind}{separator}idx{array.ndim}-ubyte"
            content = encode(array)
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
            arrays.append(array)
    return arrays


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("compress", [False, True])
def test_reads_what_was_written(tmp_path, separator, compress):
    expected = write_set(tmp_path / "data", separator, compress)
    arrays = Mnist(path=tmp_path / "data").arrays()
    got = (arrays.train_x, arrays.train_y, arrays.test_x, arrays.test_y)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert arrays.train_x.dtype == np.uint8
    assert arrays.train_y.dtype == np.int64
    assert arrays.train_x.flags.writeable  # torch warns about arrays that are not


@pytest.mark.parametrize("plugin", SETS)
def test_every_place_is_searched(tmp_path, monkeypatch, plugin):
    debian = tmp_path / "debian" / plugin.name.replace("_", "-")
    places = [
        tmp_path / "env" / plugin.name,
        tmp_path / "env" / plugin.torchvision_name / "raw",
        debian,
    ]
    monkeypatch.setenv(files.DATA_VARIABLE, str(tmp_path / "env"))
    for place in places:
        write_set(place)
        assert plugin().arrays().n_classes == 10
        for file in place.iterdir():
            file.unlink()
    with pytest.raises(UsageError):
        plugin().arrays()
    write_set(tmp_path / "mine" / plugin.torchvision_name / "raw")
    assert len(plugin(path=tmp_path / "mine").arrays().train_x) == 20


def test_a_given_path_is_the_only_one(tmp_path, monkeypatch):
    write_set(tmp_path / "env" / "mnist")
    monkeypatch.setenv(files.DATA_VARIABLE, str(tmp_path / "env"))
    with pytest.raises(UsageError, match=r"no IDX files in .*typo"):
        Mnist(path=tmp_path / "typo").arrays()


@pytest.mark.parametrize("plugin", SETS)
def test_missing_files_say_how_to_get_them_in_one_line(plugin):
    with pytest.raises(UsageError, match=r"data\.path=FOLDER") as error:
        plugin().arrays()
    assert "\n" not in str(error.value)
    assert ("apt-get install dataset-fashion-mnist" in str(error.value)) == (plugin is FashionMnist)
    assert plugin().default_model() == "scole_cnn"


def test_download_needs_a_path_and_torchvision(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"needs data\.path"):
        Mnist(download=True).arrays()
    for name in ("torchvision", "torchvision.datasets"):  # the second may be there already
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(UsageError, match=r"clbench\[vision\]"):
        Mnist(path=tmp_path, download=True).arrays()


IMAGES = encode(np.zeros((2, 28, 28), dtype=np.uint8))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty", b""),
        ("short_header", IMAGES[:10]),
        ("wrong_type", b"\0\0\x0d\x03" + IMAGES[4:]),
        ("labels_for_images", encode(np.zeros(2, dtype=np.uint8))),
        ("wrong_side", encode(np.zeros((2, 28, 27), dtype=np.uint8))),
        ("no_images", encode(np.zeros((0, 28, 28), dtype=np.uint8))),
        ("truncated", IMAGES[:-1]),
        ("too_long", IMAGES + b"\0"),
        ("not_gzip.gz", IMAGES),
        ("truncated.gz", gzip.compress(IMAGES, mtime=0)[:-12]),
        ("damaged.gz", gzip.compress(IMAGES, mtime=0)[:12] + b"\xff" * 20),
    ],
)
def test_malformed_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=name) as error:
        read_idx(tmp_path / name, (28, 28))
    assert "\n" not in str(error.value)


def test_labels_beyond_ten_classes_are_refused(tmp_path):
    write_set(tmp_path / "data")
    labels = encode(np.full(20, 10, dtype=np.uint8))
    (tmp_path / "data" / "train-labels-idx1-ubyte").write_bytes(labels)
    with pytest.raises(UsageError, match="labels"):
        Mnist(path=tmp_path / "data").arrays()
