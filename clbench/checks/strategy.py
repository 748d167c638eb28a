"""The contract of strategies: what every learner has to do, whatever its method."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import numpy as np
import torch

from clbench.checks import strategy_device, strategy_rows, strategy_state
from clbench.checks.finding import Check, Failed, NotApplicable
from clbench.checks.pools import Kind
from clbench.checks.rig import Rig
from clbench.checks.training import accuracies, predict, trainings
from clbench.checks.trials import Trial, fitting, lacks, learn, make_run, narrow, short, trials
from clbench.engine.build import check_needs
from clbench.engine.ledger import state_bytes
from clbench.errors import UsageError
from clbench.labels import Labelling
from clbench.plugins.registry import Plugin
from clbench.strategy import Strategy

SIZES = ("batch_size", "epochs")
"""Settings that count something, wherever a strategy has them."""
POSITIVE = ("lr", "momentum", "weight_decay", "clip_norm", "lam", *SIZES)
"""Settings of which a negative value means nothing, wherever a strategy has them."""


def learns_above_chance(rig: Rig) -> None:
    """After a small stream it knows more of the world, or of the last task, than a guess would."""
    for trial, found in accuracies(rig):
        # Guessing gives 1/6 and 1/2, and 1/2 of everything where task ids leave two classes.
        if not (found.world >= (0.7 if trial.stream.task_ids else 0.3) or found.last >= 0.8):
            raise Failed(
                f"{trial.name}: accuracy {found.world:.2f} on the world and {found.last:.2f} on the "
                "last task is what guessing gives; let learn() fit separable blobs at default "
                "settings"
            )


def gives_the_same_scores_in_any_batch(rig: Rig) -> None:
    """A sample's scores do not depend on the samples that are asked about with it."""
    for training in trainings(rig):
        world, whole = training.world, training.answers
        n, n_classes = len(world.y), training.trial.stream.n_classes
        if whole.shape != (n, n_classes) or not whole.is_floating_point():
            raise Failed(
                f"forward() returns {whole.dtype} of shape {tuple(whole.shape)} for {n} samples; "
                f"return floating-point scores of shape ({n}, {n_classes})"
            )
        # An uneven number of samples in the world, so that batches of all sizes occur.
        orders = [torch.arange(n), torch.randperm(n, generator=torch.Generator().manual_seed(3))]
        for order, size in ((orders[0], 1), (orders[0], 7), (orders[1], 7), (orders[1], n)):
            for part in order.split(size):
                ids = None if world.task_id is None else world.task_id[part]
                _compare(whole[part], predict(training.strategy, world.x[part], ids), size)


def _compare(expected: torch.Tensor, found: torch.Tensor, size: int) -> None:
    mend = "score every sample by itself, without statistics of its batch"
    finite = expected[expected.isfinite()]
    tolerance = 1e-4 * (1.0 + float(finite.abs().max()) if len(finite) else 1.0)
    if not torch.allclose(expected, found, rtol=1e-4, atol=tolerance, equal_nan=True):
        raise Failed(f"a sample's scores are others in batches of {size}; {mend}")
    best = expected.topk(2, dim=1).values
    clear = (best[:, 0] - best[:, 1]) > 2 * tolerance
    if bool((clear & (expected.argmax(1) != found.argmax(1))).any()):
        raise Failed(f"a sample's answer is another in batches of {size}; {mend}")


def works_under_permuted_class_ids(rig: Rig) -> None:
    """It learns as much when the classes go by other numbers and come in another order."""
    pairs = zip(accuracies(rig), accuracies(rig, (3, 5, 1, 0, 4, 2)), strict=True)
    for (trial, given), (_, permuted) in pairs:
        for when, a, b in (
            ("the first task", given.first, permuted.first),
            ("the stream", given.world, permuted.world),
        ):
            if abs(a - b) > 0.4 and max(a, b) >= 0.95:  # slower learners differ by luck
                raise Failed(
                    f"{trial.name}: accuracy after {when} goes from {a:.2f} to {b:.2f} when "
                    "classes are renumbered; do not take labels for the order in which classes come"
                )


def works_with_odd_batch_sizes(rig: Rig) -> None:
    """Batches of one, of seven, and larger than a task all work."""
    names = {field.name for field in dataclasses.fields(rig.plugin.load().Config)}
    if "batch_size" not in names:
        raise NotApplicable("it has no setting batch_size")
    for trial in fitting(rig.plugin):
        # Few samples, or the steps of one sample each would take longer than all other checks.
        few = dataclasses.replace(short(trial, 12), experiences=2)
        for size in (1, 7, 10_000):
            _runs(rig.plugin, few, {"batch_size": size})


def works_with_a_single_sample(rig: Rig) -> None:
    """An experience may hold one sample only."""
    for trial in fitting(rig.plugin):
        _runs(rig.plugin, narrow(trial, np.arange(1)))


def works_with_one_class_at_a_time(rig: Rig) -> None:
    """An experience may hold samples of one class only."""
    for trial in fitting(rig.plugin):
        _runs(rig.plugin, narrow(trial))


def _runs(plugin: Plugin, trial: Trial, settings: dict[str, Any] | None = None) -> None:
    run = make_run(plugin, trial.stream, settings)
    strategy = run.strategy()
    learn(run, strategy, 0, trial.experiences)
    world = trial.stream.world()
    # Minus infinity rules a class out, and is a score.
    if not bool((predict(strategy, world.x, world.task_id) < torch.inf).all()):
        raise Failed(
            f"{trial.name}: scores are NaN or infinite; look for a division by a count or a spread "
            "that is zero for one sample, one class or one batch"
        )


def works_in_float64(rig: Rig) -> None:
    """After ``.double()`` it learns and predicts in double precision, from floats and uint8."""
    kinds: tuple[Kind, ...] = ("doubles", "images")
    for kind in kinds:
        for trial in fitting(rig.plugin, kind):
            run = make_run(rig.plugin, trial.stream)
            strategy = run.strategy().double()
            learn(run, strategy, 0, min(3, trial.experiences))
            world = trial.stream.world()
            scores = predict(strategy, world.x, world.task_id)
            if scores.dtype != torch.float64 or bool(scores.isnan().any()):
                raise Failed(
                    f"{trial.name}: after .double() scores are {scores.dtype} or NaN; make tensors "
                    "with the dtype of the weights, not with a fixed one"
                )


def refuses_unknown_settings(rig: Rig) -> None:
    """A setting that it does not have is refused before anything runs."""
    try:
        make_run(rig.plugin, trials()[0].stream, {"no_such_setting": "1"})
    except UsageError:
        return
    raise Failed("accepts a setting that it does not have; declare all settings in Config")


def refuses_senseless_settings(rig: Rig) -> None:
    """NaN is refused for every number, and a negative learning rate or size."""
    hints = typing.get_type_hints(rig.plugin.load().Config)
    for field in dataclasses.fields(rig.plugin.load().Config):
        kinds = {hints[field.name], *typing.get_args(hints[field.name])}
        wrong = ["nan"] if float in kinds else []
        if kinds & {float, int} and (field.name in POSITIVE or field.name.endswith("_lr")):
            wrong.append("-1")
        if int in kinds and field.name in SIZES:
            wrong.append("0")
        for value in wrong:
            try:
                make_run(rig.plugin, trials()[0].stream, {field.name: value})
            except UsageError:
                continue
            raise Failed(
                f"accepts strategy.{field.name}={value}; raise UsageError in Config.__post_init__ "
                "(and call super().__post_init__() there)"
            )


def refuses_streams_that_lack_what_it_needs(rig: Rig) -> None:
    """What ``needs`` declares is refused before training where the stream does not give it."""
    cls: type[Strategy] = rig.plugin.load()
    needs = cls.needs
    declared = [f.name for f in dataclasses.fields(needs) if getattr(needs, f.name)]
    by_name = {trial.name: trial.stream for trial in trials()}
    without = {
        "task_id": by_name["disjoint"],
        "boundaries": by_name["chunked"],
        "disjoint_classes": by_name["recurring"],
        "n_tasks": by_name["chunked"],
        "labels": dataclasses.replace(by_name["recurring"], labelling=Labelling(unlabelled=0.5)),
    }
    for name in declared:
        if not lacks(cls, without[name]):
            raise Failed(f"needs.{name} is declared but a stream without it is accepted")
    if not declared:
        for stream in by_name.values():
            check_needs(cls, stream, rig.plugin.name)


def reports_sane_diagnostics(rig: Rig) -> None:
    """``diagnostics()`` are 0-d tensors, and ``memory_bytes()`` a part of the state."""
    strategy = next(trainings(rig)).strategy
    for name, value in strategy.diagnostics().items():
        if not isinstance(value, torch.Tensor) or value.dim() != 0:
            raise Failed(f"diagnostics()[{name!r}] is not a 0-d tensor; make it one")
    stored, state = strategy.memory_bytes(), state_bytes(strategy.state_dict())
    if not 0 <= stored <= state:
        raise Failed(
            f"memory_bytes() says {stored} of a state of {state} bytes; count the bytes of the "
            "buffers in state_dict() that hold samples"
        )


CHECKS: tuple[Check, ...] = (
    learns_above_chance,
    strategy_state.predicts_without_changing_anything,
    gives_the_same_scores_in_any_batch,
    strategy_state.continues_bit_for_bit_in_a_new_process,
    strategy_state.gives_the_same_bits_for_the_same_seed,
    strategy_state.keeps_its_state_in_tensors_of_constant_size,
    strategy_state.hides_no_growing_memory,
    works_under_permuted_class_ids,
    strategy_rows.learns_from_data_larger_than_memory,
    works_with_odd_batch_sizes,
    works_with_a_single_sample,
    works_with_one_class_at_a_time,
    works_in_float64,
    refuses_unknown_settings,
    refuses_senseless_settings,
    refuses_streams_that_lack_what_it_needs,
    strategy_device.makes_tensors_on_the_device_of_its_data,
    strategy_device.never_waits_for_the_device_in_its_inner_loop,
    strategy_state.cannot_reach_the_stream,
    reports_sane_diagnostics,
)
