"""Synbols: images a second on one core, against drawing each image by itself.

Run by hand, ``python benchmarks/synbols.py``: about a minute on one thread. The ``synbols`` package
draws with cairo and works only inside its Docker image, so what is compared is a straightforward
loop of our own over Pillow and NumPy that draws what its code draws: the glyph by FreeType at its
final size, both patterns over the whole image, the strokes of a camouflage one by one; then blends,
stretches, adds noise. It is no measure of cairo: there, 1,209 images a second with gradients and 66
with camouflage were measured once, on another day. Both arms draw the same attributes, made
beforehand; they take turns, and the table gives the median over rounds of the ratio of process times.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from clbench.data.synbols import textures
from clbench.data.synbols.attributes import PATTERN_NAMES, Attributes
from clbench.data.synbols.counter import Draws
from clbench.data.synbols.fonts import find
from clbench.data.synbols.generator import Generator, Sources
from clbench.data.synbols.patterns import PATTERNS, Camouflage
from clbench.data.synbols.spec import PRESETS

ROUNDS = 7
BATCHED = 2048


def gradient(seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``(side, side, 3)`` linear or radial, three colours."""
    rng = np.random.default_rng(seed)
    stops = rng.random((3, 3))
    if rng.random() < 0.5:
        (x0, y0), angle, length = rng.random(2), 2 * np.pi * rng.random(), 1 + 0.2 * rng.normal()
        t = ((x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)) / length
    else:
        (x0, y0), (dx, dy) = rng.random(2), rng.random(2) - 0.5
        a, b = dx * dx + dy * dy - 1.9**2, (x - x0) * dx + (y - y0) * dy - 3.8
        t = (b + np.sqrt(b * b - a * ((x - x0) ** 2 + (y - y0) ** 2 - 4))) / a
    t = t.clip(0, 1)
    return np.stack([np.interp(t, (0, 0.5, 1), stops[:, c]) for c in range(3)], -1)


def one_by_one(g: Generator, a: Attributes) -> np.ndarray:
    """The images of some attributes, each drawn by itself with Pillow and NumPy."""
    from PIL import Image, ImageDraw, ImageFont

    side = g.spec.resolution
    fonts = {f.name: f for f in find("matplotlib")}
    steps = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(steps, steps)

    def fill(code: int, seed: int) -> np.ndarray:
        pattern = PATTERNS[PATTERN_NAMES[code]]
        if isinstance(pattern, Camouflage):
            return textures.exact(pattern, seed % 2**62, side) / 255
        return gradient(seed, x, y)

    out = np.empty((len(a), side, side, 3), dtype=np.uint8)
    for i in range(len(a)):
        font = fonts[g.atlas.fonts[a.font[i, 0]]]
        path = font.bold if a.is_bold[i, 0] and font.bold else font.path
        large = 2 * side  # drawn twice as large: Pillow turns without antialiasing
        face = ImageFont.truetype(path, large * a.scale[i, 0])
        canvas = Image.new("L", (large, large))
        at = (large / 2 * (1 + a.x_translation[i, 0] / 3), large / 2)
        char = g.atlas.characters[a.char[i, 0]]
        ImageDraw.Draw(canvas).text(at, char, fill=255, font=face, anchor="mm")
        turned = canvas.rotate(-np.degrees(a.rotation[i, 0]), Image.Resampling.BILINEAR)
        covered = np.asarray(turned.reduce(2))[..., None] / 255
        image = fill(int(a.background[i]), int(a.background_seed[i]))
        image = (
            image + (fill(int(a.foreground[i, 0]), int(a.foreground_seed[i, 0])) - image) * covered
        )
        image = 1 - image if a.inverse_color[i] else image
        image = (image - image.min()) / (image.max() - image.min())
        noise = np.random.default_rng(int(a.noise_seed[i])).normal(size=image.shape)
        out[i] = (image + noise * a.pixel_noise_scale[i]).clip(0, 1) * 255
    return out


def seconds(call: Callable[[], object]) -> float:
    """Process time of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    print(f"32x32, one thread, batches of a renderer of {BATCHED}, {ROUNDS} rounds")
    for preset, single in (("default", 200), ("camouflage", 20)):
        g = Generator(PRESETS[preset], Sources(), 0, torch.device("cpu"))
        number = np.arange(BATCHED)
        few = g.attributes(number[:single])
        g.images(number)  # draws the atlas and the banks, if they are not in the cache
        rates, ratios = [], []
        for _ in range(ROUNDS):
            ours = BATCHED / seconds(lambda: g.images(number))  # noqa: B023 - called at once
            loop = single / seconds(lambda: one_by_one(g, few))  # noqa: B023
            rates.append((ours, loop))
            ratios.append(ours / loop)
        ours, loop = (statistics.median(column) for column in zip(*rates, strict=True))
        print(
            f"{preset:<10}  {ours:7,.0f} images/s   loop {loop:6,.0f}   "
            f"{statistics.median(ratios):5.1f} times as fast "
            f"({min(ratios):.1f} to {max(ratios):.1f})"
        )
    rate = 1_000_000 / seconds(lambda: Draws.of(0, np.arange(1_000_000)).uniform(0))
    print(f"one attribute: {rate / 1e6:.0f} million draws a second")


if __name__ == "__main__":
    main()
