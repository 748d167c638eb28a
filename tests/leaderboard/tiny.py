"""What the tests of leaderboards build on: a small real board, real runs on it, edits of files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from clbench.configure.board import Anchor, Board, Budget, load_board, pin
from clbench.util import seal
from clbench.util.hashing import sha256_of

SEEDS = (0, 1, 2, 3, 4)
WORDS = ("scenario=scole", "scenario.n_tasks=20", "data=digits", "eval_every=log", "device=cpu")
MODEL = ("model=mlp", "model.hidden=[8]")
NAIVE = Anchor("naive", 0.3, 0.03, 10**6)


def make_board(
    folder: Path, *words: str, seeds: tuple[int, ...] = SEEDS, naive: Anchor = NAIVE
) -> Board:
    """Write a frozen ``board.yaml`` with the streams' real hashes; the anchors are made up."""
    from clbench.configure.common import free_on_boards
    from clbench.configure.config import resolve_point
    from clbench.configure.sweep import sweep
    from clbench.engine.build import prepare

    streams, pools = {}, {}
    for seed in seeds:
        [point] = sweep([*WORDS, *MODEL, *words, "strategy=naive", f"seed={seed}"])
        run = prepare(resolve_point(point), pools)
        sha = run.stream.sha256
        for number in range(20):
            sha = run.stream.extend(sha, run.stream.draw(number))
        streams[seed] = sha
    config = run.config.as_dict()
    board = Board(
        name=folder.name,
        folder=folder,
        protocol="1.0",
        title="tiny",
        description="",
        settings={
            k: v for k, v in config.items() if k not in {"strategy", "model", *free_on_boards()}
        },
        model=config["model"],
        seeds=seeds,
        tuning_seeds=(100, 101),
        pool_sha256=run.stream.pool.sha256,
        stream_sha256=streams,
        budget=Budget(epochs=1, batch_size=32, samples=20_000),
        primary="anytime_world_accuracy",
        floor=Anchor("chance", 0.1, 0.0),
        naive=naive,
        ceiling=Anchor("joint", 0.9, 0.01, 10**8),
        divisions=("network", "any", "open"),
        sha256="",
    )
    write_board(board)
    return load_board(folder)


def write_board(board: Board) -> None:
    data = {**board.content(), "sha256": sha256_of(board.content())}
    board.folder.mkdir(parents=True, exist_ok=True)
    (board.folder / "board.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    pin(dataclasses.replace(board, sha256=data["sha256"]))


def run_on(board: Board, out: Path, *words: str) -> Path:
    """Run a strategy on all seeds of a board; returns the folder of the seeds."""
    from clbench.configure.sweep import sweep
    from clbench.engine.execute import Options
    from clbench.sweeps.local import run_all

    points = sweep([f"board={board.folder}", "device=cpu", *words])
    options = Options(out=out, quiet=True, curve=False)
    folders = [done.folder for done in run_all(points, options)]
    return folders[0].parent


def plain(text: str) -> dict[str, Any]:
    """A record's fields without its digest, as records had none: what is changed is judged."""
    return {key: value for key, value in json.loads(text).items() if key != seal.KEY}


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a JSON file in place; of a record, as a forger would: with a digest that fits."""
    data = json.loads(path.read_text())
    change(data)
    if seal.KEY in data:
        data[seal.KEY] = sha256_of({k: v for k, v in data.items() if k != seal.KEY})
    path.write_text(json.dumps(data))


def agree(data: dict[str, Any]) -> None:
    """Let a record's answers by class agree with its last counts, as a careful forger would."""
    counts, n = data["counts"], data["stream"]["n_classes"]
    rows = [[0] * n for _ in range(n)]
    for cell, right in zip(counts["cells"], counts["correct"][-1], strict=True):
        rows[cell["label"]][cell["label"]] += right
        rows[cell["label"]][(cell["label"] + 1) % n] += cell["size"] - right
    data["answers"]["counts"] = rows


def edit_yaml(path: Path, **values: Any) -> None:
    """Set keys of an entry.yaml."""
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))


def declare(entry: Path) -> None:
    """Say of a submitted entry all that a person has to, and that it was made by a clean checkout."""
    edit_yaml(
        entry / "entry.yaml",
        declaration={"no_test_data": True, "no_evaluation_seed_tuning": True},
        authors=["A. Author"],
        url="https://example.org/paper",
    )
    for path in (entry / "runs").iterdir():
        # Records of tests are made by a checkout that somebody is working on.
        edit(path, lambda data: data["code"].update(commit="0" * 40, dirty=False))


def with_own_source(entry: Path) -> Path:
    """Make an entry hold its source itself, as one that is copied whole may; returns the entry."""
    data = yaml.safe_load((entry / "entry.yaml").read_text())
    for group, sha in data.pop("sources").items():
        shared = entry.parents[2] / "sources" / f"{sha}.py"
        shared.rename(entry / f"{group}.py")
    (entry / "entry.yaml").write_text(yaml.safe_dump(data))
    return entry
