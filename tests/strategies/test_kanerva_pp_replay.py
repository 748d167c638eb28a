"""Replay from a Kanerva++ memory: which keys are kept, what is read, and at how many bytes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import go, run
from test_replay import build, drawn

from clbench.memory.policies import spread
from clbench.replay import n_new

SMALL = ("strategy.generator_width=16", "strategy.memory_side=8", "strategy.n_keys=12")


def balanced(labels: torch.Tensor) -> bool:
    counts = labels.unique(return_counts=True)[1]
    return int(counts.max() - counts.min()) <= 1


def test_keys_are_kept_of_all_classes_alike_and_only_of_those_that_came():
    r, strategy = build("kanerva_pp", *SMALL)
    came: set[int] = set()
    for t in range(2):
        task = r.stream.experience(t)
        strategy.learn(task)
        came |= set(task.y.tolist())
        assert set(strategy.label.tolist()) == came
        assert balanced(strategy.label)


def test_keys_are_those_of_samples_of_their_labels():
    """Of the first experience, each key is what q(y | x) points at for a sample of that label."""
    r, strategy = build("kanerva_pp", *SMALL)
    task = r.stream.experience(0)
    strategy.learn(task)
    own = strategy.generator.infer(task.x)[0].mean
    for key, label in zip(strategy.key, strategy.label, strict=True):
        gaps = (own[task.y == label] - key).abs().amax(1)
        assert gaps.min() < 1e-9


@pytest.mark.parametrize("keys", ["stored", "prior"])
def test_replayed_samples_are_reads_and_have_labels_of_earlier_tasks(keys: str):
    r, strategy, new, batch = drawn("kanerva_pp", *SMALL, f"strategy.keys={keys}")
    assert n_new(batch) == 4
    assert torch.equal(batch.x[:4], new.x)
    assert set(batch.y[4:].tolist()) <= set(r.stream.experience(0).y.tolist())
    torch.manual_seed(5)
    strategy.draw(new)
    with torch.no_grad():  # the scholar is from before: what is learnt now does not move it
        for parameter in strategy.generator.parameters():
            parameter.zero_()
    torch.manual_seed(5)
    first = strategy.draw(new).x
    torch.manual_seed(5)
    assert torch.equal(strategy.draw(new).x, first)
    assert len(first[4:].unique(dim=0)) > 1


def test_the_memory_is_written_from_the_experience_and_from_reads():
    """Of 64 places half are new classes where half of the classes are new."""
    r, strategy = build("kanerva_pp", *SMALL, "strategy.episode=24")
    written: list[torch.Tensor] = []
    write = strategy.generator.write

    def noted(x: torch.Tensor) -> Any:
        if not torch.is_grad_enabled():
            written.append(x)
        return write(x)

    strategy.generator.write = noted
    tasks = [r.stream.experience(t) for t in range(2)]
    for task in tasks:
        strategy.learn(task)
    first, second = written
    assert len(first) == len(second) == 24
    assert all((tasks[0].x == x).all(1).any() for x in first)
    n_here = sum(bool((tasks[1].x == x).all(1).any()) for x in second)
    share = len(tasks[1].classes) / (len(tasks[0].classes) + len(tasks[1].classes))
    assert abs(n_here - 24 * share) <= len(tasks[1].classes)


@pytest.mark.parametrize("keys", ["stored", "prior"])
def test_bytes_do_not_depend_on_the_stream(keys: str):
    words = ("strategy=kanerva_pp", "scenario=scole", "strategy.batch_size=8", *SMALL)
    found = set()
    for n in (2, 9):
        strategy, outcome = go(run(*words, f"scenario.n_tasks={n}", f"strategy.keys={keys}"))
        assert outcome.error is None
        found.add(strategy.memory_bytes())
    assert len(found) == 1
    assert len(strategy.key) == (12 if keys == "stored" else 0)


def test_samples_are_spread_over_the_wanted_labels():
    y = torch.tensor([3, -1, 5, 3, 5, 5, 7])
    wanted = torch.tensor([3, 5, 3, 5, 5, 3])
    at = spread(y, wanted)
    assert torch.equal(y[at], wanted)
    assert len(at[wanted == 5].unique()) == 3
    assert len(at[wanted == 3].unique()) == 2
