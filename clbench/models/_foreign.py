"""Networks of other packages, trained as any model is."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from torch import nn

from clbench import Model, UsageError
from clbench.model import ToFloat
from clbench.nets import weights
from clbench.nets.batch_norm import tolerant
from clbench.nets.images import ColourImage, image_shape
from clbench.plugins.registry import did_you_mean
from clbench.settings import AtLeast
from clbench.util.tensor_files import read_dictionary


@dataclass(frozen=True)
class Foreign(Model):
    """Base of models whose network is given by its name in another package."""

    argument: ClassVar[str] = "network"
    package: ClassVar[str] = ""

    network: str = ""
    """Name of the network in the package; it stands after the colon."""
    pretrained: Path | None = None
    """File of weights that the network starts from (.safetensors, .npz, or a state dict of torch.save),
    under the package's own names; null: fresh weights. An output layer for another number of classes
    starts fresh. Such runs count as pretrained. They mostly need data.normalize=imagenet."""
    pretrained_sha256: str | None = None
    """SHA-256 of that file. It is filled in and is part of the run's identity; a hash that is given
    must be right."""
    resolution: Annotated[int | None, AtLeast(1)] = None
    """Resize images to squares of this side in pixels, in the network's first layer; null: as they
    are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pretrained_sha256", self._hash())

    @property
    def starts_pretrained(self) -> bool:
        """Whether weights of other data are loaded."""
        return self.pretrained is not None

    @abstractmethod
    def known(self) -> list[str]:
        """The names of the package's networks.

        Raises:
            ImportError: the package does not import.
        """

    @abstractmethod
    def create(self, n_classes: int, side: int) -> Any:
        """Make the network for colour images; ``side`` is that of the images it is given."""

    def build(self, input_shape: tuple[int, ...], n_classes: int, scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, n_classes)``.

        Gray images are repeated in three channels.

        Raises:
            UsageError: the package is missing, does not know the network or cannot build it; the
                weights do not fit; or the samples are no gray or colour images.
        """
        if not self.network:
            raise UsageError(f"model={self.package} needs a network: model={self.package}:NAME")
        word = f"{self.package}:{self.network}"
        channels, height, width = image_shape(word, input_shape)
        if channels not in (1, 3):
            raise UsageError(
                f"model={word} takes images of 1 or 3 channels, not samples of shape {input_shape}"
            )
        network = self._created(word, n_classes, self.resolution or max(height, width))
        if self.pretrained is not None:
            self._hash()  # the file may have changed since
            weights.fill(network, read_dictionary(self.pretrained), self.pretrained)
        return nn.Sequential(ToFloat(scale), ColourImage(self.resolution), tolerant(network))

    def _created(self, word: str, n_classes: int, side: int) -> nn.Module:
        try:
            names = self.known()
        except (ImportError, RuntimeError) as error:  # a torchvision of another torch: RuntimeError
            raise UsageError(
                f"model={word} needs {self.package}, which does not import here: "
                f"pip install {self.package}"
            ) from error
        if self.network not in names:
            raise UsageError(
                f"model={word}: {self.package} has no network {self.network!r}"
                f"{did_you_mean(self.network, names)}"
            )
        try:
            network = self.create(n_classes, side)
        except Exception as error:  # whatever the package raises
            reason = (str(error).splitlines() or [""])[0][:200]
            raise UsageError(
                f"model={word}: could not be built: {type(error).__name__}: {reason}"
            ) from error
        assert isinstance(network, nn.Module)
        return network

    def _hash(self) -> str | None:
        return weights.pinned_as(
            "model.pretrained", "model.pretrained_sha256", self.pretrained, self.pretrained_sha256
        )
