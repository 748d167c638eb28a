"""Any classifier of the package torchvision, trained from scratch or from a file.

``model=torchvision:resnet50``. Nothing is downloaded: ``model.pretrained=FILE`` starts from weights
on disk, such as the package's ``resnet50-*.pth``. Networks that are made for one size of images get
the size of the data, or that of ``model.resolution``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

from clbench.models._foreign import Foreign

WITHOUT_EXTRA_HEADS = {"googlenet", "inception_v3"}
"""Networks that would score a training batch with several heads."""
OF_ONE_SIZE = "vit_"
"""How the names of networks start that are made for one size of images."""


@dataclass(frozen=True)
class Torchvision(Foreign):
    """Takes images of 1 or 3 channels."""

    package: ClassVar[str] = "torchvision"

    def known(self) -> list[str]:
        """The names of torchvision's classifiers of images."""
        models = importlib.import_module("torchvision.models")
        names: list[str] = models.list_models(module=models)
        return names

    def create(self, n_classes: int, side: int) -> Any:
        """Make the network with fresh weights, for images of this side where it has a size."""
        models = importlib.import_module("torchvision.models")
        settings: dict[str, Any] = {"weights": None, "num_classes": n_classes}
        if self.network in WITHOUT_EXTRA_HEADS:
            settings |= {"aux_logits": False, "init_weights": True}
        if self.network.startswith(OF_ONE_SIZE):
            settings["image_size"] = side
        return models.get_model(self.network, **settings)
