"""``clbench predict``: what a trained strategy answers to samples of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench predict runs/scole/ewc-1a2b3c4d/seed0 --data my.npz --out a.csv
  clbench predict model.safetensors --data mine.npz --out a.csv --scores"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "predict",
        help="let a trained strategy answer samples of your own",
        description="Load the strategy of a run from its checkpoint, or from a file of clbench export "
        "--model, and write its answers to a CSV file, a row for each sample. The .npz file holds x "
        "(or test_x), samples as the run's data have them; optionally y (or test_y), their labels, "
        "and task_id, where the run tells the task. Nothing is unpickled.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="the folder of a run, or a file of export --model"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings that are others here, such as strategy=mine.py or data.path=mine.npz",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FILE", help="an .npz file with the samples"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the CSV file to write"
    )
    parser.add_argument("--scores", action="store_true", help="also write the score of each class")
    parser.add_argument(
        "--device", default="auto", help="where it predicts: auto, cpu, cuda, mps (default: auto)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Write the answers; print how many there are, and how many are right where labels are given."""
    from clbench.trained.answers import read, to_csv
    from clbench.trained.load import load
    from clbench.util.atomic import write_atomically
    from clbench.util.tensor_files import writable

    out = writable(arguments.out, arguments.overwrite)
    given = read(arguments.data)
    trained = load(arguments.run, *arguments.overrides, device=arguments.device)
    text, n_right = to_csv(trained, given, with_scores=arguments.scores)
    write_atomically(out, text.encode())
    told = "" if n_right is None else f", {n_right} right ({n_right / max(1, len(given.x)):.1%})"
    print(f"{out}: {len(given.x)} answers{told}")
    return 0
