"""Finds fonts, the characters they cover, and alphabets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean
from clbench.util.hashing import file_sha256

SUFFIXES = {".ttf", ".otf"}
NOT_TEXT = ("LastResort*", "cmex10*", "cmsy10*", "STIXSiz*", "STIXNonUni*")
"""matplotlib's fonts with placeholders or mathematical symbols instead of letters."""

_AUXILIARY = "áàâåäãæçéèêëíìîïñóòôöøúùûüÿ"


def _range(*bounds: int) -> str:
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    return "".join(chr(code) for low, high in pairs for code in range(low, high + 1))


ALPHABETS: dict[str, str] = {
    "english": _range(0x61, 0x7A) + _AUXILIARY,
    "latin": _range(0x61, 0x7A),
    "latin_upper": _range(0x41, 0x5A),
    "digits": _range(0x30, 0x39),
    "greek": _range(0x3B1, 0x3C9),
    "cyrillic": _range(0x430, 0x44F),
    "armenian": _range(0x561, 0x586),
    "georgian": _range(0x10D0, 0x10F0),
    "hebrew": _range(0x5D0, 0x5EA),
    "arabic": _range(0x627, 0x628, 0x62A, 0x63A, 0x641, 0x64A),
    "devanagari": _range(0x905, 0x939),
    "thai": _range(0xE01, 0xE2E),
    "hiragana": _range(0x3042, 0x3093),
    "korean": _range(0xAC00, 0xD7A3),
}
"""By Unicode range. ``english``: CLDR's main and auxiliary lower-case letters in Latin-1 (53).
The released data have 48 of the 64 letters; which ones is not verified."""


@dataclass(frozen=True)
class Font:
    """A font, and the file of its bold version if there is one."""

    name: str
    path: Path
    bold: Path | None
    codes: frozenset[int]
    """Unicode code points with a glyph."""

    def covers(self, characters: Iterable[str]) -> int:
        """The number of these characters that it has."""
        return sum(ord(c) in self.codes for c in characters)


def find(name: str, folder: Path | None = None) -> tuple[Font, ...]:
    """Find fonts, sorted by name.

    Args:
        name: ``matplotlib``: those that it brings; ``installed``: those and the system's; else a
            shell pattern of names, such as ``DejaVu*``, among the installed fonts.
        folder: a folder of the user's font files, searched recursively, or one file. It replaces
            the fonts above; ``name`` is a pattern unless it is ``matplotlib`` or ``installed``.

    Raises:
        UsageError: no font is found, or a file is not a font.
    """
    import matplotlib

    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    if folder is not None:
        files = _files(folder.expanduser())
    elif name == "matplotlib":
        files = _files(own)
    else:
        from matplotlib.font_manager import findSystemFonts

        system = (Path(f) for f in findSystemFonts())
        files = [*_files(own), *(f for f in system if f.suffix.lower() in SUFFIXES)]
    fonts = _paired(files, strict=folder is not None)
    if name not in ("matplotlib", "installed"):
        names = [font.name for font in fonts]
        fonts = tuple(font for font in fonts if fnmatchcase(font.name, name))
        if not fonts:
            hint = did_you_mean(name, names)
            raise UsageError(f"no font {name!r} among {len(names)}{hint} (clbench data fonts)")
    return fonts


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UsageError(f"{place}: no such folder or font file")
    found = sorted(f for f in place.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not found:
        raise UsageError(f"{place}: holds no .ttf or .otf files")
    return found


def _paired(files: Iterable[Path], strict: bool) -> tuple[Font, ...]:
    """One font for each regular face; of several files of a face the first counts."""
    light: dict[str, tuple[Path, frozenset[int]]] = {}
    bold: dict[str, tuple[Path, frozenset[int]]] = {}
    for path in files:
        if any(fnmatchcase(path.name, pattern) for pattern in NOT_TEXT):
            continue
        try:
            name, is_bold, codes = _read(path)
        except UsageError:
            if strict:
                raise
            continue  # ignore broken files elsewhere on the system
        if codes:
            (bold if is_bold else light).setdefault(name, (path, codes))
    for name, found in bold.items():
        light.setdefault(f"{name} Bold" if name not in light else name, found)
    return tuple(
        Font(name, path, bold[name][0] if name in bold else None, codes)
        for name, (path, codes) in sorted(light.items())
    )


@cache
def _read(path: Path) -> tuple[str, bool, frozenset[int]]:
    """Name without "Bold", whether it is bold, and the code points it covers."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with path.open("rb") as stream, TTFont(stream, lazy=True) as file:
            family = file["name"].getDebugName(16) or file["name"].getDebugName(1) or path.stem
            style = file["name"].getDebugName(17) or file["name"].getDebugName(2) or "Regular"
            codes = frozenset(file.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, ValueError, AssertionError) as error:
        raise UsageError(f"{path}: is not a font file that can be read") from error
    is_bold = "Bold" in style.split() or "Bold" in style.replace("Oblique", " ").split()
    rest = " ".join(w for w in style.split() if w not in ("Bold", "Regular", "Book", "Roman"))
    return f"{family} {rest}".strip(), is_bold, codes


def sha256s(fonts: Iterable[Font]) -> list[list[str | None]]:
    """Name, hash of the file and of its bold companion, of every font."""
    return [[f.name, file_sha256(f.path), file_sha256(f.bold) if f.bold else None] for f in fonts]


def restricted(fonts: Iterable[Font], characters: str) -> tuple[Font, ...]:
    """Select fonts that have any of the characters, restricted to these.

    Raises:
        UsageError: no font has a character.
    """
    wanted = frozenset(map(ord, characters))
    cut = [dataclasses.replace(f, codes=f.codes & wanted) for f in fonts]
    missing = wanted.difference(*(f.codes for f in cut))
    if missing:
        shown = ", ".join(f"{chr(c)!r} (U+{c:04X})" for c in sorted(missing)[:3])
        raise UsageError(
            f"no font has {shown}{' and others' if len(missing) > 3 else ''}; "
            "give fonts that do (data.fonts=, data.fonts_path=; clbench data fonts)"
        )
    return tuple(f for f in cut if f.codes)
