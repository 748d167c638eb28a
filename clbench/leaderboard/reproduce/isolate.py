"""Runs a strategy in a separate process under the ordinary harness; labels stay in the parent.

The process receives the plug-ins' source texts and settings and, call by call, the arguments that
every strategy receives: experiences to learn from and samples to score. Its seeds are those of the
parent, so its predictions equal those of an ordinary run bit for bit. Costs that only the strategy's
process could count (FLOPs, optimizer steps, bytes of state) are not counted.

``clbench.leaderboard.reproduce.hygiene`` lists the restrictions by system. To keep untrusted code
out of the parent entirely, do not resolve a configuration that names it, because that imports it:
prepare the run with a strategy of clbench and pass a ``Job`` to ``isolated``.
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
"""Bytes allowed in an answer beyond its numbers, for names, shapes and layout."""


@contextmanager
def isolated(
    run: Run, limits: Limits = DEFAULT_LIMITS, job: Job | None = None
) -> Iterator[RemoteStrategy]:
    """Open a run's strategy in another process, which ends with the context.

    Args:
        run: the run; the process learns nothing about its stream.
        limits: what the process may use.
        job: the strategy and model to build there instead of the run's own.

    Raises:
        UsageError: the strategy cannot be built; the message is that of ``Run.strategy``.
        ClbenchError: the process does not start.
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
    content = dataclasses.asdict(job)
    content["info"]["dtype"] = str(job.info.dtype).removeprefix("torch.")
    in_force = [name for name, works in measures.items() if works is True]
    return {
        **content,
        "folder": str(folder),
        "limits": dataclasses.asdict(limits),
        "measures": in_force,
    }


class RemoteStrategy(Strategy):
    """Forwards calls to a strategy in another process; has no state itself.

    Any failure there raises a ``ClbenchError`` of one line here. A strategy that raised can be called
    again; a process that broke a limit or the protocol is ended.
    """

    resumable = False

    def __init__(self, job: Job, child: Child, message: dict[str, Any]) -> None:
        super().__init__(job.info, Strategy.Config(), _no_model)
        self.name = job.strategy.name
        self.child = child
        self.calls = 0
        declared, _ = self._answer(message, b"", 0)
        needs = declared.get("needs")
        needed = needs if isinstance(needs, dict) else {}
        # The declarations of the real class, checked for their types.
        self.declared_needs = Needs(
            **{f.name: needed.get(f.name) is True for f in dataclasses.fields(Needs)}
        )
        self.declared_grows = declared.get("grows") is True
        self.pretrained = declared.get("pretrained") is True

    def learn(self, task: TaskData) -> None:
        """Send one experience to learn from."""
        names = ("x", "y", "key", "task_id", "classes")
        flags = {"ends_task": task.ends_task, "shuffle_seed": task.shuffle_seed}
        self._call("learn", {name: getattr(task, name) for name in names}, {"task": flags})

    def prepare(self) -> None:
        """Have the strategy prepare for an evaluation."""
        self._call("prepare")

    def train(self, mode: bool = True) -> Self:
        """Set the real strategy and its modules to training or evaluation mode."""
        self._call("train", extra={"mode": mode})
        return self

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Send ``(B, *input_shape)`` samples and return ``(B, n_classes)`` float scores.

        Raises:
            ClbenchError: the scores have another shape or type.
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
        """The diagnostics of the strategy, as 0-d tensors on the CPU.

        Raises:
            ClbenchError: there are too many, or their shapes or names are invalid.
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
        """Make one call in the process, with the seed of the parent's generators."""
        self.calls += 1
        header = {"call": call, "id": self.calls, "seed": torch.initial_seed(), **(extra or {})}
        return self._answer(header, pack(tensors or {}), max_payload)[1]

    def _answer(
        self, header: dict[str, Any], payload: bytes, max_payload: int
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        answer, tensors = self.child.ask(header, payload, max_payload)
        if answer.get("id") != self.calls:
            self.child.fail("answered another call than it was asked")
        if "error" in answer:
            self._raise(answer["error"])
        self.training = answer.get("training") is True
        return answer, tensors

    def _raise(self, error: Any) -> NoReturn:
        """Raise the strategy's error by its name, never as a type of its own."""
        given = error if isinstance(error, dict) else {}
        kind, message = one_line(given.get("type"), 60), one_line(given.get("message"), 300)
        for known in (Diverged, UsageError):
            if kind == known.__name__:
                raise known(message)
        line = given.get("line")
        where = f" at line {line}" if isinstance(line, int) else ""
        raise ClbenchError(f"strategy {self.name!r} raised {kind}{where}: {message}")


def _no_model() -> nn.Module:
    raise ClbenchError("an isolated strategy builds its model in its own process")
