"""Dark experience replay: its losses, and which logits are replayed."""

from __future__ import annotations

import pytest
import torch
from small import go, run
from test_replay import build, ce, drawn
from torch import Tensor

from clbench.dark import distance
from clbench.replay import n_new
from clbench.strategy import Batch


def test_der_and_derpp_losses_on_fixed_tensors():
    """Buzzega et al. 2020, equations 6 and 7, the distance a mean over samples and classes."""
    for name in ("der", "derpp"):
        _, strategy, _, batch = drawn(
            name, "strategy.alpha=0.3", *["strategy.beta=0.7"] * (name == "derpp")
        )
        z = batch.extra["logits"]
        assert len(z) == 4
        h = strategy.model(batch.x)
        squares = sum((z[i, c] - h[4 + i, c]) ** 2 for i in range(4) for c in range(4))
        wanted = ce(strategy, batch.x[:4], batch.y[:4]) + 0.3 * squares / 16
        if name == "derpp":
            wanted = wanted + 0.7 * ce(strategy, batch.x[8:], batch.y[8:])
        torch.testing.assert_close(strategy.loss(batch), wanted)


def test_distance_is_the_same_to_the_bit_whether_masks_are_looked_for_or_not():
    torch.manual_seed(0)
    stored, scores = torch.randn(2, 7, 10)
    found = []
    for masked in (False, True):
        z = scores.clone().requires_grad_()
        value = 0.3 * distance(z, stored, masked)
        found.append((value, *torch.autograd.grad(value, z)))
    assert all(map(torch.equal, *found))
    stored[:, 3], scores[:, 4] = -torch.inf, -torch.inf
    open_in_both = [c for c in range(10) if c not in (3, 4)]
    wanted = distance(scores[:, open_in_both], stored[:, open_in_both], False)
    torch.testing.assert_close(distance(scores, stored, True), wanted)


@pytest.mark.parametrize("epochs", [1, 3])
def test_dark_logits_are_those_before_the_step_of_the_last_visit(epochs: int):
    r, strategy = build("der", "strategy.memory_size=100", f"strategy.epochs={epochs}")
    task = r.stream.experience(0)
    seen: dict[int, Tensor] = {}
    step = strategy.step

    def spied(batch: Batch) -> None:
        with torch.no_grad():
            for x, z in zip(batch.x[: n_new(batch)], strategy.model(batch.x), strict=False):
                [at] = (task.x == x).all(1).nonzero().squeeze(1).tolist()
                seen[at] = z
        step(batch)

    strategy.step = spied
    strategy.learn(task)
    memory = strategy.memory
    assert int(memory.filled) == len(task)
    for slot in range(len(task)):
        [at] = (task.key == memory.key[slot]).nonzero().squeeze(1).tolist()
        torch.testing.assert_close(memory.logits[slot].double(), seen[at])


def test_dark_logits_of_the_running_experience_are_replayed_as_they_were_noted():
    r, strategy = build("der", "strategy.memory_size=100")
    task = r.stream.experience(0)
    strategy.begin(task)
    first, second, *_ = strategy.batches(task)
    with torch.no_grad():
        noted = strategy.model(first.x)
    strategy.step(strategy.draw(first))
    batch = strategy.draw(second)
    for x, z in zip(batch.x[4:], batch.extra["logits"], strict=True):
        [at] = (first.x == x).all(1).nonzero().squeeze(1).tolist()
        torch.testing.assert_close(z, noted[at])


def test_dark_replay_where_task_ids_mask_the_scores():
    r = run("strategy=derpp", "scenario=task_incremental", "scenario.n_tasks=2")
    _, outcome = go(r)
    assert outcome.error is None
    assert all(loss is not None for loss in outcome.ledger.diagnostics["loss"])
