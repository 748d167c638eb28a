"""A training step with replay, and the insertion into a memory, in units of naive training.

The digits MLP, as many replayed as new samples, one thread; the arms are interleaved in one process
and the ratios are medians over blocks, of the process's own CPU time. A step may cost what it sends
through the network, and 15 %: next to each ratio stands 1.15 times the samples per new one, counted in
one experience, of which a forward pass alone counts as a third of a forward and backward one. For
``er`` that is (1 + replayed/new) x 1.15 = 2.3. Insertion is that of one experience.

    python benchmarks/replay.py
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import torch
from torch import Tensor, nn

from clbench.memory.buffer import SampleMemory, slot_layout
from clbench.plugins.registry import find
from clbench.strategy import GradientStrategy, StreamInfo
from clbench.stream import TaskData

BATCH, EPOCHS, N = 64, 5, 1280
MARGIN = 1.15
ARMS = ("naive", "er", "er_ace", "der", "derpp", "agem", "mir")
INFO = StreamInfo((8, 8), torch.uint8, 1 / 16, 10, None)


def strategy(name: str, model: nn.Module) -> GradientStrategy:
    """One with a copy of the model, given learning rate and batch size."""
    cls = find("strategy", name).load()
    config = cls.Config(batch_size=BATCH, epochs=EPOCHS, lr=0.01)
    built: GradientStrategy = cls(INFO, config, lambda: copy.deepcopy(model))
    return built


def task(seed: int, n: int = N) -> TaskData:
    """Random samples, all new."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 16, (n, 8, 8), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, 10, (n,), generator=generator)
    return TaskData(x, y, torch.arange(seed * n, seed * n + n))


def passes(arm: GradientStrategy, given: TaskData) -> float:
    """Samples through the network per new one, as an experience is learnt."""
    found = 0.0

    def count(_: nn.Module, inputs: tuple[Tensor], scores: Tensor) -> None:
        nonlocal found
        found += len(inputs[0]) * (1 if scores.requires_grad else 1 / 3)

    handle = arm.model.register_forward_hook(count)
    arm.learn(given)
    handle.remove()
    return found / (EPOCHS * len(given))


def seconds(run: object, *args: object) -> float:
    """CPU time of a call."""
    start = time.process_time()
    run(*args)  # type: ignore[operator]
    return time.process_time() - start


def steps(blocks: int) -> None:
    """Whole experiences of 100 steps, the admission of theirs included."""
    torch.manual_seed(0)
    model = find("model", "mlp").load()().build((8, 8), 10, 1 / 16)
    arms = {name: strategy(name, model) for name in ARMS}
    for arm in arms.values():  # fills the memories
        arm.learn(task(0))
    through = {name: passes(arm, task(1)) for name, arm in arms.items()}
    times: dict[str, list[float]] = {name: [] for name in ARMS}
    for block in range(2, blocks + 2):
        given = task(block)
        for name, arm in arms.items():
            times[name].append(seconds(arm.learn, given))
    micro = statistics.median(times["naive"]) / (EPOCHS * N / BATCH) * 1e6
    print(f"naive: {micro:.0f} us a step (for scale only)")
    for name in ARMS[1:]:
        ratio = statistics.median(a / b for a, b in zip(times[name], times["naive"], strict=True))
        limit = MARGIN * through[name]
        print(f"  {name:7} {ratio:.2f} x naive (limit {limit:.2f}, of {through[name]:.2f} passes)")


def insertions(blocks: int) -> None:
    """One experience into a full memory, by its size and the memory's."""
    for size in (500, 5000, 50_000):
        memory = SampleMemory(size, "reservoir", slot_layout(INFO))
        memory.add(task(0, size))
        for n in (10, 1280):
            spent = [
                seconds(memory.add, task(t, n)) for t in range(size // n + 1, size // n + blocks)
            ]
            milli = statistics.median(spent) * 1e3
            print(
                f"  {n} samples into a memory of {size}: {milli:.2f} ms, {milli / n * 1e3:.1f} us each"
            )


def main() -> None:
    """Print the ratios and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=20)
    blocks = parser.parse_args().blocks
    torch.set_num_threads(1)
    steps(blocks)
    insertions(blocks)


if __name__ == "__main__":
    main()
