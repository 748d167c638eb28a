"""A trained strategy in one safetensors file, with all that it takes to build it anew.

The file holds the tensors of ``state_dict()`` and, in its header, the settings, what the strategy was
told of its stream, and what its classes are. No data are needed to load it. It holds no code: the
plug-ins must be here, and a file of one's own is named again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clbench.engine.build import Run, choose_device
from clbench.engine.building import built
from clbench.errors import ClbenchError, UsageError
from clbench.leaderboard.reproduce import state
from clbench.leaderboard.reproduce.wire import WireError
from clbench.needs import StreamInfo
from clbench.nets.inputs import Moments
from clbench.plugins.registry import GROUPS
from clbench.strategy import Strategy
from clbench.trained.loaded import Classes, Loaded
from clbench.trained.parts import classes_of, configured, run_of
from clbench.util import tensor_files

KEY = "clbench.model"
FORMAT = 1


def save(path: Path, run: Run, strategy: Strategy) -> tuple[int, int]:
    """Write a strategy; returns the number of its tensors and of the numbers in them.

    Raises:
        UsageError: its state cannot be kept so, or the folder cannot be written.
    """
    try:
        tree, tensors = state.split(strategy.state_dict())
    except TypeError as error:
        raise UsageError(f"{run.config.plugins['strategy'].name}: {error}") from error
    for name, tensor in tensors.items():
        if tensor.dtype.is_floating_point and not bool(tensor.isfinite().all()):
            raise UsageError(f"tensor {name} of its state holds values that are not finite")
    info = dataclasses.asdict(strategy.info)
    classes = dataclasses.asdict(classes_of(run.stream))
    header = {
        "format": FORMAT,
        "settings": _settings(run),
        "info": {**info, "dtype": str(info["dtype"]).removeprefix("torch.")},
        "classes": {**classes, "of_task": [*classes["of_task"].items()]},
        "state": tree,
        "trained_by": f"{run.hash8} seed {run.config.common.seed}",
    }
    tensor_files.write(path, tensors, {KEY: json.dumps(header, sort_keys=True)})
    return len(tensors), sum(tensor.numel() for tensor in tensors.values())


def _settings(run: Run) -> dict[str, Any]:
    """The settings by the names that one types, less the files that weights were started from."""
    flat: dict[str, Any] = {}
    for key, value in run.config.as_dict().items():
        if key not in GROUPS:
            flat[key] = value
            continue
        flat[key] = value["name"]
        own = getattr(run.config, key)
        for name, setting in value.items():
            stem = name.removesuffix("_sha256").removesuffix("_path")
            is_file = isinstance(getattr(own, f"{stem}_path", None), Path)
            if name != "name":
                flat[f"{key}.{name}"] = None if is_file and name != stem else setting
    return flat


def load(path: Path, words: Sequence[str], device: str) -> Loaded:
    """Read a file of ``save``; see ``clbench.trained.load.load``."""
    tensors, strings = tensor_files.read(path)
    if KEY not in strings:
        raise UsageError(
            f"{path}: holds no trained strategy: clbench export RUN --model FILE writes one (weights "
            "alone are read by strategy.weights_path)"
        )
    try:
        header = json.loads(strings[KEY])
        if header["format"] != FORMAT:
            raise UsageError(
                f"{path}: is of format {header['format']}, this clbench reads {FORMAT}"
            )
        settings = dict(header["settings"])
        info = _info(header["info"])
        classes = _classes(header["classes"])
        found = state.join(header["state"], tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, WireError) as error:
        raise ClbenchError(f"{path}: is damaged: {type(error).__name__}: {error}") from error
    return _rebuilt(path, settings, words, device, info, classes, found)


def _rebuilt(
    path: Path,
    settings: dict[str, Any],
    words: Sequence[str],
    device: str,
    info: StreamInfo,
    classes: Classes,
    found: Mapping[str, Tensor],
) -> Loaded:
    try:
        config = configured(settings, words, device)
    except UsageError as error:
        raise UsageError(
            f"{path}: {error}; where a plug-in is a file of your own, name it: strategy=FILE.py"
        ) from error
    plugin = config.plugins["strategy"]
    strategy = built(config, plugin.load(), choose_device(device), info)
    try:
        strategy.load_state_dict(found)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ClbenchError(f"{path}: does not fit strategy {plugin.name!r}: {reason}") from error
    threads = config.common.threads
    return Loaded(strategy.eval(), classes, threads, None, lambda: run_of(settings, words, device))


def _info(data: dict[str, Any]) -> StreamInfo:
    moments = data["moments"]
    dtype = getattr(torch, data["dtype"])
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{data['dtype']} is no dtype")
    return StreamInfo(
        **{
            **data,
            "input_shape": tuple(data["input_shape"]),
            "dtype": dtype,
            "moments": moments and Moments(tuple(moments["mean"]), tuple(moments["std"])),
        }
    )


def _classes(data: dict[str, Any]) -> Classes:
    of_task = {int(task): tuple(labels) for task, labels in data["of_task"]}
    return Classes(tuple(data["pool_labels"]), tuple(data["names"]), of_task)
