"""Losses of LUCIR, PODNet, Expansion, FOSTER and BiC on a tiny case, written out from the papers.

A strategy learns one task, and stands in the second one; its weights are moved, so that it differs from
its teacher. The loss of a batch is then computed sample by sample with numpy from the weights alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from small import pool, run
from torch import Tensor

from clbench.strategy import Batch

CLASSES = ("scenario=class_incremental", "scenario.n_tasks=2")


def second_task(
    name: str, *words: str, on: Any = None, again: bool = False
) -> tuple[Any, Batch, list[int], list[int]]:
    """The strategy in its second task, a batch of it, and the old and the new classes.

    The second task is the first one if that comes ``again``.
    """
    r = run(f"strategy={name}", *CLASSES, *words, on=on)
    torch.manual_seed(5)
    strategy: Any = r.strategy().double()
    first, task = r.stream.experience(0), r.stream.experience(0 if again else 1)
    strategy.learn(first)
    strategy.train()
    both = strategy.begin(task)
    wave = torch.cos(torch.arange(len(strategy.weights)).double())
    strategy.weights.add_(0.1 * wave)
    old = sorted(set(first.y.tolist()))
    new = sorted(set(task.y.tolist()) - set(old))
    assert set(both.y.tolist()) == {*old, *new}
    batch = Batch(both.x.double() if on is None else both.x, both.y)
    return strategy, batch, old, new


def unit(a: np.ndarray) -> np.ndarray:
    return a / np.maximum(np.linalg.norm(a, axis=-1, keepdims=True), 1e-12)


def layers(model: Any, x: Tensor) -> list[np.ndarray]:
    """Parameters of an MLP 6-8 and its hidden layer."""
    p = [v.detach().numpy() for v in model.parameters()]
    return [np.maximum(x.numpy() @ p[0].T + p[1], 0), *p]


def softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def ce(scores: np.ndarray, y: list[int]) -> float:
    return float(-np.log(softmax(scores)[range(len(y)), y]).mean())


@pytest.mark.parametrize("margin", ["0.5", "null"])
def test_lucir(margin: str):
    words = ("strategy.distillation=3", f"strategy.margin={margin}", "strategy.nearest=2")
    strategy, batch, old, new = second_task("lucir", *words)
    z, _, _, w, sigma = layers(strategy.model, batch.x)
    before = layers(strategy.teacher, batch.x)[0]
    y = batch.y.tolist()
    cosine = unit(z) @ unit(w).T
    wanted = ce(float(sigma) * cosine, y)
    wanted += 3 * math.sqrt(len(old) / len(new)) * np.mean(1 - (unit(z) * unit(before)).sum(1))
    if margin != "null":
        terms = []
        for i, c in enumerate(y):
            if c in old:
                nearest = sorted(cosine[i, new])[-2:]
                terms.append(sum(max(0.0, 0.5 - cosine[i, c] + k) for k in nearest))
        wanted += np.mean(terms)
    assert float(strategy.loss(batch).detach()) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", ["wa", "bic"])
def test_an_experience_without_new_classes_counts_as_one_with_one(name: str):
    """So that labels are learnt from: two old classes, a third of the cross-entropy."""
    strategy, batch, old, new = second_task(name, again=True)
    z, _, _, w, b = layers(strategy.model, batch.x)
    taught, _, _, w0, b0 = layers(strategy.teacher, batch.x)
    assert not new
    f, q = (z @ w.T + b)[:, old], softmax((taught @ w0.T + b0)[:, old] / 2)
    kd = -(q * np.log(softmax(f / 2))).sum(1).mean()
    wanted = ce(f, [old.index(c) for c in batch.y.tolist()]) / 3 + 2 / 3 * kd
    assert float(strategy.loss(batch).detach()) == pytest.approx(wanted, rel=1e-9)


def nca(scores: np.ndarray, y: list[int], gap: float) -> float:
    """Douillard et al. 2020, equation 5."""
    found = []
    for s, c in zip(scores, y, strict=True):
        others = np.log(np.exp(np.delete(s, c)).sum())
        found.append(max(0.0, others - (s[c] - gap)))
    return float(np.mean(found))


def test_podnet_on_vectors():
    words = ("strategy.proxies=3", "strategy.flat=2", "strategy.finetune_epochs=0")
    strategy, batch, old, new = second_task("podnet", *words)
    z, _, _, w, sigma = layers(strategy.model, batch.x)
    before = layers(strategy.teacher, batch.x)[0]
    cosine = (unit(z) @ unit(w).T).reshape(-1, 4, 3)
    scores = sigma * (softmax(cosine) * cosine).sum(2)
    wanted = nca(scores, batch.y.tolist(), 0.6 * sigma)
    factor = math.sqrt(4 / len(new))
    wanted += factor * 2 * np.mean(1 - (unit(z) * unit(before)).sum(1))
    assert old
    assert float(strategy.loss(batch).detach()) == pytest.approx(wanted, rel=1e-9)


def test_podnet_pools_squared_maps():
    import sys

    from clbench.plugins.registry import find

    podnet: Any = sys.modules[find("strategy", "podnet").load().__module__]
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=s), rng.normal(size=s)) for s in ((2, 3, 4, 5), (2, 6, 2, 2))]
    wanted = []
    for a, b in pairs:
        each = []
        for i in range(2):
            p, q = (
                unit(np.concatenate([(m[i] ** 2).sum(2).ravel(), (m[i] ** 2).sum(1).ravel()]))
                for m in (a, b)
            )
            each.append(np.linalg.norm(p - q))
        wanted.append(np.mean(each))
    mine, its = ([torch.as_tensor(p[k]) for p in pairs] for k in (0, 1))
    assert float(podnet.pod_spatial(mine, its)) == pytest.approx(np.mean(wanted), rel=1e-12)


@pytest.mark.parametrize(("model", "n_stages"), [("resnet32", 3), ("slim_resnet18", 4), ("mlp", 0)])
def test_podnet_finds_the_stages(model: str, n_stages: int):
    r = run("strategy=podnet", *CLASSES, f"model={model}", on=pool(n_train=4, shape=(3, 32, 32)))
    strategy: Any = r.strategy()
    assert len(strategy.stages) == n_stages
    if n_stages == 3:
        assert strategy.stages == ("9", "14", "19")


def grown(model: Any, x: Tensor) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Joined features, the output layer and the auxiliary one, of backbones 6-8."""
    parts = [layers(b, x)[0] for b in model.backbones]
    heads = [
        [v.detach().numpy() for v in layer.parameters()] for layer in (model.head, model.auxiliary)
    ]
    return np.concatenate(parts, 1), heads[0], heads[1]


def test_expansion():
    strategy, batch, old, new = second_task("expansion", "strategy.auxiliary=0.7")
    z, (w, b), (wa, ba) = grown(strategy.model, batch.x)
    assert z.shape[1] == 16
    y = batch.y.tolist()
    aux = (z[:, 8:] @ wa.T + ba)[:, [*new, 4]]
    target = [new.index(c) if c in new else len(new) for c in y]
    wanted = ce(z @ w.T + b, y) + 0.7 * ce(aux, target)
    assert old
    assert float(strategy.loss(batch).detach()) == pytest.approx(wanted, rel=1e-9)
    assert len(strategy.weights) == 6 * 8 + 8 + 17 * 4 + 9 * 5  # the first backbone is frozen


def effective(sizes: list[int], beta: float) -> np.ndarray:
    w = np.array([(1 - beta) / (1 - beta**n) for n in sizes])
    return w / w.mean()


def test_foster_boosts_and_compresses():
    words = ("strategy.memory_size=10", "strategy.distillation=0.5")
    strategy, batch, old, _ = second_task("foster", *words)
    y = batch.y.tolist()
    z, (w, b), (wa, ba) = grown(strategy.model, batch.x)
    wf, bf = (v.detach().numpy() for v in strategy.frozen.parameters())
    sizes = [y.count(c) for c in range(4)]
    assert len(set(sizes)) > 1
    f = z @ w.T + b
    q, p = softmax((z[:, :8] @ wf.T + bf)[:, old] / 2), softmax(f[:, old] / 2)
    wanted = ce(f / effective(sizes, 0.96), y) + ce(z[:, 8:] @ wa.T + ba, y)
    wanted += 0.5 * -(q * np.log(p)).sum(1).mean()
    assert float(strategy.loss(batch).detach()) == pytest.approx(wanted, rel=1e-9)
    seen: list[tuple[float, float]] = []

    def compressing(task: Any, lr: float, epochs: int, weight_decay: float) -> None:
        assert weight_decay == 0
        strategy.weights.add_(0.1 * torch.cos(torch.arange(len(strategy.weights)).double()))
        hidden, *_, w, b = layers(strategy.model, batch.x)
        q = softmax(f / 2) * effective(sizes, 0.97)
        q = q / q.sum(1, keepdims=True)
        wanted = -(q * np.log(softmax((hidden @ w.T + b) / 2))).sum(1).mean()
        seen.append((float(strategy.loss(batch).detach()), wanted))

    strategy.tune = compressing
    strategy.finish(None)
    [(ours, wanted)] = seen
    assert ours == pytest.approx(wanted, rel=1e-9)
    assert len(strategy.model.backbones) == 1


def test_bic_fits_one_pair_to_what_was_set_aside():
    words = ("strategy.memory_size=20", "strategy.split=0.3", "strategy.epochs=7")
    training = ("strategy.batch_size=64", "strategy.momentum=0.5", "strategy.weight_decay=0.01")
    strategy, batch, old, new = second_task("bic", *words, *training)
    aside = strategy.aside
    counts = [aside.y.tolist().count(c) for c in range(4)]
    assert counts == [3, 3, 3, 3]  # 0.3 of the ten exemplars of an old class
    assert not set(aside.key.tolist()) & set(batch.extra)
    hidden, _, _, w, b = layers(strategy.model, batch.x)
    taught, _, _, w0, b0 = layers(strategy.teacher, batch.x)
    y, part = batch.y.tolist(), len(old) / 4
    q, p = (softmax(s[:, old] / 2) for s in (taught @ w0.T + b0, hidden @ w.T + b))
    wanted = (1 - part) * ce(hidden @ w.T + b, y) - part * (q * np.log(p)).sum(1).mean()
    assert float(strategy.loss(batch).detach()) == pytest.approx(wanted, rel=1e-9)
    h, _, _, w, b = layers(strategy.model, aside.x.double())
    scores, (a, c), v = h @ w.T + b, (1.0, 0.0), np.zeros(2)
    for _ in range(7):  # one batch holds all
        moved = scores.copy()
        moved[:, new] = a * scores[:, new] + c
        gap = softmax(moved)
        gap[range(len(aside.y)), aside.y.tolist()] -= 1
        slope = (gap[:, new] * scores[:, new]).sum(1).mean() + 0.01 * a
        v = 0.5 * v + [slope, gap[:, new].sum(1).mean() + 0.01 * c]
        a, c = a - 0.1 * v[0], c - 0.1 * v[1]
    strategy.finish(None)
    ours = np.stack([strategy.slope.numpy(), strategy.offset.numpy()])
    np.testing.assert_allclose(ours[:, new], [[a] * len(new), [c] * len(new)], rtol=1e-8)
    np.testing.assert_array_equal(ours[:, old], [[1] * len(old), [0] * len(old)])
