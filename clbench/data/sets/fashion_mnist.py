"""Fashion-MNIST clothing, 28x28 gray, 10 classes, 60,000 + 10,000 images; from IDX files.

Source: Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747. Licence: MIT (Zalando SE).
Debian's package ``dataset-fashion-mnist`` is found without any setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clbench.data.idx import IdxDataSet


@dataclass(frozen=True)
class FashionMnist(IdxDataSet):
    """60,000 training and 10,000 test images, 28x28 uint8, 6,000 and 1,000 of each class."""

    name: ClassVar[str] = "fashion_mnist"
    torchvision_name: ClassVar[str] = "FashionMNIST"
    debian_package: ClassVar[str | None] = "dataset-fashion-mnist"
    class_names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
