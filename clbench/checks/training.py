"""One training over a trial, watched from its start to its first predictions.

Most checks of strategies ask about the same training, so it is run once per trial and shared. A check
that trains under other conditions, or trains again on purpose, runs trainings of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench.checks.bits import bits, differing, leaves
from clbench.checks.finding import Failed
from clbench.checks.rig import Rig
from clbench.checks.trials import IDENTITY, Trial, fitting, learn, make_run
from clbench.plugins.registry import Plugin
from clbench.strategy import Strategy
from clbench.world import World, evaluate

Kinds = dict[str, str]
"""The type and shape of each leaf of a state, by its path."""
OBJECT = "an object of type "
"""A leaf that is no tensor, number or string has a kind that starts so."""


@dataclass(frozen=True)
class Training:
    """What was seen of a training over the whole trial, and the strategy at its end."""

    trial: Trial
    pause: int
    """The number of experiences, drawn at random, after which it was prepared for an evaluation."""
    strategy: Strategy
    world: World
    answers: Tensor
    """``(n, n_classes)``: its first prediction, the scores of the whole world."""
    bits: dict[str, str]
    """Of the state at the end, and of the answers."""
    changed: list[str]
    """The parts of the state that the first prediction or ``diagnostics`` changed."""
    draws: bool
    """Whether the first prediction or ``diagnostics`` drew random numbers."""
    kinds: tuple[Kinds, Kinds, Kinds]
    """Of the state before the first experience, after it, and at the end."""


def trainings(rig: Rig) -> Iterator[Training]:
    """Yield the shared training over every trial of images that the strategy's ``needs`` allow."""
    for trial in fitting(rig.plugin):
        yield rig.once(("training", trial.name), partial(_watched, rig.plugin, trial))


def _watched(plugin: Plugin, trial: Trial) -> Training:
    pause = int(np.random.default_rng().integers(1, trial.experiences))
    run = make_run(plugin, trial.stream)
    strategy = run.strategy()
    new = _kinds(strategy)
    learn(run, strategy, 0, 1)
    begun = _kinds(strategy)
    learn(run, strategy, 1, pause)
    learn(run, strategy, pause, trial.experiences)
    ended, state, drawn = _kinds(strategy), bits(strategy.state_dict()), _generators()
    world = trial.stream.world()
    answers = predict(strategy, world.x, world.task_id)
    at_end = everything(strategy, answers)
    strategy.diagnostics()
    changed = differing(state, bits(strategy.state_dict()))
    kinds = new, begun, ended
    draws = _generators() != drawn
    return Training(trial, pause, strategy, world, answers, at_end, changed, draws, kinds)


def _kinds(strategy: Strategy) -> Kinds:
    found = {}
    for name, leaf in leaves(strategy.state_dict()).items():
        if isinstance(leaf, Tensor):
            found[name] = f"{leaf.dtype} of shape {tuple(leaf.shape)}".removeprefix("torch.")
        elif leaf is None or isinstance(leaf, bool | int | float | str):
            found[name] = type(leaf).__name__
        else:
            found[name] = f"{OBJECT}{type(leaf).__name__}"
    return found


def _generators() -> tuple[bytes, bytes, Any]:
    numpy_state: Any = np.random.get_state()  # noqa: NPY002 - the generator that is watched
    position = numpy_state[1].tobytes() + bytes(str(numpy_state[2:]), "ascii")
    return torch.get_rng_state().numpy().tobytes(), position, random.getstate()


def trained_again(plugin: Plugin, trial: Trial, pause: int) -> dict[str, str]:
    """Train as the shared training was, without watching; return the bits at the end."""
    run = make_run(plugin, trial.stream)
    strategy = run.strategy()
    learn(run, strategy, 0, pause)
    learn(run, strategy, pause, trial.experiences)
    return predicted(strategy, trial)


def predicted(strategy: Strategy, trial: Trial) -> dict[str, str]:
    """The bits of the state and of the answers about the whole world."""
    world = trial.stream.world()
    return everything(strategy, predict(strategy, world.x, world.task_id))


def everything(strategy: Strategy, answers: Tensor) -> dict[str, str]:
    """The bits of all that a strategy remembers, and of its answers."""
    return bits({"state_dict()": strategy.state_dict(), "predictions": answers})


def predict(strategy: Strategy, x: Tensor, task_id: Tensor | None) -> Tensor:
    """``(B, n_classes)`` scores as the harness asks for them."""
    was_training = strategy.training
    strategy.eval()
    with torch.inference_mode():
        scores: Tensor = strategy(x, task_id)
    strategy.train(was_training)
    return scores.clone()


@dataclass(frozen=True)
class Accuracies:
    """How well a trial of vectors was learnt."""

    first: float
    """On the classes of the first task, after it."""
    world: float
    """On the whole world, at the end."""
    last: float
    """On the classes of the last task, at the end."""


def accuracies(rig: Rig, order: tuple[int, ...] = IDENTITY) -> Iterator[tuple[Trial, Accuracies]]:
    """Yield how well each trial of vectors is learnt, with the classes called as ``order`` says."""
    for trial in fitting(rig.plugin, "vectors", order):
        name = "accuracies", trial.name, order
        yield trial, rig.once(name, partial(_accuracies, rig.plugin, trial))


def _accuracies(plugin: Plugin, trial: Trial) -> Accuracies:
    run = make_run(plugin, trial.stream)
    strategy = run.strategy()
    first = trial.stream.n_experiences(1)
    learn(run, strategy, 0, first)
    _, own = _accuracy(strategy, replace(trial, experiences=first))
    learn(run, strategy, first, trial.experiences)
    return Accuracies(own, *_accuracy(strategy, trial))


def _accuracy(strategy: Strategy, trial: Trial) -> tuple[float, float]:
    """Accuracy on the whole world, and on the classes of the last task."""
    world = trial.stream.world()
    correct, _, sane = evaluate(strategy, world, batch_size=16)
    if not sane:
        raise Failed(f"{trial.name}: scores are NaN or +inf; make training or forward stable")
    last, _ = trial.stream.locate(trial.experiences - 1)
    view = list(trial.stream.view(last) or ())
    of_last = correct[view].sum() / world.sizes[view].sum()
    return float(correct.sum() / world.sizes.sum()), float(of_last)
