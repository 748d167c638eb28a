"""Ours and Avalanche's on the same tensors, weights and order, over five tasks: the same weights.

Equal as they stand, with settings that say the same: naive; EWC online with the estimator
``batched``, ``penalty_step=explicit``, and ``lam = 2 ewc_lambda``, since Avalanche's penalty has no
factor 1/2; LwF.

Equal once a term is aligned, which the tests do:

- SI. On a CPU Avalanche 0.6 keeps views of the weights where it means to keep copies, so no weight
  ever seems to have moved, every importance is 0, and what runs is naive training: a test says so.
  With copies (as on a GPU) three terms are left: Avalanche takes the path integral of the gradient of
  loss *and penalty*, ours of the loss alone (Zenke et al. 2017); lets a negative integral lower an
  importance, where ours counts it as 0; and caps importances at 0.001. Both have the factor 1/2.
- ER. The loss, a mean over the joined batch, is the same. Which samples are replayed is not:
  Avalanche goes through its memory in shuffled passes, without replacement, and replays earlier
  experiences alone; ours draws with replacement, and replays the running experience, too. Both
  memories are uniform samples of what has come.
- A-GEM. The projection is the same. The reference batch is not: Avalanche keeps some samples of every
  experience, for ever, and draws equally many of each, ours keeps one reservoir of fixed size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from foreign import learn, needs_avalanche, run_of, weights
from torch import Tensor

from clbench.plugins.registry import find
from clbench.replay import mix
from clbench.strategy import Batch

pytestmark = needs_avalanche

OURS = ("strategy.batch_size=5", "strategy.lr=0.05", "strategy.clip_norm=null")
THEIRS = ("strategy.batch_size=5", "strategy.lr=0.05", "strategy.shuffle=false")


def both(ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    """The weights after each task are the same, and they have moved."""
    mine, other = run_of(*OURS, *ours), run_of(*THEIRS, *theirs)
    strategy = mine.strategy()
    start = weights(strategy)
    same(learn(mine, strategy), learn(other, other.strategy()), start)


def same(mine: list[Tensor], other: list[Tensor], start: Tensor) -> None:
    assert len(mine) == len(other) == 5
    for a, b, before in zip(mine, other, [start, *mine], strict=False):
        assert (a - before).abs().max() > 0.01
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_naive() -> None:
    words = ("strategy.momentum=0.9", "strategy.weight_decay=0.001")
    both(("strategy=naive", *words), ("strategy=avalanche:Naive", *words))


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_online_ewc(decay: float) -> None:
    both(
        (
            *("strategy=ewc", "strategy.mode=online", "strategy.fisher=batched"),
            *("strategy.penalty_step=explicit", "strategy.lam=8", f"strategy.gamma={decay}"),
        ),
        (
            *("strategy=avalanche:EWC", "strategy.mode=online", "strategy.ewc_lambda=4"),
            f"strategy.decay_factor={decay}",
        ),
    )


def test_separate_ewc() -> None:
    both(
        (
            *("strategy=ewc", "strategy.mode=separate", "strategy.fisher=batched"),
            *("strategy.penalty_step=explicit", "strategy.lam=8"),
        ),
        ("strategy=avalanche:EWC", "strategy.ewc_lambda=4"),
    )


def test_lwf() -> None:
    words = ("strategy.alpha=1.5", "strategy.temperature=2")
    both(("strategy=lwf", *words), ("strategy=avalanche:LwF", *words))


SI = ("strategy=avalanche:SynapticIntelligence", "strategy.si_lambda=2000", "strategy.eps=0.1")


def test_si_of_avalanche_is_naive_training_on_a_cpu() -> None:
    both(("strategy=naive",), SI)


def copied_weights(model: Any, target: Any, excluded: Any) -> None:
    """Avalanche's ``extract_weights``, but for the copy, which ``.cpu()`` makes on a GPU alone."""
    for name, parameter in model.named_parameters():
        target[name].data = parameter.detach().flatten().clone()


def test_si_with_its_three_terms_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    si: Any = find("strategy", "si").load()

    class Aligned(si):
        total: Tensor

        def step(self, batch: Batch) -> None:
            pull = self.importance * (self.weights - self.anchor)
            slope = self.gradient(batch).add_(pull, alpha=self.strength)
            before = self.weights.clone()
            self.descend(slope.clone())
            self.path.add_(slope * (before - self.weights))

        def consolidate(self, task: Any) -> None:
            distance = self.weights - self.anchor
            new = self.path / (distance.square() + self.config.xi)
            self.total = new + getattr(self, "total", 0)
            self.importance.copy_(self.total.clamp(max=0.001))
            self.anchor.copy_(self.weights)

    mine = run_of(*OURS, "strategy=si", "strategy.lam=2000", "strategy.xi=0.1", strategy=Aligned)
    other = run_of(*THEIRS, *SI)
    theirs = other.strategy()
    plugin = next(p for p in theirs.inner.plugins if hasattr(p, "extract_weights"))
    monkeypatch.setattr(type(plugin), "extract_weights", staticmethod(copied_weights))
    strategy = mine.strategy()
    start = weights(strategy)
    same(learn(mine, strategy), learn(other, theirs), start)
    assert 0 < int((strategy.importance == 0.001).sum()) < len(start)  # the cap is met


def test_er_with_the_same_samples_replayed() -> None:
    other = run_of(*THEIRS, "strategy=avalanche:Replay", "strategy.mem_size=20")
    strategy = other.strategy()
    seen: list[tuple[Tensor, Tensor]] = []

    class Watch(type(strategy.port).__bases__[0]):  # type: ignore[misc]
        def before_forward(self, strategy: Any, **_: Any) -> None:
            seen.append((strategy.mb_x, strategy.mb_y))

    strategy.inner.plugins.insert(0, Watch())
    theirs = learn(other, strategy)
    replaying = [len(y) for _, y in seen[5:]]
    assert {len(y) for _, y in seen[:5]} == {5, 4}  # nothing to replay in the first task
    assert min(replaying) > 5

    er: Any = find("strategy", "er").load()
    parts = iter(seen)

    class Aligned(er):
        def draw(self, batch: Batch) -> Batch:
            x, y = next(parts)
            n = len(batch.y)
            assert torch.equal(x[:n], batch.x)
            return mix(batch, Batch(x[n:], y[n:])) if len(y) > n else batch

    mine = run_of(*OURS, "strategy=er", strategy=Aligned)
    ours = mine.strategy()
    start = weights(ours)
    same(learn(mine, ours), theirs, start)


def test_agem_with_the_same_reference_batches() -> None:
    other = run_of(
        *THEIRS,
        *("strategy=avalanche:AGEM", "strategy.patterns_per_exp=6", "strategy.sample_size=8"),
    )
    strategy = other.strategy()
    plugin = next(p for p in strategy.inner.plugins if type(p).__name__ == "AGEMPlugin")
    drawn: list[tuple[Tensor, Tensor]] = []
    original = plugin.sample_from_memory

    def recorded() -> Any:
        batch = original()
        drawn.append((batch[0], batch[1]))
        return batch

    plugin.sample_from_memory = recorded
    theirs = learn(other, strategy)
    references: Iterator[tuple[Tensor, Tensor]] = iter(drawn)
    agem: Any = find("strategy", "agem").load()
    projected = []

    class Aligned(agem):
        def recall(self, n: int, like: Tensor) -> Batch:
            return Batch(*next(references))

        def descend(self, gradient: Tensor) -> None:
            projected.append(gradient.clone())
            super().descend(gradient)

    mine = run_of(*OURS, "strategy=agem", strategy=Aligned)
    ours = mine.strategy()
    start = weights(ours)
    same(learn(mine, ours), theirs, start)
    assert next(references, None) is None
