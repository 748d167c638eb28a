"""Speed of choosing and writing: a write of Kanerva++, and facility location.

Run by hand, ``OMP_NUM_THREADS=1 python -m benchmarks.memory_speed``: a minute on one thread. A write of
an episode of 32 images is compared with one pass of the encoder over the same images, up to q(y | x)
and q(z | x), and with that of its convolutions alone; they take turns, and the median of the ratios of
CPU seconds counts. Facility location picks 500 of 5,000 features of 448
numbers, drawn around 50 centres.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from clbench.memory.kanerva_pp import KanervaPP, Sizes
from clbench.memory.submodular import facility_location

EPISODE, ROUNDS, REPEATS = 32, 15, 20
N, WIDTH, PICKS, CENTRES = 5_000, 448, 500, 50


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = KanervaPP((28, 28), torch.uint8, 1 / 255, Sizes())
    x = torch.randint(256, (EPISODE, 28, 28), dtype=torch.uint8)
    calls = (
        lambda: model.write(x),
        lambda: model.infer(x),
        lambda: model.encoder(x / 255),
    )
    rows = [[seconds(call, REPEATS) for call in calls] for _ in range(ROUNDS + 1)][1:]
    write, infer, layers = (1e3 * statistics.median(column) for column in zip(*rows, strict=True))
    print(f"write of {EPISODE} images {write:.2f} ms")
    for name, cost, at in (("encoder", infer, 1), ("its convolutions", layers, 2)):
        ratios = [row[0] / row[at] for row in rows]
        print(
            f"  {name} {cost:.2f} ms: {statistics.median(ratios):.2f} times "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    features = torch.randn(CENTRES, WIDTH).repeat(N // CENTRES, 1) + torch.randn(N, WIDTH)
    times = [seconds(lambda: facility_location(features, PICKS)) for _ in range(3)]
    made = facility_location(features, PICKS).evaluations
    print(
        f"facility location, {PICKS} of {N:,} x {WIDTH}: {min(times):.2f} to {max(times):.2f} s, "
        f"{made:,} gains of plain greedy's {N * PICKS:,}"
    )


if __name__ == "__main__":
    main()
