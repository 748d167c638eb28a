"""The process of an isolated strategy: ``python -m clbench.leaderboard.reproduce.isolated_worker``.

The process receives a job, builds it inside the limits, and answers calls until its input ends. Torch
is imported after the rights on files are removed, because the removal applies to threads started later.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from clbench.leaderboard.reproduce import hygiene
from clbench.leaderboard.reproduce.wire import pack, read_frame, unpack, write_frame

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.strategy import Strategy

MAX_JOB = 1 << 24
"""Largest size of the first header (source texts and settings), in bytes."""
MAX_SAMPLES = 1 << 36
"""Largest size of the samples of one call, in bytes; the parent is trusted."""


def main() -> None:
    """Serve one strategy."""
    source, sink = _take_pipes()
    job, _ = read_frame(source, 0, MAX_JOB)
    folder = Path(job["folder"])
    if "files" in job["measures"]:
        hygiene.restrict_files(folder)
    from clbench import seeding

    if "cpu" in job["measures"]:
        hygiene.restrict_resources(hygiene.Limits(**job["limits"]), "memory" in job["measures"])
    with seeding.preserved(job["threads"]):
        plugin = folder / "strategy" / f"{job['strategy']['name']}.py"
        try:
            strategy = _build(job, folder)
            needs = vars(strategy.needs)
            declared = {"pretrained": bool(strategy.pretrained), "grows": bool(strategy.grows)}
            declared["training"] = strategy.training
        except Exception as error:
            write_frame(sink, {"id": 0, "error": _describe(error, plugin)})
            return
        write_frame(sink, {"id": 0, "needs": needs, **declared})
        _serve(strategy, job["device"], plugin, source, sink)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Move the pipes to the parent away from stdin and stdout, so that prints go to stderr."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


def _build(job: dict[str, Any], folder: Path) -> Strategy:
    """Build the strategy from texts, as ``Run.strategy`` does from files."""
    import torch
    from torch import nn

    from clbench import seeding
    from clbench.configure.typed import build as build_settings
    from clbench.nets.inputs import Moments, normalise
    from clbench.plugins.registry import Plugin
    from clbench.strategy import StreamInfo

    classes = {}
    for group in ("strategy", "model"):
        path = folder / group / f"{job[group]['name']}.py"
        path.parent.mkdir()
        path.write_text(job[group]["text"], encoding="utf-8")
        classes[group] = Plugin(group, path.stem, path).load()
    settings = build_settings(classes["strategy"].Config, job["strategy"]["settings"], "strategy.")
    model = build_settings(classes["model"], job["model"]["settings"], "model.")
    given = dict(job["info"])
    given |= {"input_shape": tuple(given["input_shape"]), "dtype": getattr(torch, given["dtype"])}
    if given["moments"] is not None:
        given["moments"] = Moments(**{k: tuple(v) for k, v in given["moments"].items()})
    info = StreamInfo(**given)

    def build_model() -> nn.Module:
        built: nn.Module = model.build(info.input_shape, info.n_classes, info.scale)
        if info.moments is not None:
            normalise(built, info.moments, info.input_shape)
        return built

    with torch.device(job["device"]):
        seeding.seed_from(job["seed"])
        strategy: Strategy = classes["strategy"](info, settings, build_model)
        return strategy.to(job["device"])


def _serve(strategy: Strategy, device: str, plugin: Path, source: BinaryIO, sink: BinaryIO) -> None:
    from clbench import seeding

    seed = None
    while True:
        try:
            call, payload = read_frame(source, MAX_SAMPLES)
        except EOFError:
            return
        if call["seed"] != seed:  # the parent has seeded its generators since the last call
            seed = call["seed"]
            seeding.seed_from(seed)
        try:
            tensors = {name: t.to(device) for name, t in unpack(payload).items()}
            answer = pack(_answer(strategy, call, tensors))
        except Exception as error:  # a strategy may raise any error; the parent reports it
            write_frame(sink, {"id": call["id"], "error": _describe(error, plugin)})
        else:
            write_frame(sink, {"id": call["id"], "training": strategy.training}, answer)


def _answer(strategy: Strategy, call: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    import torch

    from clbench.stream import TaskData

    match call["call"]:
        case "learn":
            parts: dict[str, Any] = {**tensors, **call["task"]}
            strategy.learn(TaskData(**parts))
        case "prepare":
            strategy.prepare()
        case "train":
            strategy.train(call["mode"])
        case "forward":
            with torch.inference_mode():
                return {"scores": strategy(tensors["x"], tensors.get("task_id"))}
        case "diagnostics":
            return strategy.diagnostics()
    return {}


def _describe(error: Exception, plugin: Path) -> dict[str, Any]:
    """Type, message and, where the strategy's own file took part, its line."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(plugin)]
    return {
        "type": type(error).__name__,
        "message": str(error)[:2000],
        "line": lines[-1] if lines else None,
    }


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # skip exit handlers that the strategy registered
