"""Landlock: a Linux process permanently drops rights on files, TCP ports and other processes.

Kernel 5.13 and later, without privileges (https://docs.kernel.org/userspace-api/landlock.html; the
numbers below are from ``linux/landlock.h``). Rights are denied unless a rule gives them: opening,
listing, changing and executing files; from ABI 4 TCP bind and connect; from ABI 6 signals to, and
abstract sockets of, processes outside. Metadata (``stat``) and sockets with a path stay accessible.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on all architectures but alpha
READ_FILE, READ_DIR = 1 << 2, 1 << 3
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many of the rights on files each ABI knows."""
EXECUTE, WRITE_FILE, TRUNCATE, IOCTL_DEVICE = 1 << 0, 1 << 1, 1 << 14, 1 << 15
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
"""The rights that a rule for something other than a folder may give."""
ALL_TCP, ALL_SCOPES = 0b11, 0b11
PATH_BENEATH = 1
NO_NEW_PRIVILEGES = 38


@cache
def abi() -> int:
    """The kernel's version of Landlock; 0 without Landlock."""
    if sys.platform != "linux":
        return 0
    version: int = ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, 1)
    return max(version, 0)


class Rule(NamedTuple):
    """What may be done with a file, or with a folder and all in it."""

    path: bytes
    rights: int


def reading(paths: Iterable[Path]) -> tuple[Rule, ...]:
    """Rules by which files and folders may be read and listed; made once, they serve many processes."""
    return tuple(_rule(path, READ_FILE | READ_DIR) for path in paths)


def restrict(readable: Iterable[Rule], writable: Iterable[Path]) -> None:
    """Restrict this thread, and everything it starts later; a path that does not exist is left out.

    Args:
        readable: what may be read and listed.
        writable: files and folders that may also be changed; nothing may be executed.

    Raises:
        OSError: the kernel refuses.
    """
    version = abi()
    known = (1 << FILE_RIGHTS.get(version, 16)) - 1
    # struct landlock_ruleset_attr: rights on files, rights on TCP, scopes; older ABIs are shorter.
    fields = [known, *[ALL_TCP] * (version >= 4), *[ALL_SCOPES] * (version >= 6)]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _call(CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for rule in (*readable, *(_rule(path, known & ~EXECUTE) for path in writable)):
            _allow(ruleset, rule)
        if _libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        _call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _rule(path: Path, rights: int) -> Rule:
    return Rule(os.fsencode(path), rights if path.is_dir() else rights & ON_FILES)


def _allow(ruleset: int, rule: Rule) -> None:
    try:
        handle = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        # struct landlock_path_beneath_attr, packed: rights, file descriptor.
        _call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rule.rights, handle), 0)
    finally:
        os.close(handle)


def _call(number: int, *arguments: int | bytes) -> int:
    """A system call; ctypes would pass bare integers as 32 bits."""
    libc = _libc()
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
