"""Exact Fisher of a small convolutional network, against a backward pass per (sample, class).

Run by hand, ``python benchmarks/fisher.py [--chunk N]``: half a minute on one thread. The arms take
turns in one process, so that other load affects them alike; the table gives the
median over rounds of the ratio to ``clbench.fisher.estimate``. The slow arms take every 20th image
and their time is multiplied by 20: their cost is a plain loop over images. Memory is the growth of
a fresh process's peak resident size over one estimate, after a warm-up on two images.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from clbench.fisher import estimate

N_SAMPLES, SHARE, ROUNDS = 1000, 20, 9


def network() -> nn.Module:
    """Two convolutions and two linear layers on 28×28 images: 21,840 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 10, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(10, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(320, 50),
        nn.ReLU(),
        nn.Linear(50, 10),
    )


def shared_forward(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """One forward pass per sample, one backward pass per class."""
    names, params = zip(*model.named_parameters(), strict=True)
    total = [torch.zeros_like(p) for p in params]
    for sample in x:
        log_p = model(sample[None])[0].log_softmax(0)
        for log_p_c in log_p:
            gradients = torch.autograd.grad(log_p_c, params, retain_graph=True)
            weight = float(log_p_c.detach().exp()) / len(x)
            for sum_, g in zip(total, gradients, strict=True):
                sum_.addcmul_(g, g, value=weight)
    return dict(zip(names, total, strict=True))


def own_forward(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """One forward and backward pass per (sample, class)."""
    names, params = zip(*model.named_parameters(), strict=True)
    total = [torch.zeros_like(p) for p in params]
    for sample in x:
        for c in range(10):
            log_p_c = model(sample[None])[0].log_softmax(0)[c]
            gradients = torch.autograd.grad(log_p_c, params)
            weight = float(log_p_c.detach().exp()) / len(x)
            for sum_, g in zip(total, gradients, strict=True):
                sum_.addcmul_(g, g, value=weight)
    return dict(zip(names, total, strict=True))


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def setup() -> tuple[nn.Module, Tensor]:
    """The network and random images, the same in every process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return network(), torch.randn(N_SAMPLES, 1, 28, 28)


def extra_megabytes(chunk: int | None) -> float:
    """Growth of this process's peak resident size over one estimate."""
    model, x = setup()
    estimate(model, x[:2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    estimate(model, x, chunk=chunk)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return kilobytes / (1024 * 1024 if sys.platform == "darwin" else 1024)


def compare(chunk: int | None) -> None:
    """Time the arms in turn and print the table."""
    model, x = setup()
    few = x[::SHARE].contiguous()
    arms: dict[str, Callable[[], dict[str, Tensor]]] = {
        "a shared forward per sample": lambda: shared_forward(model, few),
        "a forward for each": lambda: own_forward(model, few),
    }
    exact = estimate(model, few)
    times: dict[str, list[float]] = {name: [] for name in ("estimate", *arms)}
    for round_ in range(ROUNDS + 1):
        row = {"estimate": seconds(lambda: estimate(model, x, chunk=chunk))}
        row |= {name: seconds(arm) * SHARE for name, arm in arms.items()}
        for name, value in row.items() if round_ else ():  # the first round warms up
            times[name].append(value)
    ours = times["estimate"]
    print(f"exact Fisher, {N_SAMPLES} images, one thread, median of {ROUNDS} rounds")
    print(f"{'clbench.fisher.estimate':32s} {statistics.median(ours):6.2f} s")
    for name, arm in arms.items():
        ratios = [slow / fast for slow, fast in zip(times[name], ours, strict=True)]
        found = arm()
        error = max(float((found[k] - exact[k]).norm() / exact[k].norm()) for k in exact)
        print(
            f"backward per pair, {name:27s} {statistics.median(times[name]):6.2f} s (scaled) "
            f"ratio {statistics.median(ratios):5.1f} ({min(ratios):.1f} to {max(ratios):.1f}) "
            f"difference {error:.0e}"
        )


def small_network() -> None:
    """Print what a strategy pays per task with 256 small samples."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    x, blocked = torch.randn(256, 64), torch.arange(10) > 1
    for name, logits in (
        ("10 classes", None),
        ("masked to 2", lambda x: model(x).masked_fill(blocked, -torch.inf)),
    ):
        times = [seconds(lambda: estimate(model, x, logits=logits)) for _ in range(200)]  # noqa: B023
        print(f"64-64-10 MLP, 256 samples, {name}: {statistics.median(times) * 1e3:.2f} ms")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunk", type=int, help="samples at once; default: estimate's own choice")
    parser.add_argument("--memory", action="store_true", help="print only the extra megabytes")
    args = parser.parse_args()
    if args.memory:
        print(f"{extra_megabytes(args.chunk):.0f}")
        return
    # First, while this process is small: a child's peak starts from its parent's.
    command = [sys.executable, *sys.argv, "--memory"]
    megabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    compare(args.chunk)
    print(f"extra peak memory: {megabytes} MB")
    small_network()


if __name__ == "__main__":
    main()
