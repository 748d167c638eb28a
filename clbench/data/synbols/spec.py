"""Specs of images: every attribute with its distribution, and the presets by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clbench.data.synbols.distributions import (
    Choice,
    Course,
    Distribution,
    LogNormal,
    Normal,
    Uniform,
    constant,
    parse,
)
from clbench.data.synbols.fonts import ALPHABETS
from clbench.data.synbols.patterns import PATTERNS
from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean

EITHER = Choice((False, True))
PER_ALPHABET = 200
"""Largest number of characters per alphabet if there are several alphabets."""


@dataclass(frozen=True)
class Spec:
    """The defaults are Synbols' own (``basic_attribute_sampler`` 1.0.2).

    Deviations: the fonts are those found; a slant is a shear, not the font's italic (as there); the
    triangle, square and disk that occlude are those of DejaVu Sans, not of Arial.
    """

    alphabets: tuple[str, ...] = ("english",)
    """Alphabets; characters are drawn uniformly from all of them together."""
    n_characters: int | None = None
    """Use only this many first characters of each alphabet."""
    font_first: float = 0.0
    """How often the font is drawn evenly and then one of its characters, not the other way round."""
    favourite: str = ""
    """A character that is drawn more often, ..."""
    favourite_share: float = 0.0
    """... so often, beside its even share of the rest."""
    is_bold: Distribution = EITHER
    is_slant: Distribution = EITHER
    rotation: Distribution = field(default=Normal(0, 0.3))
    """Radians, from x towards y (down)."""
    scale: Distribution = field(default=LogNormal(0.6, 0.2))
    """1: the longer extent of the glyph, before slant and rotation, fills the image."""
    x_translation: Distribution = field(default=Uniform(-0.9, 0.9))
    """-1 to 1: as far as the symbol stays inside; up is positive."""
    y_translation: Distribution = field(default=Uniform(-0.9, 0.9))
    """See ``x_translation``."""
    foreground: Distribution = field(default=constant("gradient"))
    background: Distribution = field(default=constant("gradient"))
    inverse_color: Distribution = EITHER
    max_contrast: Distribution = field(default=constant(True))
    """Stretch each image to the full range."""
    pixel_noise_scale: Distribution = field(default=constant(0.01))
    resolution: int = 32
    """Side in pixels, 8 to 128."""
    is_gray: bool = False
    n_symbols: Distribution = field(default=constant(1))
    n_occlusions: Distribution = field(default=constant(0))
    occlusion_scale: Distribution = field(default=LogNormal(0.3, 0.1))
    occlusion_translation: Distribution = field(default=Uniform(-1.5, 1.5))

    def __post_init__(self) -> None:
        if not 8 <= self.resolution <= 128:
            raise UsageError(f"resolution {self.resolution} is not in 8 to 128 pixels")
        for name in self.alphabets:
            if name not in ALPHABETS:
                hint = did_you_mean(name, ALPHABETS)
                raise UsageError(f"unknown alphabet {name!r}{hint}; one of {', '.join(ALPHABETS)}")
        for name, (low, high) in RANGES.items():
            values = self._corners(name)
            if values.dtype.kind not in "bif":
                raise UsageError(f"{name}={values[0]}: must be a number")
            worst = values[(values < low) | (values > high)]
            if len(worst):
                raise UsageError(f"{name}={worst[0]:g} is outside {low:g} to {high:g}")
            if name in INTEGERS and (values != np.floor(values)).any():
                raise UsageError(f"{name}={values[0]}: must be whole or truth values")
        for name in ("foreground", "background"):
            for value in self._corners(name).tolist():
                if value not in PATTERNS:
                    hint = did_you_mean(str(value), PATTERNS)
                    known = ", ".join(PATTERNS)
                    raise UsageError(f"{name}={value}: no such pattern{hint}; one of {known}")

    def _corners(self, name: str) -> np.ndarray:
        """Values that an attribute may take, extreme ones among them."""
        distribution: Distribution = getattr(self, name)
        stops = len(distribution.stops) if isinstance(distribution, Course) else 0
        times = np.union1d((0.0, 0.5, 1.0), np.linspace(0, 1, max(2, stops)))
        shares = [1e-9, 0.25, 0.5, 0.75, 1 - 1e-9, *np.linspace(0.01, 0.99, 49)]
        u, time = np.meshgrid(shares, times)
        return np.unique(distribution.quantile(u.ravel(), time.ravel().astype(float)))

    def most(self, name: str) -> int:
        """The largest value of a count."""
        return int(self._corners(name).max())

    @property
    def characters(self) -> str:
        """All characters, in order, each once."""
        few = PER_ALPHABET if len(self.alphabets) > 1 else self.n_characters
        return "".join(dict.fromkeys("".join(ALPHABETS[name][:few] for name in self.alphabets)))

    @property
    def patterns(self) -> tuple[str, ...]:
        """Names of the patterns that may occur."""
        found = {str(v) for n in ("foreground", "background") for v in self._corners(n).tolist()}
        return tuple(sorted(found | ({"gradient"} if self.most("n_occlusions") else set())))

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for hashes."""
        return {"patterns": _plain(PATTERNS), **_plain(self)}


RANGES = {
    "is_bold": (0, 1),
    "is_slant": (0, 1),
    "rotation": (-100, 100),
    "scale": (1e-3, 10),
    "x_translation": (-100, 100),
    "y_translation": (-100, 100),
    "inverse_color": (0, 1),
    "max_contrast": (0, 1),
    "pixel_noise_scale": (0, 1),
    "n_symbols": (0, 64),
    "n_occlusions": (0, 64),
    "occlusion_scale": (1e-3, 10),
    "occlusion_translation": (-100, 100),
}
INTEGERS = {
    "is_bold",
    "is_slant",
    "inverse_color",
    "max_contrast",
    "n_symbols",
    "n_occlusions",
}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value)]
        return {"is": type(value).__name__, **{n: _plain(getattr(value, n)) for n in names}}
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def changed(spec: Spec, words: Sequence[str]) -> Spec:
    """A spec with attributes as ``name=value`` words say (values: ``distributions.parse``).

    Raises:
        UsageError: an attribute is unknown, or its value is out of range.
    """
    changes: dict[str, Distribution] = {}
    known = [*RANGES, "foreground", "background"]
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"attribute {word!r}: write name=value")
        if name not in known:
            raise UsageError(f"unknown attribute {name!r}{did_you_mean(name, known)}")
        try:
            changes[name] = parse(value)
        except UsageError as error:
            raise UsageError(f"attribute {name}: {error}") from None
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


def _centred(**more: Any) -> Spec:
    still = {name: constant(0.0) for name in ("rotation", "x_translation", "y_translation")}
    plain = {"is_bold": constant(False), "is_slant": constant(False), "scale": constant(1.0)}
    return Spec(**{**still, **plain, **more})


_ON_BLACK: dict[str, Any] = {"foreground": constant("white"), "background": constant("black")}
_LIKE_CAMOUFLAGE: dict[str, Any] = {
    "is_bold": constant(True),
    "is_slant": constant(False),
    "scale": LogNormal(0.7, 0.1),
}
_COUNTING: dict[str, Any] = {
    "resolution": 128,
    "is_bold": constant(False),
    "n_symbols": Choice(tuple(range(3, 10))),
    "favourite": "a",
    "favourite_share": 0.7,
}

PRESETS: dict[str, Spec] = {
    "plain": _centred(**_ON_BLACK, inverse_color=constant(False), pixel_noise_scale=constant(0.0)),
    "default": Spec(),
    "default-bw": Spec(**_ON_BLACK),
    "korean-1k": Spec(alphabets=("korean",), n_characters=1000),
    "camouflage": Spec(
        foreground=constant("camouflage_level"),
        background=constant("camouflage_upright"),
        **_LIKE_CAMOUFLAGE,
    ),
    "non-camou-bw": Spec(**_ON_BLACK, **_LIKE_CAMOUFLAGE),
    "non-camou-shade": Spec(**_LIKE_CAMOUFLAGE),
    "segmentation": Spec(
        resolution=128,
        is_bold=constant(False),
        scale=LogNormal(0.1, 0.4),
        n_symbols=Choice(tuple(range(3, 10))),
    ),
    "counting": Spec(**_COUNTING, scale=LogNormal(0.1, 0.5)),
    "counting-fix-scale": Spec(**_COUNTING, scale=constant(0.1)),
    "counting-crowded": Spec(
        **{**_COUNTING, "n_symbols": Choice(tuple(range(30, 50)))}, scale=LogNormal(0.1, 0.1)
    ),
    "missing-symbol": Spec(
        background=constant("multi_gradient"),
        x_translation=Uniform(-1, 1),
        y_translation=Uniform(-1, 1),
        n_symbols=Choice((0, 1), (0.1, 0.9)),
    ),
    "some-large-occlusion": Spec(
        n_occlusions=Choice((0, 1), (0.8, 0.2)),
        occlusion_scale=LogNormal(0.6, 0.1),
        occlusion_translation=Uniform(-3, 3),
    ),
    "many-small-occlusion": Spec(n_occlusions=Choice(tuple(range(5)))),
    "large-translation": Spec(
        scale=constant(0.5), x_translation=Uniform(-2, 2), y_translation=Uniform(-2, 2)
    ),
    "tiny": Spec(
        **_ON_BLACK,
        is_bold=constant(False),
        is_slant=constant(False),
        scale=constant(1.0),
        resolution=8,
        is_gray=True,
    ),
    "balanced-font-chars": Spec(
        alphabets=("english", "greek", "cyrillic", "armenian", "georgian"),
        font_first=0.5,
        is_bold=constant(False),
        is_slant=constant(False),
    ),
    "all-chars": Spec(alphabets=("english", "greek", "cyrillic", "armenian", "georgian")),
    "less-variations": Spec(
        is_bold=constant(False),
        is_slant=constant(False),
        scale=LogNormal(0.5, 0.1),
        rotation=Normal(0, 0.1),
    ),
    "pixel-noise": Spec(pixel_noise_scale=Choice((0.0, 0.3), (0.9, 0.1))),
    "natural-patterns": Spec(foreground=constant("natural"), background=constant("natural")),
}
"""Synbols' predefined generators by their names. ``missing-symbol`` draws none where Synbols moves
the symbol out of sight; ``all-chars`` and ``balanced-font-chars`` have the alphabets that matplotlib's
fonts cover; ``counting``: the favourite's share is beside its even share, as there."""


def preset(name: str) -> Spec:
    """A spec by name.

    Raises:
        UsageError: the name is unknown.
    """
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS)
        raise UsageError(f"unknown preset {name!r}{hint}; one of {', '.join(PRESETS)}")
    return PRESETS[name]


TURN = Uniform(0, 2 * math.pi)
"""How occluding shapes are rotated."""
