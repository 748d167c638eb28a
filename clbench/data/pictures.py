"""Image files: which files are images, and what is in them, with a tally of what is left out.

Every raster format that Pillow decodes by itself is read. Pillow only finds the files of the others
(HDF5, MPEG), or starts another program for them (EPS).
"""

from __future__ import annotations

import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING

import numpy as np

from clbench.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
MAX_PIXELS, MAX_FILE, MAX_DEPTH = 50 * 10**6, 1 << 28, 50
"""Pixels of an image, bytes of its file, and folders below a class; decoding takes 8 bytes a pixel."""
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}


class Ear:
    """Hears warnings, those of each thread apart. One at a time may be open in a process."""

    def __init__(self) -> None:
        self._local = local()

    @contextmanager
    def opened(self) -> Iterator[Ear]:
        """Hear all warnings from now on."""
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = self._note
            yield self

    def mine(self) -> list[str]:
        """The warnings of this thread from now on; the list grows as they come."""
        found: list[str] = []
        self._local.found = found
        return found

    def _note(self, message: Warning | str, *_: object, **__: object) -> None:
        getattr(self._local, "found", []).append(str(message))


@dataclass
class Tally:
    """Counts of what is left out or read otherwise than it may look; ``notes`` says them."""

    endings: Counter[str] = field(default_factory=Counter)
    """Files that are no images, by ending."""
    hidden: int = 0
    loose: int = 0
    """Files beside the class folders."""
    below: Counter[str] = field(default_factory=Counter)
    """Images in folders below that of their class, by folder."""
    frames: int = 0
    """Images with several frames."""
    transparent: int = 0
    warned: list[str] = field(default_factory=list)
    """Files that Pillow warned of, each with its first warning."""
    ear: Ear | None = None
    """Hears the warnings of all threads that decode; None: each image is listened to alone."""

    def add(self, other: Tally) -> None:
        """Add what was found while decoding."""
        self.frames += other.frames
        self.transparent += other.transparent
        self.warned += other.warned

    @contextmanager
    def hearing(self) -> Iterator[list[str]]:
        """The warnings of this thread, as they come."""
        with nullcontext(self.ear) if self.ear else Ear().opened() as ear:
            yield ear.mine()

    def notes(self) -> tuple[str, ...]:
        """A sentence for each kind."""
        found = []
        if self.below:
            name = min(self.below)
            found.append(
                f"{_n(self.below.total(), 'image')} in {_n(len(self.below), 'folder')} below a class "
                f"folder ({name}{', and more' if len(self.below) > 1 else ''}) belong to that class"
            )
        left = [f"{_n(n, 'file')} ending in {end}" for end, n in sorted(self.endings.items())]
        left += [f"{_n(self.hidden, 'hidden file or folder')}"] if self.hidden else []
        left += [f"{_n(self.loose, 'file')} beside the class folders"] if self.loose else []
        if left:
            found.append(f"left out: {', '.join(left)}")
        if self.frames:
            found.append(f"{_n(self.frames, 'image')} with several frames: only the first is used")
        if self.transparent:
            found.append(
                f"{_n(self.transparent, 'image')} with transparent pixels: alpha is dropped"
            )
        if self.warned:
            found.append(f"warnings about {_n(len(self.warned), 'image')}, first {self.warned[0]}")
        return tuple(found)


def _n(n: int, what: str) -> str:
    if n != 1:
        what = what.replace("file or folder", "files or folders") if " or " in what else what + "s"
    return f"{n} {what}"


@cache
def formats() -> dict[str, str]:
    """The file endings of images, in lower case with their dot, and Pillow's format of each."""
    from PIL import Image

    Image.init()
    return {
        ending: name
        for ending, name in Image.registered_extensions().items()
        if name in Image.OPEN and name not in NOT_DECODED
    }


def images_in(folder: Path, root: Path, tally: Tally) -> list[Path]:
    """The image files of a class, those in deeper folders included, in order of their names.

    Raises:
        UsageError: there are none, or a link leads out of ``root`` or in a circle.
    """
    found = [*_walk(folder, folder, root, (folder.resolve(),), tally)]
    if not found:
        raise UsageError(f"{folder}: holds no image files; add some or remove the folder")
    return found


def _walk(
    folder: Path, top: Path, root: Path, above: tuple[Path, ...], tally: Tally
) -> Iterator[Path]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            tally.hidden += 1
            continue
        try:
            real = entry.resolve()
        except (OSError, RuntimeError) as error:
            raise UsageError(f"{entry}: is a link to itself; remove it") from error
        is_folder, is_image = entry.is_dir(), entry.suffix.lower() in formats()
        if (is_folder or is_image) and not real.is_relative_to(root):
            raise UsageError(f"{entry}: is a link out of data.path; put the file itself there")
        if is_folder:
            if len(above) > MAX_DEPTH:
                raise UsageError(f"{folder}: is {len(above)} folders below its class; move it up")
            if real in above:
                raise UsageError(f"{entry}: is a link to a folder above it; remove the link")
            yield from _walk(entry, top, root, (*above, real), tally)
        elif is_image:
            _check_file(entry)
            if folder != top:
                tally.below[str(folder.relative_to(top.parent.parent))] += 1
            yield entry
        else:
            tally.endings[entry.suffix.lower() or "no dot"] += 1


def _check_file(file: Path) -> None:
    """Refuse what is no ordinary file, or larger than an image of ``MAX_PIXELS``.

    Raises:
        UsageError: it is named.
    """
    try:
        found = file.stat()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{file}: is a pipe or device, not an ordinary file; remove it")
    if found.st_size > MAX_FILE:
        raise UsageError(f"{file}: is larger than {MAX_FILE >> 20} MiB; make the image smaller")


def decode(file: Path, size: int, gray: bool, tally: Tally | None = None) -> np.ndarray:
    """Read an image upright, as viewers show it, resized to a square.

    Returns:
        ``(size, size)`` or ``(3, size, size)`` uint8.

    Raises:
        UsageError: it is no image, is damaged, or has more than 8 bits per channel.
    """
    return _explained(str(file), lambda: _check_file(file), file, size, gray, tally or Tally())


def decode_image(image: Image, name: str, size: int, gray: bool, tally: Tally) -> np.ndarray:
    """Read an opened image, as ``decode`` does; ``name`` is for errors."""
    return _explained(name, lambda: None, image, size, gray, tally)


def _explained(
    name: str,
    check: Callable[[], None],
    source: Path | Image,
    size: int,
    gray: bool,
    tally: Tally,
) -> np.ndarray:
    """Decode, with one line about whatever goes wrong, and a note of the first warning."""
    from PIL import Image

    try:
        with tally.hearing() as caught:
            check()
            if isinstance(source, Path):
                with Image.open(source, formats=tuple(set(formats().values()))) as image:
                    pixels = square(image, name, size, gray, tally)
            else:
                pixels = square(source, name, size, gray, tally)
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything in Pillow's decoders
        raise UsageError(f"{name}: not a readable image ({type(error).__name__})") from error
    if caught:
        tally.warned.append(f"{name}: {' '.join(caught[0].split())}")
    return pixels


def square(image: Image, name: str, size: int, gray: bool, tally: Tally) -> np.ndarray:
    """Bring an opened image to ``(size, size)`` or ``(3, size, size)`` uint8, upright.

    Raises:
        UsageError: it is too large, or has more than 8 bits per channel.
    """
    from PIL.Image import Resampling
    from PIL.ImageOps import exif_transpose

    if image.width * image.height > MAX_PIXELS:
        raise UsageError(
            f"{name}: has {image.width:,}x{image.height:,} pixels; make it smaller (at most "
            f"{MAX_PIXELS // 10**6} million)"
        )
    if image.mode not in EIGHT_BIT_MODES:
        raise UsageError(f"{name}: mode {image.mode}; convert it to 8 bits per channel")
    # The further pictures of a camera's MPO file are previews of the first.
    tally.frames += image.format != "MPO" and getattr(image, "is_animated", False)
    exif_transpose(image, in_place=True)
    upright = image
    if "transparency" in upright.info or upright.mode in ("LA", "PA", "RGBA"):
        upright = upright.convert("RGBA")
        tally.transparent += upright.getchannel("A").getextrema()[0] != 255
    converted = upright.convert("L" if gray else "RGB")
    pixels = np.asarray(converted.resize((size, size), Resampling.BILINEAR))
    return pixels if gray else pixels.transpose(2, 0, 1)
