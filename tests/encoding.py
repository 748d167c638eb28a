"""Tiny encoders in files, which count what they encode, and pools of their latents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small
import torch
from torch import Tensor, nn

from clbench.configure.config import resolve_point
from clbench.data.latent import SILENT, LatentPool, ProgressSink
from clbench.data.pool import Pool
from clbench.errors import UsageError

TINY = '''"""Sums of neighbouring values, times a factor."""
from dataclasses import dataclass
import torch
from torch import nn
from clbench.encoder import Encoder

CALLS = []


class Net(nn.Module):
    def __init__(self, factor, scale):
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))
        self.scale = scale

    def forward(self, x):
        CALLS.append(len(x))
        flat = x.flatten(1).float() * self.scale
        return flat.unfold(1, 2, 2).sum(2) * self.factor


@dataclass(frozen=True)
class Tiny(Encoder):
    """Takes samples of any shape."""

    factor: float = 1.0
    """Times this."""

    def build(self, input_shape, scale):
        return Net(self.factor, scale)
'''


def write(folder: Path, text: str = TINY, name: str = "tiny.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def config(encoder: str | Path, **settings: object) -> Any:
    point = {"scenario": "scole", "strategy": "naive", "model": "mlp", "device": "cpu"}
    given = {f"encoder.{key}": value for key, value in settings.items()}
    return resolve_point({**point, "encoder": str(encoder), **given})


def latents(
    encoder: str | Path, on: Pool | None = None, sink: ProgressSink = SILENT, **settings: object
) -> LatentPool:
    """The latents of a small pool (of vectors, if none is given)."""
    made = config(encoder, **settings)
    raw = small.pool() if on is None else on
    plugin = made.plugins["encoder"]
    return LatentPool(raw, made.encoder, plugin, data="blobs", sink=sink)


def calls(encoder: Path) -> list[int]:
    """The sizes of the batches that a tiny encoder was given so far."""
    module = sys.modules[config(encoder).plugins["encoder"].load().__module__]
    found: list[int] = module.CALLS
    return found


def sum_of_latents(encoder: str) -> str:
    """Of the test split, encoded in batches of eight."""
    pool = latents(encoder, batch_size=8)
    return str(pool.gather("test", np.arange(20)).sum().item())


GRAY = torch.randint(256, (5, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
COLOUR = torch.randint(256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(1)).byte()


def build(name: str, x: Tensor = GRAY, **settings: object) -> nn.Module:
    encoder = config(name, **settings).encoder
    network: nn.Module = encoder.build(tuple(x.shape[1:]), 1 / 255)
    return network.eval()


def encode(name: str, x: Tensor = GRAY, **settings: object) -> Tensor:
    with torch.no_grad():
        z: Tensor = build(name, x, **settings)(x)
    return z


def refusal(name: str, x: Tensor = GRAY, **settings: object) -> str:
    with pytest.raises(UsageError) as caught:
        build(name, x, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)
