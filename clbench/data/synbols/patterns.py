"""Patterns that fill symbols and backgrounds, and colours computed from seeds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from clbench.data.synbols.counter import Draws
from clbench.data.synbols.distributions import Normal

OUTER_RADIUS, INNER_RADIUS = 2.0, 0.1


@dataclass(frozen=True)
class Solid:
    """One colour, RGB in [0, 1]; None: a random one."""

    colour: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Gradient:
    """``layers`` gradients of three random colours, each laid with ``alpha`` over those below."""

    types: tuple[Literal["linear", "radial"], ...] = ("radial", "linear")
    layers: int = 1
    alpha: float = 1.0


@dataclass(frozen=True)
class Camouflage:
    """Random strokes over each other; lengths in sides of the image, the angle in radians."""

    length: float = 0.4
    width: float = 0.05
    angle: float = math.pi / 4
    noise: float = 0.02
    """Standard deviation of where a stroke ends."""
    strokes: int = 500
    alpha: float = 0.8


@dataclass(frozen=True)
class Natural:
    """A crop of a photograph."""

    smallest: float = 0.2
    """Of its width and of its height, at least so much is seen."""


Pattern = Solid | Gradient | Camouflage | Natural

PATTERNS: dict[str, Pattern] = {
    "black": Solid((0, 0, 0)),
    "white": Solid((1, 1, 1)),
    "solid": Solid(),
    "gradient": Gradient(),
    "linear": Gradient(("linear",)),
    "radial": Gradient(("radial",)),
    "multi_gradient": Gradient(layers=2, alpha=0.5),
    "camouflage": Camouflage(),
    "camouflage_level": Camouflage(0.6, 0.1, 0.0, 0.0),
    "camouflage_upright": Camouflage(0.6, 0.1, math.pi / 2, 0.0),
    "natural": Natural(),
}
"""By name. ``camouflage_level`` and ``camouflage_upright`` are the symbol and the ground of the
preset ``camouflage``."""


Fill = Callable[[slice], Tensor]
"""``(n, 3, side, side)`` float32 in [0, 1] of some consecutive images, of one colour each
``(n, 3, 1, 1)``. What follows from their seeds was worked out for all of them together."""


def within(rows: np.ndarray, batch: slice) -> tuple[slice, np.ndarray]:
    """Which of some ascending rows are in a batch, and where in the batch they are."""
    first, last = np.searchsorted(rows, (batch.start, batch.stop)).tolist()
    return slice(first, last), rows[first:last] - batch.start


def paint(pattern: Solid | Gradient, seeds: np.ndarray, side: int, device: torch.device) -> Fill:
    """What ``(n,)`` uint64 seeds give.

    Gradients as in Synbols: a linear one goes from (x, y) ~ U² at an angle ~ U(0, 2 pi) over a
    length 1 + 0.2 N; a radial one from a circle of radius 2 to one of radius 0.1, both centres ~
    U². What lies beyond either end has the end's colour. The first colour is at the end, the third
    at the start.
    """
    draws = Draws(seeds)
    if isinstance(pattern, Solid):
        colour = np.stack([draws.uniform(slot) for slot in range(3)], 1)
        if pattern.colour is not None:
            colour = np.broadcast_to(np.array(pattern.colour), (len(seeds), 3))
        return _put(colour, device)[:, :, None, None].__getitem__
    layers = [_gradient(pattern, draws.child(i), side, device) for i in range(pattern.layers)]
    if pattern.alpha == 1:
        return layers[-1]

    def fill(rows: slice) -> Tensor:
        image = layers[0](rows) * pattern.alpha  # over black
        for layer in layers[1:]:
            image.lerp_(layer(rows), pattern.alpha)
        return image

    return fill


def _gradient(pattern: Gradient, draws: Draws, side: int, device: torch.device) -> Fill:
    u = np.stack([draws.uniform(slot) for slot in range(14)], 1)
    colours = u[:, 5:].reshape(-1, 3, 3)  # at 1, at 0.5, at 0
    is_radial = np.array([kind == "radial" for kind in pattern.types])[
        draws.below(20, len(pattern.types))
    ]
    # Linear: t = a x + b y + c.
    theta = 2 * np.pi * u[:, 2]
    length = Normal(1, 0.2).quantile(u[:, 3], u[:, 3])
    a, b = np.cos(theta) / length, np.sin(theta) / length
    linear = _put(np.stack((a, b, -(a * u[:, 0] + b * u[:, 1])), 1), device)[:, :, None, None]
    x = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side
    y = x[:, None]
    along, across = linear[:, 0] * x, linear[:, 1] * y + linear[:, 2]
    circles = np.flatnonzero(is_radial)
    radial = _radial(u[circles, :2], u[circles, 3:5], x, y)
    stops = _put(colours, device)[..., None, None]
    start, first, second = stops[:, 2], stops[:, 1] - stops[:, 2], stops[:, 0] - stops[:, 1]

    def fill(rows: slice) -> Tensor:
        t = along[rows] + across[rows]
        which, at = within(circles, rows)
        if len(at):
            t.index_copy_(0, torch.as_tensor(at, device=device), radial(which))
        t = t[:, None].mul_(2)
        image = (first[rows] * t.clamp(0, 1)).add_(start[rows])
        return image.addcmul_(second[rows], t.sub_(1).clamp_(0, 1))

    return fill


def _radial(start: np.ndarray, end: np.ndarray, x: Tensor, y: Tensor) -> Fill:
    """``(n, side, side)``: how far from the outer circle (0) to the inner one (1) a point lies.

    The t at which a circle, its centre and radius moving from the one to the other, passes through
    the point: the root of a quadratic at which the radius is positive.
    """
    move = end - start
    shrink = INNER_RADIUS - OUTER_RADIUS
    a = (move**2).sum(1) - shrink**2  # negative: the circles lie in each other
    a, sx, sy, dx, dy = (
        _put(v, x.device)[:, None, None] for v in (a, start[:, 0], start[:, 1], *move.T)
    )
    px, py = x - sx, y - sy
    moved_x, moved_y, square_x, square_y = px * dx, py * dy, px * px, py * py

    def t(rows: slice) -> Tensor:
        b = (moved_x[rows] + moved_y[rows]).add_(OUTER_RADIUS * shrink)
        c = (square_x[rows] + square_y[rows]).sub_(OUTER_RADIUS**2)
        root = (b * b).sub_(c.mul_(a[rows])).clamp_min_(0).sqrt_()
        return root.add_(b).div_(a[rows])

    return t


def _put(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(values, dtype=np.float32), device=device)
