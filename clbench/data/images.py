"""The base of data sets of images that are decoded once and, if they are large, stay in their file."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from clbench.data import decoded
from clbench.data.array_cache import fetch
from clbench.data.decoded import Listing, Watch, unwatched
from clbench.data.mapped import CHUNK, Decoded, pool_of
from clbench.data.own import OwnData
from clbench.data.pictures import Tally
from clbench.data.pool import Arrays, Pool
from clbench.data.splits import held_out, seeded_digest

RESIDENT_BYTES = 2 << 30
"""With ``data.storage=auto``, more bytes of decoded samples than these stay in their file."""


@dataclass(frozen=True)
class ImageData(OwnData):
    """Images from many files or from another library's data set."""

    storage: Literal["auto", "resident", "mapped"] = field(
        default="auto", metadata={"identity": "never"}
    )
    """Where decoded samples are during a run. resident: all on the device; mapped: in a file, from
    which batches are read; auto: mapped above 2 GB. The results are the same."""

    @abstractmethod
    def listing(self) -> Listing:
        """List the samples without decoding them.

        Raises:
            UsageError: the data are missing (the message says how to get them) or malformed.
        """

    def arrays(self) -> Arrays:
        """Decode every sample into host memory.

        Raises:
            UsageError: the data are missing, or a sample cannot be decoded; it is named.
        """
        listing = self.listing()
        x, tally = decoded.in_memory(listing)
        test = self._test(listing, lambda number: x[number].tobytes())
        names, y = listing.class_names, listing.labels
        return Arrays(
            *(x[~test], y[~test], x[test], y[test]),
            n_classes=n_classes(listing),
            scale=1 / 255,
            class_names=names,
            notes=notes(listing, tally),
        )

    def load(self, device: torch.device, watch: Watch = unwatched) -> Pool:
        """Open the file of decoded samples, which is made now if it is not there."""
        listing = self.listing()
        entry = decoded.fetch(listing, watch)
        data = Decoded(
            file=entry.file,
            content=entry.content,
            labels=listing.labels,
            sides=self._sides(listing, entry),
            n_classes=n_classes(listing),
            class_names=listing.class_names,
            notes=notes(listing, entry.tally),
        )
        large = listing.nbytes > RESIDENT_BYTES
        return pool_of(data, device, self.storage == "mapped" or (self.storage == "auto" and large))

    def pool(self, device: torch.device) -> Pool:
        """Load the data set onto a device, without a progress display."""
        return self.load(device)

    def _sides(self, listing: Listing, entry: decoded.Entry) -> dict[Any, np.ndarray]:
        """The rows of each split; a split that is made is made once for each file."""
        if listing.n_train is not None:
            test = self._test(listing, None)
        else:
            labels = hashlib.sha256(listing.labels.tobytes()).hexdigest()
            recipe = {
                **{"place": listing.place, "content": entry.content, "labels": labels},
                **{"split": self.split, "seed": self.split_seed},
            }
            made = fetch("splits", recipe, lambda: {"test": self._test(listing, _rows(entry))})
            test = made["test"]
        return {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}

    def _test(self, listing: Listing, pixels: Any) -> np.ndarray:
        """``(n,)`` bool: which samples are for testing."""
        if listing.n_train is not None:
            return np.arange(len(listing.labels)) >= listing.n_train
        assert self.split is not None
        content = listing.content or pixels
        digests = [
            seeded_digest(content(number), self.split_seed) for number in range(len(listing.labels))
        ]
        return held_out(self.split, listing.labels, digests, listing.class_names)


def _rows(entry: decoded.Entry) -> Any:
    """The bytes of samples asked for in order, read by many at once."""
    step = max(1, CHUNK // entry.file.row_bytes)
    held: dict[int, np.ndarray] = {}

    def content(number: int) -> bytes:
        block = number // step
        if block not in held:
            held.clear()
            held[block] = entry.file.rows(
                np.arange(block * step, min(entry.file.n, (block + 1) * step))
            )
        return bytes(held[block][number % step].tobytes())

    return content


def n_classes(listing: Listing) -> int:
    """The number of classes: as many as have names, or the largest label plus 1."""
    return len(listing.class_names) or int(listing.labels.max()) + 1


def notes(listing: Listing, found: Tally) -> tuple[str, ...]:
    """Sentences on what was left out and what decoding found."""
    whole = Tally(
        listing.tally.endings, listing.tally.hidden, listing.tally.loose, listing.tally.below
    )
    whole.add(found)
    return (*whole.notes(), *listing.notes)
