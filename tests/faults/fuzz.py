"""Random changes of words, settings files and data files: each is run or refused in one line.

``python -m tests.faults.fuzz --cases 2000`` tries each kind so often and prints a table.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SECONDS, MEGABYTES = 5.0, 500.0
"""Of computing in one case, and of resident memory over all cases, beside what a first run takes."""
WORDS = (
    *("data=digits", "model=mlp", "seed=0..2", "eval_every=log", "scenario.n_tasks=5", "threads=1"),
    *("scenario.share=0.3", "model.hidden=[8,8]", "strategy.lr=1e-3", "strategy.optimizer=adam"),
    *("strategy.mask=group", "device=cpu", "max_tasks=3", "data.augment=none", "prequential=true"),
    *("strategy.schedule=multistep", "strategy.milestones=[1,2]", "strategy.epochs=3"),
    *("label_delay=2", "scenario.label_noise=symmetric", "strategy.first.epochs=2", "tracker=csv"),
)
PIECES = (
    *("", " ", "=", ",", "[", "]", "{", "}", "'", '"', "..", "-", "0", "1e400", "nan", "null", "~"),
    *("true", "off", "0x1F", "1_000", "\x00", "\x1b[31m", "é", "𝟙", "\n", "&a", "*a", "!!int", "%"),
    *("../../etc", "/dev/null", "9" * 30, "a" * 300, "[" * 50, "${seed}", "oc.env:HOME", "\\"),
)


@dataclass
class Found:
    """What came of the cases of one kind."""

    cases: int = 0
    run: int = 0
    """That were no fault in the end, and ran."""
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """Of computing, the most of any case."""


def tried(words: list[str]) -> tuple[int, str, float]:
    """Exit code, stderr and seconds of computing of a command line in this process."""
    from clbench.cli import main

    err = io.StringIO()
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as end:  # argparse
            code = end.code if isinstance(end.code, int) else 1
    return code, err.getvalue(), time.process_time() - began


def noted(found: Found, case: str, words: list[str]) -> None:
    """Try a case and note what is wrong with what came."""
    found.cases += 1
    try:
        code, err, seconds = tried(words)
    except BaseException as error:
        found.faults.append(f"{case}: {type(error).__name__}: {str(error)[:100]}")
        return
    found.run += code == 0
    found.seconds = max(found.seconds, seconds)
    lines = err.splitlines()
    if code not in (0, 1, 2) or "Traceback" in err:
        found.faults.append(f"{case}: exit code {code}: {err[-200:]!r}")
    elif code and (len(lines) != 1 or not all(c.isprintable() for c in lines[0])):
        found.faults.append(f"{case}: {len(lines)} lines: {err[:200]!r}")
    if seconds > SECONDS:
        found.faults.append(f"{case}: {seconds:.1f} s of computing")


def changed(text: str, draw: random.Random) -> str:
    """A text with one to three pieces put in, cut out or said twice."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        at, end = sorted(draw.randint(0, len(text)) for _ in range(2))
        end = min(end, at + 6)
        middle = draw.choice((draw.choice(PIECES), "", text[at:end] * 2))
        text = text[:at] + middle + text[end:]
    return text


def some_words(folder: Path, draw: random.Random) -> list[str]:
    """A command line with one or two changed words."""
    words = ["scenario=scole", "strategy=naive", *draw.sample(WORDS, draw.randint(1, 4))]
    for _ in range(draw.choice((1, 1, 2))):
        at = draw.randrange(draw.choice((0, 2, 2, 2)), len(words))
        name, _, value = words[at].partition("=")
        whole = draw.random() < 0.2
        words[at] = changed(words[at], draw) if whole else f"{name}={changed(value, draw)}"
    words = [word.replace("\x00", "?") for word in words]  # no process can be given one
    return ["run", *words, "--dry-run", "-q", "--out", str(folder / "runs")]


def a_settings_file(folder: Path, draw: random.Random) -> list[str]:
    """A settings file that is changed."""
    text = """scenario: scole
strategy: ewc
scenario.n_tasks: 5
model.hidden: [8, 8]
strategy.lr: 0.1
strategy.epochs: 2
seed: 1
tracker: csv
"""
    if draw.random() < 0.5:  # one value alone, so that some files are still settings
        lines = text.splitlines()
        at = draw.randrange(2, len(lines))
        name, _, value = lines[at].partition(": ")
        lines[at] = f"{name}: {draw.choice((value * 2, '1' + value, changed(value, draw)))}"
        text = "\n".join(lines)
    else:
        text = changed(text, draw)
    path = folder / "c.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return ["run", "--config", str(path), "--dry-run", "-q", "--out", str(folder / "runs")]


def an_npz_file(folder: Path, draw: random.Random) -> list[str]:
    """Arrays, stored or packed, with a few changed bytes."""
    source = np.random.default_rng(draw.randrange(2**32))
    arrays = {
        "train_x": source.integers(0, 255, (30, 6), dtype=np.uint8),
        "train_y": np.arange(30) % 3,
        "test_x": source.integers(0, 255, (9, 6), dtype=np.uint8),
        "test_y": np.arange(9) % 3,
    }
    path = folder / "d.npz"
    with path.open("wb") as file:
        draw.choice((np.savez, np.savez_compressed))(file, **arrays)
    return _data("npz", path, draw)


def an_idx_file(folder: Path, draw: random.Random) -> list[str]:
    """The files of MNIST in small, one of them changed."""
    root = folder / "idx"
    root.mkdir(exist_ok=True)
    for part, n in (("train", 30), ("t10k", 10)):
        images = bytes((0, 0, 8, 3)) + b"".join(k.to_bytes(4, "big") for k in (n, 28, 28))
        labels = bytes((0, 0, 8, 1)) + n.to_bytes(4, "big")
        (root / f"{part}-images-idx3-ubyte").write_bytes(images + bytes(n * 784))
        (root / f"{part}-labels-idx1-ubyte").write_bytes(labels + bytes(k % 10 for k in range(n)))
    spoiled = draw.choice(sorted(root.iterdir()))
    _spoil(spoiled, draw)
    return ["run", "scenario=scole", "strategy=naive", "data=mnist", f"data.path={root}",
            "--dry-run", "-q", "--out", str(folder / "runs")]  # fmt: skip


def _data(name: str, path: Path, draw: random.Random) -> list[str]:
    _spoil(path, draw)
    words = ("run", "scenario=scole", "strategy=naive", f"data={name}", f"data.path={path}")
    return [*words, "--dry-run", "-q", "--out", str(path.parent / "runs")]


def _spoil(path: Path, draw: random.Random) -> None:
    """Change, cut or double a few bytes, near the start more often than elsewhere."""
    data = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 4)):
        most = draw.choice((16, 128, len(data)))
        at = draw.randrange(min(most, len(data)) or 1)
        if not data:
            break
        how = draw.randrange(4)
        if how == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif how == 1:
            data[at] = draw.choice((0, 255, 127, 128))
        elif how == 2:
            del data[at : at + draw.randint(1, 40)]
        else:
            data[at:at] = data[at : at + draw.randint(1, 40)]
    path.write_bytes(data)


KINDS: dict[str, Callable[[Path, random.Random], list[str]]] = {
    "words": some_words,
    "settings files": a_settings_file,
    "npz files": an_npz_file,
    "idx files": an_idx_file,
}


def fuzz(kind: str, n: int, folder: Path, seed: int = 0) -> Found:
    """Try ``n`` cases of a kind; also that all of them together hold no memory."""
    found, draw = Found(), random.Random(f"{kind} {seed}")
    tried(["run", "scenario=scole", "strategy=naive,ewc,er", "--dry-run", "-q"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(n):
        words = KINDS[kind](folder, draw)
        noted(found, f"{kind} {seed}/{number} {words[1:6]}", words)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if grown > MEGABYTES:
        found.faults.append(f"{kind}: {grown:.0f} MB")
    return found


def main() -> int:
    """Print a row for each kind; 1 if there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=500, metavar="N", help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("| changed at random | cases | accepted | refused in one line | faults | dearest, s |")
    print("| :--- | ---: | ---: | ---: | ---: | ---: |")
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            found = fuzz(kind, asked.cases, Path(folder), asked.seed)
            n = len(found.faults)
            refused = found.cases - found.run - n
            cells = (kind, found.cases, found.run, refused, n, f"{found.seconds:.1f}")
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
            faults += found.faults
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
