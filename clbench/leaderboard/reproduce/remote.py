"""The parent's side of an isolated strategy: calls in its processes, its state, its counts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
from torch import Tensor, nn

from clbench.engine.guards import charge_updates
from clbench.engine.ledger import refuse_hidden_memory, state_bytes
from clbench.errors import ClbenchError, Diverged, UsageError
from clbench.leaderboard.reproduce.child import Child, one_line
from clbench.leaderboard.reproduce.job import Job, first_message
from clbench.leaderboard.reproduce.spent import Account
from clbench.leaderboard.reproduce.state import MAX_TREE, canonical, join, refuse_hidden_text
from clbench.leaderboard.reproduce.wire import MAX_HEADER, WireError, pack
from clbench.nets.flops import charge, is_counting
from clbench.strategy import Needs, Strategy
from clbench.stream import TaskData

SCORES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_DIAGNOSTICS = 64
MAX_STATE = 1 << 30
"""Largest size of a state's tensors, in bytes."""
MOST = 1 << 60
"""No count of a call is larger."""
SLACK = 1 << 16
"""Bytes allowed in an answer beyond its numbers, for names, shapes and layout."""
Start = Callable[[], tuple[Child, Path]]
"""Starts a process; returns it and its empty folder."""


@dataclass
class Reported:
    """What the learner's process says of the networks that it built."""

    is_trained: bool | None = None
    """Whether one was trained; None before it has sent a state."""


class RemoteStrategy(Strategy):
    """Forwards calls to a strategy in other processes; its state is the one last received.

    Any failure there raises a ``ClbenchError`` of one line here. A strategy that raised can be called
    again; a process that broke a limit or the protocol is ended.
    """

    resumable = False

    def __init__(
        self,
        job: Job,
        start: Start,
        *,
        rebuild: bool = True,
        cuts: Collection[int] = (),
        count: bool = False,
    ) -> None:
        super().__init__(job.info, Strategy.Config(), _no_model)
        self.name, self.job, self.start = job.strategy.name, job, start
        self.cuts, self.count = frozenset(cuts), count
        self.calls = self.learned = 0
        self.spent = Account()
        """Counted by the processes and by the kernel; only with ``count``."""
        self.learner_trained: float | None = 0.0
        """CPU seconds of training in the process that is now the learner."""
        self.predictor_ready: float | None = 0.0
        """CPU seconds of the predictor before its first prediction."""
        self.held = 0
        self.known = b""
        """Text of the state that the strategy starts with, before it is given a sample."""
        self.received: tuple[str, bytes, Any, int] | None = None
        self.predictor: Child | None = None
        self.learner, declared = self._open()
        self.rebuild = rebuild and declared.get("resumable") is True
        """Whether predictors are built from the state."""
        self.declared_resumable = declared.get("resumable") is True
        if declared.get("reachable") is True:
            self.rebuild = self.declared_resumable = False
            self.state_bytes_method = "reachable"  # type: ignore[misc]  # as its process declares
        needs = declared.get("needs")
        needed = needs if isinstance(needs, dict) else {}
        # The declarations of the real class, checked for their types.
        self.declared_needs = Needs(
            **{f.name: needed.get(f.name) is True for f in dataclasses.fields(Needs)}
        )
        self.declared_grows = declared.get("grows") is True
        self.pretrained = declared.get("pretrained") is True
        self.network_builds = Reported()
        if self.rebuild:
            self.known = self._text_at_start()

    def stop(self) -> None:
        """End all processes."""
        self._drop_learner()
        self._drop_predictor()

    def learn(self, task: TaskData) -> None:
        """Send one experience to learn from."""
        self._drop_predictor()
        if self.rebuild and self.learned in self.cuts:
            self._fetch()
            self._drop_learner()
            self.learner = self._from_state()
        names = ("x", "y", "key", "task_id", "classes")
        flags = {"ends_task": task.ends_task, "shuffle_seed": task.shuffle_seed}
        tensors = {name: getattr(task, name) for name in names}
        self._train("learn", tensors, {"task": flags})
        self.learned += 1

    def prepare(self) -> None:
        """Have the strategy prepare for an evaluation."""
        self._drop_predictor()
        self._train("prepare")

    def train(self, mode: bool = True) -> Self:
        """Begin or end an evaluation, or set the mode where there is one process for all."""
        if not self.rebuild:
            self.training = self._call(self.learner, "train", extra={"mode": mode})[0]
        elif not mode:
            self.training = False
        else:
            self._drop_predictor()
            for each in (False, True):  # as the strategy of an ordinary run is switched
                self._call(self.learner, "train", extra={"mode": each})
            self.training = True
        return self

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Send ``(B, *input_shape)`` samples and return ``(B, n_classes)`` float scores.

        Raises:
            ClbenchError: the scores have another shape or type.
        """
        if self.rebuild and self.predictor is None:
            self._fetch()
            self.predictor = self._from_state()
            self._call(self.predictor, "train", extra={"mode": False})
            self.predictor_ready = self._seconds(self.predictor)
        to = self.learner if self.predictor is None else self.predictor
        shape = (len(x), self.info.n_classes)
        allowed = 8 * math.prod(shape) + SLACK
        answer = self._counted(to, "forward", {"x": x, "task_id": task_id}, max_payload=allowed)
        scores = answer.get("scores")
        if scores is None or len(answer) > 1 or scores.shape != shape or scores.dtype not in SCORES:
            got = {one_line(n, 20): (tuple(t.shape), str(t.dtype)) for n, t in answer.items()}
            raise ClbenchError(
                f"strategy {self.name!r} must answer with floats of shape {shape}, not {got}"[:400]
            )
        return scores.to(x.device)

    def state_dict(self, *_: Any, **__: Any) -> Any:
        """The state that the learner's process sends; empty where nothing is rebuilt from it."""
        return self._fetch()[2] if self.rebuild else {}

    def memory_bytes(self) -> int:
        """What the strategy declares as memory, at most all of its state."""
        if not self.rebuild:
            return 0
        found = self._fetch()
        return max(0, min(found[3], state_bytes(found[2])))

    def diagnostics(self) -> dict[str, Tensor]:
        """The diagnostics of the strategy, as 0-d tensors on the CPU.

        Raises:
            ClbenchError: there are too many, or their shapes or names are invalid.
        """
        answer = self._counted(self.learner, "diagnostics", {}, max_payload=SLACK)
        names_fit = all(len(name) <= 64 and name.isprintable() for name in answer)
        numbers = all(t.dim() == 0 and not t.is_complex() for t in answer.values())
        if not (names_fit and numbers and len(answer) <= MAX_DIAGNOSTICS):
            raise ClbenchError(
                f"diagnostics() of strategy {self.name!r} must be at most {MAX_DIAGNOSTICS} 0-d "
                "tensors of real numbers under short names"
            )
        return {name: t for name, t in answer.items()}

    def _text_at_start(self) -> bytes:
        try:
            return canonical(self._fetch()[2])[2]
        except BaseException:
            self.learner.stop()
            raise

    def _open(self) -> tuple[Child, dict[str, Any]]:
        """Start a process that has built the strategy; returns it and what it declares."""
        child, folder = self.start()
        try:
            message = first_message(self.job, folder, child.limits)
            message["count"] = self.count
            declared, _ = child.ask(message, b"", 0)
            if declared.get("id") != 0:
                child.fail("answered another call than it was asked")
            if "error" in declared:
                self._raise(declared["error"])
            if self.count:
                self.spent.outside.add(*self._numbers(child, declared)[:2])
        except BaseException:
            child.stop()
            raise
        self.training = declared.get("training") is True
        return child, declared

    def _from_state(self) -> Child:
        """A process with a strategy that was built from the state last received."""
        assert self.received is not None
        was = self.training
        child, _ = self._open()
        self.training = was
        tree, payload, _, _ = self.received
        try:
            self._call(child, "load", payload=payload, extra={"tree": tree})
        except BaseException:
            child.stop()
            raise
        return child

    def _fetch(self) -> tuple[str, bytes, Any, int]:
        """The state: its tree, its tensors as received, the two joined, and bytes of memory."""
        if self.received is None:
            answer, tensors = self._outside(
                self.learner, "state", max_payload=MAX_STATE, max_header=MAX_TREE * 2
            )
            tree, memory = answer.get("tree"), answer.get("memory")
            self.network_builds.is_trained = answer.get("trained") is True
            if not isinstance(tree, str) or not isinstance(memory, int):
                self.learner.fail("sent a state without a tree")
            try:
                state = join(tree, tensors)
                refuse_hidden_memory(state)
                tree, tensors, text = canonical(state)
                refuse_hidden_text(text, self.known or text, state_bytes(state))
            except (WireError, TypeError) as error:
                self.learner.fail(f"sent {one_line(error, 200)}")
            self.received = (tree, pack(tensors), state, memory)
        return self.received

    def _drop_learner(self) -> None:
        """End it; all that it did beside training, also between calls, was outside."""
        is_first = self.learner.ended is None
        self.learner.stop()
        if self.count and is_first:
            self.spent.outside.add_seconds(_less(self._seconds(self.learner), self.learner_trained))
            self.learner_trained = 0.0

    def _drop_predictor(self) -> None:
        if self.predictor is not None:
            self.predictor.stop()
            if self.count:
                seconds = _less(self._seconds(self.predictor), self.predictor_ready)
                self.spent.outside.add_seconds(self.predictor_ready)
                self.spent.predict.add_seconds(seconds)
            self.predictor = None

    def _seconds(self, child: Child) -> float | None:
        """CPU seconds of a process so far; of one that has ended, those of its life."""
        return child.process.cpu_seconds() if self.count else None

    def _train(
        self,
        call: str,
        tensors: Mapping[str, Tensor | None] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """A call that changes the state."""
        self.received = None
        before = self._seconds(self.learner)
        self._counted(self.learner, call, tensors or {}, extra, trains=True)
        taken = _less(self._seconds(self.learner), before)
        self.spent.train.add_seconds(taken)
        self.learner_trained = None if taken is None else (self.learner_trained or 0.0) + taken

    def _counted(
        self,
        child: Child,
        call: str,
        tensors: Mapping[str, Tensor | None],
        extra: Mapping[str, Any] | None = None,
        max_payload: int = 0,
        *,
        trains: bool = False,
    ) -> dict[str, Tensor]:
        """Make one call, and account for its operations and updates as if they were made here."""
        if not self.count:
            return self._exchange(child, call, pack(tensors), extra, max_payload)[1]
        how = "watch" if trains and is_counting() else "count"
        more = {**(extra or {}), "count": how}
        answer, found = self._exchange(child, call, pack(tensors), more, max_payload)
        operations, updates, held = self._numbers(child, answer)
        uncounted = [one_line(name, 60) for name in answer["uncounted"][:100]]
        charge(operations, uncounted)
        self.spent.uncounted.update(uncounted)
        charge_updates(updates)
        (self.spent.train if trains else self.spent.predict).add(operations, updates)
        self.held = max(self.held, held)
        return found

    def _numbers(self, child: Child, answer: Mapping[str, Any]) -> tuple[int, int, int]:
        """Operations, updates and bytes held, as a process counted them."""
        numbers = [answer.get(name) for name in ("operations", "updates", "held")]
        found = [n for n in numbers if isinstance(n, int) and 0 <= n < MOST]
        if len(found) < len(numbers) or not isinstance(answer.get("uncounted"), list):
            child.fail("sent counts that are none")
        return found[0], found[1], found[2]

    def _call(
        self,
        child: Child,
        call: str,
        payload: bytes = b"",
        extra: Mapping[str, Any] | None = None,
    ) -> tuple[bool, dict[str, Tensor]]:
        """Make one call; returns whether the strategy is in training mode, and its tensors."""
        answer, tensors = self._outside(child, call, payload, extra)
        return answer.get("training") is True, tensors

    def _outside(
        self,
        child: Child,
        call: str,
        payload: bytes = b"",
        extra: Mapping[str, Any] | None = None,
        max_payload: int = 0,
        max_header: int = MAX_HEADER,
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Make one call that neither learns nor predicts; what it does is counted for itself."""
        more = {**(extra or {}), **({"count": "count"} if self.count else {})}
        answer, tensors = self._exchange(child, call, payload, more, max_payload, max_header)
        if self.count:
            self.spent.outside.add(*self._numbers(child, answer)[:2])
        return answer, tensors

    def _exchange(
        self,
        child: Child,
        call: str,
        payload: bytes = b"",
        extra: Mapping[str, Any] | None = None,
        max_payload: int = 0,
        max_header: int = MAX_HEADER,
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Make one call in a process, with the seed of the parent's generators."""
        self.calls += 1
        header = {"call": call, "id": self.calls, "seed": torch.initial_seed(), **(extra or {})}
        answer, tensors = child.ask(header, payload, max_payload, max_header)
        if answer.get("id") != self.calls:
            child.fail("answered another call than it was asked")
        if "error" in answer:
            self._raise(answer["error"])
        if not self.rebuilds():
            self.training = answer.get("training") is True
        return answer, tensors

    def rebuilds(self) -> bool:
        """Whether predictors are built from the state; False while the strategy is being built."""
        return getattr(self, "rebuild", False)

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


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _no_model() -> nn.Module:
    raise ClbenchError("an isolated strategy builds its model in its own process")
