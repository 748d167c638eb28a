"""Any network of the package timm (PyTorch Image Models), trained from scratch or from a file.

``model=timm:resnet18``. Nothing is downloaded: ``model.pretrained=FILE`` starts from weights on disk,
such as the package's own ``model.safetensors``. Networks that are made for one size of images get
the size of the data, or that of ``model.resolution``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

from clbench.models._foreign import Foreign


@dataclass(frozen=True)
class Timm(Foreign):
    """Takes images of 1 or 3 channels."""

    package: ClassVar[str] = "timm"

    def known(self) -> list[str]:
        """The names of timm's networks, without those of their weights."""
        names: list[str] = importlib.import_module("timm").list_models()
        return names

    def create(self, n_classes: int, side: int) -> Any:
        """Make the network with fresh weights, for images of this side where it has a size."""
        timm = importlib.import_module("timm")
        settings: dict[str, Any] = {"pretrained": False, "num_classes": n_classes}
        about = timm.models.get_pretrained_cfg(self.network)
        if about is not None and about.fixed_input_size:
            settings["img_size"] = side
        return timm.create_model(self.network, **settings)
