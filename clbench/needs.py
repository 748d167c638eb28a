"""What a strategy is told of the stream, and what it needs of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from clbench.nets.inputs import Moments


@dataclass(frozen=True)
class StreamInfo:
    """What a strategy knows of the stream. It has no name, no handle and no test data of it."""

    input_shape: tuple[int, ...]
    dtype: torch.dtype
    scale: float
    """The factor that brings a raw value to the unit range."""
    n_classes: int
    n_tasks: int | None
    """None: the stream is endless, or the number is hidden."""
    task_ids: bool = False
    """Whether samples come with the number of their task."""
    augment: str = "none"
    moments: Moments | None = None
    """What ``data.normalize`` makes the first layer of every network do; None: nothing."""
    unlabelled: bool = False
    """Whether some samples come without a label (-1)."""


@dataclass(frozen=True)
class Needs:
    """What a strategy needs of a stream. A stream that lacks it is refused before training."""

    task_id: bool = False
    boundaries: bool = False
    disjoint_classes: bool = False
    n_tasks: bool = False
    labels: bool = False
