"""What a data plug-in is: a frozen dataclass of settings that can load itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch

from clbench.data.pool import Arrays, Pool, TensorPool
from clbench.settings import check


@dataclass(frozen=True)
class DataSet(ABC):
    """Base of every data plug-in; its fields are the settings ``data.<field>``."""

    augment: Literal["none", "crop_flip"] = "none"
    """Training-time augmentation: none, or random crop (padding 1/8) with horizontal flip."""

    def __post_init__(self) -> None:
        check(self, "data")

    @abstractmethod
    def arrays(self) -> Arrays:
        """Read the whole data set into host memory.

        Raises:
            UsageError: the data are not there (with one line on how to get them) or malformed.
        """

    def pool(self, device: torch.device) -> Pool:
        """The data set on a device."""
        return TensorPool(self.arrays(), device)

    def fresh(self, seed: int) -> DataSet | None:
        """Other data of the same kind, drawn from a seed (>= 0); None where there are no others."""
        return None

    def default_model(self) -> str:
        """The model a run uses when the user names none; must not load the data."""
        return "mlp"
