"""Images of another library's data sets: their size, their classes, what tells copies apart."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np

from clbench.data.decoded import Listing
from clbench.data.images import ImageData
from clbench.data.pictures import Tally, decode_image
from clbench.data.shapes import suited_model
from clbench.errors import UsageError
from clbench.settings import AtLeast

if TYPE_CHECKING:
    from PIL.Image import Image


class Pictures(Protocol):
    """Pictures by number."""

    def __getitem__(self, number: int) -> Image | bytes:
        """Read a picture, or the bytes of its file."""


@dataclass(frozen=True)
class Sources:
    """The samples of a set: those for training, then those for testing."""

    images: Pictures
    """A picture, or the bytes of its file, by number; read when asked for."""
    labels: np.ndarray
    """``(n,)`` integers as the library numbers them."""
    n_train: int | None
    """None: there is no test split."""
    names: tuple[str, ...]
    """The name of each number, as far as the library has names."""
    recipe: dict[str, object]
    """Plain data that tell these samples from any others."""


@dataclass(frozen=True)
class ForeignData(ImageData):
    """Settings of data sets that another library reads."""

    path: Path | None = None
    """Folder that the library reads; null: the usual places."""

    size: Annotated[int | None, AtLeast(1)] = None
    """Side in pixels that every image is resized to (bilinear; the aspect ratio is not kept); null: as
    they are, if all are squares of one size."""

    gray: bool | None = None
    """Convert images to gray; null: gray if the first is."""

    download: bool = False
    """Let the library download what is missing."""

    @property
    @abstractmethod
    def word(self) -> str:
        """How the user names the set: ``data=library:NAME``."""

    @abstractmethod
    def sources(self) -> Sources:
        """Open the set.

        Raises:
            UsageError: the library, the set or its files are missing, with how to get them.
        """

    def listing(self) -> Listing:
        """List the samples; only the first is decoded, for its size."""
        found = self.sources()
        self.makes_split(self.word, found.n_train is not None)
        with opened(found.images[0], f"{self.word}, image 0") as first:
            mode = first.mode
        side = self.size
        if side is None and first.width != first.height:
            raise UsageError(
                f"{self.word}: its images have {first.width}x{first.height} pixels; set data.size=64, "
                "to which all are resized"
            )
        side = first.width if side is None else side
        gray = mode in ("1", "L", "LA") if self.gray is None else self.gray
        exact = self.size is None
        images, word = found.images, self.word

        def decode(number: int, tally: Tally) -> np.ndarray:
            name = f"{word}, image {number}"
            with opened(images[number], name) as image:
                if exact and image.size != (side, side):
                    raise UsageError(
                        f"{name}: has {image.width}x{image.height} pixels, and the first "
                        f"{side}x{side}; set data.size={side}"
                    )
                return decode_image(image, name, side, gray, tally)

        labels, names = numbered(found.labels, found.names)
        return Listing(
            name=self.word,
            recipe={**found.recipe, "gray": gray, "resized": not exact},
            shape=(side, side) if gray else (3, side, side),
            labels=labels,
            n_train=found.n_train,
            decode=decode,
            class_names=names,
        )

    def default_model(self) -> str:
        """Recommend a model by the shape of a sample; opens the set."""
        return suited_model(self.listing().shape)


@contextmanager
def opened(image: Image | bytes, name: str) -> Iterator[Image]:
    """A picture, from the bytes of its file where it comes as such; its file is closed at the end.

    Raises:
        UsageError: they are no picture.
    """
    if not isinstance(image, bytes):
        try:
            yield image
        finally:
            file: Any = getattr(image, "fp", None)
            if file is not None:
                file.close()
        return
    from io import BytesIO

    from PIL import Image as Pillow

    from clbench.data.pictures import formats

    try:
        found = Pillow.open(BytesIO(image), formats=tuple(set(formats().values())))
    except Exception as error:  # damaged bytes may raise anything in Pillow's decoders
        raise UsageError(f"{name}: not a readable image ({type(error).__name__})") from error
    yield found


def numbered(labels: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number the classes that occur 0, 1, ... in their order, with the names of these."""
    found, y = np.unique(labels, return_inverse=True)
    known = len(found) and found.min() >= 0 and found.max() < len(names)
    return y.astype(np.int64), tuple(names[label] for label in found) if known else ()


def stamps(files: Iterable[Path]) -> str:
    """A hash of the names, sizes and times of files, which tells one copy of a set from another."""
    digest = hashlib.sha256()
    for file in files:
        try:
            found = file.stat()
        except OSError as error:
            raise UsageError(f"{file}: cannot be read ({error.strerror})") from error
        name = "/".join(file.parts[-2:])
        digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def tree(folder: Path) -> list[Path]:
    """All files below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def same_length(what: object, n: int) -> bool:
    """Whether something is a list or array of ``n`` values."""
    return not isinstance(what, str | bytes | dict) and hasattr(what, "__len__") and len(what) == n
