"""Any image classification set of Hugging Face ``datasets``, by its name or folder; ``data=hf:NAME``.

Source and licence: those of the set. ``data.path`` names a folder that ``save_to_disk`` wrote, or
one with the set's files (Parquet, say). Without it, the set is taken from the cache of
``datasets``; nothing is downloaded unless ``data.download=true``. Training samples are those of the
split ``train``, test samples those of ``test``, or of ``validation`` where there is none. The first
column of images and the first of classes are used.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from clbench import UsageError
from clbench.data.foreign import ForeignData, Sources
from clbench.data.offline import offline
from clbench.plugins.registry import did_you_mean
from clbench.util.optional import require

TESTS = ("test", "validation", "valid", "val")


@dataclass(frozen=True)
class Hf(ForeignData):
    """Images of a set of Hugging Face, (3, size, size) or (size, size) uint8."""

    argument: ClassVar[str] = "set"

    set: str = ""
    """Name of the set, such as ylecun/mnist."""

    subset: str | None = None
    """Its configuration, where it has several."""

    image: str | None = None
    """Column of the images; null: the first."""

    label: str | None = None
    """Column of the labels; null: the first of classes."""

    @classmethod
    def options(cls) -> Mapping[str, str]:
        """The sets in the cache."""
        return dict.fromkeys(_cached(), "in the cache")

    @property
    def word(self) -> str:
        """``data=hf:NAME``, or the folder."""
        return f"data=hf:{self.set}" if self.set else f"data=hf data.path={self.path}"

    def sources(self) -> Sources:
        """Open the splits.

        Raises:
            UsageError: the package, the set or a column is missing, with how to get it.
        """
        if not self.set and self.path is None:
            raise UsageError("data=hf needs a set: data=hf:NAME, or data.path=FOLDER")
        require("datasets", "data=hf", "hf")
        splits = self._splits()
        test = next((name for name in TESTS if name in splits), None)
        if "train" not in splits:
            raise UsageError(f"{self.word}: has no split 'train'; it has {', '.join(splits)}")
        sides = [splits["train"], *([splits[test]] if test else [])]
        image, label = self._columns(sides[0].features)
        labels = [np.asarray(side[label][:]) for side in sides]
        if any(part.dtype.kind not in "iu" for part in labels):
            raise UsageError(
                f"{self.word}: column {label!r} holds no whole numbers; set data.label=NAME"
            )
        return Sources(
            images=_Images(sides, image),
            labels=np.concatenate(labels).astype(np.int64),
            n_train=len(sides[0]) if test else None,
            names=tuple(getattr(sides[0].features[label], "names", None) or ()),
            recipe={
                "library": "datasets",
                "splits": [side._fingerprint for side in sides],
                "columns": [image, label],
            },
        )

    def _splits(self) -> Mapping[str, Any]:
        import datasets
        from datasets import config

        asked = (config.HF_HUB_OFFLINE, config.HF_DATASETS_OFFLINE)
        if not self.download:
            config.HF_HUB_OFFLINE = config.HF_DATASETS_OFFLINE = True
        bar = datasets.is_progress_bar_enabled()
        datasets.disable_progress_bars()
        try:
            with offline(self.download):
                if self.path is None:
                    found = datasets.load_dataset(self.set, self.subset)
                else:
                    folder = self.path.expanduser()
                    if not folder.is_dir():
                        raise UsageError(
                            f"{folder}: no such folder; set data.path to the set's folder"
                        )
                    saved = (folder / "dataset_dict.json").is_file()
                    found = (
                        datasets.load_from_disk(str(folder))
                        if saved or (folder / "state.json").is_file()
                        else datasets.load_dataset(str(folder), self.subset)
                    )
        except UsageError:
            raise
        except Exception as error:  # of the package, its file formats or the network
            reason = (str(error).splitlines() or [""])[0][:150]
            hint = did_you_mean(self.set, _cached()) if self.set else ""
            raise UsageError(
                f"{self.word}: not on disk ({type(error).__name__}: {reason}){hint}; data.path=FOLDER "
                "names a copy, data.download=true fetches it"
            ) from error
        finally:
            config.HF_HUB_OFFLINE, config.HF_DATASETS_OFFLINE = asked
            if bar:
                datasets.enable_progress_bars()
        return found if isinstance(found, dict) else {"train": found}

    def _columns(self, features: Mapping[str, Any]) -> tuple[str, str]:
        """The columns of the images and of the labels."""
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        chosen = []
        for setting, given, kind in (
            ("image", self.image, "Image"),
            ("label", self.label, "ClassLabel"),
        ):
            found = given or next((name for name, k in kinds.items() if k == kind), "")
            if found not in kinds:
                what = f"no column {found!r}" if found else f"no column of type {kind}"
                raise UsageError(
                    f"{self.word}: {what}; it has {', '.join(kinds)}: set data.{setting}=NAME"
                )
            chosen.append(found)
        if kinds[chosen[0]] != "Image":
            raise UsageError(
                f"{self.word}: column {chosen[0]!r} holds no images; set data.image=NAME"
            )
        return chosen[0], chosen[1]


class _Images:
    """The files of the images of several splits, one after another."""

    def __init__(self, sides: Sequence[Any], column: str) -> None:
        from datasets import Image

        self._sides = [
            side.select_columns([column]).cast_column(column, Image(decode=False)) for side in sides
        ]
        self._ends = np.cumsum([len(side) for side in sides])
        self._column, self._lock = column, threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: Any) -> Any:
        which = int(np.searchsorted(self._ends, number, side="right"))
        side = self._sides[which]
        with self._lock:
            found = side[int(number - (self._ends[which] - len(side)))][self._column]
        return Path(found["path"]).read_bytes() if found["bytes"] is None else found["bytes"]


def _cached() -> list[str]:
    """The names of the sets in the cache of ``datasets``; none where it is not installed."""
    try:
        from datasets import config
    except ImportError:
        return []
    folder = Path(config.HF_DATASETS_CACHE)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        path.name.replace("___", "/") for path in found if path.is_dir() and path.name[0] != "_"
    ]
