"""strategy.accumulate: the step of the whole batch, part by part."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from small import go, pool, run
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.nets.accumulation import parts
from clbench.strategy import Batch, Strategy

STREAM = ("scenario=class_incremental", "scenario.n_tasks=2")


def trained(*words: str) -> tuple[Strategy, list[int]]:
    """In float64; with the operations of each experience."""
    r = run(*STREAM, *words, on=pool(n_train=11))
    torch.set_default_dtype(torch.float64)
    strategy = r.strategy()
    torch.set_default_dtype(torch.float32)
    strategy, outcome = go(r, strategy)
    assert outcome.status == "completed", outcome.error
    return strategy, [counted[2] for counted in outcome.ledger.learned]


@pytest.mark.parametrize("name", ["naive", "er", "ewc", "sam", "agem", "mir", "si", "l2_init"])
@pytest.mark.parametrize("n", [2, 3, 100])
def test_the_step_is_that_of_the_whole_batch_at_the_same_operations(name: str, n: int):
    words = (f"strategy={name}", "strategy.batch_size=8", "strategy.epochs=2", "strategy.lr=0.05")
    (whole, flops), (cut, again) = trained(*words), trained(*words, f"strategy.accumulate={n}")
    for key, value in whole.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point():
            torch.testing.assert_close(cut.state_dict()[key], value, rtol=1e-9, atol=1e-11)
    assert again == flops != []


def test_unlabelled_samples_count_in_no_part():
    words = (
        "strategy=naive",
        "scenario.unlabelled=0.6",
        "strategy.batch_size=6",
        "strategy.lr=0.05",
    )
    whole, cut = trained(*words)[0], trained(*words, "strategy.accumulate=4")[0]
    assert bool(torch.isfinite(cut.weights).all())  # type: ignore[operator]
    torch.testing.assert_close(cut.weights, whole.weights, rtol=1e-9, atol=1e-11)  # type: ignore[union-attr]
    assert float(cut.diagnostics()["loss"]) == pytest.approx(float(whole.diagnostics()["loss"]))


@pytest.mark.parametrize("n_samples", [1, 2, 7, 12])
@pytest.mark.parametrize("weighted", [False, True])
def test_parts_are_the_batch(n_samples: int, weighted: bool):
    x = torch.arange(n_samples).float()[:, None]
    y = torch.arange(n_samples) % 3 - 1
    weight = torch.rand(n_samples) if weighted else None
    found = [*parts(Batch(x, y, weight=weight, classes=torch.tensor([1])), 4, Batch)]
    assert len(found) <= 4
    assert torch.equal(torch.cat([part.x for part, _ in found]), x)
    assert torch.equal(torch.cat([part.y for part, _ in found]), y)
    sizes = [len(part.y) for part, _ in found]
    assert all(a >= b for a, b in pairwise(sizes))
    assert sum(int(n) for _, n in found) == (n_samples if weighted else int((y >= 0).sum()))


def test_a_part_at_a_time_is_in_memory():
    r = run(*STREAM, "strategy=naive", "strategy.batch_size=8", "strategy.accumulate=4")
    strategy = r.strategy()
    sizes: list[int] = []
    forward = nn.Linear.forward

    def noted(self: nn.Linear, x: Tensor) -> Tensor:
        sizes.append(len(x))
        return forward(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Linear, "forward", noted)
        strategy.learn(r.stream.experience(0))
    assert max(sizes) == 2


@pytest.mark.parametrize("mask", ["group", "group_zero"])
def test_a_mask_that_looks_at_the_batch_is_refused(mask: str):
    with pytest.raises(UsageError, match=r"strategy\.mask"):
        run(*STREAM, "strategy=naive", "strategy.accumulate=2", f"strategy.mask={mask}")


def test_a_strategy_that_watches_the_network_is_refused_at_its_first_step():
    outcome = go(run(*STREAM, "strategy=continual_backprop", "strategy.accumulate=2"))[1]
    assert "activations" in str(outcome.error)
