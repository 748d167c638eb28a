"""Steps with replay, whole streams, and insertions into a memory, in units of naive training.

The digits MLP, as many replayed as new samples, one thread; the arms are interleaved in one process
and the ratios are medians over blocks, of the process's own CPU time. A step may cost what it sends
through the network, and 15 %: next to each ratio stands 1.15 times the samples per new one, counted in
one experience, of which a forward pass alone counts as a third of a forward and backward one. For
``er`` that is (1 + replayed/new) x 1.15 = 2.3. Methods that do more between experiences than in a step
(exemplars, growing networks, a choice of weights for each task) learn a whole stream: the five tasks of
two digits, as many passes. Insertion is that of one experience.

    python benchmarks/replay.py
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

import torch
from torch import Tensor, nn

import clbench
from clbench.memory.buffer import SampleMemory, slot_layout
from clbench.plugins.registry import find
from clbench.strategy import GradientStrategy, StreamInfo
from clbench.stream import TaskData

BATCH, EPOCHS, N = 64, 5, 1280
MARGIN = 1.15
ARMS = {
    **{name: name for name in ("naive", "er", "er_ace", "der", "derpp", "agem", "mir", "scr")},
    "er per_step": "er",
    **{name: name for name in ("redo", "upgd")},
}
"""What is timed by steps, and the strategy of each."""
STREAMS = {
    "class_incremental": (
        *("naive", "er", "icarl", "wa", "bic", "lucir", "podnet", "expansion", "foster", "xder"),
    ),
    "task_incremental": ("naive", "packnet", "hat", "gpm"),
}
"""What is timed over whole streams of a scenario."""
INFO = StreamInfo((8, 8), torch.uint8, 1 / 16, 10, None)


def strategy(name: str, model: nn.Module) -> GradientStrategy:
    """One with a copy of the model, given learning rate and batch size."""
    cls = find("strategy", ARMS[name]).load()
    more = {"per_step": True} if name.endswith("per_step") else {}
    config = cls.Config(batch_size=BATCH, epochs=EPOCHS, lr=0.01, **more)
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
    for name in [name for name in ARMS if name != "naive"]:
        ratio = statistics.median(a / b for a, b in zip(times[name], times["naive"], strict=True))
        limit = MARGIN * through[name]
        print(f"  {name:11} {ratio:.2f} x naive (limit {limit:.2f}, of {through[name]:.2f} passes)")


def learn(strategy: clbench.Strategy, tasks: list[TaskData]) -> None:
    """A whole stream, without evaluations but the last one's preparation."""
    for given in tasks:
        strategy.learn(given)
    strategy.prepare()


def streams(blocks: int) -> None:
    """Whole streams of five tasks, learnt by a new learner each time."""
    for scenario, names in STREAMS.items():
        words = (
            f"scenario={scenario}",
            "data=digits",
            "model=mlp",
            "device=cpu",
            "strategy.lr=0.01",
        )
        size = (f"strategy.epochs={EPOCHS}", f"strategy.batch_size={BATCH}", "scenario.n_tasks=5")
        runs = {n: clbench.prepare(*words, *size, f"strategy={n}") for n in names}
        stream = runs["naive"].stream
        tasks = [stream.experience(t) for t in range(5)]
        times: dict[str, list[float]] = {name: [] for name in names}
        for block in range(blocks + 1):
            for name, run in runs.items():
                spent = seconds(learn, run.strategy(), tasks)
                if block:  # the first one warms up
                    times[name].append(spent)
        milli = statistics.median(times["naive"]) * 1e3
        print(f"{scenario}, naive: {milli:.0f} ms a stream (for scale only)")
        for name in names[1:]:
            ratios = [a / b for a, b in zip(times[name], times["naive"], strict=True)]
            low, high = min(ratios), max(ratios)
            print(f"  {name:11} {statistics.median(ratios):.1f} x naive ({low:.1f} to {high:.1f})")


def insertions(blocks: int) -> None:
    """One experience into a full memory, by its size and the memory's."""
    for size in (500, 5000, 50_000):
        memory = SampleMemory(size, "reservoir", slot_layout(INFO))
        memory.add(task(0, size))
        for n in (10, 1280):
            spent = [
                seconds(memory.add, task(t, n))
                for t in range(size // n + 1, size // n + max(2, blocks))
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
    streams(max(1, blocks // 4))
    insertions(blocks)


if __name__ == "__main__":
    main()
