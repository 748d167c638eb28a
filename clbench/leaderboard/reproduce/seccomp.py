"""Seccomp: a Linux process gives up system calls for good, without privileges.

A filter is a short program that the kernel runs at every system call (``linux/seccomp.h``,
``linux/bpf_common.h``). This one refuses what starts or takes over other processes, so that all
work of a strategy is in the one process whose CPU time is measured. Threads may still be started.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import sys

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
"""Offsets in ``struct seccomp_data``, on little-endian machines."""
EPERM, ENOSYS = 1, 38
CLONE_THREAD = 0x10000
CLONE3 = 435
X32 = 0x40000000
"""System calls of the x32 ABI start here."""
SET_SECCOMP, FILTER, NO_NEW_PRIVILEGES = 22, 2, 38

CALLS = {
    # fork, vfork, execve, execveat, ptrace, process_vm_readv, process_vm_writev, io_uring_setup
    "x86_64": (0xC000003E, 56, (57, 58, 59, 322, 101, 310, 311, 425)),
    # execve, execveat, ptrace, process_vm_readv, process_vm_writev, io_uring_setup
    "aarch64": (0xC00000B7, 220, (221, 281, 117, 270, 271, 425)),
}
"""By machine: its audit architecture, the number of clone, and the calls that are refused."""


def supported() -> bool:
    """Whether the filter is known for this machine and the kernel takes filters."""
    if sys.platform != "linux" or platform.machine() not in CALLS:
        return False
    # With a null pointer a kernel that has filters answers EFAULT.
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(SET_SECCOMP, FILTER, None, 0, 0) != 0 and ctypes.get_errno() == 14


def program(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter as (code, jump if true, jump if false, constant)."""
    architecture, clone, refused = CALLS[machine]
    lines = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, FAIL | EPERM),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, X32),
        (RETURN, 0, 0, FAIL | EPERM),
        (EQUAL, 0, 1, CLONE3),  # the C library then falls back on clone
        (RETURN, 0, 0, FAIL | ENOSYS),
    ]
    for number in refused:
        lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | EPERM)]
    return [
        *lines,
        (EQUAL, 0, 3, clone),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (ANY_BIT, 1, 0, CLONE_THREAD),
        (RETURN, 0, 0, FAIL | EPERM),
        (RETURN, 0, 0, ALLOW),
    ]


def restrict() -> None:
    """Refuse new processes in this one from now on.

    Raises:
        OSError: the kernel refuses the filter.
    """
    code = b"".join(struct.pack("=HBBI", *line) for line in program(platform.machine()))
    buffer = ctypes.create_string_buffer(code, len(code))
    length = len(code) // 8
    # struct sock_fprog: a 16-bit length, padding, a pointer.
    filters = ctypes.create_string_buffer(struct.pack("@HP", length, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(
        SET_SECCOMP, FILTER, ctypes.byref(filters), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp")
