"""Early stopping: what is held out, when training ends, and which weights stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import go, pool, run
from torch import Tensor, nn

from clbench.nets.early_stopping import EarlyStopping, hold_out
from clbench.stream import TaskData

STREAM = ("scenario=class_incremental", "strategy=naive")


def task(y: list[int], key: list[int] | None = None) -> TaskData:
    n = len(y)
    keys = torch.randperm(n, generator=torch.Generator().manual_seed(2)) if key is None else key
    x = torch.arange(n, dtype=torch.float32)[:, None]
    return TaskData(x=x, y=torch.tensor(y), key=torch.as_tensor(keys))


def test_a_tenth_of_each_class_is_held_out_by_its_keys():
    whole = task([0] * 40 + [1] * 15 + [2] * 2 + [3] + [-1] * 30)
    train, val = hold_out(whole)
    assert np.bincount(val.y.numpy(), minlength=4).tolist() == [4, 2, 1, 0]
    assert sorted([*train.x.flatten().tolist(), *val.x.flatten().tolist()]) == [*range(88)]
    assert int((train.y == -1).sum()) == 30
    for label in (0, 1, 2):
        held, kept = (part.key[part.y == label] for part in (val, train))
        assert int(held.max()) < int(kept.min())
    order = torch.randperm(88, generator=torch.Generator().manual_seed(3))
    _, again = hold_out(whole.part(order))
    assert set(again.key.tolist()) == set(val.key.tolist())  # whatever the order


class Fixed(nn.Module):
    """Answers each epoch as a table says: so many of the ten samples right."""

    def __init__(self, right: list[int]) -> None:
        super().__init__()
        self.right = right
        self.at = nn.Parameter(torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        answers = (x[:, 0] >= self.right[int(self.at.detach()) - 1]).long()
        return nn.functional.one_hot(answers, 2).float()


@pytest.mark.parametrize(
    ("right", "patience", "epochs", "best"),
    [
        ([3, 5, 4, 6, 6, 5, 9], 2, 6, 4),  # equal is not better
        ([3, 5, 4, 6, 6, 5, 9], 3, 7, 7),
        ([9, 1, 1, 1], 1, 2, 1),
        ([1, 2, 3], 1, 3, 3),
        ([0, 0, 0, 0], 2, 3, 1),
    ],
)
def test_training_ends_after_epochs_without_a_better_one(
    right: list[int], patience: int, epochs: int, best: int
):
    net = Fixed(right)
    net.train()
    watch = EarlyStopping(net, task([0] * 10), patience)
    taken = 0
    for _ in watch.until_no_better(range(3 * len(right)), 3):
        taken += 1
        assert net.training
        with torch.no_grad():
            net.at.fill_(-(-taken // 3))
            net.seen.fill_(taken)  # type: ignore[operator]
    assert taken == 3 * epochs
    watch.restore()
    assert (int(net.at.detach()), int(net.seen)) == (best, 3 * best)  # type: ignore[call-overload]


def test_nothing_held_out_is_no_early_stopping():
    net = Fixed([1])
    watch = EarlyStopping(net, task([]), 1)
    assert [*watch.until_no_better(range(5), 1)] == [*range(5)]
    watch.restore()


def test_scores_are_of_the_samples_own_task():
    net = nn.Linear(1, 4)
    with torch.no_grad():
        net.weight.zero_()
        net.bias.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0]))
    val = TaskData(
        x=torch.zeros(2, 1),
        y=torch.tensor([1, 3]),
        key=torch.arange(2),
        task_id=torch.tensor([0, 1]),
    )
    opened = torch.tensor([[True, True, False, False], [False, False, True, True]])
    for classes, best in ((None, 1), (opened, 2)):
        watch = EarlyStopping(net, val, 1, classes)
        [*watch.until_no_better(range(1), 1)]
        assert watch.best == best


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_a_run_that_stops_early_takes_fewer_updates_and_repeats(scenario: str):
    on = pool(n_classes=4, n_train=20)
    words = (f"scenario={scenario}", "strategy=naive", "strategy.epochs=30", "strategy.lr=0.5")
    _, without = go(run(*words, on=on))
    found = [go(run(*words, "strategy.patience=2", on=on)) for _ in range(2)]
    assert all(outcome.error is None for _, outcome in found)
    updates = [outcome.ledger.updates for _, outcome in found]
    assert updates[0] == updates[1] < without.ledger.updates
    first, second = (strategy.weights for strategy, _ in found)
    assert torch.equal(first, second)  # type: ignore[arg-type]
    assert all(bool(s.mean_loss.isfinite()) for s, _ in found)  # type: ignore[union-attr, operator]


def test_the_held_out_samples_are_not_trained_on():
    r = run(*STREAM, "strategy.patience=1", "strategy.epochs=3", on=pool(n_classes=4, n_train=20))
    strategy = r.strategy()
    seen: set[float] = set()
    step = strategy.step  # type: ignore[union-attr]

    def noted(batch):
        seen.update(batch.x[:, 0].tolist())
        step(batch)

    strategy.step = noted  # type: ignore[method-assign, union-attr, assignment]
    whole = r.stream.experience(0)
    strategy.learn(whole)
    train, val = hold_out(whole)
    assert len(val) > 0
    assert seen == set(train.x[:, 0].tolist())
