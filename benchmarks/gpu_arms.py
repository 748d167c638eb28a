"""The arms of the part ``step`` of ``gpu.py``: each takes as many steps on the same batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.engine.compiling import compile_network
from clbench.nets.precision import cast
from clbench.plugins.registry import find
from clbench.strategy import Strategy, StreamInfo
from clbench.task_data import TaskData

LR, CLIP, N_CLASSES = 0.01, 10.0, 10
SHAPES = {"mlp": (64,), "resnet32": (3, 32, 32), "resnet18": (3, 32, 32)}
Arm = Callable[[], object]


def arms(
    network: str, batch_size: int, n_steps: int, device: torch.device, compiled: bool
) -> dict[str, Arm]:
    """By name: a call does ``n_steps`` steps. ``by hand`` is what the others are compared with.

    Args:
        network: a model plug-in.
        batch_size: samples of a step.
        n_steps: steps of a call.
        device: where all of it lies.
        compiled: whether arms that compile are among them.
    """
    shape = SHAPES[network]
    n = batch_size * n_steps
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8).to(device)
    y = torch.randint(0, N_CLASSES, (n,), generator=generator).to(device)
    task = TaskData(x, y, torch.arange(n, device=device))
    torch.manual_seed(0)
    model = find("model", network).load()().build(shape, N_CLASSES, 1 / 255).to(device)

    def ours(precision: str = "float32", *, fast: bool = False) -> Arm:
        strategy = _strategy(cast(copy.deepcopy(model), precision), shape, batch_size, device)
        if fast:
            said = compile_network(strategy, threads=0)
            if said is not None:
                return _refuses(said)

        def arm() -> None:
            before = torch.get_deterministic_debug_mode()
            torch.set_deterministic_debug_mode("error")  # as in a run
            try:
                strategy.learn(task)
            finally:
                torch.set_deterministic_debug_mode(before)

        return arm

    def hand(*, half: bool = False, fast: bool = False) -> Arm:
        return _by_hand(copy.deepcopy(model), task, batch_size, half, fast)

    found = {"by hand": hand(), "by hand, bf16": hand(half=True)}
    found |= {"clbench": ours(), "clbench, bf16": ours("bf16")}
    if compiled:
        found["by hand, compiled"] = hand(fast=True)
        found["by hand, compiled, bf16"] = hand(half=True, fast=True)
        found["clbench, compiled"] = ours(fast=True)
        found["clbench, compiled, bf16"] = ours("bf16", fast=True)
    if device.type == "cuda":
        found["by hand, CUDA graph"] = _graphed(copy.deepcopy(model), task, batch_size)
    return found


def _refuses(line: str) -> Arm:
    def arm() -> None:
        raise RuntimeError(line)

    return arm


def _strategy(
    model: nn.Module, shape: tuple[int, ...], batch_size: int, device: torch.device
) -> Strategy:
    info = StreamInfo(shape, torch.uint8, 1 / 255, N_CLASSES, None)
    cls = find("strategy", "naive").load()
    config = cls.Config(batch_size=batch_size, lr=LR, clip_norm=CLIP)
    strategy: Strategy = cls(info, config, lambda: model)
    return strategy.to(device)


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, half: bool
) -> None:
    context: AbstractContextManager[object] = nullcontext()
    if half:
        context = torch.autocast(x.device.type, torch.bfloat16)
    optimizer.zero_grad()
    with context:
        scores = model(x)
    F.cross_entropy(scores.float(), y).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()


def _by_hand(model: nn.Module, task: TaskData, batch_size: int, half: bool, fast: bool) -> Arm:
    """The idiomatic loop: tensors on the device, batches are slices."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    called = torch.compile(model) if fast else model

    def arm() -> None:
        model.train()
        for x, y in zip(task.x.split(batch_size), task.y.split(batch_size), strict=True):
            _step(called, optimizer, x, y, half)  # type: ignore[arg-type]

    return arm


def _graphed(model: nn.Module, task: TaskData, batch_size: int) -> Arm:
    """One step captured as a CUDA graph, into whose inputs each batch is copied."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    x, y = task.x[:batch_size].clone(), task.y[:batch_size].clone()
    graph: list[torch.cuda.CUDAGraph] = []

    def capture() -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # as torch's notes on CUDA graphs ask for
            for _ in range(3):
                _step(model, optimizer, x, y, False)
        torch.cuda.current_stream().wait_stream(side)
        optimizer.zero_grad(set_to_none=True)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            _step(model, optimizer, x, y, False)
        graph.append(captured)

    def arm() -> None:
        if not graph:
            capture()
        batches = zip(task.x.split(batch_size), task.y.split(batch_size), strict=True)
        for x_batch, y_batch in batches:
            x.copy_(x_batch)
            y.copy_(y_batch)
            graph[0].replay()

    return arm
