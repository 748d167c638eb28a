"""CIFAR's binary version: planes in the right order, fine labels, whole records."""

import dataclasses
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from clbench.data import files
from clbench.data.cifar import read_cifar
from clbench.data.pool import Arrays, TensorPool
from clbench.data.sets.cifar10 import Cifar10
from clbench.data.sets.cifar100 import Cifar100
from clbench.errors import UsageError


@pytest.fixture(autouse=True)
def no_installed_data(monkeypatch):
    monkeypatch.delenv(files.DATA_VARIABLE, raising=False)


def write_set(plugin, folder):
    """Three images a file; returns the pixels of all, training files first."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = []
    for name in (*plugin.train_files, plugin.test_file):
        pixels = rng.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
        labels = np.full((3, plugin.label_bytes), 7, dtype=np.uint8)
        labels[:, -1] = [0, 1, plugin.n_classes - 1]
        (folder / name).write_bytes(np.hstack((labels, pixels.reshape(3, -1))).tobytes())
        images.append(pixels)
    return np.concatenate(images)


@pytest.mark.parametrize("plugin", [Cifar10, Cifar100])
@pytest.mark.parametrize("layout", ["path", "above", "environment"])
def test_reads_what_was_written(tmp_path, monkeypatch, plugin, layout):
    folder = tmp_path / (plugin.binary_folder if layout == "above" else plugin.name)
    images = write_set(plugin, folder)
    if layout == "environment":
        monkeypatch.setenv(files.DATA_VARIABLE, str(tmp_path))
    path = {"path": folder, "above": tmp_path, "environment": None}[layout]
    arrays = plugin(path=path).arrays()
    np.testing.assert_array_equal(np.concatenate((arrays.train_x, arrays.test_x)), images)
    assert arrays.test_y.tolist() == [0, 1, plugin.n_classes - 1]
    assert len(arrays.train_y) == 3 * len(plugin.train_files)
    assert plugin().default_model() == "slim_resnet18"


@pytest.mark.parametrize("size", [0, 3072, 3074])
def test_partial_records_are_refused(tmp_path, size):
    (tmp_path / "part.bin").write_bytes(bytes(size))
    with pytest.raises(UsageError, match=r"part\.bin"):
        read_cifar(tmp_path / "part.bin", 1)


def test_the_wrong_data_set_is_noticed(tmp_path):
    write_set(Cifar10, tmp_path / "data")
    (tmp_path / "data" / "test_batch.bin").write_bytes(bytes([99]) + bytes(3072))
    with pytest.raises(UsageError, match="label 99"):
        Cifar10(path=tmp_path / "data").arrays()


@pytest.mark.parametrize("plugin", [Cifar10, Cifar100])
def test_missing_files_say_how_to_get_them_in_one_line(tmp_path, plugin):
    for path in (None, tmp_path):
        with pytest.raises(UsageError, match=plugin.binary_folder) as error:
            plugin(path=path).arrays()
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=r"needs data\.path"):
        plugin(download=True).arrays()


def test_a_download_is_torchvisions_and_read_as_plain_data(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)

    def cifar10(root, download):
        assert download
        folder = Path(root) / Cifar10.torchvision_folder
        folder.mkdir()
        for name in Cifar10()._python_files():
            batch = {b"data": images, b"labels": [3, 4]}
            (folder / name).write_bytes(pickle.dumps(batch, 2))

    package, module = ModuleType("torchvision"), ModuleType("torchvision.datasets")
    module.CIFAR10 = cifar10
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    with pytest.raises(UsageError, match="no files"):
        Cifar10(path=tmp_path).arrays()
    arrays = Cifar10(path=tmp_path, download=True).arrays()
    np.testing.assert_array_equal(arrays.test_x.reshape(2, -1), images)
    assert arrays.test_y.tolist() == [3, 4]
    assert TensorPool(arrays, torch.device("cpu")).input_shape == (3, 32, 32)


PUBLISHED = """
aquatic mammals: beaver, dolphin, otter, seal, whale
fish: aquarium_fish, flatfish, ray, shark, trout
flowers: orchid, poppy, rose, sunflower, tulip
food containers: bottle, bowl, can, cup, plate
fruit and vegetables: apple, mushroom, orange, pear, sweet_pepper
household electrical devices: clock, keyboard, lamp, telephone, television
household furniture: bed, chair, couch, table, wardrobe
insects: bee, beetle, butterfly, caterpillar, cockroach
large carnivores: bear, leopard, lion, tiger, wolf
large man-made outdoor things: bridge, castle, house, road, skyscraper
large natural outdoor scenes: cloud, forest, mountain, plain, sea
large omnivores and herbivores: camel, cattle, chimpanzee, elephant, kangaroo
medium mammals: fox, porcupine, possum, raccoon, skunk
non-insect invertebrates: crab, lobster, snail, spider, worm
people: baby, boy, girl, man, woman
reptiles: crocodile, dinosaur, lizard, snake, turtle
small mammals: hamster, mouse, rabbit, shrew, squirrel
trees: maple_tree, oak_tree, palm_tree, pine_tree, willow_tree
vehicles 1: bicycle, bus, motorcycle, pickup_truck, train
vehicles 2: lawn_mower, rocket, streetcar, tank, tractor
"""
"""The table of the data set's page; fine labels are numbered by the alphabet."""


def test_superclasses_are_those_of_the_published_table(tmp_path):
    table = dict(line.split(": ") for line in PUBLISHED.strip().splitlines())
    fine = sorted(name for names in table.values() for name in names.split(", "))
    assert len(fine) == 100
    wanted = [None] * 100
    for number, names in enumerate(table.values()):
        for name in names.split(", "):
            wanted[fine.index(name)] = number
    write_set(Cifar100, tmp_path / "cifar")
    arrays = Cifar100(path=tmp_path / "cifar").arrays()
    assert list(arrays.superclasses) == wanted
    coarse = Cifar100(path=tmp_path / "cifar", superclasses=True).arrays()
    assert [name.replace("_", " ") for name in coarse.class_names] == list(table)
    assert coarse.train_y.tolist() == [wanted[y] for y in arrays.train_y]
    assert coarse.test_y.tolist() == [wanted[y] for y in arrays.test_y]
    assert (coarse.n_classes, coarse.superclasses) == (20, ())
    np.testing.assert_array_equal(coarse.train_x, arrays.train_x)


def test_superclasses_are_no_part_of_a_pools_identity(tmp_path):
    write_set(Cifar100, tmp_path / "cifar")
    arrays = Cifar100(path=tmp_path / "cifar").arrays()
    plain = TensorPool(dataclasses.replace(arrays, superclasses=()), torch.device("cpu"))
    named = TensorPool(arrays, torch.device("cpu"))
    assert plain.sha256 == named.sha256
    assert named.superclasses == arrays.superclasses


@pytest.mark.parametrize("wrong", [(0, 1), (0, 2, 2), (1, 1, 2), (-1, 0, 1)])
def test_wrong_numbers_of_superclasses_are_refused(wrong):
    x, y = np.zeros((3, 2), dtype=np.float32), np.arange(3)
    with pytest.raises(UsageError, match="super-classes for 3 classes"):
        Arrays(x, y, x, y, 3, superclasses=wrong)
