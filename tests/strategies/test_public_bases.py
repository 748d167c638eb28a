"""What built-in strategies use of their bases is public, so that anyone's strategy can use it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from small import run

from clbench import GradientStrategy, TaskData
from clbench.plugins import registry

STRATEGIES = [*registry.plugins("strategy").values()]


def reads_of_private_names(path: Path) -> set[str]:
    """Attributes ``x._name`` that a file uses and does not define itself."""
    tree = ast.parse(path.read_bytes())
    private = {
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    }
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    defined |= {node.attr for node in private if isinstance(node.ctx, ast.Store)}
    return {node.attr for node in private} - defined


@pytest.mark.parametrize("plugin", STRATEGIES, ids=lambda p: p.name)
def test_no_built_in_strategy_uses_a_private_name_of_a_base(plugin: registry.Plugin) -> None:
    assert not reads_of_private_names(plugin.path)


def test_the_check_sees_a_private_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "class Mine(GradientStrategy):\n"
        "    def begin(self, task):\n        self._own = self._helper()\n"
        "    def _helper(self):\n        return self._flat.split(self._own)\n"
    )
    assert reads_of_private_names(path) == {"_flat"}


def made(*words: str) -> tuple[TaskData, GradientStrategy]:
    r = run("strategy=naive", "scenario=scole", "strategy.batch_size=5", *words)
    strategy = r.strategy()
    assert isinstance(strategy, GradientStrategy)
    return r.stream.experience(0), strategy


@pytest.mark.parametrize("words", [(), ("strategy.schedule=cosine", "strategy.epochs=3")])
def test_learn_is_train_on_between_begin_and_consolidate(words: tuple[str, ...]) -> None:
    def trained(by_hand: bool) -> GradientStrategy:
        task, strategy = made(*words)
        torch.manual_seed(0)
        if by_hand:
            strategy.bind()
            batches = list(strategy.batches(strategy.begin(task)))
            strategy.train_on(batches, len(batches))
            strategy.consolidate(task)
        else:
            strategy.learn(task)
        return strategy

    whole, parts = trained(by_hand=False), trained(by_hand=True)
    assert whole.weights.equal(parts.weights)
    assert whole.mean_loss.equal(parts.mean_loss)
    assert whole.lr == parts.lr


def test_gradient_of_a_batch_is_that_of_its_loss_and_is_not_noted() -> None:
    task, strategy = made()
    batch = next(strategy.batches(task))
    found = strategy.gradient_of(batch)
    assert strategy.mean_loss == 0
    assert found.equal(strategy.gradient_of(strategy.loss(batch)))
    assert found.equal(strategy.gradient(batch))
    assert strategy.mean_loss == strategy.loss(batch).detach()


def test_a_vector_is_split_into_views_in_the_order_of_the_model() -> None:
    _, strategy = made()
    parts = strategy.per_parameter(strategy.weights)
    for part, parameter in zip(parts, strategy.model.parameters(), strict=True):
        assert part.equal(parameter)
        assert part.data_ptr() == parameter.data_ptr()


@pytest.mark.parametrize(
    ("words", "n"),
    [
        ((), 0),
        (("strategy.momentum=0.9",), 1),
        (("strategy.optimizer=adam",), 2),
        (("strategy.optimizer=adafactor",), 0),
    ],
)
def test_the_optimizers_vectors_are_those_with_an_entry_for_each_weight(
    words: tuple[str, ...], n: int
) -> None:
    task, strategy = made(*words)
    assert strategy.optimizer_vectors() == []
    strategy.learn(task)
    assert [v.shape for v in strategy.optimizer_vectors()] == [strategy.weights.shape] * n


def test_bind_lays_moved_parameters_back() -> None:
    _, strategy = made()
    strategy.double()
    before = [p.detach().clone() for p in strategy.model.parameters()]
    strategy.bind()
    strategy.weights.add_(1)
    for parameter, old in zip(strategy.model.parameters(), before, strict=True):
        assert parameter.equal(old + 1)
