"""Vision transformers: encoding, a step of tuning, and the Fisher, each beside what it is measured by.

CPU seconds of one thread; arms take turns, and medians of ratios over blocks are shown.

- ``encode``: images through ViT-S/14 without gradients, against the bare products of the same shapes
  (``torch.nn.functional.linear`` and the two products of attention), in a batch whose results stay in
  the cache. The ratio is the share of the product rate that encoding reaches.
- ``step``: a training step with LoRA against one that tunes everything, by ``strategy=naive``.
- ``fisher``: the empirical Fisher of all 22 million weights, and the peak memory of its process.

    python -m benchmarks.vit
    python -m benchmarks.vit --part fisher --images 1000

Weights are drawn: what is timed does not depend on them.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.data.released import VIT_S14
from clbench.fisher.estimators import estimate
from clbench.model import ToFloat
from clbench.nets.images import ColourImage
from clbench.nets.tuning import Tune, Tuning, tune
from clbench.nets.vit import Pool, Standardise, Vit
from clbench.plugins.registry import find
from clbench.strategy import StreamInfo
from clbench.stream import TaskData

PARTS = ("encode", "step", "fisher")
SHAPE = VIT_S14.shape
N_CLASSES, SIDE, BATCH = 10, 56, 32
PRODUCT_TOKENS = 2176
"""Tokens in the batch of the bare products."""


def network(how: Tune = "full") -> nn.Module:
    """ViT-S/14 for images of 56 pixels with an output layer, tuned in a way."""
    torch.manual_seed(0)
    vit = Vit(SHAPE, SIDE // SHAPE.patch)
    layers = (ToFloat(1 / 255), ColourImage(SIDE), Standardise(), vit, Pool("both"))
    net = nn.Sequential(*layers, nn.Linear(2 * SHAPE.width, N_CLASSES))
    return tune(net, Tuning(how, 8, (), 8), "vit_s14")


def in_turn(arms: Mapping[str, Callable[[], object]], blocks: int) -> dict[str, list[float]]:
    """CPU seconds of each arm in each block, after one block that warms up."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for block in range(blocks + 1):
        for name, call in arms.items():
            start = time.process_time()
            call()
            if block:
                times[name].append(time.process_time() - start)
    return times


def ratio(times: Mapping[str, list[float]], above: str, below: str) -> float:
    """The median ratio of two arms."""
    return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))


@torch.inference_mode()
def products(batch: int, grid: int) -> None:
    """The products of a forward pass, without anything between them."""
    n, d, h = 1 + grid * grid, SHAPE.width, SHAPE.heads
    patch = 3 * SHAPE.patch**2
    F.linear(torch.ones(batch * grid * grid, patch), torch.ones(d, patch), torch.ones(d))
    x, wide = torch.ones(batch * n, d), torch.ones(batch * n, 4 * d)
    weights = torch.ones(d, d), torch.ones(4 * d, d), torch.ones(d, 4 * d)
    query, mixing = torch.ones(batch * h, n, d // h), torch.ones(batch * h, n, n)
    for _ in range(SHAPE.depth):
        for _ in range(4):
            F.linear(x, weights[0], weights[0][0])
        torch.bmm(query, query.mT)
        torch.bmm(mixing, query)
        F.linear(x, weights[1], weights[2][0])
        F.linear(wide, weights[2], weights[0][0])


def encode(blocks: int) -> None:
    """Print the share of the product rate, for each resolution and batch."""
    for side, batches in ((56, (32, 128, 256)), (112, (32, 64))):
        grid = side // SHAPE.patch
        vit = Vit(SHAPE, grid).eval()
        at_once = max(1, PRODUCT_TOKENS // (1 + grid * grid))
        for batch in batches:
            x = torch.randn(batch, 3, side, side)
            few = min(batch, at_once)

            def ours(vit: Vit = vit, x: Tensor = x) -> None:
                with torch.inference_mode():
                    vit(x)

            def bare(few: int = few, rounds: int = batch // few, grid: int = grid) -> None:
                for _ in range(rounds):
                    products(few, grid)

            times = in_turn({"encode": ours, "products": bare}, blocks)
            share = ratio(times, "products", "encode") * batch / (batch // few * few)
            rate = batch / statistics.median(times["encode"])
            print(
                f"encode {side:3} px, batch {batch:3}: {rate:5.0f} images/s, {share:.2f}",
                flush=True,
            )


def step(blocks: int) -> None:
    """Print what a LoRA step costs of a full one."""
    x = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8)
    y = torch.randint(0, N_CLASSES, (BATCH,))
    task = TaskData(x, y, torch.arange(BATCH))
    cls = find("strategy", "naive").load()
    info = StreamInfo((3, SIDE, SIDE), torch.uint8, 1 / 255, N_CLASSES, None)
    kinds: tuple[Tune, ...] = ("full", "lora")
    learners = {
        how: cls(info, cls.Config(batch_size=BATCH, lr=0.01), lambda how=how: network(how))
        for how in kinds
    }
    arms = {how: lambda learner=one: learner.learn(task) for how, one in learners.items()}
    times = in_turn(arms, blocks)
    seconds = " ".join(f"{name} {statistics.median(t):.2f} s" for name, t in times.items())
    print(f"step, batch {BATCH}: {seconds}; LoRA / full = {ratio(times, 'lora', 'full'):.2f}")


def fisher(images: int) -> None:
    """Print the time and the memory of an estimate."""
    torch.manual_seed(0)
    net = network()
    x = torch.randint(0, 256, (images, 3, SIDE, SIDE), dtype=torch.uint8)
    y = torch.randint(0, N_CLASSES, (images,))
    start = time.process_time()
    found = estimate(net, x, y, "empirical")
    seconds = time.process_time() - start
    size = sum(tensor.numel() for tensor in found.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"fisher of {size:,} weights, {images} images: {seconds:.0f} s, peak {peak:.2f} GB")


def main() -> None:
    """Run each part in a process of its own, so that its peak memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, help="default: all, each in its own process")
    parser.add_argument("--blocks", type=int, default=5, help="turns of each arm")
    parser.add_argument("--images", type=int, default=1000, help="images of the Fisher")
    asked = parser.parse_args()
    if asked.part is None:
        for part in PARTS:
            words = ("--part", part, "--blocks", str(asked.blocks), "--images", str(asked.images))
            subprocess.run([sys.executable, "-m", "benchmarks.vit", *words], check=True)
        return
    torch.set_num_threads(1)
    if asked.part == "fisher":
        fisher(asked.images)
    else:
        {"encode": encode, "step": step}[asked.part](asked.blocks)


if __name__ == "__main__":
    main()
