"""Fonts, atlas, textures and renderer of one spec: from (seed, number) to images and attributes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench.data.synbols import atlas as atlases
from clbench.data.synbols import fonts, textures
from clbench.data.synbols.atlas import Atlas
from clbench.data.synbols.attributes import Attributes, sample
from clbench.data.synbols.patterns import PATTERNS, Camouflage, Natural
from clbench.data.synbols.render import Renderer
from clbench.data.synbols.spec import Spec
from clbench.util.hashing import sha256_of

RENDERER = 2
"""Version of the renderer; raise it with any change that alters an image."""
SMALLEST_PICTURE = 64


@dataclass(frozen=True)
class Sources:
    """Sources of fonts and photographs; see ``fonts.find`` and ``textures.photographs``."""

    fonts: str = "matplotlib"
    fonts_path: Path | None = None
    images_path: Path | None = None


@dataclass(frozen=True)
class Generator:
    """Image ``i`` is a pure function of the spec, the sources, ``seed``, ``i`` and stream time."""

    spec: Spec
    sources: Sources
    seed: int
    device: torch.device
    report: Callable[[int], None] = lambda done: None
    """Called with the number of glyphs drawn for an atlas that is not cached."""

    @cached_property
    def atlas(self) -> Atlas:
        """The glyphs.

        Raises:
            UsageError: a file is not a font, or no font has a character.
        """
        found = fonts.find(self.sources.fonts, self.sources.fonts_path)
        chosen = fonts.restricted(found, self.spec.characters)
        side = max(SMALLEST_PICTURE, 2 * self.spec.resolution)
        side += -side % 8  # halved cleanly, for the pyramid
        return atlases.load(chosen, self.spec.characters, side, self.report)

    def with_spec(self, spec: Spec) -> Generator:
        """A generator of the same characters and size with other attributes; it shares the glyphs."""
        other = dataclasses.replace(self, spec=spec)
        same = (spec.characters, spec.resolution) == (self.spec.characters, self.spec.resolution)
        if same:
            vars(other)["atlas"] = self.atlas  # where the cached property keeps it
        return other

    @cached_property
    def _photographs(self) -> list[np.ndarray]:
        natural = any(isinstance(PATTERNS[name], Natural) for name in self.spec.patterns)
        return textures.photographs(self.sources.images_path) if natural else []

    @cached_property
    def _banks(self) -> dict[str, np.ndarray]:
        kinds = {name: PATTERNS[name] for name in self.spec.patterns}
        side = self.spec.resolution
        return {n: textures.bank(k, side) for n, k in kinds.items() if isinstance(k, Camouflage)}

    @cached_property
    def renderer(self) -> Renderer:
        """Build the renderer on the device, with the textures that the spec needs."""
        side, gray = self.spec.resolution, self.spec.is_gray
        return Renderer.of(self.atlas, self._banks, self._photographs, side, gray, self.device)

    def attributes(self, number: np.ndarray, time: np.ndarray | None = None) -> Attributes:
        """The attributes of images ``(n,)``, at stream times ``(n,)`` in [0, 1] (None: zeros)."""
        return sample(self.spec, self.atlas, self.seed, number, time)

    def images(self, number: np.ndarray, time: np.ndarray | None = None) -> Tensor:
        """``(n, 3, side, side)`` uint8, gray ``(n, side, side)``, on the device."""
        return self.renderer.images(self.attributes(number, time))

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Everything that determines the images, as plain data; glyphs and textures by hash."""
        photographs = [hashlib.sha256(image.tobytes()).hexdigest() for image in self._photographs]
        banks = {n: hashlib.sha256(b.tobytes()).hexdigest() for n, b in self._banks.items()}
        return {
            "renderer": RENDERER,
            "spec": self.spec.as_dict(),
            "seed": self.seed,
            "glyphs": self.atlas.sha256,
            "banks": banks,
            "photographs": photographs,
        }

    @cached_property
    def sha256(self) -> str:
        """Hash of the recipe."""
        return sha256_of(self.recipe)
