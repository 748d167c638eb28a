"""The loop: learn, evaluate, update the ledger, checkpoint.

The harness owns data, clocks, evaluation and metrics; a strategy only learns and predicts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clbench import seeding
from clbench.engine.build import Run
from clbench.engine.costs import train_flops, unranked
from clbench.engine.counting import Watch, is_counted, is_hashed, watching
from clbench.engine.diagnostics import Probe
from clbench.engine.exposure import Exposure
from clbench.engine.guards import counting_updates
from clbench.engine.ledger import Ledger, refuse_hidden_memory, state_bytes
from clbench.engine.observers import Report, evaluation, n_experiences
from clbench.engine.prequential import Prequential
from clbench.engine.reach import held_bytes
from clbench.engine.realtime import Clock
from clbench.engine.schedule import is_due
from clbench.errors import Diverged, StorageError, TimeLimit
from clbench.nets.flops import Count
from clbench.results import confusion
from clbench.results.factors import Factors
from clbench.results.record import Status
from clbench.seeding import Axis
from clbench.strategy import Strategy
from clbench.stream import Draw, TaskData
from clbench.tracker import Evaluation, Progress
from clbench.util import stopping
from clbench.world import World, evaluate

BATCH_SIZE = 512
"""Test samples per batch. Part of the protocol, because float sums may depend on it."""


@dataclass
class Outcome:
    """How the loop ended; the ledger holds the progress."""

    status: Status
    error: BaseException | None
    ledger: Ledger
    factors: Factors | None = None
    """Of the world, whose counts are in the ledger; None where nothing is known."""


def start_ledger(run: Run) -> Ledger:
    """The ledger of a new run."""
    return Ledger(stream_sha256=run.stream.sha256, predictions_sha256="")


def run_stream(
    run: Run,
    strategy: Strategy,
    ledger: Ledger,
    *,
    report: Report | None = None,
    save: Callable[[Ledger, dict[str, Any]], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Run a strategy through the rest of its stream.

    Args:
        run: the run.
        strategy: the strategy, in the state of the ledger.
        ledger: the ledger, which is updated.
        report: called after every experience and every evaluation, with values of its own.
        save: writes a checkpoint; called about every ``checkpoint_seconds`` and when interrupted.
        stop: asked after every experience whether to stop, beside signals.

    Returns:
        How it ended. Errors of the strategy end the run and are returned, not raised; so is an error
        of the disk or the end of ``time_limit``, by which the run is interrupted.
    """
    loop = _Loop(run, strategy, ledger, report, save)
    with (
        seeding.preserved(run.config.common.threads),
        counting_updates(ledger),
        stopping.deferred() as signalled,
    ):
        try:
            status: Status = loop.go(lambda: signalled() or (stop is not None and stop()))
            return Outcome(status, None, ledger, loop.world.factors)
        except (KeyboardInterrupt, StorageError, TimeLimit) as error:
            return Outcome("interrupted", error, ledger, loop.world.factors)
        except Diverged as error:
            return Outcome("diverged", error, ledger, loop.world.factors)
        except Exception as error:  # a strategy may raise any error; the record reports it
            return Outcome("error", error, ledger, loop.world.factors)
        finally:
            loop.note_answers()


class _Loop:
    def __init__(
        self,
        run: Run,
        strategy: Strategy,
        ledger: Ledger,
        report: Report | None,
        save: Callable[[Ledger, dict[str, Any]], None] | None,
    ) -> None:
        self.run, self.strategy, self.ledger = run, strategy, ledger
        self.report, self.save = report, save
        self.held: tuple[int, TaskData] | None = None
        self.end: int | None = None
        self.answers: np.ndarray | None = None
        self.latest: Evaluation | None = None
        self.exposure = Exposure(run.stream, ledger.first_seen, ledger.experiences)
        encoded = run.stream.pool.encoded
        self.world: World = run.stream.world()
        if ledger.experiences == 0 and not ledger.evaluated_after:  # once, however often resumed
            ledger.encoded += run.stream.pool.encoded - encoded
        common = run.config.common
        self.online = Prequential(run, ledger) if common.prequential else None
        timed = self.online if common.realtime is not None else None
        self.clock = Clock(run, strategy, ledger, timed) if timed is not None else None
        asked, threads = common.diagnostics, common.threads
        self.probe = Probe(asked, strategy, run.stream, threads) if asked else None
        self.since = time.perf_counter()
        self.saved_at = self.began_at = self.since
        self.began_with = ledger.experiences

    def go(self, interrupted: Callable[[], bool]) -> Status:
        run, ledger = self.run, self.ledger
        end = self.end = n_experiences(run)
        if ledger.experiences == 0 and not ledger.evaluated_after:
            self._evaluate()
            self._report(is_new=True)
        while True:
            # Checked after the last experience too, or a sweep would continue after Ctrl-C.
            if interrupted():
                self._checkpoint()
                return "interrupted"
            if end is not None and ledger.experiences >= end:
                break
            self._check_time()
            self._advance()
            if self._spent():
                self._checkpoint()
                return "budget_exceeded"
            due = is_due(run.config.common.eval_every, ledger.experiences)
            if due:
                self._evaluate()
            self._report(is_new=due)
            if time.perf_counter() - self.saved_at >= run.config.common.checkpoint_seconds:
                self._checkpoint()
        # Before the evaluation that only the end calls for: an extended run would not make it.
        self._measure_state()
        self._checkpoint()
        if ledger.evaluated_after[-1] != ledger.experiences:
            seeding.seed_all(run.config.common.seed, Axis.LEARN, ledger.experiences, 1)
            if self.online is None and ledger.samples:  # else it is prepared, or has learnt nothing
                self._prepare(is_last=True)
            self._evaluate()
            self._report(is_new=True)
        return "completed"

    def _check_time(self) -> None:
        """End the session where its time is over and it has learnt something.

        Raises:
            TimeLimit: it ends; a checkpoint was written.
        """
        limit, ledger = self.run.config.common.time_limit, self.ledger
        if limit is None or ledger.experiences == self.began_with:
            return
        if time.perf_counter() - self.began_at >= limit:
            self._checkpoint()
            raise TimeLimit(f"time_limit={limit:g} s, after {ledger.experiences} experiences")

    def _report(self, is_new: bool) -> None:
        """Whatever the observers draw, nothing after it is drawn before all is seeded anew."""
        if self.report is None:
            return
        ledger = self.ledger
        if is_new or self.latest is None:
            self.latest = evaluation(ledger, -1)
        self.report(
            Progress(
                experiences=ledger.experiences,
                n_experiences=self.end,
                tasks=len(ledger.task_end),
                samples=ledger.samples,
                evaluation=self.latest,
                is_new=is_new,
            )
        )

    def _advance(self) -> None:
        """Let the next experience come and go: predict it where asked to, learn what there is now."""
        run, ledger, clock = self.run, self.ledger, self.clock
        encoded = run.stream.pool.encoded
        delay, number = run.config.common.label_delay, ledger.experiences + 1
        draw = run.stream.draw(ledger.experiences)
        if self.online is not None:
            ledger.harness_seconds += self._lap()
            self.online.predict(self.strategy, draw, self._gather)
            ledger.predict_seconds += self._lap()
        due = draw  # what there are labels of
        if delay:
            due = run.stream.draw(max(0, draw.number - delay))
        learns = draw.number >= delay and (clock is None or clock.has_time(draw))
        if learns:
            with clock.charging() if clock is not None else nullcontext():
                self._learn(due)
                if self.online is not None or is_due(run.config.common.eval_every, number):
                    self._prepare()
        if clock is not None:
            clock.pass_by(draw, learns)
            ledger.predict_seconds += self._lap()
            ledger.online.missed += [due.number] * (draw.number >= delay and not learns)
        self.held = None
        # Counted only now: a run that ends inside ``learn`` has not learned this experience.
        ledger.stream_sha256 = run.stream.extend(ledger.stream_sha256, draw)
        ledger.samples += len(due.index) * learns
        ledger.encoded += run.stream.pool.encoded - encoded
        ledger.experiences = number
        self.exposure.note(draw, number)
        if draw.ends_task:
            ledger.task_end.append(number)
        if self.online is not None:
            ledger.online.pass_by()

    def _gather(self, draw: Draw) -> TaskData:
        """The samples of a draw, gathered once where they are predicted and learnt."""
        if self.held is None or self.held[0] != draw.number:
            self.held = draw.number, self.run.stream.gather(draw)
        return self.held[1]

    def _learn(self, draw: Draw) -> None:
        run, ledger, strategy = self.run, self.ledger, self.strategy
        task = self._gather(draw)
        number = ledger.experiences + 1
        seed = run.config.common.seed
        seeding.seed_all(seed, Axis.LEARN, draw.number)
        ledger.harness_seconds += self._lap()
        counted = is_counted(seed, "learn", number)
        with watching(strategy, task) if counted else nullcontext() as watch:
            strategy.learn(task)
        seconds = self._lap()
        if watch is not None:
            hashed = is_hashed(seed, "learn", number)
            total = watch.count.total
            ledger.learned.append((ledger.samples, len(task), total, watch.updates, hashed))
            self._note(watch)
        elif self.clock is None:  # counting slows a step down, so its seconds do not count
            ledger.train_seconds += seconds
            ledger.timed_samples += len(task)

    def _prepare(self, *, is_last: bool = False) -> None:
        """Let the strategy get ready for an evaluation; its costs are those of training."""
        ledger, seed = self.ledger, self.run.config.common.seed
        number = ledger.prepares + 1
        counted = is_last or is_counted(seed, "prepare", number)
        updates = ledger.updates
        ledger.harness_seconds += self._lap()
        # A look is taken in any case; where nothing is prepared there is nothing to count.
        is_idle = type(self.strategy).prepare is Strategy.prepare
        with watching(self.strategy, None, is_idle) if counted else nullcontext() as watch:
            self.strategy.prepare()
        seconds = self._lap()
        if watch is None and self.clock is None:
            ledger.prepare_seconds += seconds
            ledger.timed_prepares += 1
        else:
            ledger.counted_prepare_seconds += seconds
        if watch is not None:
            total, hashed = watch.count.total, is_hashed(seed, "prepare", number)
            if is_last:
                ledger.prepared_last = [total, watch.updates]
            else:
                ledger.prepared.append((ledger.prepares, 1, total, watch.updates, hashed))
            self._note(watch)
        ledger.prepare_updates += ledger.updates - updates
        ledger.prepares = number

    def _note(self, watch: Watch) -> None:
        """Enter what a counted call held, and what could not be counted of it."""
        self._enter_uncounted(watch.count)
        if self.strategy.state_bytes_method == "state_dict":
            self.ledger.state_bytes = max(self.ledger.state_bytes, watch.held_bytes)
        self._measure_state()

    def _spent(self) -> bool:
        """Whether the costs exceed a board's budget, as far as they are known.

        An estimate of operations that does not speak for all calls ends no run; ``clbench verify``
        counts them all.
        """
        protocol, ledger = self.run.config.protocol, self.ledger
        if protocol is None:
            return False
        budget = protocol.board.budget
        flops = budget.train_flops
        return (budget.samples is not None and ledger.samples > budget.samples) or (
            flops is not None and train_flops(ledger) > flops and unranked(ledger) is None
        )

    def _evaluate(self) -> None:
        ledger = self.ledger
        n = len(ledger.evaluated_after)
        ledger.harness_seconds += self._lap()
        seed = self.run.config.common.seed
        with Count() if is_counted(seed, "predict", n + 1) else nullcontext() as count:
            correct, answers, sane = evaluate(self.strategy, self.world, BATCH_SIZE)
            values = {k: v.detach() for k, v in self.strategy.diagnostics().items()}
        numbers = torch.stack([sane.double(), *(v.double() for v in values.values())]).tolist()
        ledger.predict_seconds += self._lap()
        if not numbers[0]:
            raise Diverged(f"scores are not numbers after {ledger.experiences} experiences")
        if count is not None:
            hashed = is_hashed(seed, "predict", n + 1)
            ledger.predicted.append((n, 1, count.total, 0, hashed))
            self._enter_uncounted(count)
        right = correct.tolist()
        accuracy = sum(right) / len(self.world.y)
        if self.world.factors is not None:
            ledger.factors.append(self.world.factors.correct(answers))
        small = answers.to("cpu", torch.int32).numpy()
        diagnostics = dict(zip(values, numbers[1:], strict=True))
        ledger.evaluated(right, small.tobytes(), accuracy, {**diagnostics, **self._probed()})
        self.answers = small
        ledger.warn(self.strategy.warning(diagnostics))

    def note_answers(self) -> None:
        """Count the last evaluation's answers by class: where a run ends or is put down, once."""
        stream, ledger = self.run.stream, self.ledger
        if self.answers is None or stream.n_classes > confusion.MOST_CLASSES:
            return
        truth = np.repeat([cell.label for cell in stream.cells], self.world.sizes.tolist())
        rows = confusion.counted(truth, self.answers, stream.n_classes)
        ledger.answers = {"after": ledger.evaluated_after[-1], "counts": rows} if rows else {}
        self.answers = None

    def _probed(self) -> dict[str, float]:
        """Measure the requested diagnostics, outside the strategy's time and updates."""
        if self.probe is None:
            return {}
        updates = self.ledger.updates
        try:
            return self.probe.measure()
        finally:
            self.ledger.updates = updates
            self.ledger.harness_seconds += self._lap()

    def _enter_uncounted(self, count: Count) -> None:
        self.ledger.uncounted = sorted({*self.ledger.uncounted, *count.uncounted})

    def _measure_state(self) -> None:
        if self.strategy.state_bytes_method == "reachable":
            size = held_bytes(self.strategy)
        else:
            state = self.strategy.state_dict()
            refuse_hidden_memory(state)
            size = state_bytes(state)
        self.ledger.state_bytes = max(self.ledger.state_bytes, size)
        memory = self.strategy.memory_bytes()
        self.ledger.memory_bytes = max(self.ledger.memory_bytes, memory)

    def _checkpoint(self) -> None:
        if self.save is not None and self.strategy.resumable:
            self.note_answers()
            self.ledger.harness_seconds += self._lap()
            self.save(self.ledger, self.strategy.state_dict())
        self.saved_at = time.perf_counter()

    def _lap(self) -> float:
        """Seconds since the last call, after the device has finished."""
        if self.run.device.type == "cuda":
            torch.cuda.synchronize(self.run.device)
        elif self.run.device.type == "mps":
            torch.mps.synchronize()
        before, self.since = self.since, time.perf_counter()
        return self.since - before
