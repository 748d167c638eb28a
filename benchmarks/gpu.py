"""What clbench does on a GPU, in one command of less than ten minutes: a table, and JSON.

    python benchmarks/gpu.py --out gpu.json                # on the first CUDA device
    python benchmarks/gpu.py --device cpu --small          # tries the script itself

Five parts, each with its own share of the time (``--part`` runs one):

- ``tests``: ``pytest -m gpu tests/gpu``: the contract of every strategy, runs, the mapped pool.
- ``repeat``: runs that are made twice give the same bits.
- ``step``: the milliseconds of a training step, by clbench's loop (eager, compiled, bf16; in the
  deterministic mode of its runs) and by a loop written by hand (eager, compiled, bf16, and a CUDA
  graph). Arms take turns, and each round ends with a wait for the device. × is the hand loop's eager
  time divided by the arm's, in the same round.
- ``evaluation``: samples per second of an evaluation of the world by a linear network, which reads each
  sample once, beside what the memory's bandwidth allows. The bandwidth is that of a large copy,
  measured here.
- ``sharing``: eight runs one after another in one process, against eight that share the card
  (``--jobs 8``).

A part that fails says so in the JSON and does not stop the others; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gpu_arms import arms

ROOT = Path(__file__).resolve().parents[1]
BUDGET = {"tests": 270, "repeat": 60, "step": 130, "evaluation": 20, "sharing": 100}
"""Seconds of each part, 580 in all."""
RUNS = 8
STREAM = ("scenario=scole", "scenario.share=0.5", "data=digits")


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    device: torch.device
    small: bool
    """So little that a CPU does it in a minute: nothing that is worth reading."""

    @property
    def words(self) -> tuple[str, ...]:
        """The stream of whole runs."""
        n_tasks = 4 if self.small else 40
        return (*STREAM, f"scenario.n_tasks={n_tasks}", f"device={self.device}")


def wait(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(device: torch.device, call: Callable[[], object], times: int) -> float:
    """Seconds of one call, of ``times`` of them at once."""
    wait(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    wait(device)
    return (time.perf_counter() - start) / times


def tests(plan: Plan, deadline: float) -> dict[str, Any]:
    """Run the tests that need a GPU, in a process of their own."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-q",
        "-m",
        "gpu",
        "-p",
        "no:cacheprovider",
    ]
    command += ["tests/gpu", "-k", "mapped"] if plan.small else ["tests/gpu"]
    environment = {**os.environ}
    if plan.device.type != "cuda":
        environment["CLBENCH_TEST_DEVICE"] = str(plan.device)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=max(1.0, deadline - time.monotonic()),
    )
    found = dict.fromkeys(("passed", "failed", "skipped"), 0)
    last = (done.stdout.splitlines() or [""])[-1]
    for number, name in re.findall(r"(\d+) (passed|failed|skipped|error)", last):
        found[name] = int(number)
    failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    if done.returncode or not found["passed"]:
        raise RuntimeError(f"{last}; {', '.join(failed[:20])}")
    return found


def repeat(plan: Plan, deadline: float) -> dict[str, Any]:
    """Make runs twice; whether predictions are the same to the bit."""
    from clbench import run as clbench_run

    cases = [
        ("naive", "mlp"),
        ("er", "mlp"),
        ("ewc", "mlp"),
        ("slda", "mlp"),
        ("naive", "resnet32"),
    ]
    found: dict[str, Any] = {}
    for strategy, model in cases[:2] if plan.small else cases:
        for precision in ("float32", "bf16") if strategy in ("naive", "er") else ("float32",):
            if time.monotonic() > deadline:
                break
            words = (*plan.words, f"strategy={strategy}", f"precision={precision}")
            words += () if strategy == "slda" else (f"model={model}",)
            hashes = []
            for _ in range(2):
                with tempfile.TemporaryDirectory() as out:
                    record = clbench_run(*words, out=out, quiet=True)
                hashes.append(record.predictions_sha256)
            found[f"{strategy}, {model}, {precision}"] = hashes[0] == hashes[1]
    if not all(found.values()):
        raise RuntimeError(
            f"not the same bits: {[name for name, same in found.items() if not same]}"
        )
    return found


def step(plan: Plan, deadline: float) -> dict[str, Any]:
    """The milliseconds of a step of each arm, and × against the hand loop."""
    networks = {"mlp": 64} if plan.small else {"mlp": 64, "resnet32": 128, "resnet18": 128}
    found: dict[str, Any] = {}
    for number, (network, batch_size) in enumerate(networks.items()):
        until = deadline - (deadline - time.monotonic()) * (1 - 1 / (len(networks) - number))
        n_steps, rounds = (4, 2) if plan.small else (20, 9)
        made = arms(network, batch_size, n_steps, plan.device, compiled=not plan.small)
        taken: dict[str, list[float]] = {name: [] for name in made}
        why: dict[str, str] = {}
        for name, arm in made.items():
            try:  # compilers and graphs may refuse a network
                for _ in range(2):
                    arm()
            except Exception as error:
                why[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        for _ in range(rounds):
            if time.monotonic() > until and taken["by hand"]:
                break
            for name, arm in made.items():
                if name not in why:
                    taken[name].append(seconds(plan.device, arm, 1) / n_steps)
        rows = {}
        for name, spent in taken.items():
            if name in why or not spent:
                rows[name] = {"refused": why.get(name, "no time left")}
                continue
            ratios = [a / b for a, b in zip(taken["by hand"], spent, strict=True)]
            rows[name] = {"ms": 1e3 * statistics.median(spent), "x": statistics.median(ratios)}
        found[f"{network}, batch {batch_size}"] = rows
    return found


def evaluation(plan: Plan, deadline: float) -> dict[str, Any]:
    """Samples per second of an evaluation, and what the memory's bandwidth allows."""
    import numpy as np

    from clbench.engine.harness import BATCH_SIZE
    from clbench.world import World, evaluate

    n, width = (4096, 256) if plan.small else (200_000, 3072)
    x = torch.randint(0, 256, (n, width), dtype=torch.uint8, device=plan.device)
    target = torch.empty_like(x)
    copy = statistics.median(seconds(plan.device, lambda: target.copy_(x), 20) for _ in range(5))
    bandwidth = 2 * x.numel() / copy  # read and written
    y = torch.zeros(n, dtype=torch.int64, device=plan.device)
    cells = torch.full((1,), n, dtype=torch.int64, device=plan.device)
    position = torch.arange(n, device=plan.device)
    world = World((), cells, x, y, torch.zeros_like(y), position, None, None)
    found: dict[str, Any] = {"bandwidth GB/s": bandwidth / 1e9, "bytes per sample": width}
    for precision in ("float32", "bf16"):
        strategy = _linear(width, precision, plan.device)
        spent = statistics.median(
            seconds(plan.device, lambda s=strategy: evaluate(s, world, BATCH_SIZE), 1)
            for _ in range(5)
        )
        rate = n / spent
        found[precision] = {"samples/s": rate, "of the limit": rate * width / bandwidth}
    assert np.isfinite(bandwidth)
    return found


def _linear(width: int, precision: str, device: torch.device) -> torch.nn.Module:
    from clbench.nets.inputs import ToFloat
    from clbench.nets.precision import cast

    class Scores(torch.nn.Module):
        """A strategy as far as an evaluation sees it."""

        def __init__(self) -> None:
            super().__init__()
            layers = ToFloat(1 / 255), torch.nn.Linear(width, 10)
            self.model = cast(torch.nn.Sequential(*layers), precision)

        def forward(self, x: torch.Tensor, task_id: torch.Tensor | None = None) -> torch.Tensor:
            scores: torch.Tensor = self.model(x)
            return scores

    return Scores().to(device)


def sharing(plan: Plan, deadline: float) -> dict[str, Any]:
    """The seconds of eight runs, one after another and all at once."""
    n_runs = 2 if plan.small else RUNS
    found: dict[str, Any] = {}
    for jobs in (1, n_runs):
        with tempfile.TemporaryDirectory() as out:
            words = [*plan.words, "strategy=er", "model=mlp", f"seed=0..{n_runs - 1}"]
            command = [sys.executable, "-m", "clbench", "run", *words, f"--jobs={jobs}"]
            start = time.perf_counter()
            subprocess.run(
                [*command, "--out", out, "-q"],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=max(1.0, deadline - time.monotonic()),
            )
            found[f"{n_runs} runs, {jobs} at once"] = time.perf_counter() - start
    one, all_ = found.values()
    return {**found, "x": one / all_}


PARTS: dict[str, Callable[[Plan, float], dict[str, Any]]] = {
    "tests": tests,
    "repeat": repeat,
    "step": step,
    "evaluation": evaluation,
    "sharing": sharing,
}


def environment(device: torch.device) -> dict[str, str]:
    """The card and the software."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": name, "torch": torch.__version__, "cuda": str(torch.version.cuda)}


def main() -> int:
    """Run the parts, print what came out, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="little work, to try the script")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    args = parser.parse_args()
    plan = Plan(torch.device(args.device), args.small)
    if plan.device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU: torch.cuda.is_available() is false; --device cpu --small tries the script")
        return 2
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    results: dict[str, Any] = {"environment": environment(plan.device), "small": plan.small}
    has_failed = False
    for name in args.part or PARTS:
        start = time.monotonic()
        try:
            results[name] = PARTS[name](plan, start + BUDGET[name])
        except Exception as error:  # the other parts are still worth their time
            results[name] = {"failed": f"{type(error).__name__}: {str(error)[:1000]}"}
            has_failed = True
        results[name]["seconds"] = round(time.monotonic() - start, 1)
        print(json.dumps({name: results[name]}, indent=2), flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if has_failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
