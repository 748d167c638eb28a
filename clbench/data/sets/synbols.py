"""Synbols: symbols with known attributes, 32x32 colour (8 to 128), 53 classes, any number of images.

Source: Lacoste et al. 2020, "Synbols: Probing Learning Algorithms with Synthetic Datasets", which
defines the attributes, distributions and predefined generators. clbench draws the images, with the
fonts that come with matplotlib (DejaVu, STIX, Computer Modern) or yours. Accuracies therefore differ
from those on the released data: 14 fonts instead of about a thousand, 53 characters instead of 48.
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

from clbench import Arrays, DataSet, Pool, UsageError
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
    """Seed of the images; the run's seed does not change them."""
    label: Literal["char", "font", "glyph", "alphabet"] = "char"
    """The attribute that is the class; glyph (a character in a font) gives hundreds of classes."""
    split: str = "iid"
    """How test images differ from training images. iid: not at all; stratified:font: other fonts (for
    a number, the upper tail); compositional:char:font: other pairs of the two."""
    store: bool = True
    """Draw all images once and keep them; false: draw each image again whenever it is needed."""
    resolution: int | None = None
    """Side of the images in pixels, 8 to 128; null: the preset's."""
    gray: bool | None = None
    """Draw gray images, (H, W); null: as in the preset."""
    alphabets: tuple[str, ...] = ()
    """Alphabets that replace the preset's: english, latin, greek, ... (clbench data fonts)."""
    attributes: tuple[str, ...] = ()
    """Attributes that replace the preset's, such as [scale=0.5,rotation=normal:0:0.1]."""
    fonts: str = "matplotlib"
    """Fonts: matplotlib (those it brings), installed, or a shell pattern of names."""
    fonts_path: Path | None = None
    """A folder of .ttf and .otf files, or one file, that replaces these fonts."""
    images_path: Path | None = None
    """A folder of photographs for natural patterns; null: the two of scikit-learn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.spec()
        if parse_split(self.split).names == (self.label,):
            raise UsageError(
                f"data.split={self.split}: no class would be in both training and test; set data.label "
                "to another attribute"
            )

    def spec(self) -> Spec:
        """The preset, changed by the other settings.

        Raises:
            UsageError: a preset, alphabet, attribute or pattern is unknown.
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
        """Build the generator that draws the images."""
        sources = Sources(self.fonts, self.fonts_path, self.images_path)
        return Generator(self.spec(), sources, self.seed, device)

    def pool(self, device: torch.device) -> SynbolsPool:
        """Load the data set onto a device.

        Raises:
            UsageError: a font or photograph cannot be read, or no font has a character.
        """
        generator = self.generator(device)
        split = parse_split(self.split)
        return SynbolsPool.of(generator, self.n_train, self.n_test, self.label, self.store, split)

    def arrays(self) -> Arrays:
        """Draw all images into host memory."""
        pool = dataclasses.replace(self, store=True).pool(torch.device("cpu"))
        train, test = (pool.gather(s, np.arange(pool.size(s))).numpy() for s in SPLITS)
        labels = pool.labels("train"), pool.labels("test")
        return Arrays(train, labels[0], test, labels[1], pool.n_classes, pool.scale)

    def fresh(self, seed: int) -> Synbols:
        """The same settings with another seed, for other images."""
        return dataclasses.replace(self, seed=seed)

    def resolved(self, pool: Pool) -> dict[str, object]:
        """Say what the preset gives."""
        spec = self.spec()
        return {"resolution": spec.resolution, "gray": spec.is_gray}

    def default_model(self) -> str:
        """Recommend a model by the shape of the images."""
        spec = self.spec()
        sides = (spec.resolution, spec.resolution)
        return suited_model(sides if spec.is_gray else (3, *sides))
