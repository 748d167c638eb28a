"""Seccomp: a Linux process gives up system calls for good, without privileges.

A filter is a short program that the kernel runs at every system call (``linux/seccomp.h``,
``linux/bpf_common.h``). This one refuses what starts or takes over other processes, so that all
work of a strategy is in the one process whose CPU time is measured. Threads may still be started.

On the CPU it also refuses the channels that Landlock leaves open, by which one process could tell
another something: keys, locks, sockets, shared memory, and modes, times, owners and attributes of
files. The drivers of accelerators need some of these.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys
from collections.abc import Sequence

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN, AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
ALLOW, FAIL = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT, SECOND_ARGUMENT = 0, 4, 16, 24
"""Offsets in ``struct seccomp_data``, on little-endian machines."""
EPERM, ENOSYS = 1, 38
CLONE_THREAD = 0x10000
CLONE3 = 435
X32 = 0x40000000
"""System calls of the x32 ABI start here."""
SET_SECCOMP, FILTER, NO_NEW_PRIVILEGES = 22, 2, 38
FCNTL_ALLOWED = (0, 1, 2, 3, 4, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL and F_DUPFD_CLOEXEC: no locks, leases or signals."""
IOCTL_TYPES = (ord("f") << 8, ord("v") << 8, ord("X") << 8, 0x94 << 8)
"""Types of the requests that change a file's flags or version: of all file systems, XFS and Btrfs."""

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
Numbers = dict[str, tuple[int | None, int | None]]
"""Calls with their numbers on x86-64 and ARM64; None: there is no such call."""
PROCESSES: Numbers = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "io_uring_setup": (425, 425),
}
"""What starts or takes over a process."""
CHANNELS: Numbers = {
    # What leaves the namespaces, or looks at the whole machine.
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    # Keys and locks outlive a process, or are seen by one that runs beside it.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "flock": (73, 32),
    # A socket with a path reaches processes outside of every namespace.
    "socket": (41, 198),
    "socketpair": (53, 199),
    # Shared memory, semaphores and queues.
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    # Which parts of a file are in memory, because somebody has read them.
    "mincore": (27, 232),
    "preadv2": (327, 286),
    "cachestat": (451, 451),
    # Who opens a file, and how much of a disk is free.
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    # Modes, owners, times and attributes of files, also of those that Landlock lets nobody open.
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
"""What one process could tell another by, where it can open no file of others."""
PARTLY = {"clone": (56, 220), "fcntl": (72, 25), "ioctl": (16, 29)}
"""The calls that are refused for some of their arguments."""

Line = tuple[int, int, int, int]
"""A step of a filter: its code, jump if true, jump if false, constant."""


def supported() -> bool:
    """Whether the filter is known for this machine and the kernel takes filters."""
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        return False
    # With a null pointer a kernel that has filters answers EFAULT.
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(SET_SECCOMP, FILTER, None, 0, 0) != 0 and ctypes.get_errno() == 14


def program(machine: str, channels: bool = True) -> list[Line]:
    """The filter of a machine; without ``channels`` it refuses new processes alone."""
    at = [*ARCHITECTURES].index(machine)
    lines = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, FAIL | EPERM),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, X32),
        (RETURN, 0, 0, FAIL | EPERM),
        (EQUAL, 0, 1, CLONE3),  # the C library then falls back on clone
        (RETURN, 0, 0, FAIL | ENOSYS),
    ]
    calls = {**PROCESSES, **CHANNELS} if channels else PROCESSES
    for number in (numbers[at] for numbers in calls.values()):
        if number is not None:
            lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | EPERM)]
    threads = [(LOAD, 0, 0, FIRST_ARGUMENT), (ANY_BIT, 1, 0, CLONE_THREAD)]
    lines += _of_call(PARTLY["clone"][at], [*threads, (RETURN, 0, 0, FAIL | EPERM)])
    if channels:
        lines += _of_call(PARTLY["fcntl"][at], _only(FCNTL_ALLOWED))
        lines += _of_call(PARTLY["ioctl"][at], _not_of_type(IOCTL_TYPES))
    return [*lines, (RETURN, 0, 0, ALLOW)]


def _of_call(number: int, body: Sequence[Line]) -> list[Line]:
    """Steps for one call, which end in a decision; other calls skip them."""
    return [(EQUAL, 0, len(body) + 1, number), *body, (RETURN, 0, 0, ALLOW)]


def _only(allowed: Sequence[int]) -> list[Line]:
    """Refuse a second argument that is not listed."""
    n = len(allowed)
    tests = [(EQUAL, n - k, 0, value) for k, value in enumerate(allowed)]
    return [(LOAD, 0, 0, SECOND_ARGUMENT), *tests, (RETURN, 0, 0, FAIL | EPERM)]


def _not_of_type(refused: Sequence[int]) -> list[Line]:
    """Refuse requests of these types, which are in the second byte of the second argument."""
    tests: list[Line] = []
    for value in refused:
        tests += [(EQUAL, 0, 1, value), (RETURN, 0, 0, FAIL | EPERM)]
    return [(LOAD, 0, 0, SECOND_ARGUMENT), (AND, 0, 0, 0xFF00), *tests]


def restrict(channels: bool = True) -> None:
    """Refuse these calls in this process from now on.

    Args:
        channels: whether those of ``CHANNELS`` are refused too.

    Raises:
        OSError: the kernel refuses the filter.
    """
    code = b"".join(struct.pack("=HBBI", *line) for line in program(platform.machine(), channels))
    buffer = ctypes.create_string_buffer(code, len(code))
    length = len(code) // 8
    # struct sock_fprog: a 16-bit length, padding, a pointer.
    filters = ctypes.create_string_buffer(struct.pack("@HP", length, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(
        SET_SECCOMP, FILTER, ctypes.byref(filters), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp")
