"""Time and memory to validate 200 entries of 10 seeds on one core.

    python benchmarks/leaderboard.py [--entries 200] [--seeds 10] [--tasks 1000]

One real run is made. All other records are consistent perturbations of its record, so every rule does
its full work and finds nothing. Further measurements on the same board can be added to MEASURES.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from clbench.configure.board import Anchor, Board, Budget, load_board
from clbench.results import metrics
from clbench.results.record import Record
from clbench.util.hashing import sha256_of

NOT_PROTOCOL = ("strategy", "model", "seed", "device", "max_tasks", "checkpoint_seconds")


def validate(board: Board) -> str:
    """Apply every rule to every entry."""
    from clbench.leaderboard.rules.validate import validate_board

    found = list(validate_board(board))
    errors = [f for f in found if f.level == "error"]
    for finding in errors[:3]:
        print(finding)
    return f"{len(errors)} errors, {len(found) - len(errors)} other findings"


def validate_and_render(board: Board) -> str:
    """Apply every rule to every entry, rank, and render all files."""
    from clbench.leaderboard.pages.render import render_all
    from clbench.leaderboard.rules import validate as checks

    files = render_all(board.folder.parent, checks.validate)
    page = files[board.folder / "index.html"]
    return f"page {len(page.encode()) / 1e6:.2f} MB"


MEASURES: dict[str, Callable[[Board], str]] = {
    "validate": validate,
    "validate and render": validate_and_render,
}


def real_record(out: Path, n_tasks: int) -> Path:
    """One run of naive over SCoLe on digits, evaluated after every task."""
    from clbench.configure.sweep import sweep
    from clbench.engine.execute import Options
    from clbench.sweeps.local import run_all

    words = ["scenario=scole", f"scenario.n_tasks={n_tasks}", "strategy=naive", "data=digits"]
    [point] = sweep([*words, "device=cpu", "eval_every=1"])
    options = Options(out=out, quiet=True)
    return next(run_all([point], options)).folder


def make_board(folder: Path, record: dict[str, Any], n_seeds: int) -> Board:
    """A board that the record belongs to, with any seed."""
    settings = {k: v for k, v in record["config"].items() if k not in NOT_PROTOCOL}
    seeds = tuple(range(n_seeds))
    board = Board(
        name=folder.name,
        folder=folder,
        protocol="1.0",
        title="benchmark",
        description="",
        settings=settings,
        model=record["config"]["model"],
        seeds=seeds,
        tuning_seeds=(100,),
        pool_sha256=record["pool_sha256"],
        stream_sha256={seed: sha256_of(["stream", seed]) for seed in seeds},
        budget=Budget(epochs=1, batch_size=32),
        primary="anytime_world_accuracy",
        floor=Anchor("chance", 0.1, 0.0),
        naive=Anchor("naive", 0.5, 0.01),
        ceiling=Anchor("joint", 0.99, 0.01),
        divisions=("network", "any", "open"),
        sha256="",
    )
    data = {**board.content(), "sha256": sha256_of(board.content())}
    folder.mkdir(parents=True)
    (folder / "board.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return load_board(folder)


def perturbed(record: dict[str, Any], seed: int, draw: random.Random) -> Record:
    """The record with other counts, and everything derived from them."""
    data = copy.deepcopy(record)
    sizes = [cell["size"] for cell in data["counts"]["cells"]]
    for row in data["counts"]["correct"]:
        row[:] = [
            max(0, min(n, right + draw.randint(-1, 1))) for n, right in zip(sizes, row, strict=True)
        ]
    data["seed"] = data["config"]["seed"] = seed
    data["board"] = {"name": "benchmark", "protocol": "1.0", "division": "network"}
    data["code"] = {**data["code"], "commit": "0" * 40, "dirty": False}
    data["stream_sha256"] = sha256_of(["stream", seed])
    data["predictions_sha256"] = sha256_of(draw.random())
    made = Record(**data)
    counts = made.to_counts()
    return dataclasses.replace(
        made,
        metrics={name: m._asdict() for name, m in metrics.compute(counts).items()},
        retention=[row._asdict() for row in metrics.retention(counts)],
        frequency=[row._asdict() for row in metrics.frequency(counts)],
    )


def main() -> None:
    """Make the board and time each measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--entries", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        board, size = make_in_process(Path(folder), given.entries, given.seeds, given.tasks)
        print(f"{given.entries} entries x {given.seeds} seeds of {size / 1e3:.0f} kB")
        for name, measure in MEASURES.items():
            timed(name, measure, board)


def make_in_process(folder: Path, n_entries: int, n_seeds: int, n_tasks: int) -> tuple[Board, int]:
    """Make the entries in a separate process, so that its memory does not count."""
    from multiprocessing import get_context

    with get_context("spawn").Pool(1) as pool:
        size = pool.apply(make, (folder, n_entries, n_seeds, n_tasks))
    return load_board(folder / "benchmark"), size


def make(folder: Path, n_entries: int, n_seeds: int, n_tasks: int) -> int:
    """Write the board and all entries; return the bytes of one record."""
    run = real_record(folder / "runs", n_tasks)
    record = json.loads((run / "record.json").read_text())
    board = make_board(folder / "benchmark", record, n_seeds)
    draw = random.Random(0)
    size = 0
    for number in range(n_entries):
        entry = board.entries / f"entry-{number:03}"
        (entry / "runs").mkdir(parents=True)
        source = (run / "strategy.py").read_text()
        (entry / "strategy.py").write_text(source)
        meta = {
            "name": f"Entry {number}",
            "strategy": "naive",
            "declaration": {"no_test_data": True, "no_evaluation_seed_tuning": True},
        }
        (entry / "entry.yaml").write_text(yaml.safe_dump(meta))
        for seed in board.seeds:
            path = entry / "runs" / f"seed{seed}.json"
            perturbed(record, seed, draw).save(path)
            size = path.stat().st_size
    return size


def timed(name: str, measure: Callable[[Board], str], board: Board) -> None:
    """Print CPU seconds, wall-clock seconds and the peak memory so far."""
    cpu, clock = time.process_time(), time.perf_counter()
    said = measure(board)
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{name}: {cpu:.1f} s of processor, {clock:.1f} s, peak {peak:.0f} MB; {said}")


if __name__ == "__main__":
    main()
