"""SLDA and NMC on latents of 448 dimensions: by batches and one by one, and the product inside.

Run by hand, ``python -m benchmarks.latent_heads``: half a minute on one thread; with ``--page`` it
rewrites its table in ``docs/scale.md``. For each head three
arms take turns, so that other load affects them alike: ``learn`` of the strategy; the textbook
recursion in float32, one sample at a time, with means and counts as tensors (on every 20th latent,
with its time multiplied by 20); and the matrix product of an update alone, ``(448, B) (B, 448)``
for SLDA and ``(classes, B) (B, 448)`` for NMC. Times are processor time. The table gives medians
over rounds of ratios within a round: how many times as fast as the recursion, and the share of the
product's rate. Beside it stands the share that the operations of an update alone reach, of tensors that
are there: for SLDA ``(B, B) (B, 448)`` turns gaps into the recursion's rows, and means are looked up
and moved.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.scale_page import DOCS, put
from clbench.plugins.registry import find
from clbench.strategy import Strategy, StreamInfo
from clbench.stream import TaskData

N, WIDTH, CLASSES, SHARE, ROUNDS = 10_000, 448, 100, 20, 15
BATCHES = (10, 64, 256)
Loop = Callable[[Tensor, list[int]], Tensor]
Product = Callable[[Sequence[Tensor]], None]


def slda_loop(x: Tensor, y: list[int]) -> Tensor:
    """The published recursion; returns the covariance."""
    mean, count = torch.zeros(CLASSES, x.shape[1]), torch.zeros(CLASSES)
    covariance = torch.zeros(x.shape[1], x.shape[1])
    for n, (sample, label) in enumerate(zip(x, y, strict=True)):
        delta = sample - mean[label]
        covariance = (n * covariance + n / (n + 1) * torch.outer(delta, delta)) / (n + 1)
        count[label] += 1
        mean[label] += delta / count[label]
    return covariance


def nmc_loop(x: Tensor, y: list[int]) -> Tensor:
    """Running means, one sample after another; returns them."""
    mean, count = torch.zeros(CLASSES, x.shape[1]), torch.zeros(CLASSES)
    for sample, label in zip(x, y, strict=True):
        count[label] += 1
        mean[label] += (sample - mean[label]) / count[label]
    return mean


def head(name: str, batch_size: int) -> Strategy:
    """A strategy before training."""
    cls = find("strategy", name).load()
    info = StreamInfo((WIDTH,), torch.float32, 1.0, CLASSES, None)
    return cls(info, cls.Config(batch_size=batch_size), nn.Identity)


def slda_product(x: Sequence[Tensor]) -> None:
    """The matrix product of every update alone, of the rows with themselves."""
    total = torch.zeros(WIDTH, WIDTH)
    for part in x:
        total.addmm_(part.mT, part)


def nmc_product(x: Sequence[Tensor]) -> None:
    """One-hot labels times the rows."""
    total, hot = torch.zeros(CLASSES, WIDTH), torch.ones(CLASSES, len(x[0]))
    for part in x:
        total.addmm_(hot[:, : len(part)], part)


def slda_update(x: Sequence[Tensor]) -> None:
    """The operations that the recursion needs for every batch: look up, turn, multiply, move."""
    total, mean = torch.zeros(WIDTH, WIDTH), torch.zeros(CLASSES, WIDTH)
    of, turn = torch.arange(len(x[0])) % CLASSES, torch.eye(len(x[0]))
    for part in x:
        n = len(part)
        gaps = part - mean.index_select(0, of[:n])
        rows = turn[:n, :n] @ gaps
        total.addmm_(rows.mT, rows)
        mean.index_add_(0, of[:n], gaps.mul_(0.1))


def nmc_update(x: Sequence[Tensor]) -> None:
    """The operations that running means need for every batch: look up, move."""
    mean, of = torch.zeros(CLASSES, WIDTH), torch.arange(len(x[0])) % CLASSES
    for part in x:
        n = len(part)
        gaps = part - mean.index_select(0, of[:n])
        mean.index_add_(0, of[:n], gaps.mul_(0.1))


def seconds(call: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.thread_time()
    call()
    return time.thread_time() - start


def measure(name: str, loop: Loop, product: Product, update: Product) -> list[str]:
    """Time all arms of one head in turn; returns its rows."""
    seed = torch.Generator().manual_seed(1)
    y = torch.randint(CLASSES, (N,), generator=seed)
    x = torch.randn(CLASSES, WIDTH, generator=seed)[y] + torch.randn(N, WIDTH, generator=seed)
    task = TaskData(x, y, torch.arange(N))
    few, labels = x[::SHARE].contiguous(), y[::SHARE].tolist()
    arms: dict[int, list[tuple[float, float, float]]] = {size: [] for size in BATCHES}
    for round_ in range(ROUNDS + 1):
        slow = seconds(lambda: loop(few, labels)) * SHARE
        for size in BATCHES:
            strategy = head(name, size)
            fast = seconds(lambda s=strategy: s.learn(task))  # type: ignore[misc]
            bare = seconds(lambda b=size: product(x.split(b)))  # type: ignore[misc]
            least = seconds(lambda b=size: update(x.split(b)))  # type: ignore[misc]
            if round_:  # the first warms up
                arms[size].append((slow / fast, bare / fast, bare / least))
    rows = []
    for size, ratios in arms.items():
        times, share, best = (statistics.median(column) for column in zip(*ratios, strict=True))
        rows.append(f"| {name} | {size} | {times:.1f} | {share:.2f} | {best:.2f} |")
    return rows


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--page", action="store_true", help="rewrite the table in docs/scale.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "| head | batch | times as fast as one by one | share of the product's rate | "
        "of the update's operations alone |",
        "| --- |" + " ---: |" * 4,
        *measure("slda", slda_loop, slda_product, slda_update),
        *measure("nmc", nmc_loop, nmc_product, nmc_update),
    ]
    print("\n".join(lines))
    if asked.page:
        put(DOCS / "scale.md", "heads", "python -m benchmarks.latent_heads --page", (), lines)


if __name__ == "__main__":
    main()
