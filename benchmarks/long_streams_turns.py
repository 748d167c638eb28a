"""The loop of clbench and the hand-written one in one process, a stream each in turn.

``long_streams.py`` gives every arm a process of its own, so that after each turn caches are cold. Here
two arms share one: streams of ten tasks, all of them counted (warm: what is imported and compiled at
first use is no cost of a task), and of 150 tasks, of which those from task 50 on count. A second table
takes a counted ``learn`` of naive apart.

    python benchmarks/long_streams_turns.py            # half a minute of CPU a part; --rounds N
    python benchmarks/long_streams_turns.py --page     # rewrites its table in docs/long_streams.md
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for benchmarks.scale_page, run as a script

PARTS = {"naive": "strategy=naive", "er": "strategy=er", "ewc online": "strategy=ewc"}
TITLES = {"naive": "naive", "er": "replay", "ewc online": "EWC online"}
SHORT, LONG, FROM = 10, 150, 50


def streams(part: str, n_tasks: int) -> tuple[Callable[[], list[float]], Callable[[], list[float]]]:
    """Two functions that run a stream, by hand and in clbench, and give CPU seconds a task."""
    from long_streams_loops import by_hand, clbench
    from long_streams_work import Clock, Work

    work = Work(n_tasks)

    class Kept(Clock):
        def __init__(self) -> None:
            super().__init__(None)

        def begin(self) -> None:
            self.seconds = []
            self.started = time.process_time()

    def hand() -> list[float]:
        clock = Kept()
        by_hand(work, False, clock, part)
        return clock.seconds

    def ours() -> list[float]:
        clock = Kept()
        clbench(work, False, clock, (PARTS[part],))
        return clock.seconds

    return hand, ours


def compare(part: str, n_tasks: int, since: int, rounds: int) -> tuple[list[float], list[float]]:
    """By hand / clbench of each round: of medians over tasks, and of means."""
    hand, ours = streams(part, n_tasks)
    medians, means = [], []
    for round_ in range(rounds + 1):
        a, b = hand()[since:], ours()[since:]
        if round_:  # the first warms up
            medians.append(statistics.median(a) / statistics.median(b))
            means.append(statistics.mean(a) / statistics.mean(b))
    return medians, means


def counted(times: int) -> list[str]:
    """Milliseconds of a ``learn`` of naive: plain, in an empty dispatch mode, counted, watched."""
    import torch
    from long_streams_work import Work
    from torch.utils._python_dispatch import TorchDispatchMode

    from clbench.engine.counting import watching
    from clbench.nets.flops import Count

    class Empty(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            return func(*args, **(kwargs or {}))

    torch.manual_seed(0)
    run = Work(2).run()
    strategy, task = run.strategy(), run.stream.gather(run.stream.draw(0))
    inside = {
        "as it is": nullcontext,
        "in an empty dispatch mode": Empty,
        "its operations counted": Count,
        "and what is held looked at": lambda: watching(strategy, task),
    }
    seconds: dict[str, list[float]] = {name: [] for name in inside}
    for round_ in range(times + 1):
        for name, context in inside.items():
            start = time.process_time()
            with context():
                strategy.learn(task)
            if round_:
                seconds[name].append(time.process_time() - start)
    medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    rows = [
        f"| {name} | {ms:.2f} | {ms / medians['as it is']:.2f} |" for name, ms in medians.items()
    ]
    return ["", "| `learn` of naive, one task | ms | times |", "| --- | ---: | ---: |", *rows]


def spread(values: Sequence[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--page", action="store_true", help="rewrite the table of the page")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    lines = [
        "| by hand / clbench | ten warm tasks, ≥ 0.7 | tasks 50 to 150, medians, ≥ 1 | means |",
        "| --- | ---: | ---: | ---: |",
    ]
    for part in PARTS:
        _, short = compare(part, SHORT, 0, asked.rounds)
        medians, means = compare(part, LONG, FROM, asked.rounds)
        cells = (spread(values) for values in (short, medians, means))
        lines.append(f"| {TITLES[part]} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    apart = counted(10 * asked.rounds)
    print("\n".join(apart))
    lines += apart
    if asked.page:
        from benchmarks.scale_page import DOCS, put

        command = "python benchmarks/long_streams_turns.py --page"
        words = ("scenario=scole", "data=digits", "strategy=naive,er,ewc")
        put(DOCS / "long_streams.md", "turns", command, words, lines)


if __name__ == "__main__":
    main()
