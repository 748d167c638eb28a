"""The glyph atlas: every pair of font and character drawn once, with Pillow, at high resolution."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clbench.data import array_cache
from clbench.data.synbols.fonts import Font, find, sha256s

FORMAT = 1
"""Version of the drawing; part of the cache's key."""
MARGIN = 4
"""Texels between a glyph's longer extent and the edge of its picture."""
OVERSAMPLE = 4
"""Glyphs are drawn this many times larger and reduced, so that hinting has no effect."""
DIRECTIONS = 32
"""Number of directions in which a glyph's outermost point is stored."""
EMBOLDEN = 0.04
"""Share of the em by which strokes grow in fonts without a bold version."""
OCCLUDERS = "■▲●"
OCCLUDER_FONT = "DejaVu Sans"


@dataclass(frozen=True)
class Atlas:
    """Pictures of ``G`` glyphs, with their fonts and characters.

    A glyph's coordinates have their origin in the middle of its extent, x to the right and y down;
    the longer side of the extent is 1.
    """

    pictures: np.ndarray
    """``(G, side, side)`` uint8 coverage; 1 is ``side - 2 * MARGIN`` texels long."""
    hull: np.ndarray
    """``(G, DIRECTIONS, 2)`` float32: outermost points."""
    extent: np.ndarray
    """``(G,)`` float32: the longer extent in em."""
    glyph: np.ndarray
    """``(fonts, characters, 2)`` int64: regular and bold; -1 where the font lacks it."""
    occluders: np.ndarray
    """``(3,)`` int64: square, triangle, disk."""
    fonts: tuple[str, ...]
    characters: str

    @cached_property
    def sha256(self) -> str:
        """Hash of the pictures, not of the libraries: another Pillow may draw the same."""
        digest = hashlib.sha256("\0".join((*self.fonts, self.characters)).encode())
        for array in (self.pictures, self.hull, self.extent, self.glyph, self.occluders):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @property
    def inner(self) -> int:
        """Texels to a glyph's longer extent."""
        return int(self.pictures.shape[1]) - 2 * MARGIN


def load(
    fonts: Sequence[Font],
    characters: str,
    side: int,
    report: Callable[[int], None] = lambda done: None,
) -> Atlas:
    """Draw an atlas, or read it from the cache.

    Args:
        fonts: only pairs in a font's ``codes`` are drawn; blank glyphs count as missing.
        characters: each once.
        side: side of a picture in texels, at least 32.
        report: called with the number of glyphs drawn so far.
    """
    from PIL import __version__ as pillow

    recipe = {
        "format": FORMAT,
        "fonts": sha256s(fonts),
        "characters": characters,
        "side": side,
        "pillow": pillow,
    }
    arrays = array_cache.fetch(
        "synbols", {"kind": "atlas", **recipe}, lambda: _draw(fonts, characters, side, report)
    )
    return Atlas(**arrays, fonts=tuple(f.name for f in fonts), characters=characters)


def _draw(
    fonts: Sequence[Font], characters: str, side: int, report: Callable[[int], None]
) -> dict[str, np.ndarray]:
    pictures: list[np.ndarray] = []
    hulls: list[np.ndarray] = []
    extents: list[float] = []
    glyph = np.full((len(fonts), len(characters), 2), -1, dtype=np.int64)

    def keep(drawn: tuple[np.ndarray, np.ndarray, float]) -> int:
        pictures.append(drawn[0])
        hulls.append(drawn[1])
        extents.append(drawn[2])
        report(len(pictures))
        return len(pictures) - 1

    for i, font in enumerate(fonts):
        wanted = [c for c in characters if ord(c) in font.codes]
        regular = dict(_glyphs(font.path, wanted, side, bolder=False))
        thick = dict(_glyphs(font.bold or font.path, wanted, side, bolder=font.bold is None))
        for c in wanted:
            if c in regular and c in thick:
                glyph[i, characters.index(c)] = keep(regular[c]), keep(thick[c])
    [plain] = (f for f in find("matplotlib") if f.name == OCCLUDER_FONT)
    occluders = dict(_glyphs(plain.path, OCCLUDERS, side, bolder=False))
    return {
        "glyph": glyph,
        "occluders": np.array([keep(occluders[c]) for c in OCCLUDERS]),
        "pictures": np.stack(pictures),
        "hull": np.stack(hulls),
        "extent": np.array(extents, dtype=np.float32),
    }


def _glyphs(
    path: Path, characters: Sequence[str], side: int, bolder: bool
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray, float]]]:
    """Pictures, hulls and extents of those characters that are not blank."""
    from PIL import Image, ImageDraw, ImageFont

    large = side * OVERSAMPLE
    inner = (side - 2 * MARGIN) * OVERSAMPLE
    probe = ImageFont.truetype(path, large, layout_engine=ImageFont.Layout.BASIC)
    for c in characters:
        box = _ink(probe, c, 0.0)
        if box is None:
            continue
        longest = max(box[2] - box[0], box[3] - box[1])
        # Strokes that will grow need room: the size is such that the final extent is ``inner``.
        growth = EMBOLDEN * large if bolder else 0.0
        size = large * inner / (longest + growth)
        stroke = EMBOLDEN * size / 2 if bolder else 0.0
        font = ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
        left, top, right, bottom = _ink(font, c, stroke) or box
        canvas = Image.new("L", (large, large))
        at = ((large - left - right) / 2, (large - top - bottom) / 2)
        ImageDraw.Draw(canvas).text(at, c, fill=255, font=font, stroke_width=stroke)
        pixels = np.asarray(canvas)
        if pixels.max() < 128:
            continue
        tiles = pixels.reshape(side, OVERSAMPLE, side, OVERSAMPLE)
        picture = tiles.mean((1, 3), dtype=np.float64).round().astype(np.uint8)
        hull = _hull(pixels) / inner
        yield c, (picture, hull.astype(np.float32), float(inner / size))


def _ink(font: Any, c: str, stroke: float) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of what is inked; Pillow's own box has the bearings in it."""
    mask, (x, y) = font.getmask2(c, "L", stroke_width=stroke)
    box = mask.getbbox()
    return (x + box[0], y + box[1], x + box[2], y + box[3]) if box else None


def _hull(pixels: np.ndarray) -> np.ndarray:
    """``(DIRECTIONS, 2)``: the outermost points (x, y) from the middle, in pixels."""
    inked = pixels >= 128
    rows = np.flatnonzero(inked.any(1))
    first = inked[rows].argmax(1)
    last = pixels.shape[1] - inked[rows, ::-1].argmax(1)
    points = np.concatenate([np.stack((x, rows + y), 1) for x in (first, last) for y in (0, 1)])
    points = points - pixels.shape[0] / 2
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    towards = np.stack((np.cos(angles), np.sin(angles)))
    return np.asarray(points[(points @ towards).argmax(0)])
