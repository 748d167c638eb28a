"""Describes a run's environment: versions and hardware class; no host name, user or path."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

CPUINFO = Path("/proc/cpuinfo")
PROCESSOR = (
    ("vendor_id", "cpu family", "model"),
    ("CPU implementer", "CPU architecture", "CPU part"),
)
"""Lines of it that name a processor, on x86 and on ARM."""


def environment(device: torch.device, threads: int) -> dict[str, Any]:
    """The platform for which results are equal bit for bit, and which affects wall-clock time."""
    accelerator = None
    if device.type == "cuda":
        accelerator = torch.cuda.get_device_name(device)
    elif device.type == "mps":
        accelerator = "mps"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": importlib.metadata.version("numpy"),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "device": device.type,
        "accelerator": accelerator,
        "hardware_class": accelerator or f"cpu-{platform.machine()}-{os.cpu_count()}",
    }


def processor() -> str | None:
    """Maker and model of the processor, such as ``AuthenticAMD 25 17``; None where it is not told.

    Libraries may choose their kernels by it, so two processors with the same instructions may add in
    another order.
    """
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return platform.processor() or None
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    for names in PROCESSOR:
        if names[0] in found:
            return " ".join(found.get(name, "") for name in names)
    return None


def code_version() -> dict[str, Any]:
    """Version of clbench and, in a checkout, its commit and whether files were changed since."""
    found: dict[str, Any] = {"clbench": _version(), "commit": None, "dirty": None}
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        found["commit"] = _git(root, "rev-parse", "HEAD")
        status = _git(root, "status", "--porcelain", "--untracked-files=no")
        found["dirty"] = None if status is None else bool(status)
    return found


def _version() -> str:
    try:
        return importlib.metadata.version("clbench")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def peak_rss_bytes() -> int | None:
    """The process's peak resident memory so far; None if the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
