"""MNIST handwritten digits, 28x28 gray, 10 classes, 60,000 + 10,000 images; from IDX files.

Source: LeCun, Cortes & Burges 1998, "The MNIST database of handwritten digits".
Licence: CC BY-SA 3.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clbench.data.idx import IdxDataSet


@dataclass(frozen=True)
class Mnist(IdxDataSet):
    """60,000 training and 10,000 test images, 28x28 uint8."""

    name: ClassVar[str] = "mnist"
    torchvision_name: ClassVar[str] = "MNIST"
