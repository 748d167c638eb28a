"""What makes the forks of a process cheap: it does once, before the first, what each would do first.

Forks inherit the caches that this fills, of Python, torch and its libraries, and the pages of memory
(``collapse``). Nothing here is of an entry, and what is drawn here is forgotten.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clbench import seeding
from clbench.leaderboard.reproduce import isolated_worker
from clbench.leaderboard.reproduce.job import Job, plain_job, source_of
from clbench.leaderboard.reproduce.wire import pack, read_frame, unpack, write_frame
from clbench.needs import StreamInfo
from clbench.plugins.registry import stand_in

SHAPE, N_CLASSES = (1, 8, 8), 2
LARGEST = 1 << 24
"""Bytes of a frame of the rehearsal, at most."""
MADV_COLLAPSE = 25
"""From ``linux/mman.h``; Linux 6.1 and later."""
LARGE_PAGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")


def rehearse(folder: Path) -> None:
    """Build a plain strategy and network, save and load its state, and predict, as a worker would.

    On one thread, and without gradients, because no fork takes threads with it. Where there is an
    accelerator it must not be done: seeding asks its driver, which no fork could use then.

    Args:
        folder: an empty one, for the sources.
    """
    info = StreamInfo(SHAPE, torch.uint8, 1 / 255, N_CLASSES, None)
    strategy, model = (source_of(stand_in(group), {}) for group in ("strategy", "model"))
    job = plain_job(Job(strategy, model, info, seed=0, threads=1, device="cpu"))
    x = torch.zeros(4, *SHAPE, dtype=torch.uint8)
    with seeding.preserved(1):
        _, (said, state) = _asked(job, folder / "saved", [("train", {"mode": False}, {}), STATE])
        loads = ("load", {"tree": said["tree"]}, state)
        _asked(job, folder / "loaded", [loads, ("forward", {}, {"x": x}), ("prepare", {}, {})])


Call = tuple[str, Mapping[str, Any], Mapping[str, Tensor]]
"""Its name, what its header says beside, and its tensors."""
STATE: Call = ("state", {}, {})


def _asked(
    job: Mapping[str, Any], folder: Path, calls: list[Call]
) -> list[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Ask a strategy of this process some calls, as if through pipes, and count all of them."""
    folder.mkdir()
    source, sink = BytesIO(), BytesIO()
    for number, (call, more, tensors) in enumerate(calls):
        header = {"call": call, "id": number, "seed": 0, "count": "count", **more}
        write_frame(source, header, pack(tensors))
    source.seek(0)
    isolated_worker.serve({**job, "count": True}, folder, source, sink)
    sink.seek(0)
    answers = []
    for _ in range(1 + len(calls)):  # the first is what it declares
        said, payload = read_frame(sink, LARGEST, LARGEST)
        assert "error" not in said, said["error"]
        answers.append((said, unpack(payload)))
    return answers[1:]


def collapse() -> None:
    """Put this process's memory into large pages, where the kernel can; else do nothing.

    A fork copies the table of pages, and its end frees the copy: with torch, 100,000 small pages.
    """
    try:
        size = int(LARGE_PAGE.read_text())
    except (OSError, ValueError):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/maps").read_text().splitlines():
        places, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights != "rw-p" or name not in ([], ["[heap]"]):
            continue
        start, end = (int(place, 16) for place in places.split("-"))
        first, last = -(-start // size) * size, end // size * size
        if first < last:
            length = ctypes.c_size_t(last - first)
            libc.madvise(ctypes.c_void_p(first), length, MADV_COLLAPSE)
