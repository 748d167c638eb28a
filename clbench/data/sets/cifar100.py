"""CIFAR-100 natural images, 3x32x32 colour, 100 fine classes, 50,000 + 10,000 images; from files.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images". Each of its 20
super-classes has 5 fine classes.
Licence: none stated by its authors; research use is customary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from clbench import Arrays
from clbench.data.cifar import CifarDataSet

SUPERCLASSES = (
    "aquatic_mammals",
    "fish",
    "flowers",
    "food_containers",
    "fruit_and_vegetables",
    "household_electrical_devices",
    "household_furniture",
    "insects",
    "large_carnivores",
    "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "non-insect_invertebrates",
    "people",
    "reptiles",
    "small_mammals",
    "trees",
    "vehicles_1",
    "vehicles_2",
)
"""As in ``coarse_label_names.txt``."""
# fmt: off
SUPERCLASS_OF = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11,
    6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5,
    5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17,
    10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13,
    16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)
# fmt: on
"""The super-class of each fine label. Files that hold coarse labels are not asked for them."""


@dataclass(frozen=True)
class Cifar100(CifarDataSet):
    """50,000 training and 10,000 test images, (3, 32, 32) uint8, with their fine labels."""

    superclasses: bool = False
    """Label the images by their 20 super-classes instead of the 100 fine classes."""

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

    def arrays(self) -> Arrays:
        """Read the images with their fine labels, or with those of the super-classes.

        Raises:
            UsageError: the files are missing or malformed.
        """
        fine = super().arrays()
        if not self.superclasses:
            return replace(fine, superclasses=SUPERCLASS_OF)
        of = np.array(SUPERCLASS_OF, dtype=np.int64)
        return replace(
            fine,
            train_y=of[fine.train_y],
            test_y=of[fine.test_y],
            n_classes=len(SUPERCLASSES),
            class_names=SUPERCLASSES,
        )
