"""A training step of clbench against the idiomatic hand-written torch loop.

Same model, same batches, ``optim.SGD`` with ``clip_grad_norm_``, one thread. Blocks of the arms are
interleaved in one process; the script prints medians of ratios over blocks. Work once per task
(``consolidate``: a Fisher, anchors) is timed apart, in units of naive steps.

    python benchmarks/training.py
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from clbench.plugins.registry import find
from clbench.strategy import Strategy, StreamInfo
from clbench.stream import TaskData

BATCH, EPOCHS = 64, 5
ARMS = (
    ("digits MLP 64-64-10", "mlp", (8, 8), 1 / 16, 1280),
    ("scole_cnn", "scole_cnn", (28, 28), 1 / 255, 256),
)


def hand_loop(model: nn.Module, optimizer: torch.optim.Optimizer, task: TaskData) -> None:
    """The idiomatic loop."""
    model.train()
    for epoch in range(EPOCHS):
        order = task.epoch(epoch)
        x, y = (task.x, task.y) if order is None else (task.x[order], task.y[order])
        for x_batch, y_batch in zip(x.split(BATCH), y.split(BATCH), strict=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x_batch), y_batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()


def strategy(name: str, info: StreamInfo, model: nn.Module, **settings: object) -> Strategy:
    """A strategy around a copy of a model."""
    cls = find("strategy", name).load()
    return cls(
        info,
        cls.Config(batch_size=BATCH, epochs=EPOCHS, lr=0.01, **settings),
        lambda: copy.deepcopy(model),
    )


@dataclass
class Seconds:
    """The times of an arm, one value per block."""

    steps: list[float] = field(default_factory=list)
    consolidation: list[float] = field(default_factory=list)


def learn_timed(learner: Strategy, task: TaskData) -> tuple[float, float]:
    """Seconds of the steps of one experience, and of the consolidation after them."""
    consolidate, spent = learner.consolidate, 0.0

    def timed(task: TaskData) -> None:
        nonlocal spent
        start = time.perf_counter()
        consolidate(task)
        spent += time.perf_counter() - start

    learner.consolidate = timed  # on the instance, for this call
    start = time.perf_counter()
    learner.learn(task)
    whole = time.perf_counter() - start
    del learner.consolidate
    return whole - spent, spent


def by_hand_timed(
    model: nn.Module, optimizer: torch.optim.Optimizer, task: TaskData
) -> tuple[float, float]:
    """The same for the hand-written loop, which has no consolidation."""
    start = time.perf_counter()
    hand_loop(model, optimizer, task)
    return time.perf_counter() - start, 0.0


def compare(
    title: str, name: str, shape: tuple[int, ...], scale: float, n: int, blocks: int
) -> None:
    """Time one model."""
    torch.manual_seed(0)
    x = torch.randint(0, 16, (n, *shape), dtype=torch.uint8)
    y = torch.randint(0, 10, (n,))
    model = find("model", name).load()().build(shape, 10, scale)
    info = StreamInfo(shape, torch.uint8, scale, 10, None)
    task = TaskData(x, y, torch.arange(n))
    by_hand = copy.deepcopy(model)
    sgd = torch.optim.SGD(by_hand.parameters(), lr=0.01)
    ours = {
        "naive": strategy("naive", info, model),
        "ewc proximal": strategy("ewc", info, model, fisher_samples=16),
        "ewc explicit": strategy("ewc", info, model, fisher_samples=16, penalty_step="explicit"),
        "si": strategy("si", info, model),
        "mas": strategy("mas", info, model, samples=16),
        "rwalk": strategy("rwalk", info, model),
        "lwf": strategy("lwf", info, model),
        "laplace": strategy("online_laplace", info, model, fisher_samples=16),
    }
    arms = {"hand": partial(by_hand_timed, by_hand, sgd, task)}
    arms |= {key: partial(learn_timed, learner, task) for key, learner in ours.items()}
    times = {key: Seconds() for key in arms}
    for block in range(blocks + 2):
        for key, run in arms.items():
            steps, consolidation = run()
            if block >= 2:
                times[key].steps.append(steps)
                times[key].consolidation.append(consolidation)
        if block == 0:
            largest = max(
                float((p - q).detach().abs().max())
                for p, q in zip(by_hand.parameters(), ours["naive"].model.parameters(), strict=True)
            )
            print(f"{title}: weights after a block differ by at most {largest:.1e}")
    n_steps = EPOCHS * -(-n // BATCH)
    micro = statistics.median(times["hand"].steps) / n_steps * 1e6
    print(f"  hand loop: {micro:.0f} us a step (for scale only)")
    naive = times["naive"].steps
    for key in ours:
        against_hand = _ratio(times[key].steps, times["hand"].steps)
        against_naive = _ratio(times[key].steps, naive)
        once = _ratio(times[key].consolidation, naive) * n_steps
        print(
            f"  {key:13} {against_hand:.2f} x the hand loop, {against_naive:.2f} x naive; "
            f"consolidation {once:.1f} steps of naive"
        )


def _ratio(a: list[float], b: list[float]) -> float:
    return statistics.median(p / q for p, q in zip(a, b, strict=True))


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=30)
    blocks = parser.parse_args().blocks
    torch.set_num_threads(1)
    for title, name, shape, scale, n in ARMS:
        compare(title, name, shape, scale, n, blocks)


if __name__ == "__main__":
    main()
