"""CIFAR-100 natural images, 3x32x32 colour, 100 fine classes, 50,000 + 10,000 images; from files.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
Licence: none stated by its authors; research use is customary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clbench.data.cifar import CifarDataSet


@dataclass(frozen=True)
class Cifar100(CifarDataSet):
    """50,000 training and 10,000 test images, (3, 32, 32) uint8, with their fine labels."""

    name: ClassVar[str] = "cifar100"
    n_classes: ClassVar[int] = 100
    label_bytes: ClassVar[int] = 2
    binary_folder: ClassVar[str] = "cifar-100-binary"
    train_files: ClassVar[tuple[str, ...]] = ("train.bin",)
    test_file: ClassVar[str] = "test.bin"
    torchvision_name: ClassVar[str] = "CIFAR100"
    torchvision_folder: ClassVar[str] = "cifar-100-python"
    names_file: ClassVar[str] = "fine_label_names.txt"
    label_key: ClassVar[bytes] = b"fine_labels"
    python_names: ClassVar[tuple[str, bytes]] = ("meta", b"fine_label_names")
