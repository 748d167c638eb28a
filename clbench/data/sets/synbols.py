"""Synbols, symbols drawn in many ways, 32x32 colour (8 to 128), 53 classes, any number of images.

Source: Lacoste et al. 2020, "Synbols: Probing Learning Algorithms with Synthetic Datasets", whose
attributes, distributions and predefined generators these are; drawn here by clbench, with fonts that
come with matplotlib (DejaVu, STIX, Computer Modern) or yours. So accuracies are not those of the
released data: there are 14 fonts instead of about a thousand, and 53 characters instead of 48.
Licence: the fonts' own, shipped with matplotlib under free licences; photographs of preset
natural-patterns: those of scikit-learn (CC BY), or yours.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from clbench import Arrays, DataSet, UsageError
from clbench.data.pool import Split
from clbench.data.shapes import suited_model
from clbench.data.synbols.generator import Generator, Sources
from clbench.data.synbols.pool import SynbolsPool
from clbench.data.synbols.spec import Spec, changed, preset
from clbench.data.synbols.split import parse_split
from clbench.settings import AtLeast

SPLITS: tuple[Split, Split] = ("train", "test")


@dataclass(frozen=True)
class Synbols(DataSet):
    """Image i is a pure function of (data.seed, i); test images do not depend on ``n_train``."""

    preset: str = "default"
    """The predefined generator: default, camouflage, natural-patterns, ... (clbench data synbols)."""
    n_train: Annotated[int, AtLeast(1)] = 20_000
    """Training images."""
    n_test: Annotated[int, AtLeast(1)] = 5_000
    """Test images."""
    seed: Annotated[int, AtLeast(0)] = 0
    """Of the images; the run's seed does not change them."""
    label: Literal["char", "font", "glyph", "alphabet"] = "char"
    """What the class is; glyph: a character in a font, of which there are hundreds."""
    split: str = "iid"
    """Test images are of the same distribution (iid), or of others: stratified:font (of fonts that
    training has not; of a number the upper tail), compositional:char:font (of other pairs)."""
    store: bool = True
    """Draw all images once; false: none is kept, each is drawn anew whenever it is asked for."""
    resolution: int | None = None
    """Side in pixels, 8 to 128; null: the preset's."""
    gray: bool | None = None
    """One channel, images (H, W); null: the preset's."""
    alphabets: tuple[str, ...] = ()
    """Instead of the preset's: english, latin, greek, cyrillic, ... (clbench data fonts)."""
    attributes: tuple[str, ...] = ()
    """Instead of the preset's: [scale=0.5,rotation=normal:0:0.1,background=camouflage|natural]."""
    fonts: str = "matplotlib"
    """matplotlib's, all that are installed, or those whose names a shell pattern matches."""
    fonts_path: Path | None = None
    """A folder of .ttf and .otf files, or one file, to use instead."""
    images_path: Path | None = None
    """A folder of photographs for natural patterns, instead of scikit-learn's two."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec()
        if parse_split(self.split).names == (self.label,):
            raise UsageError(
                f"data.split={self.split}: no class would be both learnt and scored; set data.label "
                "to another attribute"
            )

    def spec(self) -> Spec:
        """The preset with what the other settings change.

        Raises:
            UsageError: there is no such preset, alphabet, attribute or pattern.
        """
        spec = preset(self.preset)
        if self.resolution is not None:
            spec = dataclasses.replace(spec, resolution=self.resolution)
        if self.gray is not None:
            spec = dataclasses.replace(spec, is_gray=self.gray)
        if self.alphabets:
            spec = dataclasses.replace(spec, alphabets=self.alphabets)
        return changed(spec, self.attributes)

    def generator(self, device: torch.device) -> Generator:
        """What draws the images."""
        sources = Sources(self.fonts, self.fonts_path, self.images_path)
        return Generator(self.spec(), sources, self.seed, device)

    def pool(self, device: torch.device) -> SynbolsPool:
        """The data set on a device.

        Raises:
            UsageError: a font or photograph cannot be read, or no font has a character.
        """
        generator = self.generator(device)
        split = parse_split(self.split)
        return SynbolsPool.of(generator, self.n_train, self.n_test, self.label, self.store, split)

    def arrays(self) -> Arrays:
        """All images, in host memory."""
        pool = dataclasses.replace(self, store=True).pool(torch.device("cpu"))
        train, test = (pool.gather(s, np.arange(pool.size(s))).numpy() for s in SPLITS)
        labels = pool.labels("train"), pool.labels("test")
        return Arrays(train, labels[0], test, labels[1], pool.n_classes, pool.scale)

    def fresh(self, seed: int) -> Synbols:
        """The same settings; other images."""
        return dataclasses.replace(self, seed=seed)

    def default_model(self) -> str:
        """By the shape that the settings ask for."""
        spec = self.spec()
        sides = (spec.resolution, spec.resolution)
        return suited_model(sides if spec.is_gray else (3, *sides))
