"""Continual backpropagation against its formulas, written out unit by unit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import pool, run
from torch import Tensor, nn

from clbench.engine.build import Run
from clbench.errors import UsageError
from clbench.strategy import Batch

ON = ("strategy=continual_backprop", "scenario=scole", "scenario.n_tasks=20")


def make(*words: str, image: bool = False) -> tuple[Run, Any]:
    if image:
        r = run(*ON, "model=scole_cnn", *words, on=pool(shape=(16, 16), n_train=8))
    else:
        r = run(*ON, "model=mlp", "model.hidden=[8,6]", *words)
    strategy: Any = r.strategy().double()
    strategy.bind()  # as learn() does: double() has moved the weights
    return r, strategy


def first_batch(r: Run) -> tuple[Any, Batch]:
    task = r.stream.experience(0)
    return task, Batch(task.x, task.y, None, task.classes)


def chain(strategy: Any) -> list[Any]:
    return [m for m in strategy.model if isinstance(m, nn.Linear | nn.Conv2d)]


def activations(strategy: Any, x: Tensor) -> list[Tensor]:
    """What each layer but the first reads, ``(B, units, positions)``."""
    found, h = [], x
    layers = chain(strategy)
    for module in strategy.model:
        if module in layers[1:]:
            units = len(layers[layers.index(module) - 1].weight)
            found.append(h.detach().reshape(len(h), units, -1))
        h = module(h)
    return found


@pytest.mark.parametrize("kind", ["contribution", "adaptable"])
@pytest.mark.parametrize("image", [False, True])
def test_utilities_are_those_of_the_formula(kind: str, image: bool):
    r, strategy = make(f"strategy.utility={kind}", "strategy.decay=0.9", image=image)
    task, batch = first_batch(r)
    strategy.begin(task)
    layers = chain(strategy)
    sizes = [len(layer.weight) for layer in layers[:-1]]
    mean, utility = torch.zeros(sum(sizes)).double(), torch.zeros(sum(sizes)).double()
    for step in range(1, 5):
        read = activations(strategy, batch.x)  # before the update, weights after it
        strategy.step(batch)
        unit = 0
        for number, h in enumerate(read):
            into, out = layers[number].weight, layers[number + 1].weight
            for i in range(sizes[number]):
                columns = out.detach().reshape(len(out), sizes[number], -1)[:, i]
                mean[unit] = 0.9 * mean[unit] + 0.1 * h[:, i].mean()
                if kind == "adaptable":
                    usual = mean[unit] / (1 - 0.9**step)
                    now = (h[:, i] - usual).abs().mean() * columns.abs().mean()
                    now = now / into[i].detach().abs().mean()
                else:
                    now = h[:, i].abs().mean() * columns.abs().mean()
                utility[unit] = 0.9 * utility[unit] + 0.1 * now
                unit += 1
        torch.testing.assert_close(strategy.activation, mean)
        torch.testing.assert_close(strategy.running_utility, utility)
    assert (strategy.age == 4).all()


def renewed(r: Run, strategy: Any, n: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Replace n units of every hidden layer, after some learning; weights before and after."""
    for t in range(2):
        strategy.learn(r.stream.experience(t))
    before = [p.detach().clone() for p in strategy.model.parameters()]
    ages = strategy.age.clone()
    for layer in strategy.layers:
        strategy._renew(layer, n)
    return before, [p.detach().clone() for p in strategy.model.parameters()], ages


@pytest.mark.parametrize("image", [False, True])
def test_a_replaced_unit_takes_nothing_from_the_function_where_it_gave_its_mean(image: bool):
    """Activations pinned at their running means: the next layer's output is the same."""
    r, strategy = make("strategy.maturity=0", image=image)
    for t in range(2):
        strategy.learn(r.stream.experience(t))
    layers = chain(strategy)
    for number, layer in enumerate(strategy.layers):
        reader = layers[number + 1]
        usual = strategy._usual(layer, strategy.activation)
        shape = (1, *reader.weight.shape[1:]) if image and reader.weight.dim() == 4 else (1, -1)
        positions = reader.weight[0].numel() // layer.units
        h = usual[None, :, None].expand(1, -1, positions).reshape(shape)
        before, was_zero = reader(h), (reader.weight == 0).sum()
        strategy._renew(layer, 3)
        torch.testing.assert_close(reader(h), before)
        columns = reader.weight.reshape(len(reader.weight), layer.units, -1)
        gone = (columns == 0).all(2).all(0)
        assert gone.sum() == 3
        assert (reader.weight == 0).sum() > was_zero
        assert (strategy.age[layer.of] == 0).equal(gone)


def test_the_least_useful_mature_units_are_replaced_and_start_anew():
    r, strategy = make("strategy.maturity=3", "strategy.optimizer=adam", "strategy.batch_size=6")
    strategy.learn(r.stream.experience(0))
    strategy.age[1], strategy.age[9] = 3, 3  # too young
    strategy.running_utility[1] = strategy.running_utility[9] = 0.0
    utility = strategy.running_utility / (1 - 0.99 ** strategy.age.double())
    [adam] = strategy.optimizer.state.values()
    layers = chain(strategy)
    worst, first = [], 0
    for units in (8, 6):
        ranked = [
            i for i in utility[first : first + units].argsort().tolist() if first + i not in (1, 9)
        ]
        worst.append(sorted(ranked[:2]))
        first += units
    before = [p.detach().clone() for p in strategy.model.parameters()]
    for layer in strategy.layers:
        strategy._renew(layer, 2)
    after = list(strategy.model.parameters())
    moments = {name: strategy.per_parameter(adam[name]) for name in ("exp_avg", "exp_avg_sq")}
    for number, chosen in enumerate(worst):
        at = 2 * number
        others = [i for i in range(len(after[at])) if i not in chosen]
        columns_before = set(worst[number - 1]) if number else set()
        kept = [i for i in range(after[at].shape[1]) if i not in columns_before]
        assert torch.equal(after[at][others][:, kept], before[at][others][:, kept])
        bound = after[at].shape[1] ** -0.5
        fresh = after[at][chosen]
        assert (fresh != before[at][chosen]).all()
        assert (fresh.abs() <= bound).all()
        assert (after[at + 1][chosen] == 0).all()
        # Rows that are new themselves may read from new units: they give nothing yet.
        old = [i for i in range(len(after[at + 2])) if number == 1 or i not in worst[1]]
        assert (layers[number + 1].weight[old][:, chosen] == 0).all()
        for split in moments.values():
            assert (split[at][chosen] == 0).all()
            assert (split[at + 1][chosen] == 0).all()
            assert (split[at + 2][:, chosen] == 0).all()
            assert (split[at + 2][:, others] != 0).any()
        of = strategy.layers[number].of
        for average in (strategy.age, strategy.running_utility, strategy.activation):
            assert (average[of][chosen] == 0).all()
    assert int(strategy.replaced) == 4


@pytest.mark.parametrize(("rate", "maturity"), [(0.03, 0), (0.03, 7), (0.3, 2), (1.0, 4)])
def test_the_rate_of_mature_units_is_replaced_within_one_a_layer(rate: float, maturity: int):
    """Over a stream; eligible units are counted here, from the ages on the device."""
    r, strategy = make(
        f"strategy.replacement_rate={rate}",
        f"strategy.maturity={maturity}",
        "strategy.batch_size=6",
        "strategy.lr=0.01",
    )
    eligible = [0, 0]
    replaced = [0, 0]
    renew, assess = strategy._renew, strategy._assess

    def assessing(layer: Any, read: Tensor) -> None:
        assess(layer, read)
        eligible[layer.parameter // 2] += int((strategy.age[layer.of] > maturity).sum())

    def renewing(layer: Any, n: int) -> None:
        young = strategy.age[layer.of] <= maturity
        ages = strategy.age[layer.of].clone()
        renew(layer, n)
        fresh = (strategy.age[layer.of] == 0) & (ages > 0)
        assert fresh.sum() == n
        assert not (fresh & young).any()
        replaced[layer.parameter // 2] += n

    strategy._renew, strategy._assess = renewing, assessing
    for t in range(8):
        strategy.learn(r.stream.experience(t))
    for count, of in zip(replaced, eligible, strict=True):
        assert count > 0
        assert abs(count - rate * of) <= 1
    assert int(strategy.replaced) == sum(replaced)
    assert torch.isfinite(strategy.weights).all()


def test_fresh_weights_are_uniform_as_at_the_start():
    """Variance of U(-b, b) with b = 1/sqrt(fan_in), as torch initialises linear layers."""
    r = run(*ON, "model=mlp", "model.hidden=[400]", "strategy.maturity=0")
    strategy: Any = r.strategy()
    start = chain(strategy)[0].weight.detach().clone()
    task, batch = first_batch(r)
    strategy.begin(task)
    strategy.step(batch)
    torch.manual_seed(1)
    strategy._renew(strategy.layers[0], 400)
    fresh = chain(strategy)[0].weight.detach()
    assert not torch.equal(fresh, start)
    assert float(fresh.std() / start.std()) == pytest.approx(1, abs=0.05)
    assert float(fresh.abs().max()) <= 6**-0.5
    assert F.relu(fresh).count_nonzero() > 0


def test_a_rate_of_zero_is_naive():
    r, strategy = make("strategy.replacement_rate=0")
    plain: Any = run("strategy=naive", *ON[1:], "model=mlp", "model.hidden=[8,6]").strategy()
    plain.double()
    for learner in (strategy, plain):
        for t in range(2):
            learner.learn(r.stream.experience(t))
    assert torch.equal(strategy.weights, plain.weights)


@pytest.mark.parametrize(
    "words",
    [
        ("model=linear",),
        ("model=mlp", "model.head=weight_norm"),
        ("model=slim_resnet18",),
    ],
)
def test_models_that_are_no_chain_are_refused_in_one_line(words: tuple[str, ...]):
    r = run(*ON, *words, on=pool(shape=(8, 8)))
    with pytest.raises(UsageError, match="chain of linear and convolution layers") as caught:
        r.strategy()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "word", ["replacement_rate=2", "maturity=-1", "decay=1", "optimizer=adafactor"]
)
def test_refusals(word: str):
    with pytest.raises(UsageError, match=word.split("=")[0]):
        make(f"strategy.{word}")
