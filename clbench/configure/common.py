"""The settings that belong to no group, each with its part in a run's identity."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from clbench.errors import UsageError
from clbench.plugins.registry import did_you_mean
from clbench.settings import AtLeast, Positive

ALWAYS = {"identity": "always"}
"""A run with another value is another run; the value is part of its hash, default or not."""
IF_SET = {"identity": "if_set"}
"""Likewise, but a run at the default is that of before the setting existed."""
WATCHES = {"identity": "if_set", "free_on_boards": True}
"""As ``IF_SET``, and no board fixes it: it measures beside the run."""
NEVER = {"identity": "never"}
"""It changes no result."""
DIAGNOSTICS = ("rank", "dead_units", "weight_norm", "plasticity")
"""What ``clbench.engine.diagnostics`` can measure."""


MOST_THREADS = 4096
"""More than any machine has; torch itself takes no number of many digits."""


@dataclass(frozen=True)
class Common:
    """The settings that belong to no group."""

    seed: int = field(default=0, metadata=NEVER)
    """Root of every random number; the stream depends on it and not on the strategy."""
    device: str = field(default="auto", metadata=NEVER)
    """auto (a GPU when there is one), cpu, cuda, cuda:1, mps."""
    eval_every: str = field(default="1", metadata=ALWAYS)
    """Evaluate after every N experiences, or at experiences 1, 2, 4, 8 and so on (log)."""
    max_tasks: int | None = field(default=None, metadata=NEVER)
    """Stop after this many tasks; null: the scenario's own number. An endless scenario needs it. It may
    be raised later: the run then goes on."""
    evaluate_on: Literal["test", "val"] = field(default="test", metadata=ALWAYS)
    """val: learn from nine tenths of train, score on the other tenth, never open test."""
    threads: int = field(default=1, metadata=ALWAYS)
    """CPU threads; 0: torch's default. Bit equality is promised for 1."""
    checkpoint_seconds: float = field(default=30.0, metadata=NEVER)
    """Seconds between two checkpoints; it changes no result."""
    time_limit: float | None = field(default=None, metadata=NEVER)
    """Seconds after which a run ends as by a signal: after the experience at hand, with a checkpoint,
    status interrupted and exit code 130. --resume goes on for as many seconds again, by at least one
    experience. Other runs of a sweep follow. null: no limit."""
    save_predictions: bool = field(default=False, metadata=NEVER)
    """Answer all test samples once more when the run has ended, and keep what was answered for each in
    predictions.npz in the run's folder."""
    diagnostics: tuple[str, ...] = field(default=(), metadata=WATCHES)
    """Of the network, recorded at every evaluation, changing no result: any of
    [rank,dead_units,weight_norm,plasticity], or all. plasticity fits a copy of the network to random
    labels, which takes 100 steps of training each time: evaluate less often (eval_every=log)."""
    compile: bool = field(default=False, metadata=IF_SET)
    """Put the network through torch.compile, which takes up to minutes at the start and may change
    the last bits of a result; without a working compiler the run warns and goes on as it is."""
    precision: Literal["float32", "bf16", "fp16"] = field(default="float32", metadata=IF_SET)
    """What networks compute in, in training and evaluation (autocast): bf16 or fp16 (with a scaled
    loss) take less time and memory on GPUs, bf16 on CPUs that have it. Parameters, losses, Fishers and
    closed-form solutions stay float32. fp16 on a CPU is slow."""
    prequential: bool = field(default=False, metadata=IF_SET)
    """Predict each experience before it is learnt (online accuracy). prepare then runs after every
    experience."""
    prequential_window: Annotated[int, AtLeast(1)] = field(default=100, metadata=IF_SET)
    """Experiences of the sliding window of online accuracy."""
    prequential_ahead: Annotated[int, AtLeast(0)] = field(default=0, metadata=IF_SET)
    """Also predict the experience so many further on with the weights of now (next-window accuracy),
    which takes a second pass; 0: no."""
    label_delay: Annotated[int, AtLeast(0)] = field(default=0, metadata=IF_SET)
    """Experiences by which labels come late: at t the strategy learns experience t - label_delay. The
    first ones teach nothing, and the last ones are never learnt."""
    realtime: Annotated[float | None, Positive] = field(default=None, metadata=IF_SET)
    """The stream does not wait: a sample that passes gives a strategy the time for so many forward
    and backward passes of the run's network, in counted operations. What it has no time for it
    misses. Implies prequential; null: the stream waits."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed={self.seed} must be at least 0, and less than 2**63")
        if self.eval_every != "log" and not re.fullmatch(r"[1-9]\d*", self.eval_every):
            raise UsageError(f"eval_every={self.eval_every} must be a positive integer or log")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", self.device):
            raise UsageError(f"device={self.device}: choose from auto, cpu, cuda, cuda:N, mps")
        if self.max_tasks is not None and self.max_tasks < 1:
            raise UsageError(f"max_tasks={self.max_tasks} must be at least 1")
        if not 0 <= self.threads <= MOST_THREADS:
            raise UsageError(
                f"threads={self.threads} must be at least 0, and at most {MOST_THREADS:,}"
            )
        if not self.checkpoint_seconds >= 0:
            raise UsageError(f"checkpoint_seconds={self.checkpoint_seconds} must be at least 0")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UsageError(f"time_limit={self.time_limit} must be positive")
        known = ("all", *DIAGNOSTICS)
        for name in self.diagnostics:
            if name not in known:
                hint = did_you_mean(name, known)
                raise UsageError(f"diagnostics={name}: choose from {', '.join(known)}{hint}")
        chosen = [name for name in DIAGNOSTICS if {name, "all"} & set(self.diagnostics)]
        object.__setattr__(self, "diagnostics", tuple(chosen))  # one spelling, one hash
        if self.realtime is not None:
            if self.compile:
                raise UsageError(
                    f"realtime={self.realtime} counts every experience, which runs the network "
                    "uncompiled: drop compile=true"
                )
            object.__setattr__(self, "prequential", True)
        for name in ("prequential_window", "prequential_ahead"):
            value = getattr(self, name)
            if not self.prequential and value != getattr(Common, name):
                raise UsageError(f"{name}={value} goes with prequential=true")


def roles() -> Mapping[str, str]:
    """Every common setting with its part in a run's identity: ``always``, ``if_set`` or ``never``."""
    return _roles(Common)


@cache
def _roles(settings: type) -> Mapping[str, str]:
    found = {f.name: f.metadata.get("identity", "if_set") for f in dataclasses.fields(settings)}
    return MappingProxyType({name: str(part) for name, part in found.items()})


def free_on_boards() -> set[str]:
    """Common settings that no board fixes."""
    watching = {f.name for f in dataclasses.fields(Common) if "free_on_boards" in f.metadata}
    return watching | {name for name, part in roles().items() if part == "never"}


def having_role(settings: type, role: str) -> frozenset[str]:
    """Settings of a plug-in that are ``always`` or ``never`` part of a run's identity.

    A base declares this for the plug-ins that extend it, whatever default they give the setting.
    """
    return _having_role(settings, role)


@cache
def _having_role(settings: type, role: str) -> frozenset[str]:
    return frozenset(
        name
        for base in settings.__mro__
        for name, f in vars(base).get("__dataclass_fields__", {}).items()
        if f.metadata.get("identity") == role
    )


def left_out(settings: Mapping[str, Any]) -> set[str]:
    """Common settings that are no part of ``config_sha256``: the ``never``, and ``if_set`` if unset."""
    parts = roles()
    unset = {n for n in at_default(settings) if n in parts}
    return {name for name, part in parts.items() if part == "never" or name in unset}


def at_default(settings: Mapping[str, Any]) -> Iterator[str]:
    """Names of the ``if_set`` settings here that have their default."""
    defaults = plain_defaults(Common)
    for name, part in roles().items():
        if part == "if_set" and name in settings and settings[name] == defaults[name]:
            yield name


def plain(value: Any) -> Any:
    """A setting's value as plain data: of a path only the file's name, a tuple as a list.

    Of settings inside a setting, those that are set.
    """
    if type(value) in (str, int, float, bool):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: plain(part) for name, part in inner if part is not None}
    if isinstance(value, Path):
        return value.name
    return list(value) if isinstance(value, tuple) else value


def plain_defaults(settings: type) -> Mapping[str, Any]:
    """The defaults of a settings dataclass as plain data; a setting without one is left out."""
    return _plain_defaults(settings)


@cache
def _plain_defaults(settings: type) -> Mapping[str, Any]:
    found = {}
    for f in dataclasses.fields(settings):
        if f.default is not dataclasses.MISSING:
            found[f.name] = plain(f.default)
        elif f.default_factory is not dataclasses.MISSING:
            found[f.name] = plain(f.default_factory())
    return MappingProxyType(found)
