"""Any classification set of torchvision: SVHN, EMNIST, Food101, DTD, ...; ``data=torchvision:NAME``.

Source and licence: those of the set. ``clbench list data 'torchvision:*'`` names the sets. The
files are those that torchvision expects, in ``data.path``, ``$CLBENCH_DATA/torchvision`` or
``$CLBENCH_DATA``; nothing is downloaded unless ``data.download=true``. Training samples are those
of its split ``train`` (``trainval`` where there is one), test samples those of ``test``, or of
``val`` where the test split has no labels. Sets without splits need ``data.split``. Omniglot's two
parts have different classes, so they are put side by side. torchvision itself opens the files, some
of which are pickles; it compares their checksums first.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from clbench import UsageError
from clbench.data.files import data_roots, torchvision_datasets
from clbench.data.foreign import ForeignData, Sources, same_length, stamps, tree
from clbench.data.offline import Offline, offline
from clbench.plugins.registry import did_you_mean


class Splits(NamedTuple):
    """How a set of torchvision is told which part to open."""

    word: str = "split"
    """Its argument; empty: it has one part."""
    train: object = "train"
    test: object = "test"
    subset: str = ""
    """Its argument that chooses a variant (``data.subset``)."""
    default: object = None
    """Of that argument, where torchvision has none."""
    side_by_side: bool = False
    """Whether the two parts have different classes."""


USUAL, BOTH, WHOLE = Splits(), Splits("train", True, False), Splits("")
TRAINVAL = Splits(train="trainval")
SETS: Mapping[str, Splits] = {
    **dict.fromkeys(
        ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "QMNIST", "USPS"), BOTH
    ),
    **dict.fromkeys(("Country211", "FER2013", "Flowers102", "Food101", "GTSRB", "PCAM"), USUAL),
    **dict.fromkeys(("RenderedSST2", "STL10", "StanfordCars", "SVHN"), USUAL),
    **dict.fromkeys(("Caltech101", "Caltech256", "EuroSAT", "SEMEION", "SUN397"), WHOLE),
    "DTD": Splits(subset="partition"),
    "EMNIST": Splits("train", True, False, "split", "balanced"),
    "FGVCAircraft": Splits(train="trainval", subset="annotation_level"),
    "INaturalist": Splits("version", "2021_train", "2021_valid"),
    "ImageNet": Splits(test="val"),
    "Imagenette": Splits(test="val", subset="size"),
    "Omniglot": Splits("background", True, False, side_by_side=True),
    "OxfordIIITPet": TRAINVAL,
    "Places365": Splits(train="train-standard", test="val"),
}
LABELS = ("targets", "labels", "_labels", "y")
"""Attributes that hold the labels of a set."""
SAMPLES = ("_samples", "samples", "_flat_character_images", "imgs")
"""Attributes that hold pairs of a file and a label."""
FILES = ("_image_files", "_images", *SAMPLES)


@dataclass(frozen=True)
class Torchvision(ForeignData):
    """Images of a set of torchvision, (3, size, size) or (size, size) uint8."""

    argument: ClassVar[str] = "set"

    set: str = ""
    """Name of the set, as its class in torchvision.datasets."""

    subset: str | None = None
    """Which variant, where the set has several: EMNIST's split (balanced, letters, ...), DTD's
    partition, FGVCAircraft's annotation_level, Imagenette's size; null: torchvision's own choice."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.set not in SETS:
            what = f"no set {self.set!r} for classification" if self.set else "a set to be named"
            lead = "torchvision has" if self.set else "data=torchvision needs"
            raise UsageError(
                f"{lead} {what}{did_you_mean(self.set, SETS)} (clbench list data 'torchvision:*')"
            )
        if self.subset is not None and not SETS[self.set].subset:
            raise UsageError(f"data.subset={self.subset}: {self.word} has no variants")

    @classmethod
    def options(cls) -> Mapping[str, str]:
        """The sets by name; torchvision need not be installed."""
        return {name: _about(splits) for name, splits in sorted(SETS.items())}

    @property
    def word(self) -> str:
        """``data=torchvision:NAME``."""
        return f"data=torchvision:{self.set}"

    def sources(self) -> Sources:
        """Open both parts of the set.

        Raises:
            UsageError: torchvision is missing, or the files are.
        """
        module, splits = torchvision_datasets(), SETS[self.set]
        if not hasattr(module, self.set):
            raise UsageError(f"{self.word}: the installed torchvision does not have it; update it")
        root = self._root(getattr(module, self.set))
        sides = (splits.train, splits.test) if splits.word else (None,)
        parts = [self._open(getattr(module, self.set), root, side) for side in sides]
        labels = [labels_of(part, self.word) for part in parts]
        names = tuple(map(str, getattr(parts[0], "classes", ())))
        n_train: int | None = len(parts[0])
        if splits.side_by_side:
            labels[1] = labels[1] + 1 + labels[0].max()
            names, n_train = (), None
        return Sources(
            images=_Images(parts),
            labels=np.concatenate(labels),
            n_train=n_train if splits.word else None,
            names=names,
            recipe={
                "library": "torchvision",
                "set": self.set,
                "subset": self.subset,
                "files": [_files(part, Path(root)) for part in parts],
            },
        )

    def _root(self, dataset: Any) -> Path:
        roots = data_roots(self.path, "torchvision")
        if not roots or (self.download and self.path is None):
            raise UsageError(
                f"{self.word}: set data.path=FOLDER with torchvision's files of it; data.download=true "
                "lets torchvision fetch them there"
            )
        if len(roots) == 1:
            return roots[0]
        for root in roots:
            try:
                self._open(dataset, root, SETS[self.set].train if SETS[self.set].word else None)
            except UsageError:
                continue
            return root
        return roots[0]

    def _open(self, dataset: Any, root: Path, side: object) -> Any:
        splits = SETS[self.set]
        takes = inspect.signature(dataset).parameters
        given: dict[str, Any] = {splits.word: side} if splits.word else {}
        if splits.subset and (self.subset is not None or splits.default is not None):
            subset = splits.default if self.subset is None else self.subset
            given[splits.subset] = int(str(subset)) if str(subset).isdigit() else subset
        if "download" in takes or self.set in ("EMNIST", "QMNIST"):
            given["download"] = self.download
        try:
            with offline(self.download):
                return dataset(str(root), **given)
        except (Offline, OSError, RuntimeError, ValueError, ImportError, TypeError) as error:
            reason = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
            raise UsageError(
                f"{self.word}: torchvision cannot open it in {root} ({reason}); put its files "
                "there, or data.path=FOLDER data.download=true lets torchvision fetch them"
            ) from error


class _Images:
    """The pictures of several parts, one after another."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts, self._ends = parts, np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: Any) -> Any:
        which = int(np.searchsorted(self._ends, number, side="right"))
        part = self._parts[which]
        return part[number - (self._ends[which] - len(part))][0]


def _about(splits: Splits) -> str:
    if splits.side_by_side:
        return "two parts with different classes; set data.split"
    variants = f"; data.subset is its {splits.subset}" if splits.subset else ""
    return (f"{splits.train} and {splits.test}" if splits.word else "set data.split") + variants


def labels_of(part: Any, word: str) -> np.ndarray:
    """``(n,)`` int64 labels of a set; every image is opened where it does not hold them apart."""
    n = len(part)
    for name in LABELS:
        values: Any = getattr(part, name, None)
        if same_length(values, n):
            return _whole(values, word)
    for name in SAMPLES:
        pairs: Any = getattr(part, name, None)
        if same_length(pairs, n) and all(len(pair) == 2 for pair in pairs):
            return _whole([label for _, label in pairs], word)
    return _whole([part[number][1] for number in range(n)], word)


def _whole(labels: Any, word: str) -> np.ndarray:
    found = np.asarray(labels)
    if found.dtype.kind not in "iu" or found.ndim != 1:
        raise UsageError(
            f"{word}: its labels are not whole numbers; it is no set for classification"
        )
    return found.astype(np.int64)


def _files(part: Any, root: Path) -> str:
    """What tells the content of an opened part: its array, or its files with their times."""
    data = getattr(part, "data", None)
    if hasattr(data, "shape"):
        return hashlib.sha256(np.ascontiguousarray(data).tobytes()).hexdigest()
    for name in FILES:
        files = [*_paths(getattr(part, name, ()))]
        if len(files) == len(part):
            return stamps(files)
    return stamps(tree(root))


def _paths(found: Any) -> Iterator[Path]:
    for entry in found if isinstance(found, list | tuple) else ():
        first = entry[0] if isinstance(entry, tuple) else entry
        if isinstance(first, str | Path) and Path(first).is_file():
            yield Path(first)
