"""The process of an isolated strategy: ``python -m clbench.leaderboard.reproduce.isolated_worker``.

The process receives a job, builds it inside the limits, and answers calls until its input ends. Where
there is a fork server (``zygote``), it is a fork of that; else torch is imported after the rights on
files are removed, because the removal applies to threads started later.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from clbench.leaderboard.reproduce import hygiene, seccomp
from clbench.leaderboard.reproduce.wire import pack, read_frame, unpack, write_frame

if TYPE_CHECKING:
    from clbench.nets.flops import Count
    from clbench.strategy import Strategy

MAX_JOB = 1 << 24
"""Largest size of the first header (source texts and settings), in bytes."""
MAX_CALL = 1 << 21
"""Largest size of the header of a call, which may hold the tree of a state."""
MAX_SAMPLES = 1 << 36
"""Largest size of the samples of one call, in bytes; the parent is trusted."""


def main(is_alone: bool = False) -> None:
    """Serve one strategy.

    Args:
        is_alone: whether this process has mounts of its own, which hide what is beside its folder.
    """
    source, sink = _take_pipes()
    job, _ = read_frame(source, 0, MAX_JOB)
    folder = Path(job["folder"])
    if is_alone:
        hygiene.hide_beside(folder)
    _enter(folder, job["measures"])
    from clbench import seeding

    if "cpu" in job["measures"]:
        hygiene.restrict_resources(hygiene.Limits(**job["limits"]), "memory" in job["measures"])
    with seeding.preserved(job["threads"]):
        serve(job, folder, source, sink)


def serve(job: Mapping[str, Any], folder: Path, source: BinaryIO, sink: BinaryIO) -> None:
    """Build a strategy, say what it declares, and answer calls until the input ends.

    Args:
        job: the first message, as ``first_message`` makes it.
        folder: an empty one, for the sources.
        source: calls.
        sink: receives the answers.
    """
    from clbench.nets.flops import Count

    plugin = folder / "strategy" / f"{job['strategy']['name']}.py"
    count = Count() if job.get("count") else nullcontext()
    try:
        with count:
            strategy = _build(job, folder)
        declared = {**_declared(strategy), **_built(count)}
    except Exception as error:
        write_frame(sink, {"id": 0, "error": _describe(error, plugin)})
        return
    write_frame(sink, {"id": 0, **declared})
    _Server(strategy, job["device"], plugin).serve(source, sink)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Move the pipes to the parent away from stdin and stdout, so that prints go to stderr."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


def _enter(folder: Path, measures: list[str]) -> None:
    """Go into an empty folder, and give up rights for good."""
    tempfile.tempdir = None  # what was found before the fork is another process's
    os.environ.update({name: str(folder) for name in hygiene.FOLDERS_OF})
    os.chdir(folder)
    if "files" in measures:
        hygiene.restrict_files(folder)
        sys.meta_path.insert(0, hygiene.ReadablePackages())
    if "processes" in measures:
        hygiene.drop_capabilities()
    if "new_processes" in measures:
        seccomp.restrict(channels="files" in measures)


def _declared(strategy: Strategy) -> dict[str, Any]:
    return {
        "needs": vars(strategy.needs),
        "pretrained": bool(strategy.pretrained),
        "grows": bool(strategy.grows),
        "resumable": bool(strategy.resumable),
        "reachable": strategy.state_bytes_method != "state_dict",
        "training": strategy.training,
    }


def _built(count: Any) -> dict[str, Any]:
    """What building counted; no optimizer step is counted before there is a strategy."""
    return {} if isinstance(count, nullcontext) else _counts(count, 0, 0)


def _counts(count: Count, updates: int, held: int) -> dict[str, Any]:
    return {
        "operations": count.total,
        "uncounted": sorted(count.uncounted),
        "updates": updates,
        "held": held,
    }


def _build(job: Mapping[str, Any], folder: Path) -> Strategy:
    """Build the strategy from texts, as ``Run.strategy`` does from files."""
    import torch
    from torch import nn

    from clbench import seeding
    from clbench.configure.typed import build as build_settings
    from clbench.engine.builds import Builds, placed
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

    def make() -> nn.Module:
        shape, n_classes = info.input_shape, info.n_classes
        built: nn.Module = model.build_tuned(job["model"]["name"], shape, n_classes, info.scale)
        if info.moments is not None:
            normalise(built, info.moments, info.input_shape)
        return built

    build_model = Builds(make)
    with placed(torch.device(job["device"])):
        seeding.seed_from(job["seed"])
        strategy: Strategy = classes["strategy"](info, settings, build_model)
        strategy = strategy.to(job["device"])
        build_model.stop()
        strategy.network_builds = build_model
        return strategy


class _Server:
    """Answers calls with one strategy."""

    def __init__(self, strategy: Strategy, device: str, plugin: Path) -> None:
        self.strategy, self.device, self.plugin = strategy, device, plugin
        self.updates = 0

    def serve(self, source: BinaryIO, sink: BinaryIO) -> None:
        """Answer until the input ends."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        from clbench import seeding

        hook = register_optimizer_step_post_hook(self._count)
        seed = None
        while True:
            try:
                call, payload = read_frame(source, MAX_SAMPLES, MAX_CALL)
            except EOFError:
                hook.remove()
                return
            if call["seed"] != seed:  # the parent has seeded its generators since the last call
                seed = call["seed"]
                seeding.seed_from(seed)
            try:
                tensors = {name: t.to(self.device) for name, t in unpack(payload).items()}
                said, found = self._answer(call, tensors)
                answer = pack(found)
            except Exception as error:  # a strategy may raise any error; the parent reports it
                write_frame(sink, {"id": call["id"], "error": _describe(error, self.plugin)})
            else:
                header = {"id": call["id"], "training": self.strategy.training, **said}
                write_frame(sink, header, answer)
            if call["call"] == "load":  # what loading drew is no part of what comes after it
                seed = None

    def _count(self, *_: Any) -> None:
        self.updates += 1

    def _answer(
        self, call: dict[str, Any], tensors: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is said in the header and in tensors; with counts where they are asked for."""
        how = call.get("count")
        if how is None:
            return self._do(call, self._arguments(call, tensors))
        from clbench.engine.counting import watching
        from clbench.nets.flops import Count

        before = self.updates
        given = self._arguments(call, tensors)
        if how == "watch":
            with watching(self.strategy, given) as watch:
                said, found = self._do(call, given)
            count, held = watch.count, watch.held_bytes
        else:
            with Count() as count:
                said, found = self._do(call, given)
            held = 0
        return {**said, **_counts(count, self.updates - before, held)}, found

    def _arguments(self, call: dict[str, Any], tensors: dict[str, Any]) -> Any:
        from clbench.stream import TaskData

        if call["call"] != "learn":
            return tensors if call["call"] in ("forward", "load") else None
        parts: dict[str, Any] = {**tensors, **call["task"]}
        return TaskData(**parts)

    def _do(self, call: dict[str, Any], given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        import torch

        from clbench.leaderboard.reproduce import state

        strategy = self.strategy
        match call["call"]:
            case "learn":
                strategy.learn(given)
            case "prepare":
                strategy.prepare()
            case "train":
                strategy.train(call["mode"])
            case "forward":
                with torch.inference_mode():
                    return {}, {"scores": strategy(given["x"], given.get("task_id"))}
            case "diagnostics":
                return {}, strategy.diagnostics()
            case "state":
                tree, tensors = state.split(strategy.state_dict())
                trained = strategy.network_builds.is_trained
                memory = int(strategy.memory_bytes())
                return {"tree": tree, "memory": memory, "trained": trained}, tensors
            case "load":
                strategy.load_state_dict(state.join(call["tree"], given))
        return {}, {}


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
