"""Convolutional networks: a training step and an evaluation, against the best hand-written loop.

Same network, same batches of 32, SGD, clipped gradients, one thread. The hand-written loops are the
idiomatic one, one with images and weights in ``channels_last``, and with ``--compile`` one under
``torch.compile``; the best of them counts. The ratio to the idiomatic one is shown too: its weights lie
in memory as they are indexed, and so do clbench's, which are views of one vector. An evaluation is one
pass over 512 samples in inference mode. The arms take turns in one process, and CPU seconds are
compared: medians of ratios over blocks. A model that is not there is left out, and a line says so.

    python -m benchmarks.networks --model scole_cnn --blocks 10
    python -m benchmarks.networks --page     # all models; rewrites the table in docs/scale.md
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.scale_page import DOCS, put
from clbench.engine.harness import BATCH_SIZE
from clbench.errors import UsageError
from clbench.plugins.registry import find
from clbench.strategy import StreamInfo
from clbench.stream import TaskData
from clbench.world import Cell, World, evaluate

MODELS = ("scole_cnn", "slim_resnet18", "resnet18", "resnet32")
SHAPES = {"scole_cnn": (28, 28)}
COLOUR = (3, 32, 32)
"""Of all other models."""
N_CLASSES, BATCH, STEPS, SCALE = 10, 32, 2, 1 / 255
HEAD = (
    "| model | sample | parameters | step, ms | by hand / clbench | plain / clbench | "
    "evaluation of 512, ms | by hand / clbench |",
    "| --- | --- |" + " ---: |" * 6,
)


class Hand:
    """A hand-written loop over one network."""

    def __init__(self, model: nn.Module, channels_last: bool, compiled: bool) -> None:
        self.channels_last = channels_last
        self.model = copy.deepcopy(model)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.call: Callable[[Tensor], Tensor] = (
            torch.compile(self.model) if compiled else self.model
        )

    def laid_out(self, x: Tensor) -> Tensor:
        """Images as the network wants them."""
        if self.channels_last and x.dim() == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x

    def learn(self, x: Tensor, y: Tensor) -> None:
        """Train on every batch once."""
        self.model.train()
        for x_batch, y_batch in zip(x.split(BATCH), y.split(BATCH), strict=True):
            self.optimizer.zero_grad()
            F.cross_entropy(self.call(self.laid_out(x_batch)), y_batch).backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
            self.optimizer.step()

    @torch.inference_mode()
    def evaluate(self, x: Tensor, y: Tensor) -> float:
        """The share of right answers."""
        self.model.eval()
        parts = x.split(BATCH_SIZE)
        answers = torch.cat([self.call(self.laid_out(part)).argmax(1) for part in parts])
        return float((answers == y).float().mean())


def world_of(x: Tensor, y: Tensor) -> World:
    """Samples as clbench evaluates them, a cell for each class."""
    cells, n = tuple(Cell(c) for c in range(N_CLASSES)), torch.arange(len(y))
    return World(cells, torch.bincount(y, minlength=N_CLASSES), x, y, y, n, None, None)


def cpu(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def in_turn(arms: Mapping[str, Callable[[], object]], blocks: int) -> dict[str, list[float]]:
    """CPU seconds of each arm in each block, after one block that warms up."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for block in range(blocks + 1):
        for name, call in arms.items():
            seconds = cpu(call)
            if block:
                times[name].append(seconds)
    return times


def ratio(times: Mapping[str, list[float]], name: str) -> float:
    """A hand-written loop's time in units of clbench's."""
    return statistics.median(h / o for h, o in zip(times[name], times["clbench"], strict=True))


def cells(times: Mapping[str, list[float]], units: int) -> str:
    """Two cells: milliseconds of clbench, and the best hand-written loop's ratio to it."""
    hands = [name for name in times if name != "clbench"]
    best = min(hands, key=lambda name: statistics.median(times[name]))
    ours = statistics.median(times["clbench"]) / units * 1e3
    return f"{ours:.2f} | {ratio(times, best):.2f} ({best})"


def compare(name: str, blocks: int, compiled: bool) -> str:
    """Measure one model; returns its row."""
    try:
        settings = find("model", name).load()()
    except UsageError as error:
        return f"| {name} | left out: {error} | | | | | | |"
    torch.manual_seed(0)
    shape = SHAPES.get(name, COLOUR)
    x = torch.randint(0, 256, (BATCH * STEPS, *shape), dtype=torch.uint8)
    y = torch.randint(0, N_CLASSES, (len(x),))
    test_x = torch.randint(0, 256, (BATCH_SIZE, *shape), dtype=torch.uint8)
    test_y = torch.randint(0, N_CLASSES, (BATCH_SIZE,))
    model = settings.build(shape, N_CLASSES, SCALE)
    cls = find("strategy", "naive").load()
    info = StreamInfo(shape, torch.uint8, SCALE, N_CLASSES, None)
    learner = cls(info, cls.Config(batch_size=BATCH, lr=0.01), lambda: copy.deepcopy(model))
    task, world = TaskData(x, y, torch.arange(len(x))), world_of(test_x, test_y)
    hands = {"plain": Hand(model, False, False), "channels_last": Hand(model, True, False)}
    if compiled:
        hands["compiled"] = Hand(model, False, True)
    steps = {key: lambda hand=hand: hand.learn(x, y) for key, hand in hands.items()}
    steps["clbench"] = lambda: learner.learn(task)
    passes = {key: lambda hand=hand: hand.evaluate(test_x, test_y) for key, hand in hands.items()}
    passes["clbench"] = lambda: evaluate(learner, world, BATCH_SIZE)
    step, scored = in_turn(steps, blocks), in_turn(passes, blocks)
    shown, size = " × ".join(map(str, shape)), sum(p.numel() for p in model.parameters())
    return (
        f"| {name} | {shown} | {size:,} | {cells(step, STEPS)} | {ratio(step, 'plain'):.2f} | "
        f"{cells(scored, 1)} |"
    )


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", help=f"default: {', '.join(MODELS)}")
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--compile", action="store_true", help="also a loop under torch.compile")
    parser.add_argument("--page", action="store_true", help="rewrite the table in docs/scale.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lines = [*HEAD]
    print("\n".join(lines))
    for name in asked.model or MODELS:
        lines.append(compare(name, asked.blocks, asked.compile))
        print(lines[-1], flush=True)
    if asked.page:
        put(DOCS / "scale.md", "networks", "python -m benchmarks.networks --page", (), lines)


if __name__ == "__main__":
    main()
