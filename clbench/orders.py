"""Orders of classes, super-classes or domains, as a setting says them.

A setting is one word or a list of numbers: ``seed`` (drawn from the run's seed), ``data`` (0, 1, 2,
...), ``1993`` (the order that the class-incremental literature uses), ``[2,0,1]``, or a file of
numbers.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from clbench import seeding
from clbench.errors import UsageError
from clbench.seeding import Axis
from clbench.util.files import FileError, read_text

PUBLISHED = "1993"
"""numpy's legacy generator, seeded with this number, permutes the classes in iCaRL's line of papers."""
NAMED = ("seed", "data")
SAY = f"write {', '.join(NAMED)}, {PUBLISHED}, a list such as [2,0,1], or FILE"


def read_order(words: tuple[str, ...], setting: str) -> tuple[str, ...]:
    """Check an order as far as it can be without its length, and read it if it is in a file.

    What comes back has the numbers and not the file's name, so a run's identity is the order itself.

    Args:
        words: the setting's value.
        setting: its whole name, for errors.

    Raises:
        UsageError: the file is missing, or there is no permutation of 0, 1, 2, ...
    """
    if words in ((PUBLISHED,), *((name,) for name in NAMED)):
        return words
    where = setting
    if len(words) == 1 and not re.fullmatch(r"-?\d+", words[0]):
        where = f"{setting}={Path(words[0]).name}"
        words = _in_file(words[0], setting)
    if words == () or (len(words) == 1 and words != ("0",) and words[0].isdigit()):
        raise UsageError(f"{where}={','.join(words)} is no order; {SAY}")
    for word in words:
        if not re.fullmatch(r"-?\d{1,9}", word):
            raise UsageError(f"{where}: {word[:40]!r} is no number; {SAY}")
    numbers = [int(word) for word in words]
    if sorted(numbers) != list(range(len(numbers))):
        twice = next((n for n in numbers if numbers.count(n) > 1), None)
        wrong = (
            f"{twice} comes twice" if twice is not None else f"{max(numbers, key=abs)} is not one"
        )
        raise UsageError(
            f"{where} is no permutation of the numbers 0 to {len(numbers) - 1}: {wrong}"
        )
    return tuple(str(number) for number in numbers)


def order_of(words: tuple[str, ...], n: int, seed: int, setting: str, what: str) -> tuple[int, ...]:
    """The order of ``n`` things.

    Args:
        words: from ``read_order``.
        n: how many things there are.
        seed: the run's.
        setting: its whole name, for errors.
        what: the things, for errors, such as ``the data have 10 classes``.

    Raises:
        UsageError: the order is of another number of things.
    """
    if words == ("data",):
        return tuple(range(n))
    if words == ("seed",):
        found = seeding.generator(seed, Axis.STREAM).permutation(n)
    elif words == (PUBLISHED,):
        found = np.random.RandomState(int(PUBLISHED)).permutation(n)
    else:
        found = np.array([int(word) for word in words])
    if len(found) != n:
        raise UsageError(f"{setting} orders {len(found)}; {what}")
    return tuple(int(number) for number in found)


def _in_file(name: str, setting: str) -> tuple[str, ...]:
    """The numbers of a text file, between blanks, commas, line ends or brackets."""
    path = Path(name).expanduser()
    if not path.exists():
        raise UsageError(f"{setting}={name}: there is no such file; {SAY}")
    try:
        return tuple(re.findall(r"[^\s,\[\]]+", read_text(path, links=True)))
    except FileError as error:
        raise UsageError(f"{setting}: {error}") from error
