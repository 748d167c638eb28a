"""Isolates a strategy: limits, a bare environment, no network. The table shows support by system.

======================  ===========  ===================  =======
measure                 Linux        macOS                Windows
======================  ===========  ===================  =======
environment, home,      yes          yes                  yes
wall clock
CPU, open files,        yes          yes                  no
file size
memory                  yes (CPU)    no                   no
network, processes      yes, where   no                   no
                        user name-
                        spaces work
files, data packages    yes (CPU,    no                   no
                        Landlock)
new processes; what     yes          no                   no
lasts: keys, locks,     (seccomp)
sockets, file times
======================  ===========  ===================  =======
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import re
import shutil
import site
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from clbench.leaderboard.reproduce import landlock, seccomp
from clbench.plugins.registry import FOLDERS, PACKAGE, builtin_folder

NOTICE = (
    "Isolation is hygiene, not a sandbox for hostile code. It keeps mistakes and cheats away from "
    "labels, data packages, caches, network and settings of the machine. It does not stop someone "
    "who attacks the kernel or fills the disk with many files. Run code that you do not trust in a "
    "virtual machine. All measures work on Linux (5.13 or later, user namespaces allowed, on the "
    "CPU); macOS has no namespaces, no Landlock, no seccomp and no limit on memory; Windows has "
    "none of these, nor limits on CPU time and files. What was missing stands in the ledger."
)

NAMESPACES = (
    (
        *("--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("--mount", "--ipc"),
    ),
    ("--user", "--map-root-user", "--net"),
)
"""Arguments of unshare(1), the best first."""


DEPENDENCIES = ("clbench", "torch", "numpy", "safetensors", "omegaconf", "yaml")
"""What the worker imports."""
DISTRIBUTIONS = ("torch", "numpy", "scipy", "safetensors", "omegaconf", "PyYAML", "setuptools")
"""What a strategy may import, with all that these require: no package that brings data."""
FOLDERS_OF = ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
              "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")  # fmt: skip
"""Environment variables that name a folder of the user."""
INSTRUCTIONS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""Variables by which torch and its libraries use fewer of the processor's instructions than it has, and
the values for a processor with AVX2 alone. The worker has them from whoever verifies."""
MOUNT_PLAIN, MOUNT_BIND = 2 | 4 | 8, 1 << 12
"""MS_NOSUID, MS_NODEV and MS_NOEXEC; MS_BIND."""


@dataclass(frozen=True)
class Limits:
    """The limits of an isolated strategy."""

    cpu_seconds: int = 3600
    """CPU time of the process, all its threads together."""
    memory_bytes: int = 4 << 30
    """Address space beyond that of Python and torch (0.7 GB, with CUDA many times that)."""
    files: int = 256
    """Files open at a time."""
    file_bytes: int = 64 << 20
    """The largest file it may write."""
    wall_seconds: float = 7200.0
    """From the start to the last answer."""


def hygiene(device: str = "cpu") -> dict[str, bool | str]:
    """List the measures of this system: True, or what is missing and why.

    An isolated strategy does not start if a measure that is listed as True fails.
    """
    unix = os.name == "posix"
    no_limits = "no: this system has no rlimits"
    namespaces, why = _namespaces()
    tcp = landlock.abi() >= 4 and device == "cpu"
    return {
        "environment": True,
        "home": True,
        "wall_clock": True if unix else "partly: processes that the strategy starts outlive it",
        "cpu": unix or no_limits,
        "open_files": unix or no_limits,
        "file_size": unix or no_limits,
        "memory": _memory(device),
        "network": bool(namespaces) or (f"partly: TCP only ({why})" if tcp else f"no: {why}"),
        "processes": "--pid" in namespaces
        or ("partly: own network namespace only" if namespaces else f"no: {why}"),
        "files": _files(device),
        "data_packages": _files(device),
        "new_processes": seccomp.supported() or "no: this system has no seccomp, or it is unknown",
    }


def _memory(device: str) -> bool | str:
    if sys.platform != "linux":
        return "no: this system does not enforce RLIMIT_AS"
    return device == "cpu" or "no: the driver of an accelerator reserves address space without end"


def _files(device: str) -> bool | str:
    if not landlock.abi():
        return "no: this system has no Landlock"
    return device == "cpu" or "no: the driver of an accelerator needs files of its own"


def namespace_command() -> list[str]:
    """The command prefix that removes the network; empty if that does not work."""
    arguments, _ = _namespaces()
    return ["unshare", *arguments, "--"] if arguments else []


@cache
def _namespaces() -> tuple[tuple[str, ...], str]:
    """Find the best available namespaces by trying once; else return nothing and the reason."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return (), "there is no unshare(1) here"
    for arguments in NAMESPACES:
        command = ["unshare", *arguments, "--", "true"]
        if subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0:
            return arguments, ""
    return (), "this system does not allow user namespaces"


def environment(home: Path, threads: int) -> dict[str, str]:
    """All the environment variables of the worker."""
    found = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        **_where_packages_are(),
    }
    if os.name == "nt":  # neither Python nor sockets start without these
        found |= {k: os.environ[k] for k in ("SYSTEMROOT", "PATH") if k in os.environ}
    found |= {name: os.environ[name] for name in INSTRUCTIONS if name in os.environ}
    if threads:
        libraries = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")
        found |= {f"{name}_NUM_THREADS": str(threads) for name in libraries}
    return found | {name: str(home) for name in FOLDERS_OF}


def _where_packages_are() -> dict[str, str]:
    """Variables with which the worker finds the modules of this process, in the same order.

    Site-packages are found without them. PYTHONPATH precedes site-packages, so it is kept minimal.
    """
    specs = [importlib.util.find_spec(name) for name in DEPENDENCIES]
    roots = {Path(spec.origin).resolve().parents[1] for spec in specs if spec and spec.origin}
    given = [Path(p).resolve() for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    needed = [*_checkout(), *(path for path in given if path in roots)]
    found = {"PYTHONPATH": os.pathsep.join(str(path) for path in dict.fromkeys(needed))}
    if site.ENABLE_USER_SITE and Path(site.getusersitepackages()).resolve() in roots:
        found["PYTHONUSERBASE"] = site.getuserbase()
    return found


def _checkout() -> list[Path]:
    """The folder above the package in a checkout, which also holds the plug-ins."""
    return [PACKAGE.parent] if builtin_folder("strategy").parent == PACKAGE.parent else []


def hide_beside(folder: Path) -> None:
    """Hide what is beside a folder from this process, which has mounts of its own.

    Landlock keeps other files from being opened, but not from being asked for their times and sizes.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: Path, kind: bytes | None, flags: int) -> None:
        if libc.mount(source.encode(), bytes(target), kind, ctypes.c_ulong(flags), None):
            raise OSError(ctypes.get_errno(), f"mount of {target.name}")

    handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        mount("tmpfs", folder.parent, b"tmpfs", MOUNT_PLAIN)
        folder.mkdir()
        mount(f"/proc/self/fd/{handle}", folder, None, MOUNT_BIND)
    finally:
        os.close(handle)


def restrict_files(folder: Path) -> None:
    """Restrict the worker to reading code and writing ``folder``.

    Only threads that are started later are restricted with this one.

    Raises:
        OSError: the kernel refuses.
    """
    landlock.restrict(readable(), [folder, Path("/dev/null")])


@cache
def readable() -> tuple[landlock.Rule, ...]:
    """Rules for what a worker may read; it takes a second to find, and forks inherit them."""
    files = ("ld.so.cache", "localtime", "nsswitch.conf", "passwd")
    system = ["/proc", "/sys/devices", "/dev/urandom", *(f"/etc/{name}" for name in files)]
    plugins = [builtin_folder(group) for group in FOLDERS]
    found = [*_libraries(), *map(Path, system), *_packages(), PACKAGE, *plugins]
    return landlock.reading(sorted({path.resolve() for path in found}))


def _libraries() -> tuple[Path, ...]:
    """Shared libraries and Python's own modules, without any folder of installed packages."""
    prefixes = {Path(p).resolve() for p in (sys.base_prefix, "/usr", "/usr/local", "/")}
    found = []
    for folder in (p / name for p in sorted(prefixes) for name in ("lib", "lib64")):
        if folder.is_dir():
            found += [p for p in folder.iterdir() if not p.name.startswith("python")]
    standard = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    inside = [p for folder in standard if folder.is_dir() for p in folder.iterdir()]
    return (*found, *(p for p in inside if p.name not in ("site-packages", "dist-packages")))


def _packages() -> tuple[Path, ...]:
    """The files and folders of the distributions that a strategy may import."""
    todo, known = [*DISTRIBUTIONS], set()
    found: set[Path] = set()
    while todo:
        name = re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", todo.pop())[0]).lower()
        if name in known:
            continue
        known.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra or another system
        root = Path(str(distribution.locate_file("")))
        found |= {
            root / file.parts[0] for file in distribution.files or () if file.parts[0] != ".."
        }
        todo += [text for text in distribution.requires or () if "extra ==" not in text]
    return tuple(sorted(found))


class ReadablePackages(MetaPathFinder):
    """Says of an installed package that may not be read that there is none.

    So a library goes on without what it takes only where it is installed, as ``omegaconf`` does with
    ``attrs``; without this finder the import ends in a ``PermissionError``.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Leave what can be read to the other finders."""
        spec = PathFinder.find_spec(fullname, path) if path is None else None
        if spec is None or not spec.has_location or spec.origin is None:
            return
        try:
            with open(spec.origin, "rb"):
                return
        except PermissionError:
            raise ModuleNotFoundError(f"{fullname} is hidden here", name=fullname) from None


def drop_capabilities() -> None:
    """Give up the rights of root over this process's own namespaces.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)  # version 3, this thread
    if libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def restrict_resources(limits: Limits, memory: bool) -> None:
    """Set the limits of the operating system in the worker, after torch is imported.

    Raises:
        OSError: the system refuses.
        ValueError: likewise (a hard limit is lower).
    """
    import resource

    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_FSIZE: limits.file_bytes,
    }
    if memory:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        wanted[resource.RLIMIT_AS] = taken + limits.memory_bytes
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
