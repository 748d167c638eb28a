"""The base of encoders: a frozen dataclass of settings that builds a frozen network.

An encoder stands between the data and the stream, so every sample that a learner sees is a vector of
latents. The weights are hashed as they are used, and the record holds the recipe of the latents.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from torch import nn

from clbench.errors import NotHere
from clbench.settings import AtLeast, check
from clbench.util.tensor_files import sha256_under


@dataclass(frozen=True)
class Encoder(ABC):
    """Turns samples into latents; its fields are the settings ``encoder.<field>``."""

    argument: ClassVar[str] = ""
    """The setting that takes the text after a colon: ``model`` for ``timm:resnet18``."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Installed packages whose code is used; their versions are part of the recipe."""

    dtype: Literal["float32", "float16"] = "float32"
    """Precision that latents are stored in; float16 halves the bytes of cache, pool and memories."""
    batch_size: Annotated[int, AtLeast(1)] = 64
    """Samples encoded at once. It is part of the recipe, since the last bits depend on it."""

    def __post_init__(self) -> None:
        check(self, "encoder")

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], scale: float) -> nn.Module:
        """Build the network ``(B, *input_shape) -> (B, d)`` float32, with its weights, on the CPU.

        It takes raw samples (uint8 for images), which ``scale`` brings to the unit range. It is put
        into eval mode. Its bytes are those of its parameters and buffers, so cut off what is not
        used. It must draw nothing from torch's generator when it encodes.

        Raises:
            UsageError: it does not take samples of this shape, or its weights are missing.
        """

    def files(self) -> tuple[Path, ...]:
        """List further source files whose code makes the latents, beside the plug-in's own."""
        return ()

    def default_model(self) -> str:
        """Name the model that a run uses when the user names none."""
        return "mlp"


def weights_sha256(network: nn.Module) -> str:
    """Hash the names, dtypes, shapes and bytes of everything in a state dict, in the order of names.

    It is not the hash of ``tensor_files.sha256``. Records and caches hold it, so it stays as it is.
    """
    return sha256_under(
        network.state_dict(), lambda name, tensor: f"{name} {tensor.dtype} {tuple(tensor.shape)}"
    )


def frozen_bytes(network: nn.Module) -> int:
    """Count the bytes of an encoder's parameters and buffers."""
    return sum(t.nbytes for t in (*network.parameters(), *network.buffers()))


def require(module: str, package: str, setting: str) -> Any:
    """Import a module of an optional package, which a setting (``encoder=timm:resnet18``) needs.

    Raises:
        NotHere: it is not installed; the error says how to install it.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # a torchvision of another torch: RuntimeError
        raise NotHere(
            f"{setting} needs {package}, which does not import here: pip install {package}"
        ) from error
