"""Contact sheets: many small images in one picture."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

GAP = 2
LABEL_HEIGHT = 14


def png(rows: Mapping[str, np.ndarray], zoom: int = 2) -> bytes:
    """A PNG of rows of images, each row under its name (none if the name is empty).

    Args:
        rows: ``(n, 3, H, W)`` or ``(n, H, W)`` uint8 images by name.
        zoom: each pixel is shown as ``zoom * zoom`` of them.
    """
    from PIL import Image, ImageDraw

    strips = {name: _strip(images, zoom) for name, images in rows.items()}
    labels = {name: LABEL_HEIGHT if name else 0 for name in strips}
    height = sum(s.shape[0] + labels[name] for name, s in strips.items())
    width = max(s.shape[1] for s in strips.values())
    sheet = Image.new("RGB", (width, height), "white")
    brush, top = ImageDraw.Draw(sheet), 0
    for name, strip in strips.items():
        brush.text((GAP, top + 1), name, fill="black")
        sheet.paste(Image.fromarray(strip), (0, top + labels[name]))
        top += strip.shape[0] + labels[name]
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _strip(images: np.ndarray, zoom: int) -> np.ndarray:
    """``(H, W, 3)``: images side by side on white."""
    if images.ndim == 3:
        images = np.repeat(images[:, None], 3, axis=1)
    large = images.repeat(zoom, 2).repeat(zoom, 3).transpose(0, 2, 3, 1)
    framed = np.pad(large, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    return np.ascontiguousarray(np.concatenate(list(framed), 1))
