"""Kanerva memory: 10,000 latents of 448 dimensions into 256 rows, by blocks and one by one.

Run by hand, ``python benchmarks/memory.py``: about a minute on one thread. The one-by-one arm is the
textbook loop in float32: solve the address by the memory as it stands, update mean and covariance by
an outer product each. The arms take turns, so that whatever else the machine does hits them alike;
the table gives the median over rounds of the ratio to the loop. The loop takes every 20th latent and
its time is multiplied by 20.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from clbench.memory.kanerva import KanervaMemory

N, WIDTH, ROWS, SHARE, ROUNDS = 10_000, 448, 256, 20, 7
BLOCKS = (64, 128, 256)


def loop(mean: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Write ``(n, C)`` samples one by one; returns R and U."""
    mean, covariance, ridge = mean.clone(), torch.eye(len(mean)), torch.eye(len(mean))
    for sample in z:
        w = torch.linalg.solve(torch.addmm(ridge, mean, mean.T), mean @ sample)
        spread = covariance @ w
        gain = spread / (w @ spread + 1)
        error = sample - w @ mean
        mean.addr_(gain, error)
        covariance.addr_(gain, spread, alpha=-1)
    return mean, covariance


def memory(block: int) -> KanervaMemory:
    """The same memory each time, empty."""
    torch.manual_seed(0)
    return KanervaMemory(ROWS, WIDTH, WIDTH, block=block)


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    z = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(1))
    few = z[::SHARE].contiguous()
    # One by one both are the same memory.
    one, prior = memory(1), memory(1).mean
    one.write(few, few)
    mean, _ = loop(prior, few)
    print(f"block 1 differs from the loop by {float((one.mean - mean).norm() / mean.norm()):.0e}")
    times: dict[int, list[float]] = {block: [] for block in (0, *BLOCKS)}
    for round_ in range(ROUNDS + 1):
        row = {0: seconds(lambda: loop(prior, few)) * SHARE}
        for block in BLOCKS:
            m = memory(block)
            row[block] = seconds(lambda m=m: m.write(z, z))  # type: ignore[misc]
        for block, value in row.items() if round_ else ():  # the first round warms up
            times[block].append(value)
    print(f"{N:,} writes of {WIDTH} dimensions into {ROWS} rows, one thread, {ROUNDS} rounds")
    print(f"one by one {statistics.median(times[0]):6.2f} s (scaled)")
    for block in BLOCKS:
        ratios = [slow / fast for slow, fast in zip(times[0], times[block], strict=True)]
        print(
            f"block {block:3d}  {statistics.median(times[block]):6.2f} s  "
            f"{statistics.median(ratios):5.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f})"
        )


if __name__ == "__main__":
    main()
