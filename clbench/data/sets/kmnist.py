"""Kuzushiji-MNIST cursive Japanese, 28x28 gray, 10 classes, 60,000 + 10,000 images; from IDX files.

Source: Clanuwat et al. 2018, arXiv 1812.01718 (CODH). Licence: CC BY-SA 4.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clbench.data.idx import IdxDataSet


@dataclass(frozen=True)
class Kmnist(IdxDataSet):
    """60,000 training and 10,000 test images, 28x28 uint8, 6,000 and 1,000 of each class."""

    name: ClassVar[str] = "kmnist"
    torchvision_name: ClassVar[str] = "KMNIST"
    class_names: ClassVar[tuple[str, ...]] = (
        "o",
        "ki",
        "su",
        "tsu",
        "na",
        "ha",
        "ma",
        "ya",
        "re",
        "wo",
    )
