"""Several data sets joined, with their classes side by side.

Source and licence: those of the parts. The multi-data-set stream of Ostapenko et al. 2022 (CoLLAs;
arXiv 2205.00329) has one task for each of six data sets with disjoint labels; with
``scenario=latent_replay scenario.n_tasks=null`` each part is a task here too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clbench import Arrays, DataSet, UsageError
from clbench.plugins.registry import find

SELF = "joined"


@dataclass(frozen=True)
class Joined(DataSet):
    """The classes of the first data set, then those of the second, and so on."""

    parts: tuple[str, ...] = ()
    """Two or more data sets by name, such as [mnist5k,fashion_mnist,torchvision:SVHN], each with its
    default settings. Their samples must have the same shape; nothing is resized."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.parts) < 2:
            raise UsageError(
                "data.parts must name at least two data sets: data.parts=[mnist5k,fashion_mnist]"
            )
        for name in self.parts:
            if name == SELF or self.parts.count(name) > 1:
                raise UsageError(f"data.parts: {name!r} must not be joined with itself")
            find("data", name)

    def arrays(self) -> Arrays:
        """Load every part and number its classes after those of the parts before it.

        Raises:
            UsageError: a part is missing, or its samples differ in shape, dtype or scale from the
                first.
        """
        loaded = [find("data", name).with_defaults().arrays() for name in self.parts]
        first = loaded[0]
        for name, arrays in zip(self.parts, loaded, strict=True):
            if _kind(arrays) != _kind(first):
                raise UsageError(
                    f"data.parts: samples of {name} are {_kind(arrays)}, of {self.parts[0]} "
                    f"{_kind(first)}; nothing is resized or converted to join them"
                )
        sizes = tuple(arrays.n_classes for arrays in loaded)
        before = np.cumsum([0, *sizes[:-1]])
        numbered = list(zip(loaded, before, strict=True))
        return Arrays(
            train_x=np.concatenate([arrays.train_x for arrays in loaded]),
            train_y=np.concatenate([arrays.train_y + offset for arrays, offset in numbered]),
            test_x=np.concatenate([arrays.test_x for arrays in loaded]),
            test_y=np.concatenate([arrays.test_y + offset for arrays, offset in numbered]),
            n_classes=sum(sizes),
            scale=first.scale,
            parts=sizes,
            class_names=sum(map(_names, self.parts, loaded), ()),
            notes=tuple(
                f"{name}: {note}"
                for name, arrays in zip(self.parts, loaded, strict=True)
                for note in arrays.notes
            ),
        )

    def default_model(self) -> str:
        """Recommend the model of the first part."""
        model: str = find("data", self.parts[0]).with_defaults().default_model()
        return model


def _names(name: str, arrays: Arrays) -> tuple[str, ...]:
    """The class names of a part; the name of the data set and the label where it has none."""
    return arrays.class_names or tuple(f"{name} {label}" for label in range(arrays.n_classes))


def _kind(arrays: Arrays) -> str:
    """Describe shape, dtype and scale of a sample, which must agree to join."""
    return f"{arrays.train_x.shape[1:]} {arrays.train_x.dtype} in steps of {arrays.scale:.3g}"
