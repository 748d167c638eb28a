"""The base of data plug-ins: a frozen dataclass of settings that loads a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from clbench.data.augment import operations
from clbench.data.moments import Normalize
from clbench.data.pool import Arrays, Pool, TensorPool
from clbench.settings import check

if TYPE_CHECKING:
    from clbench.data.decoded import Watch


@dataclass(frozen=True)
class DataSet(ABC):
    """Base of every data plug-in; its fields are the settings ``data.<field>``."""

    is_default: ClassVar[bool] = False
    """Whether runs that name no data learn from it; one data set says so."""

    argument: ClassVar[str] = ""
    """The setting that may be given after a colon, if there is one."""

    augment: str = field(default="none", metadata={"identity": "always"})
    """Training-time augmentation: none, crop_flip (random crop with padding 1/8, horizontal flip), or
    names joined by +, in their order: crop, flip, resized_crop, brightness (63/255), jitter (of
    colours), gray, cutout, autoaugment, randaugment. crop+flip+brightness is PyCIL's for CIFAR."""
    normalize: Normalize = "none"
    """What the network's first layer brings samples to after scaling. data: mean 0 and standard
    deviation 1 over all training samples, for each channel or feature; imagenet: as pretrained
    networks expect colour images; none: values stay in the unit range."""

    def __post_init__(self) -> None:
        check(self, "data")
        operations(self.augment)

    @classmethod
    def options(cls) -> Mapping[str, str]:
        """What may stand after the colon, as far as it is known, each with a line about it."""
        return {}

    @abstractmethod
    def arrays(self) -> Arrays:
        """Read the whole data set into host memory.

        Raises:
            UsageError: the data are missing (the message says how to get them) or malformed.
        """

    def pool(self, device: torch.device) -> Pool:
        """Load the data set onto a device.

        Raises:
            TypeError: ``arrays()`` returns something else than arrays.
        """
        arrays = self.arrays()
        if not isinstance(arrays, Arrays):
            raise TypeError(f"arrays() must return clbench.Arrays, not a {type(arrays).__name__}")
        return TensorPool(arrays, device)

    def load(self, device: torch.device, watch: Watch) -> Pool:
        """Load the data set onto a device, with a progress display where that takes long.

        Args:
            device: where the pool is to be.
            watch: opens a display with a title and a total.
        """
        return self.pool(device)

    def fresh(self, seed: int) -> DataSet | None:
        """Generate other data of the same kind from a seed (>= 0); None if that is not possible."""
        return None

    def holds_series(self) -> bool:
        """Say whether samples ``(T,)`` or ``(C, T)`` are series, and not vectors or gray images."""
        return False

    def resolved(self, pool: Pool) -> dict[str, object]:
        """Say what settings that are null or auto came to, by name; only for the record."""
        return {}

    def default_model(self) -> str:
        """Recommend a model for runs that name none; must not load the data."""
        return "mlp"
