"""Means and standard deviations of a data set, for ``data.normalize``."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from clbench.data.pool import Pool
from clbench.errors import UsageError
from clbench.nets.inputs import Moments

Normalize = Literal["none", "data", "imagenet"]
IMAGENET = Moments((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of ImageNet's training images, in the unit range, as every published network uses them."""
AT_ONCE = 1 << 22
"""Values of the samples that are gathered at once."""


def moments(normalize: Normalize, pool: Pool, is_series: bool = False) -> Moments | None:
    """What the network's first layer subtracts and divides by; None: nothing.

    ``data``: over the pool's training split, all classes, as the literature's constants are. There is
    one mean for each channel of images ``(C, H, W)`` and series ``(C, T)``, one for each feature of
    vectors ``(d,)``, and a single one for gray images and series without channels. The deviation of
    what is constant is taken as 1.

    Args:
        normalize: the setting.
        pool: the data, raw.
        is_series: whether samples of one or two dimensions are series.

    Raises:
        UsageError: the samples have not the three channels of ``imagenet``.
    """
    if normalize == "none":
        return None
    shape = pool.input_shape
    if normalize == "imagenet":
        if len(shape) != 3 or shape[0] != 3:
            raise UsageError(
                f"data.normalize=imagenet needs colour images (3, H, W), not samples of shape {shape}; "
                "set data.normalize=data"
            )
        return IMAGENET
    is_channel_first = len(shape) == 3 or (len(shape) == 2 and is_series)
    is_vector = len(shape) == 1 and not is_series
    n_values = shape[0] if is_channel_first or is_vector else 1
    total, squares = _sums(pool, n_values)
    count = pool.size("train") * int(np.prod(shape)) // n_values
    mean = [s / count for s in total]
    variance = [max(0.0, q / count - m * m) for q, m in zip(squares, mean, strict=True)]
    std = [v**0.5 * pool.scale for v in variance]
    return Moments(tuple(m * pool.scale for m in mean), tuple(s if s > 1e-6 else 1.0 for s in std))


def _sums(pool: Pool, n_values: int) -> tuple[list[float], list[float]]:
    """Sums of the raw values and of their squares; exact for whole numbers.

    They are taken on the CPU, in the order of the pool, so that they do not depend on the device.
    """
    shape = pool.input_shape
    step = max(1, AT_ONCE // int(np.prod(shape)))
    is_whole = not pool.dtype.is_floating_point
    dtype = torch.int64 if is_whole else torch.float64
    total, squares = torch.zeros(n_values, dtype=dtype), torch.zeros(n_values, dtype=dtype)
    total, squares = total.cpu(), squares.cpu()
    n = pool.size("train")
    for start in range(0, n, step):
        x = pool.gather("train", np.arange(start, min(n, start + step))).cpu().to(dtype)
        x = x.reshape(len(x), n_values, -1).transpose(0, 1).flatten(1)
        total += x.sum(1)
        squares += x.square().sum(1)
    return total.tolist(), squares.tolist()
