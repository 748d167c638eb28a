"""A strategy in a process of its own, driven by the ordinary harness; labels stay in the parent.

The process is given the plug-ins' source texts and settings and, call by call, what a strategy is
given anyway: experiences to learn from, samples to score. It is seeded as the harness has seeded
the parent, so the predictions are those of an ordinary run, bit by bit. What only the strategy's
own process could count (FLOPs, optimizer steps, bytes of state) is not counted.

See ``clbench.leaderboard.reproduce.hygiene`` for what is kept from the process, on which systems. To
keep a stranger's code out of the parent altogether, do not resolve a configuration that names it (that
imports it): make the run with a strategy of clbench and give ``isolated`` a ``Job``.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
from torch import Tensor, nn

from clbench.engine.build import Run
from clbench.errors import ClbenchError, Diverged, UsageError
from clbench.leaderboard.reproduce.child import Child, one_line
from clbench.leaderboard.reproduce.hygiene import NOTICE as NOTICE
from clbench.leaderboard.reproduce.hygiene import Limits
from clbench.leaderboard.reproduce.hygiene import hygiene as hygiene
from clbench.leaderboard.reproduce.job import Job as Job
from clbench.leaderboard.reproduce.job import job_of as job_of
from clbench.leaderboard.reproduce.job import source_of as source_of
from clbench.leaderboard.reproduce.wire import pack
from clbench.strategy import Needs, Strategy
from clbench.stream import TaskData

DEFAULT_LIMITS = Limits()
SCORES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_DIAGNOSTICS = 64
SLACK = 1 << 16
"""Bytes that an answer may have beyond its numbers: names, shapes, layout."""


@contextmanager
def isolated(
    run: Run, limits: Limits = DEFAULT_LIMITS, job: Job | None = None
) -> Iterator[RemoteStrategy]:
    """A run's strategy in another process, which ends with the context.

    Args:
        run: what will be run; the process is told nothing of its stream.
        limits: what the process may use.
        job: what to build there instead of the run's own strategy and model.

    Raises:
        UsageError: the strategy cannot be built, as ``Run.strategy`` would say.
        ClbenchError: the process does not come up.
    """
    job = job_of(run) if job is None else job
    for source in (job.strategy, job.model):
        if not re.fullmatch(r"\w[\w.-]{0,63}", source.name, re.ASCII):
            raise UsageError(f"{one_line(source.name, 64)!r} cannot be the name of a plug-in")
    with tempfile.TemporaryDirectory(prefix="clbench-", ignore_cleanup_errors=True) as folder:
        measures = hygiene(job.device)
        child = Child(job.strategy.name, Path(folder), job.threads, limits)
        try:
            yield RemoteStrategy(job, child, _first_message(job, Path(folder), limits, measures))
        finally:
            child.stop()


def _first_message(
    job: Job, folder: Path, limits: Limits, measures: Mapping[str, bool | str]
) -> dict[str, Any]:
    told = dataclasses.asdict(job)
    told["info"]["dtype"] = str(job.info.dtype).removeprefix("torch.")
    in_force = [name for name, works in measures.items() if works is True]
    return {
        **told,
        "folder": str(folder),
        "limits": dataclasses.asdict(limits),
        "measures": in_force,
    }


class RemoteStrategy(Strategy):
    """Stands for a strategy in another process; remembers nothing itself.

    Whatever goes wrong there raises ``ClbenchError`` here, with one line that says what. A strategy
    that has raised can be called again; a process that broke a limit or the protocol is ended.
    """

    resumable = False

    def __init__(self, job: Job, child: Child, message: dict[str, Any]) -> None:
        super().__init__(job.info, Strategy.Config(), _no_model)
        self.name = job.strategy.name
        self.child = child
        self.calls = 0
        told, _ = self._answer(message, b"", 0)
        needs = told.get("needs")
        needed = needs if isinstance(needs, dict) else {}
        # What the real class declares, as far as it can be believed.
        self.declared_needs = Needs(
            **{f.name: needed.get(f.name) is True for f in dataclasses.fields(Needs)}
        )
        self.declared_grows = told.get("grows") is True
        self.pretrained = told.get("pretrained") is True

    def learn(self, task: TaskData) -> None:
        """Send one experience to be learnt."""
        names = ("x", "y", "key", "task_id", "classes")
        flags = {"ends_task": task.ends_task, "shuffle_seed": task.shuffle_seed}
        self._call("learn", {name: getattr(task, name) for name in names}, {"task": flags})

    def prepare(self) -> None:
        """Have the strategy prepare for an evaluation."""
        self._call("prepare")

    def train(self, mode: bool = True) -> Self:
        """Put the real strategy and its modules into training or evaluation mode."""
        self._call("train", extra={"mode": mode})
        return self

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """``(B, *input_shape)`` to the ``(B, n_classes)`` floats that came back.

        Raises:
            ClbenchError: they have another shape or type.
        """
        shape = (len(x), self.info.n_classes)
        allowed = 8 * math.prod(shape) + SLACK
        answer = self._call("forward", {"x": x, "task_id": task_id}, max_payload=allowed)
        scores = answer.get("scores")
        if scores is None or len(answer) > 1 or scores.shape != shape or scores.dtype not in SCORES:
            got = {one_line(n, 20): (tuple(t.shape), str(t.dtype)) for n, t in answer.items()}
            raise ClbenchError(
                f"strategy {self.name!r} must answer with floats of shape {shape}, not {got}"[:400]
            )
        return scores.to(x.device)

    def diagnostics(self) -> dict[str, Tensor]:
        """What the strategy tells of itself, as 0-d tensors on the CPU.

        Raises:
            ClbenchError: they are too many, have other shapes, or names that cannot be shown.
        """
        answer = self._call("diagnostics", max_payload=SLACK)
        names_fit = all(len(name) <= 64 and name.isprintable() for name in answer)
        numbers = all(t.dim() == 0 and not t.is_complex() for t in answer.values())
        if not (names_fit and numbers and len(answer) <= MAX_DIAGNOSTICS):
            raise ClbenchError(
                f"diagnostics() of strategy {self.name!r} must be at most {MAX_DIAGNOSTICS} 0-d "
                "tensors of real numbers under short names"
            )
        return {name: t for name, t in answer.items()}

    def _call(
        self,
        call: str,
        tensors: Mapping[str, Tensor | None] | None = None,
        extra: Mapping[str, Any] | None = None,
        max_payload: int = 0,
    ) -> dict[str, Tensor]:
        """One call over there, under the seed that the parent's generators have."""
        self.calls += 1
        header = {"call": call, "id": self.calls, "seed": torch.initial_seed(), **(extra or {})}
        return self._answer(header, pack(tensors or {}), max_payload)[1]

    def _answer(
        self, header: dict[str, Any], payload: bytes, max_payload: int
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        told, tensors = self.child.ask(header, payload, max_payload)
        if told.get("id") != self.calls:
            self.child.fail("answered another call than it was asked")
        if "error" in told:
            self._raise(told["error"])
        self.training = told.get("training") is True
        return told, tensors

    def _raise(self, error: Any) -> NoReturn:
        """Raise what the strategy has raised, by its name: never as a type of its own."""
        told = error if isinstance(error, dict) else {}
        kind, message = one_line(told.get("type"), 60), one_line(told.get("message"), 300)
        for known in (Diverged, UsageError):
            if kind == known.__name__:
                raise known(message)
        line = told.get("line")
        where = f" at line {line}" if isinstance(line, int) else ""
        raise ClbenchError(f"strategy {self.name!r} raised {kind}{where}: {message}")


def _no_model() -> nn.Module:
    raise ClbenchError("an isolated strategy builds its model in its own process")
