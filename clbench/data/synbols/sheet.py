"""Contact sheets: many small images in one picture."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from clbench.data.synbols.generator import Generator
from clbench.data.synbols.spec import PRESETS
from clbench.errors import UsageError

if TYPE_CHECKING:
    from clbench.stream import Stream

GAP = 2
LABEL_HEIGHT = 14
ROWS = 10
FILM_ROWS = 10
WIDTH = 512
"""Pixels that images of a row take, unmagnified."""


def png(rows: Mapping[str, np.ndarray], zoom: int = 2, colours: int | None = None) -> bytes:
    """A PNG of rows of images, each row under its name (none if the name is blank).

    Args:
        rows: ``(n, 3, H, W)`` or ``(n, H, W)`` uint8 images by name.
        zoom: each pixel is shown as ``zoom * zoom`` of them.
        colours: reduce to so many, for a smaller file.
    """
    from PIL import Image, ImageDraw

    strips = {name: _strip(images, zoom) for name, images in rows.items()}
    labels = {name: LABEL_HEIGHT if name.strip() else 0 for name in strips}
    height = sum(s.shape[0] + labels[name] for name, s in strips.items())
    width = max(s.shape[1] for s in strips.values())
    sheet = Image.new("RGB", (width, height), "white")
    brush, top = ImageDraw.Draw(sheet), 0
    for name, strip in strips.items():
        brush.text((GAP, top + 1), name, fill="black")
        sheet.paste(Image.fromarray(strip), (0, top + labels[name]))
        top += strip.shape[0] + labels[name]
    if colours:
        sheet = sheet.quantize(colours)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def grid(images: np.ndarray) -> dict[str, np.ndarray]:
    """The first ``(n, H, W, C)`` images as rows without names."""
    columns = max(1, WIDTH // images.shape[2])
    few = images[: ROWS * columns].transpose(0, 3, 1, 2)
    if few.shape[1] == 1:
        few = few[:, 0]
    return {" " * k: few[k * columns :][:columns] for k in range(-(-len(few) // columns))}


def of_presets(
    build: Callable[[str, int, list[str]], Generator], only: str | None, seed: int, words: list[str]
) -> dict[str, np.ndarray]:
    """Images 0, 1, ... of every preset by its name (or of one), as many as stand beside each other.

    Presets with characters that no font has are left out, unless requested by name.
    """
    rows = {}
    for name in [only] if only else PRESETS:
        generator = build(name, seed, words)
        try:
            images = generator.images(np.arange(WIDTH // generator.spec.resolution)).cpu().numpy()
        except UsageError:
            if only:
                raise
            continue
        times = max(1, 32 // generator.spec.resolution)  # 8x8 as large as the others
        rows[name] = images.repeat(times, -1).repeat(times, -2)[: WIDTH // 32]
    return rows


def film(stream: Stream) -> dict[str, np.ndarray]:
    """Make a row of samples for each of up to ``FILM_ROWS`` tasks, spread evenly over the stream.

    Each row has the task's samples that come first in the pool, so that equal images of different
    tasks are below each other.
    """
    n = FILM_ROWS if stream.n_tasks is None else stream.n_tasks
    columns = max(1, WIDTH // stream.pool.input_shape[-1] // 2)
    rows = {}
    for t in np.unique(np.linspace(0, n - 1, FILM_ROWS).round().astype(int)).tolist():
        draw = dataclasses.replace(stream, chunk=None).draw(t)
        first = np.argsort(draw.index)[:columns]
        parts = {name: getattr(draw, name)[first] for name in ("index", "labels", "keys")}
        attribute = None if draw.attribute is None else draw.attribute[first]
        few = dataclasses.replace(draw, **parts, attribute=attribute)
        rows[f"task {t + 1}"] = stream.gather(few).x.cpu().numpy()
    return rows


def _strip(images: np.ndarray, zoom: int) -> np.ndarray:
    """``(H, W, 3)``: images side by side on white."""
    if images.ndim == 3:
        images = np.repeat(images[:, None], 3, axis=1)
    large = images.repeat(zoom, 2).repeat(zoom, 3).transpose(0, 2, 3, 1)
    framed = np.pad(large, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    return np.ascontiguousarray(np.concatenate(list(framed), 1))
