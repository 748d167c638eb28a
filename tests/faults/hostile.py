"""Hostile and huge input: each is refused in one line, before it costs time or memory.

``python -m tests.faults.hostile`` prints a table of all cases: seconds, peak memory and the line.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.faults import bombs
from tests.faults.measuring import faults, harmless, measured

GIGABYTE = 1 << 30
LONG = "9" * 5000


class Case(NamedTuple):
    """A hostile input: ``make`` writes it into a folder and returns the words that read it."""

    name: str
    make: Callable[[Path], list[str | Path]]


def _run(*words: str | Path) -> list[str | Path]:
    return ["run", "scenario=scole", "strategy=naive", "--dry-run", "-q", *words]


def _npz(**changes: bytes) -> Callable[[Path], list[str | Path]]:
    def make(folder: Path) -> list[str | Path]:
        path = bombs.npz(folder / "data.npz", **bombs.arrays(**changes))
        return _run("data=npz", f"data.path={path}")

    return make


def _npz_bomb(first: bytes, stated: int) -> Callable[[Path], list[str | Path]]:
    def make(folder: Path) -> list[str | Path]:
        others = {f"{name}.npy": data for name, data in bombs.arrays().items() if name != "train_x"}
        path = folder / "bomb.npz"
        bombs.zip_bomb(path, "train_x.npy", 3 * GIGABYTE, first, stated, others)
        return _run("data=npz", f"data.path={path}")

    return make


def _many_members(folder: Path) -> list[str | Path]:
    members = {f"a{number}": b"" for number in range(100_000)}
    path = bombs.npz(folder / "many.npz", **bombs.arrays(), **members)
    return _run("data=npz", f"data.path={path}")


def _idx(bomb: bool) -> Callable[[Path], list[str | Path]]:
    def make(folder: Path) -> list[str | Path]:
        count = 3 * GIGABYTE // 784 if bomb else 2**32 - 1
        first = bytes((0, 0, 8, 3)) + struct.pack(">3I", count, 28, 28)
        size = 3 * GIGABYTE + bombs.BLOCK if bomb else bombs.BLOCK
        bombs.gzip_zeros(folder / "train-images-idx3-ubyte.gz", size, first)
        (folder / "t10k-images-idx3-ubyte").write_bytes(first)
        for part in ("train", "t10k"):
            labels = bytes((0, 0, 8, 1)) + struct.pack(">I", 2**32 - 1)
            (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)
        return _run("data=mnist", f"data.path={folder}")

    return make


def _pictures(spoil: Callable[[Path], object]) -> Callable[[Path], list[str | Path]]:
    def make(folder: Path) -> list[str | Path]:
        root = folder / "pictures"
        for name in ("train/a", "train/b", "test/a", "test/b"):
            bombs.png(root / name / "1.png", 8, 8)
        spoil(root / "train" / "a")
        return _run("data=folder", f"data.path={root}")

    return make


def _deep_folder(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(500):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
    finally:
        os.close(here)


def _self_link(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _zeros(path: Path) -> Path:
    """A link to a device without an end."""
    path.symlink_to("/dev/zero")
    return path


def _huge(path: Path) -> Path:
    """Eight gigabytes that take no room."""
    with path.open("wb") as file:
        file.truncate(8 * GIGABYTE)
    return path


def _odd(spoil: Callable[[Path], Path], name: str, *words: str) -> Callable[[Path], Any]:
    """A file that is no ordinary one, where ``{}`` in the words stands."""

    def make(folder: Path) -> list[str | Path]:
        path = spoil(folder / name)
        return [word.replace("{}", str(path)) for word in words]

    return make


def _text(name: str, text: str | bytes, *words: str) -> Callable[[Path], Any]:
    def write(path: Path) -> Path:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return _odd(write, name, *words)


CONFIG = ("run", "strategy=naive", "--config", "{}", "--dry-run")
PLAN = ("run", "--plan", "{}", "--dry-run")
FISHER = ("fisher", "show", "{}")
CONVERT = ("fisher", "convert", "{}", "--weights", "{}", "--out", "converted.safetensors")
NPZ = ("run", "scenario=scole", "strategy=naive", "data=npz", "data.path={}", "--dry-run")


def _record(text: str | bytes) -> Callable[[Path], list[str | Path]]:
    def make(folder: Path) -> list[str | Path]:
        (folder / "seed0").mkdir()
        path = folder / "seed0" / "record.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["compare", folder, folder]

    return make


def _odd_record(spoil: Callable[[Path], Path]) -> Callable[[Path], list[str | Path]]:
    def make(folder: Path) -> list[str | Path]:
        (folder / "seed0").mkdir()
        spoil(folder / "seed0" / "record.json")
        return ["compare", folder, folder]

    return make


def _board(spoil: Callable[[Path], Path]) -> Callable[[Path], list[str | Path]]:
    def make(folder: Path) -> list[str | Path]:
        (folder / "mine").mkdir()
        spoil(folder / "mine" / "board.yaml")
        return ["board", "list", "--boards", folder]

    return make


def _board_text(text: str) -> Callable[[Path], list[str | Path]]:
    def write(path: Path) -> Path:
        path.write_text(text)
        return path

    return _board(write)


def _many_tensors(folder: Path) -> list[str | Path]:
    head = {
        f"t{n}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]}
        for n in range(200_000)
    }
    return ["fisher", "show", bombs.safetensors(folder / "f.safetensors", head, bytes(800_000))]


def _tensor_header(head: dict[str, Any], data: bytes = b"") -> Callable[[Path], list[str | Path]]:
    def make(folder: Path) -> list[str | Path]:
        return ["fisher", "show", bombs.safetensors(folder / "f.safetensors", head, data)]

    return make


def _tensor(shape: list[int], end: int) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}


def _nested_metadata(folder: Path) -> list[str | Path]:
    head = {"__metadata__": {"clbench.fisher": "[" * 100_000}, **_tensor([1], 4)}
    return ["fisher", "show", bombs.safetensors(folder / "f.safetensors", head, bytes(4))]


def _stride_zero(folder: Path) -> list[str | Path]:
    import torch

    torch.save({"w": torch.zeros(1).expand(10**6, 4000)}, folder / "w.pt")
    return [word.replace("{}", str(folder / "w.pt")) for word in CONVERT]


def _torch_bomb(folder: Path) -> list[str | Path]:
    import zipfile

    import torch

    torch.save({"w": torch.zeros(4)}, folder / "small.pt")
    with zipfile.ZipFile(folder / "small.pt") as archive:
        others = {name: archive.read(name) for name in archive.namelist() if "/data/" not in name}
    path = folder / "w.pt"
    bombs.zip_bomb(path, "small/data/0", 3 * GIGABYTE, b"", 3 * GIGABYTE, others)
    return [word.replace("{}", str(path)) for word in CONVERT]


def _npz_weights(folder: Path) -> list[str | Path]:
    first = bombs.header((3 * GIGABYTE // 8,), "<f8")
    path = bombs.zip_bomb(
        folder / "w.npz", "w.npy", 3 * GIGABYTE, first, 3 * GIGABYTE + len(first), {}
    )
    return [word.replace("{}", str(path)) for word in CONVERT]


def _label(value: int) -> bytes:
    return bombs.npy(np.array([0, 1, 0, 1, 0, 1, 0, value]))


CASES = (
    Case("npz: header of terabytes", _npz(train_x=bombs.header((1 << 40, 28, 28)))),
    Case("npz: header of 2**80 floats", _npz(train_x=bombs.header((1 << 40, 1 << 40), "<f4"))),
    Case("npz: header of a negative shape", _npz(train_x=bombs.header((-1, 4)))),
    Case("npz: header of a gigabyte", _npz(train_x=b"\x93NUMPY\x02\x00" + b"\xff\xff\xff\x7f")),
    Case("npz: header nested deeply", _npz(train_x=b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 8192)),
    Case("npz: labels of 2**31", _npz(train_y=_label(2**31))),
    Case("npz: labels of 2**62", _npz(train_y=_label(2**62))),
    Case(
        "npz: names as wide as a terabyte", _npz(class_names=bombs.header((2,), "<U100000000000"))
    ),
    Case("npz: 3 GB of zeros in 3 MB", _npz_bomb(bombs.header((3 << 20, 1024)), (3 << 30) + 128)),
    Case("npz: 3 GB that says it is 100 bytes", _npz_bomb(bombs.header((3 << 20, 1024)), 100)),
    Case(
        "npz: a header that inflates to 2 GB",
        _npz_bomb(b"\x93NUMPY\x02\x00" + b"\xff\xff\xff\x7f", (3 << 30) - 1),
    ),
    Case("npz: 100,000 members", _many_members),
    Case("npz: a fifo", _odd(_fifo, "data.npz", *NPZ)),
    Case("npz: a device", _odd(_zeros, "data.npz", *NPZ)),
    Case("npz: a link to itself", _odd(_self_link, "data.npz", *NPZ)),
    Case("npz: 8 GB of nothing", _odd(_huge, "data.npz", *NPZ)),
    Case("gz: an IDX header of terabytes", _idx(bomb=False)),
    Case("gz: an IDX file of 3 GB in 3 MB", _idx(bomb=True)),
    Case("folder: a fifo", _pictures(lambda at: _fifo(at / "2.png"))),
    Case("folder: a device", _pictures(lambda at: _zeros(at / "2.png"))),
    Case("folder: a link to itself", _pictures(lambda at: _self_link(at / "2.png"))),
    Case("folder: a folder in a circle", _pictures(lambda at: (at / "up").symlink_to(".."))),
    Case("folder: 500 folders deep", _pictures(_deep_folder)),
    Case(
        "folder: 60,000 x 60,000 pixels",
        _pictures(lambda at: bombs.png(at / "2.png", 60000, 60000)),
    ),
    Case(
        "folder: 13,000 x 13,000 pixels",
        _pictures(lambda at: bombs.png(at / "2.png", 13000, 13000)),
    ),
    Case("folder: 8 GB of nothing", _pictures(lambda at: _huge(at / "2.png"))),
    Case(
        "config: anchors for 10**12 texts",
        _text("c.yaml", bombs.anchors() + "scenario: scole\n", *CONFIG),
    ),
    Case("config: nested 100,000 deep", _text("c.yaml", "model: " + "[" * 100_000, *CONFIG)),
    Case("config: 5,000 digits", _text("c.yaml", f"scenario: scole\nseed: {LONG}\n", *CONFIG)),
    Case("config: a date", _text("c.yaml", "scenario: 2026-13-45\n", *CONFIG)),
    Case(
        "config: a million keys",
        lambda at: _text("c.yaml", "".join(f"k{n}: 1\n" for n in range(10**6)), *CONFIG)(at),
    ),
    Case("config: a fifo", _odd(_fifo, "c.yaml", *CONFIG)),
    Case("config: a device", _odd(_zeros, "c.yaml", *CONFIG)),
    Case("config: a link to itself", _odd(_self_link, "c.yaml", *CONFIG)),
    Case("config: 8 GB of nothing", _odd(_huge, "c.yaml", *CONFIG)),
    Case(
        "config: a NUL in a path",
        _text("c.yaml", 'scenario: scole\ndata: {name: npz, path: "a\\0b"}\n', *CONFIG),
    ),
    Case("word: seed of 5,000 digits", lambda _: _run(f"seed={LONG}")),
    Case("word: setting of 5,000 digits", lambda _: _run(f"scenario.n_tasks={LONG}")),
    Case("word: list of 5,000 digits", lambda _: _run(f"model.hidden=[{LONG}]")),
    Case("word: range of 5,000 digits", lambda _: _run(f"seed=0..{LONG}")),
    Case("word: brackets 50,000 deep", lambda _: _run(f"model.hidden={'[' * 50_000}")),
    Case("word: anchors", lambda _: _run("model.hidden=[&a [1], *a]")),
    Case(
        "words: a sweep of 10**10 runs",
        lambda _: _run("seed=0..99999", "scenario.n_tasks=1..99999"),
    ),
    Case("plan: nested 90,000 deep", _text("p.jsonl", "[" * 90_000, *PLAN)),
    Case("plan: 5,000 digits", _text("p.jsonl", f'{{"words": [{LONG}], "folder": ""}}', *PLAN)),
    Case("plan: a fifo", _odd(_fifo, "p.jsonl", *PLAN)),
    Case("plan: a device", _odd(_zeros, "p.jsonl", *PLAN)),
    Case("plan: 8 GB of nothing", _odd(_huge, "p.jsonl", *PLAN)),
    Case("record: nested 100,000 deep", _record('{"schema": ' + "[" * 100_000)),
    Case("record: 5,000 digits", _record(f'{{"schema": {LONG}}}')),
    Case(
        "record: keys with control characters", _record('{"schema": 1, "\\u001b[31mred\\u0007": 1}')
    ),
    Case("record: a fifo", _odd_record(_fifo)),
    Case("record: a device", _odd_record(_zeros)),
    Case("record: 8 GB of nothing", _odd_record(_huge)),
    Case("board: anchors for 10**12 texts", _board_text(bombs.anchors())),
    Case("board: a date", _board_text("protocol: 2026-13-45\n")),
    Case("board: 5,000 digits", _board_text(f"protocol: {LONG}\n")),
    Case("board: a fifo", _board(_fifo)),
    Case("board: a device", _board(_zeros)),
    Case("fisher: 200,000 tensors", _many_tensors),
    Case(
        "fisher: a header of 2**60 bytes",
        _text("f.safetensors", struct.pack("<Q", 1 << 60), *FISHER),
    ),
    Case(
        "fisher: a header of 90 MB",
        _text("f.safetensors", struct.pack("<Q", 90 << 20) + b" " * (90 << 20), *FISHER),
    ),
    Case("fisher: a tensor of terabytes", _tensor_header(_tensor([1 << 40], 1 << 42))),
    Case("fisher: a shape of 2**120", _tensor_header(_tensor([1 << 60, 1 << 60], 4), bytes(4))),
    Case("fisher: metadata nested deeply", _nested_metadata),
    Case("fisher: a fifo", _odd(_fifo, "f.safetensors", *FISHER)),
    Case("fisher: a device", _odd(_zeros, "f.safetensors", *FISHER)),
    Case("weights: 16 GB of one number", _stride_zero),
    Case("weights: a .pt of 3 GB in 3 MB", _torch_bomb),
    Case("weights: an .npz of 3 GB in 3 MB", _npz_weights),
)


def main() -> int:
    """Print a Markdown table of all cases; 1 if any is not refused as it should be."""
    wanted = sys.argv[1:]
    failed = []
    with tempfile.TemporaryDirectory() as name:
        base = harmless(Path(name))
        print(
            f"A harmless run takes {base.seconds:.1f} s of computing and {base.megabytes:.0f} MB.\n\n"
            "| input | seconds | peak MB | the line |\n| :--- | ---: | ---: | :--- |",
            flush=True,
        )
        for number, case in enumerate(CASES):
            if wanted and not any(word in case.name for word in wanted):
                continue
            folder = Path(name) / str(number)
            folder.mkdir()
            found = measured(case.make(folder), folder)
            line = found.err.strip().removeprefix("clbench: error: ").replace(f"{folder}/", "")
            shown = line.replace("|", "\\|")[:150]
            print(
                f"| {case.name} | {found.seconds:.1f} | {found.megabytes:.0f} | {shown} |",
                flush=True,
            )
            failed += [f"{case.name}: {wrong}" for wrong in faults(found, base)]
    for line in failed:
        print(f"\nFAULT {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
