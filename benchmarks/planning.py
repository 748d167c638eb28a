"""Seconds of CPU that it takes to plan 1,000 runs of one scenario, and how many a point.

``python -m benchmarks.planning`` plans each sweep twice in a process of its own: the first time has the
imports of torch and of the data in it, the second has not.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
import time

SWEEPS = {
    "1000 seeds": ("strategy.lr=0.1", "seed=0..999"),
    "10 rates x 100 seeds": (
        "strategy.lr=" + ",".join(f"{n / 100}" for n in range(1, 11)),
        "seed=0..99",
    ),
    "1000 penalties": ("strategy=ewc", "ewc.lam=" + ",".join(str(n) for n in range(1, 1001))),
    "1000 rates": ("strategy.lr=" + ",".join(f"{n / 1000}" for n in range(1, 1001)),),
}


def measure(words: tuple[str, ...]) -> tuple[float, float]:
    """Seconds of CPU of a first and of a second plan in this process."""
    from clbench.cli import main

    found = []
    for _ in range(2):
        start = time.process_time()
        with (
            tempfile.TemporaryDirectory() as out,
            contextlib.redirect_stdout(io.StringIO()) as said,
        ):
            strategy = () if "strategy=ewc" in words else ("strategy=naive",)
            given = ["scenario=scole", *strategy, *words, "--dry-run", "-q", "--out", out]
            assert main(["run", *given]) == 0
        assert len(said.getvalue().splitlines()) == 1000
        found.append(time.process_time() - start)
    return found[0], found[1]


def main() -> None:
    """Print a line for each sweep."""
    if len(sys.argv) > 1:
        first, second = measure(SWEEPS[sys.argv[1]])
        print(f"{sys.argv[1]:<24}{first:8.2f} s{second:8.2f} s{second:8.2f} ms a point")
        return
    print(f"{'':<24}{'first':>10}{'again':>10}")
    for name in SWEEPS:
        subprocess.run([sys.executable, "-m", "benchmarks.planning", name], check=True)


if __name__ == "__main__":
    main()
