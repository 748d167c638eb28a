"""Draws the attributes of images: columns of numbers, one row per image."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clbench.data.synbols.atlas import Atlas
from clbench.data.synbols.counter import Draws
from clbench.data.synbols.distributions import Distribution
from clbench.data.synbols.patterns import PATTERNS
from clbench.data.synbols.spec import TURN, Spec

if TYPE_CHECKING:
    import pandas as pd

PATTERN_NAMES = tuple(PATTERNS)
OCCLUDERS = ("square", "triangle", "disk")


@dataclass(frozen=True)
class Attributes:
    """Attributes of ``n`` images of up to ``S`` shapes, symbols first, then occluding shapes."""

    number: np.ndarray
    """``(n,)`` int64: the image is a function of it, the seed and the stream time."""
    time: np.ndarray
    """``(n,)`` float64 in [0, 1]."""
    shown: np.ndarray
    """``(n, S)`` bool: the shape is drawn."""
    char: np.ndarray
    """``(n, S)`` int64: index of the character; of occluding shapes -1."""
    font: np.ndarray
    """``(n, S)`` int64: index of the font; of occluding shapes -1."""
    glyph: np.ndarray
    """``(n, S)`` int64: the picture in the atlas."""
    is_bold: np.ndarray
    is_slant: np.ndarray
    """``(n, S)`` bool both."""
    rotation: np.ndarray
    scale: np.ndarray
    x_translation: np.ndarray
    y_translation: np.ndarray
    """``(n, S)`` float64 all four."""
    foreground: np.ndarray
    """``(n, S)`` int64: index into ``PATTERN_NAMES``."""
    foreground_seed: np.ndarray
    """``(n, S)`` uint64."""
    background: np.ndarray
    background_seed: np.ndarray
    inverse_color: np.ndarray
    max_contrast: np.ndarray
    pixel_noise_scale: np.ndarray
    noise_seed: np.ndarray
    """``(n,)`` all six."""
    n_symbols: np.ndarray
    n_occlusions: np.ndarray
    """``(n,)`` int64 both."""

    def __len__(self) -> int:
        return len(self.number)

    def rows(self, which: np.ndarray | slice) -> Attributes:
        """Select some of the images."""
        columns = {f.name: getattr(self, f.name)[which] for f in dataclasses.fields(self)}
        return Attributes(**columns)

    def frame(self, atlas: Atlas) -> pd.DataFrame:
        """One row per image: attributes of the first symbol and of the image, with names."""
        import pandas as pd

        first = {
            "char": np.array(list(atlas.characters))[self.char[:, 0]],
            "font": np.array(atlas.fonts)[self.font[:, 0]],
            "foreground": np.array(PATTERN_NAMES)[self.foreground[:, 0]],
            **{name: getattr(self, name)[:, 0] for name in PER_SYMBOL},
        }
        image = {name: getattr(self, name) for name in PER_IMAGE}
        background = np.array(PATTERN_NAMES)[self.background]
        return pd.DataFrame({"number": self.number, **first, "background": background, **image})

    def factors(self, atlas: Atlas) -> dict[str, np.ndarray]:
        """The columns of ``frame`` that are attributes."""
        frame = self.frame(atlas)
        names = [str(name) for name in frame.columns if name not in ("number", "time")]
        return {name: frame[name].to_numpy() for name in names}

    def records(self, atlas: Atlas) -> list[dict[str, Any]]:
        """For each image its attributes as plain data; those of every shape under ``symbols``.

        As in Synbols' files, the attributes of the first symbol are also given for the image.
        """
        fonts, characters = atlas.fonts, atlas.characters
        columns = {name: getattr(self, name).tolist() for name in PER_SYMBOL}
        found = []
        for i, row in enumerate(self.frame(atlas).to_dict("records")):
            symbols = [
                {
                    "char": characters[self.char[i, s]] if self.char[i, s] >= 0 else None,
                    "font": fonts[self.font[i, s]] if self.font[i, s] >= 0 else None,
                    "foreground": PATTERN_NAMES[self.foreground[i, s]],
                    **{name: column[i][s] for name, column in columns.items()},
                }
                for s in np.flatnonzero(self.shown[i]).tolist()
            ]
            image = {str(name): value for name, value in row.items()}
            found.append({**image, "symbols": symbols})
        return found


PER_SYMBOL = ("is_bold", "is_slant", "rotation", "scale", "x_translation", "y_translation")
PER_IMAGE = (
    "inverse_color",
    "max_contrast",
    "pixel_noise_scale",
    "n_symbols",
    "n_occlusions",
    "time",
)


def sample(
    spec: Spec, atlas: Atlas, seed: int, number: np.ndarray, time: np.ndarray | None = None
) -> Attributes:
    """Draw the attributes of images ``number`` with ``seed``.

    Args:
        spec: the distributions.
        atlas: the available characters and fonts.
        seed: at least 0.
        number: ``(n,)`` integers.
        time: ``(n,)`` stream times in [0, 1]; zeros if None.
    """
    number = np.asarray(number, dtype=np.int64)
    time = np.zeros(len(number)) if time is None else np.asarray(time, dtype=np.float64)
    image = Draws.of(seed, number)

    def of(distribution: Distribution, slot: int) -> np.ndarray:
        return distribution.quantile(image.uniform(slot), time)

    n_symbols, n_occlusions = of(spec.n_symbols, 0), of(spec.n_occlusions, 1)
    columns = {
        "background": _codes(of(spec.background, 2)),
        "background_seed": image.bits(3),
        "inverse_color": of(spec.inverse_color, 4).astype(bool),
        "max_contrast": of(spec.max_contrast, 5).astype(bool),
        "pixel_noise_scale": of(spec.pixel_noise_scale, 6).astype(np.float64),
        "noise_seed": image.bits(7),
    }
    shapes = [
        _symbol(spec, atlas, image.child(s), time) for s in range(max(1, spec.most("n_symbols")))
    ]
    shown = [s < n_symbols for s in range(len(shapes))]
    for s in range(spec.most("n_occlusions")):
        shapes.append(_occlusion(spec, atlas, image.child(1000 + s), time))
        shown.append(s < n_occlusions)
    stacked = {name: np.stack([shape[name] for shape in shapes], 1) for name in shapes[0]}
    return Attributes(
        number=number,
        time=time,
        shown=np.stack(shown, 1),
        n_symbols=n_symbols.astype(np.int64),
        n_occlusions=n_occlusions.astype(np.int64),
        **columns,
        **stacked,
    )


def _codes(names: np.ndarray) -> np.ndarray:
    """Indices into ``PATTERN_NAMES``."""
    unique, inverse = np.unique(names, return_inverse=True)
    return np.array([PATTERN_NAMES.index(name) for name in unique.tolist()])[inverse]


def _symbol(spec: Spec, atlas: Atlas, draws: Draws, time: np.ndarray) -> dict[str, np.ndarray]:
    def of(distribution: Distribution, slot: int) -> np.ndarray:
        return distribution.quantile(draws.uniform(slot), time)

    char, font = _pair(spec, atlas, draws)
    bold = of(spec.is_bold, 4).astype(bool)
    return {
        "char": char,
        "font": font,
        "glyph": atlas.glyph[font, char, bold.astype(int)],
        "is_bold": bold,
        "is_slant": of(spec.is_slant, 5).astype(bool),
        "rotation": of(spec.rotation, 6).astype(np.float64),
        "scale": of(spec.scale, 7).astype(np.float64),
        "x_translation": of(spec.x_translation, 8).astype(np.float64),
        "y_translation": of(spec.y_translation, 9).astype(np.float64),
        "foreground": _codes(of(spec.foreground, 10)),
        "foreground_seed": draws.bits(11),
    }


def _pair(spec: Spec, atlas: Atlas, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Draw a character and a font that has it: one of the two uniformly, then the other."""
    there = atlas.glyph[:, :, 0] >= 0
    char = draws.below(0, there.shape[1])
    if spec.favourite_share:
        at = atlas.characters.index(spec.favourite)
        char = np.where(draws.uniform(12) < spec.favourite_share, at, char)
    font = _one_of(there.T, char, draws, 1)
    if spec.font_first:
        first = draws.uniform(3) < spec.font_first
        even = draws.below(2, there.shape[0])
        char, font = (
            np.where(first, _one_of(there, even, draws, 0), char),
            np.where(first, even, font),
        )
    return char, font


def _one_of(there: np.ndarray, row: np.ndarray, draws: Draws, slot: int) -> np.ndarray:
    """Draw uniformly among the true columns of each row."""
    order = np.argsort(~there, axis=1, kind="stable")
    return np.asarray(order[row, draws.below(slot, there.sum(1)[row])])


def _occlusion(spec: Spec, atlas: Atlas, draws: Draws, time: np.ndarray) -> dict[str, np.ndarray]:
    def of(distribution: Distribution, slot: int) -> np.ndarray:
        return distribution.quantile(draws.uniform(slot), time).astype(np.float64)

    none = np.full(len(time), -1)
    false = np.zeros(len(time), dtype=bool)
    return {
        "char": none,
        "font": none,
        "glyph": atlas.occluders[draws.below(0, len(OCCLUDERS))],
        "is_bold": false,
        "is_slant": false,
        "rotation": of(TURN, 6),
        "scale": of(spec.occlusion_scale, 7),
        "x_translation": of(spec.occlusion_translation, 8),
        "y_translation": of(spec.occlusion_translation, 9),
        "foreground": np.full(len(time), PATTERN_NAMES.index("gradient")),
        "foreground_seed": draws.bits(11),
    }
