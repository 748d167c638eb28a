"""Checks on what a strategy remembers: all of it in ``state_dict()``, none of it elsewhere."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from clbench import seeding
from clbench.checks.bits import differing
from clbench.checks.finding import Failed, NotApplicable, explain
from clbench.checks.rig import Rig
from clbench.checks.training import OBJECT, Kinds, predicted, trained_again, trainings
from clbench.checks.trials import Trial, device_of, fitting, learn, make_run, trials
from clbench.configure.config import RunConfig
from clbench.data.dataset import DataSet
from clbench.data.pool import Pool
from clbench.engine import checkpoint
from clbench.engine.build import Run
from clbench.engine.ledger import Ledger, refuse_hidden_memory
from clbench.engine.reach import held_bytes, reachable
from clbench.plugins.registry import Plugin
from clbench.scenario import Scenario
from clbench.strategy import GradientStrategy
from clbench.stream import Stream
from clbench.util.processes import fresh_process
from clbench.world import World

OUT_OF_REACH = (Stream, Pool, World, Run, RunConfig, Scenario, DataSet, Ledger)


def predicts_without_changing_anything(rig: Rig) -> None:
    """``forward`` and ``diagnostics`` change neither the state nor a random generator."""
    for training in trainings(rig):
        if training.changed:
            raise Failed(
                f"{training.changed[0]} changes in forward() or diagnostics(); learn in learn() "
                "alone, and let nothing count calls"
            )
        if training.draws:
            raise Failed("forward() draws random numbers; predictions must not depend on chance")


def continues_bit_for_bit_in_a_new_process(rig: Rig) -> None:
    """Rebuilt from a checkpoint in a new process, it goes on as if nothing had happened."""
    if not rig.plugin.load().resumable:
        raise NotApplicable("it declares resumable = False")
    whole = list(trainings(rig))
    with tempfile.TemporaryDirectory() as folder:
        jobs: list[tuple[Plugin, str, str, int]] = []
        for training in whole:
            trial, at = training.trial, training.pause
            file = Path(folder) / f"{trial.name}.checkpoint"
            run = make_run(rig.plugin, trial.stream)
            strategy = run.strategy()
            learn(run, strategy, 0, at)
            ledger = Ledger(stream_sha256="", predictions_sha256="", experiences=at)
            checkpoint.save(file, trial.name, ledger, strategy.state_dict())
            jobs.append((rig.plugin, trial.name, str(file), at))
        with fresh_process() as process:
            found = list(process.map(_continued, jobs))
    for training, result in zip(whole, found, strict=True):
        name, at = training.trial.name, training.pause
        if isinstance(result, str):
            raise Failed(f"{name}: rebuilt from its state_dict() after {at}: {result}")
        wrong = differing(training.bits, result)
        if wrong:
            raise Failed(
                f"{name}: rebuilt from its state_dict() after experience {at}, {wrong[0]} comes "
                "out otherwise; keep all that is remembered in buffers or get_extra_state()"
            )


def _continued(job: tuple[Plugin, str, str, int]) -> dict[str, str] | str:
    """In the new process: from the checkpoint to the end of the trial; an error as one line."""
    plugin, name, file, at = job
    try:
        with seeding.preserved(threads=1):
            trial = next(t for t in trials(device=device_of(plugin)) if t.name == name)
            run = make_run(plugin, trial.stream)
            strategy = run.strategy()
            _, state = checkpoint.load(Path(file), name, run.device)
            strategy.load_state_dict(state)
            learn(run, strategy, at, trial.experiences)
            return predicted(strategy, trial)
    except Exception as error:  # would lose its trace on the way back
        return explain(error, plugin.path)


def gives_the_same_bits_for_the_same_seed(rig: Rig) -> None:
    """The result does not depend on what ran before in the process."""
    for training in trainings(rig):
        trial = training.trial
        _disturb(rig.plugin, trial)
        wrong = differing(training.bits, trained_again(rig.plugin, trial, training.pause))
        if wrong:
            raise Failed(
                f"{trial.name}: {wrong[0]} comes out otherwise when other runs went before; keep "
                "nothing on the class or the module, and no generator of your own"
            )


def _disturb(plugin: Plugin, trial: Trial) -> None:
    """Another strategy's run, another run of the same, and draws from every global generator."""
    run = make_run(plugin, trial.stream)
    plain = replace(run.config, strategy=GradientStrategy.Config())
    other = replace(run, config=plain, strategy_class=GradientStrategy)
    for disturbing in (other, run):
        learn(disturbing, disturbing.strategy(), 0, 2)
    torch.manual_seed(999)
    torch.randn(3)
    np.random.rand(3)  # noqa: NPY002 - it is the global generator that is to be disturbed
    random.random()


def keeps_its_state_in_tensors_of_constant_size(rig: Rig) -> None:
    """``state_dict()`` holds tensors of their final shape from the start, unless ``grows``."""
    for training in trainings(rig):
        new, begun, ended = training.kinds
        for name, kind in {**new, **begun, **ended}.items():
            if kind.startswith(OBJECT):
                raise Failed(
                    f"state_dict() holds {name} of type {kind.removeprefix(OBJECT)}; keep tensors, "
                    "numbers and short strings in it"
                )
        refuse_hidden_memory(training.strategy.state_dict())
        if rig.plugin.load().grows:
            continue
        for before, after in ((_without_extra(new), _without_extra(ended)), (begun, ended)):
            for name in {**before, **after}:
                if before.get(name) != after.get(name):
                    raise Failed(
                        f"{training.trial.name}: {name} goes from {before.get(name, 'nothing')} to "
                        f"{after.get(name, 'nothing')} over the stream; register buffers of their "
                        "final shape in __init__, or declare grows = True"
                    )


def _without_extra(kinds: Kinds) -> Kinds:
    """All but the extra state: an optimizer's part of it may come with the first step."""
    return {name: kind for name, kind in kinds.items() if "_extra_state" not in name}


def hides_no_growing_memory(rig: Rig) -> None:
    """No tensors pile up in attributes, where no checkpoint and no count of bytes sees them."""
    if rig.plugin.load().grows:
        raise NotApplicable("it declares grows = True")
    for trial in fitting(rig.plugin):
        if trial.experiences < 8:  # too short to tell growth from settling in
            continue
        run = make_run(rig.plugin, trial.stream)
        strategy = run.strategy()
        learn(run, strategy, 0, trial.experiences // 2)
        held = [held_bytes(strategy)]
        for number in range(trial.experiences // 2, trial.experiences):
            learn(run, strategy, number, number + 1)
            held.append(held_bytes(strategy))
        if all(before < after for before, after in pairwise(held)):
            raise Failed(
                f"{trial.name}: the tensors it holds grow with every experience, to {held[-1]} "
                "bytes, outside of state_dict(); use buffers of fixed size, or declare grows = True"
            )


def cannot_reach_the_stream(rig: Rig) -> None:
    """From what it is given there is no way to the stream, to other tasks or to test data."""
    for trial in fitting(rig.plugin):
        run = make_run(rig.plugin, trial.stream)
        strategy = run.strategy()
        task = run.stream.experience(0)
        strategy.learn(task)
        for root, name in ((strategy, "self"), (task, "task")):
            for path, found in reachable(root, name):
                if isinstance(found, OUT_OF_REACH):
                    raise Failed(
                        f"{trial.name}: {path} is a {type(found).__name__}; a strategy learns from "
                        "what learn() is given: keep no handle to where it comes from"
                    )
