"""Conditional likelihood of Kanerva memories: nats an image of binarised digits and glyphs.

    OMP_NUM_THREADS=1 python -m benchmarks.kanerva_nll --out runs/nll --long --write
    python -m benchmarks.kanerva_nll --out /tmp/nll --small

Four models (``kanerva_arms.py``) with equal parameters (within 5 %) and equal counted operations of
training learn episodes of 32 images. The test images are cut into episodes; each is written, and the
same images are scored: the bound on ``-log p(x | M)`` by one draw, and by importance weights (Burda,
Grosse & Salakhutdinov 2016, arXiv 1509.00519), which is nearer to it from above. What a memory holds is
not charged, so this is no code length, and a memory that holds the episode is the point.

A finished model is a file in ``--out`` and is not trained again; the same command goes on. ``--long``
adds digits with ten times the operations, one seed: what the order owes to a short training.
``--write`` writes the table into ``docs/kanerva.md`` and draws ``docs/kanerva.png``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from benchmarks.kanerva_arms import Arm, Name, build, hidden_for, n_parameters
from clbench.data.sets.mnist5k import Mnist5k
from clbench.data.sets.synbols import Synbols
from clbench.nets.flops import Count
from clbench.util.atomic import write_atomically

PAGE, FIGURE = Path("docs/kanerva.md"), Path("docs/kanerva.png")
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"
DATA = ("mnist5k", "glyphs")
MODELS: tuple[Name, ...] = get_args(Name)
TITLES = {"vae": "VAE", "km": "Kanerva machine", "dkm": "dynamic KM", "kpp": "Kanerva++"}
PUBLISHED = {
    "mnist5k": {"vae": "", "km": "", "dkm": "75.3", "kpp": "41.58"},
    "glyphs": {"vae": "", "km": "68.3", "dkm": "77.2", "kpp": "66.24"},
}
EPISODE, LR = 32, 1e-3


@dataclass(frozen=True)
class Effort:
    """How much is trained and drawn."""

    operations: float
    """Of one training, forward and backward."""
    hidden: int
    """Of K++; the other models get as many parameters as it has."""
    width: int
    seeds: int
    n_train: int
    n_test: int
    samples: int
    """Importance weights of an image."""


FULL = Effort(4e11, 256, 16, 3, 4000, 992, 100)
LONG = replace(FULL, operations=4e12, seeds=1)
SMALL = Effort(1e9, 24, 4, 1, 128, 64, 5)


@dataclass(frozen=True)
class Result:
    """One trained model."""

    data: str
    model: str
    seed: int
    parameters: int
    operations: float
    steps: int
    bound: float
    """Nats an image by one draw."""
    importance: float
    """Nats an image by importance weights."""
    seconds: float
    effort: dict[str, float]


def images(data: str, effort: Effort) -> tuple[Tensor, Tensor]:
    """``(n, 28, 28)`` uint8 of 0 and 255, for training and test: above the middle, or not."""
    if data == "mnist5k":
        arrays = Mnist5k().arrays()
        order = np.random.default_rng(0).permutation(len(arrays.test_x))
        train = arrays.train_x[np.random.default_rng(1).permutation(len(arrays.train_x))]
        parts = train[: effort.n_train], arrays.test_x[order[: effort.n_test]]
    else:
        glyphs = Synbols(
            preset="plain",
            n_train=effort.n_train,
            n_test=effort.n_test,
            resolution=28,
            gray=True,
            alphabets=("latin", "greek", "cyrillic"),
        ).arrays()
        parts = glyphs.train_x, glyphs.test_x
    first, second = (torch.as_tensor(np.where(x > 127, 255, 0).astype(np.uint8)) for x in parts)
    return first, second


def widths(effort: Effort) -> dict[Name, int]:
    """The width of each model's layers, by which their parameters are equal."""
    wanted = n_parameters(build("kpp", effort.width, effort.hidden))
    return {
        name: effort.hidden if name == "kpp" else hidden_for(name, effort.width, wanted)
        for name in MODELS
    }


def operations_of_a_step(arm: Arm, x: Tensor) -> int:
    """Counted operations of one forward and backward pass over an episode."""
    with Count() as count:
        arm.loss(x).backward()
    assert not count.uncounted, count.uncounted
    arm.zero_grad()
    return count.total


def train(name: Name, x: Tensor, seed: int, effort: Effort) -> tuple[Arm, int, int]:
    """Train a model: it, its steps and the operations of one."""
    torch.manual_seed(seed)
    arm = build(name, effort.width, widths(effort)[name])
    each = operations_of_a_step(arm, x[:EPISODE])
    steps = round(effort.operations / each)
    optimizer = torch.optim.Adam(arm.parameters(), LR)
    for _ in range(steps):
        loss = arm.loss(x[torch.randperm(len(x))[:EPISODE]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return arm, steps, each


def run(data: str, name: Name, seed: int, effort: Effort, out: Path) -> Result:
    """Train and score a model, unless its file is there."""
    long = "-long" if effort == LONG else ""
    path = out / f"{data}-{name}-{seed}{long}.json"
    if path.is_file():
        kept = Result(**json.loads(path.read_text()))
        if kept.effort == asdict(effort):
            return kept
    start = time.process_time()
    x, test = images(data, effort)
    arm, steps, each = train(name, x, seed, effort)
    torch.manual_seed(1000 + seed)
    bounds = [arm.bounds(episode, effort.samples) for episode in test.split(EPISODE)]
    bound, importance = (float(torch.cat(list(b)).mean()) for b in zip(*bounds, strict=True))
    found = Result(
        data,
        name,
        seed,
        n_parameters(arm),
        steps * each,
        steps,
        bound,
        importance,
        time.process_time() - start,
        asdict(effort),
    )
    if seed == 0:
        torch.save(arm.state_dict(), out / f"{data}-{name}{long}.pt")
    write_atomically(path, json.dumps(asdict(found)).encode())
    return found


def spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    sd = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{sd}"


def table(results: list[Result]) -> str:
    """All results as Markdown."""
    lines = [
        "| images | model | parameters | 10⁹ operations | steps | bound | importance | published |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    efforts = sorted({r.effort["operations"] for r in results})
    for data, operations in product(DATA, efforts):
        of = [r for r in results if (r.data, r.effort["operations"]) == (data, operations)]
        for name in MODELS:
            if rows := [r for r in of if r.model == name]:
                lines.append(
                    f"| {data} | {TITLES[name]} | {rows[0].parameters:,} | "
                    f"{rows[0].operations / 1e9:,.0f} | {rows[0].steps:,} | "
                    f"{spread([r.bound for r in rows])} | {spread([r.importance for r in rows])} | "
                    f"{PUBLISHED[data][name]} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description="Likelihoods of Kanerva memories.")
    parser.add_argument("--out", type=Path, default=Path("runs/nll"), help="folder of the results")
    parser.add_argument("--small", action="store_true", help="a second of each, to try it")
    parser.add_argument("--long", action="store_true", help="digits with ten times the operations")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE} and {FIGURE}")
    parser.add_argument("--figure", type=Path, help="draw the figure into this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    effort = SMALL if arguments.small else FULL
    arguments.out.mkdir(parents=True, exist_ok=True)
    plan = [(effort, d, n, s) for s in range(effort.seeds) for d in DATA for n in MODELS]
    if arguments.long:
        plan += [(LONG, DATA[0], n, s) for s in range(LONG.seeds) for n in MODELS]
    results = []
    for how, data, name, seed in plan:
        found = run(data, name, seed, how, arguments.out)
        results.append(found)
        print(
            f"{data} {name} seed {seed}: bound {found.bound:.2f} importance "
            f"{found.importance:.2f} ({found.seconds:.0f} s)",
            flush=True,
        )
    print(table(results))
    figure = FIGURE if arguments.write else arguments.figure
    if figure:
        from benchmarks.kanerva_figure import draw

        draw(arguments.out, effort, widths(effort), figure)
    if arguments.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        shown = f"{table(results)}\n\n![Samples, spoilt cues and interpolated keys]({FIGURE.name})"
        text = f"{before}{BEGIN}\n\n{shown}\n\n{END}{rest.partition(END)[2]}"
        write_atomically(PAGE, text.encode())


if __name__ == "__main__":
    main()
