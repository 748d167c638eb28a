"""What an encoder plug-in is: a frozen dataclass of settings that builds a frozen network.

An encoder stands between the data and the stream: every sample that a learner sees is a vector of
latents. Everyone who encodes needs to know what was encoded by what, so an encoder's weights are
hashed as they are used, and the recipe of the latents goes into the record.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import nn

from clbench.errors import UsageError
from clbench.util.tensor_files import sha256_under


@dataclass(frozen=True)
class Encoder(ABC):
    """Base of every encoder plug-in; its fields are the settings ``encoder.<field>``."""

    argument: ClassVar[str] = ""
    """The setting that is filled by what stands after a colon: ``model`` for ``timm:resnet18``."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Installed packages whose code takes part; their versions belong to the recipe."""

    dtype: Literal["float32", "float16"] = "float32"
    """What latents are stored in; float16 halves the bytes of cache, pool and memories."""
    batch_size: int = 64
    """Samples encoded at once; part of the recipe, since last bits depend on it."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"encoder.batch_size={self.batch_size} must be at least 1")

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """The network ``(B, *input_shape) -> (B, d)`` float32, with its weights, on the CPU.

        It takes raw samples (uint8 for images), which ``scale`` brings to the unit range. It is
        put into eval mode, and only what it has as parameters and buffers counts as its bytes: cut
        off what is not used. It must draw nothing from torch's generator when it encodes.

        Raises:
            UsageError: it does not take samples of this shape, or its weights are not there.
        """

    def files(self) -> tuple[Path, ...]:
        """Source files beside the plug-in's own whose code makes the latents."""
        return ()

    def default_model(self) -> str:
        """The model a run uses when the user names none."""
        return "mlp"


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of everything in a state dict, by name.

    Not the hash of ``tensor_files.sha256``: what is titled otherwise stays so, since records and
    caches hold it.
    """
    return sha256_under(
        network.state_dict(), lambda name, tensor: f"{name} {tensor.dtype} {tuple(tensor.shape)}"
    )


def frozen_bytes(network: nn.Module) -> int:
    """Bytes of an encoder's parameters and buffers."""
    return sum(t.nbytes for t in (*network.parameters(), *network.buffers()))


def require(module: str, package: str, encoder: str) -> Any:
    """An optional package's module.

    Raises:
        UsageError: it is not installed, with how to get it.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # a torchvision of another torch: RuntimeError
        raise UsageError(
            f"encoder={encoder} needs {package}, which does not import here: pip install {package}"
        ) from error
