"""CIFAR-10 natural images, 3x32x32 colour, 10 classes, 50,000 + 10,000 images; from files.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
Licence: none stated by its authors; research use is customary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clbench.data.cifar import CifarDataSet


@dataclass(frozen=True)
class Cifar10(CifarDataSet):
    """50,000 training and 10,000 test images, (3, 32, 32) uint8."""

    name: ClassVar[str] = "cifar10"
    n_classes: ClassVar[int] = 10
    label_bytes: ClassVar[int] = 1
    binary_folder: ClassVar[str] = "cifar-10-batches-bin"
    train_files: ClassVar[tuple[str, ...]] = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    test_file: ClassVar[str] = "test_batch.bin"
    torchvision_name: ClassVar[str] = "CIFAR10"
    torchvision_folder: ClassVar[str] = "cifar-10-batches-py"
    names_file: ClassVar[str] = "batches.meta.txt"
    label_key: ClassVar[bytes] = b"labels"
    python_names: ClassVar[tuple[str, bytes]] = ("batches.meta", b"label_names")
