"""Is the cost of a task flat? Task 10,000 against task 100, one evaluation each, digits MLP.

One run is advanced to task 9,900 and another to task 50; then they take turns, one task each, so
that the ratio (median over 100 pairs) holds on a noisy machine. Memory is the growth of the
process's peak between tasks 100 and 9,900 of the long run.

    python benchmarks/long_run.py
"""

from __future__ import annotations

import argparse
import statistics
import time

from clbench import seeding
from clbench.configure.config import resolve
from clbench.engine.build import prepare
from clbench.engine.harness import _Loop, start_ledger
from clbench.engine.ledger import Ledger
from clbench.util.environment import peak_rss_bytes

ARMS = {
    "naive": ["strategy=naive"],
    "ewc online": ["strategy=ewc"],
    "ewc separate": ["strategy=ewc", "strategy.mode=separate"],
}


def stepper(words: list[str]) -> _Loop:
    """A run that is advanced one task at a time."""
    run = prepare(
        resolve(["scenario=scole", "scenario.n_tasks=null", "max_tasks=20000", *words])[0]
    )
    return _Loop(run, run.strategy(), start_ledger(run), lambda ledger: None, None)


def one_task(loop: _Loop) -> float:
    """Learn and evaluate one task; return the seconds."""
    start = time.perf_counter()
    loop._learn(loop.run.stream.draw(loop.ledger.experiences))
    loop._evaluate()
    return time.perf_counter() - start


def state_of(ledger: Ledger) -> str:
    """Bytes of the strategy's state, which must not grow."""
    return f"{ledger.state_bytes / 1e3:.1f} kB of state"


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=9_900)
    tasks = parser.parse_args().tasks
    for name, words in ARMS.items():
        with seeding.preserved(1):
            far, near = stepper(words), stepper(words)
            for _ in range(50):
                one_task(near)
            for _ in range(100):
                one_task(far)
            before = peak_rss_bytes() or 0
            for _ in range(tasks - 100):
                one_task(far)
            grown = (peak_rss_bytes() or 0) - before
            pairs = [(one_task(far), one_task(near)) for _ in range(100)]
        ratio = statistics.median(a / b for a, b in pairs)
        print(
            f"{name:13} task {tasks:,} / task 100: {ratio:.2f}, "
            f"peak memory grew by {grown / 1e6:.1f} MB, {state_of(far.ledger)}"
        )


if __name__ == "__main__":
    main()
