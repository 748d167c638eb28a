"""What plots as inline SVG are made of; colours are classes, so the page's style decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clbench.util.text import as_html


@dataclass(frozen=True)
class Axis:
    """A map from values to pixels."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixels, to a tenth."""
        scale: Callable[[float], float] = math.log10 if self.log else float
        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the axis."""
        if self.log:
            steps = (1.0,) if self.high / self.low > 200 else (1.0, 2.0, 5.0)
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [s * 10.0**d for d in decades for s in steps]
        else:
            step = round_step((self.high - self.low) / about)
            first = math.ceil(self.low / step - 1e-9)
            values = [(first + k) * step for k in range(about * 3)]
        return [v for v in values if self.low * (1 - 1e-9) <= v <= self.high * (1 + 1e-9)]


def round_step(size: float) -> float:
    """The nearest of 1, 2 or 5 times a power of ten that is at least ``size``."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= size * (1 - 1e-9))


def span(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """Low and high of a linear axis around values; of any width, also around a single value."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = max((high - low) * margin, 1e-3)
    return low - pad, high + pad


def grid(x: Axis, y: Axis, x_title: str, y_title: str, write: Callable[[float], str]) -> list[str]:
    """Lines, ticks and titles; y is a share, shown in percent."""
    parts = []
    for value in y.ticks():
        parts.append(
            f'<line class="grid" x1="{x.start}" x2="{x.stop}" y1="{y(value)}" y2="{y(value)}"/>'
        )
        parts.append(
            f'<text x="{x.start - 6}" y="{y(value) + 4:g}" text-anchor="end">'
            f"{100 * value:.4g}</text>"
        )
    for value in x.ticks():
        parts.append(
            f'<line class="tick" x1="{x(value)}" x2="{x(value)}" y1="{y.start}" '
            f'y2="{y.start + 4}"/>'
        )
        parts.append(
            f'<text x="{x(value)}" y="{y.start + 18}" text-anchor="middle">{write(value)}</text>'
        )
    middle = (x.start + x.stop) / 2
    parts.append(
        f'<text class="title" x="{middle}" y="{y.start + 38}" text-anchor="middle">'
        f"{as_html(x_title)}</text>"
    )
    across = (y.start + y.stop) / 2
    parts.append(
        f'<text class="title" transform="translate(13 {across:g}) rotate(-90)" '
        f'text-anchor="middle">'
        f"{as_html(y_title)}</text>"
    )
    return parts


def figure(name: str, width: int, height: int, summary: str, parts: Sequence[str]) -> str:
    """A plot of its parts; the summary is read to those who do not see it."""
    return (
        f'<svg class="plot {name}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{as_html(summary)}">{"".join(parts)}</svg>'
    )
