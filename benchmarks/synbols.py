"""Synbols: images a second on one core, against the ``synbols`` package's own drawing code.

Run by hand, ``python benchmarks/synbols.py --peer PYTHON``: about a minute on one thread. PYTHON is
one that has the package; it works only inside its Docker image as it comes, but its drawing code runs
wherever cairo does (Debian: ``libcairo2-dev pkg-config``), given fonts, here matplotlib's::

    python -m venv peer && peer/bin/pip install numpy pycairo pillow tqdm h5py requests
    peer/bin/pip install --no-deps synbols==1.0.2

Without ``--peer``, what is compared is a straightforward loop of our own over Pillow and NumPy that
draws what its code draws: the glyph by FreeType at its final size, both patterns over the whole
image, the strokes of a camouflage one by one; then blends, stretches, adds noise. The arms take
turns; the table gives the median over rounds of the ratio of process times, of whole images (their
attributes sampled, and drawn) and of drawing alone. Last, drawing a task against training on it once
with ``scole_cnn``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from clbench.data.synbols import textures
from clbench.data.synbols.attributes import PATTERN_NAMES, Attributes
from clbench.data.synbols.counter import Draws
from clbench.data.synbols.fonts import find
from clbench.data.synbols.generator import Generator, Sources
from clbench.data.synbols.patterns import PATTERNS, Camouflage
from clbench.data.synbols.spec import PRESETS
from clbench.models.scole_cnn import ScoleCnn

ROUNDS = 7
BATCHED = 2048
SINGLE = {"default": 200, "camouflage": 20}
FAMILIES = (
    *("DejaVu Sans", "DejaVu Sans Mono", "DejaVu Serif", "STIXGeneral"),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)


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


class Peer:
    """The package in another process, asked to draw and told nothing else."""

    def __init__(self, python: str, folder: Path) -> None:
        import matplotlib

        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        config = folder / "fonts.conf"
        cache = f"<cachedir>{folder / 'cache'}</cachedir>"
        config.write_text(f"<fontconfig><dir>{fonts}</dir>{cache}</fontconfig>")
        script = Path(__file__).with_name("synbols_peer.py")
        env = {**os.environ, "FONTCONFIG_FILE": str(config), "OMP_NUM_THREADS": "1"}
        # -P: this folder has a module of the package's name.
        words = [python, "-P", "-W", "ignore", str(script), *FAMILIES]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(words, env=env, text=True, **pipes)

    def __call__(self, preset: str, n: int) -> tuple[float, float]:
        """Seconds of sampling the attributes of ``n`` images, and of drawing them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{preset} {n}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line[0].isdigit():  # it says which glyphs are empty, too
                sampling, drawing = map(float, line.split())
                return sampling, drawing
        raise SystemExit("the peer has ended: see what it says above")


def training(n: int) -> tuple[float, float]:
    """Seconds of drawing ``n`` default images, and of learning them once in batches of 32."""
    g = Generator(PRESETS["default"], Sources(), 0, torch.device("cpu"))
    g.images(np.arange(64))
    drawing = seconds(lambda: g.images(np.arange(n)))
    x, y = g.images(np.arange(n)), torch.as_tensor(g.attributes(np.arange(n)).char[:, 0])
    model = ScoleCnn().build((3, 32, 32), len(g.atlas.characters), 1 / 255)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def learn() -> None:
        for start in range(0, n, 32):
            optimizer.zero_grad()
            part = slice(start, start + 32)
            torch.nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()

    learn()
    return drawing, seconds(learn)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="one that has the synbols package")
    python = parser.parse_args().peer
    torch.set_num_threads(1)
    print(f"32x32, one thread, batches of a renderer of {BATCHED}, {ROUNDS} rounds")
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(python, Path(folder)) if python else None
        for preset, single in SINGLE.items():
            compare(preset, single, peer)
        if peer is not None:
            peer.process.kill()
    rate = 1_000_000 / seconds(lambda: Draws.of(0, np.arange(1_000_000)).uniform(0))
    print(f"one attribute: {rate / 1e6:.0f} million draws a second")
    pairs = [training(2048) for _ in range(3)]
    drawing, learning = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"2,048 images: drawn in {drawing:.2f} s, learnt once by scole_cnn in {learning:.2f} s")


def compare(preset: str, single: int, peer: Peer | None) -> None:
    """Take turns with the peer (the loop, if there is none), and print the ratio."""
    g = Generator(PRESETS[preset], Sources(), 0, torch.device("cpu"))
    number = np.arange(BATCHED)
    few = g.attributes(number[:single])
    g.images(number)  # draws the atlas and the banks, if they are not in the cache
    if peer is not None:
        peer(preset, single)
    drawn = g.attributes(number)
    whole, alone, rates = [], [], []
    for _ in range(ROUNDS):
        ours = seconds(lambda: g.images(number)) / BATCHED
        drawing = seconds(lambda: g.renderer.images(drawn)) / BATCHED
        if peer is not None:
            sampled, spent = (t / single for t in peer(preset, single))
        else:
            sampled = seconds(lambda: g.attributes(number[:single])) / single
            spent = seconds(lambda: one_by_one(g, few)) / single
        rates.append((1 / ours, 1 / (sampled + spent), 1 / drawing, 1 / spent))
        whole.append((sampled + spent) / ours)
        alone.append(spent / drawing)
    middle = [statistics.median(column) for column in zip(*rates, strict=True)]
    other = "package" if peer else "loop"
    for what, (mine, its), ratios in (
        ("images", middle[:2], whole),
        ("drawing alone", middle[2:], alone),
    ):
        print(
            f"{preset:<10}  {what:<13}  {mine:7,.0f}/s   {other} {its:6,.0f}/s   "
            f"{statistics.median(ratios):5.1f} times as fast "
            f"({min(ratios):.1f} to {max(ratios):.1f})"
        )


if __name__ == "__main__":
    main()
