"""Methods on a pretrained transformer, against formulas written from the papers, sample by sample."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.plugins.registry import find

from .transformers import WORLD, Learner, tokens

# --- first-session adaptation ---------------------------------------------------------------------


@pytest.mark.parametrize("tune", ["adapter", "full", "head"])
def test_aper_is_the_cosine_to_means_of_joined_features(tune: str):
    learner = Learner("aper", tune=tune)
    before = tokens(learner.strategy.model, WORLD)
    first = [tokens(learner.strategy.model, task.x) for task in learner.tasks]
    learner.learn(0)
    adapted = {n: p.clone() for n, p in learner.strategy.model.named_parameters()}
    learner.learn(1, 2)
    assert all(torch.equal(adapted[n], p) for n, p in learner.strategy.model.named_parameters())
    z = torch.cat([before, tokens(learner.strategy.model, WORLD)], 1)
    assert (tune == "head") == torch.equal(z[:, :128], z[:, 128:])  # no feature is tuned
    wanted = torch.zeros(5, 6, dtype=torch.float64)
    joined = [
        torch.cat([a, tokens(learner.strategy.model, t.x)], 1)
        for a, t in zip(first, learner.tasks, strict=True)
    ]
    rows, y = torch.cat(joined), torch.cat([t.y for t in learner.tasks])
    for c in range(6):
        wanted[:, c] = F.cosine_similarity(z, rows[y == c].mean(0)[None])
    torch.testing.assert_close(learner.scores(WORLD), wanted)


@pytest.mark.parametrize("choose", [True, False])
@pytest.mark.parametrize("adapt", [True, False])
def test_ranpac_is_least_squares_in_the_adapted_network(adapt: bool, choose: bool):
    words = ("strategy.projection=40", "strategy.lam=0.5", f"strategy.adapt={adapt}".lower())
    learner = Learner("ranpac", *words, f"strategy.choose_lam={choose}".lower(), tune="lora")
    start = {n: p.clone() for n, p in learner.strategy.model.named_parameters()}
    learner.learn(0, 1, 2)
    model, m = learner.strategy.model, learner.strategy.projection
    assert adapt != all(torch.equal(start[n], p) for n, p in model.named_parameters())
    h = [(tokens(model, t.x) @ m).clamp_min(0).numpy() for t in learner.tasks]
    y = [np.eye(6)[t.y.numpy()] for t in learner.tasks]
    lam, n = 0.5, int(len(h[-1]) * 0.8)
    if choose:
        errors = {}
        for power in range(-8, 9):
            gram = h[-1][:n].T @ h[-1][:n] + 10.0**power * np.eye(40)
            found = h[-1][n:] @ np.linalg.solve(gram, h[-1][:n].T @ y[-1][:n])
            errors[10.0**power] = ((found - y[-1][n:]) ** 2).mean()
        lam = min(errors, key=errors.__getitem__)
    rows = np.concatenate([*h, np.sqrt(lam) * np.eye(40)])
    right = np.concatenate([*y, np.zeros((40, 6))])
    weights = np.linalg.lstsq(rows, right, rcond=None)[0]
    wanted = (tokens(model, WORLD) @ m).clamp_min(0).numpy() @ weights
    np.testing.assert_allclose(learner.scores(WORLD).numpy(), wanted, rtol=1e-5, atol=1e-7)


# --- SLCA -----------------------------------------------------------------------------------------


def test_slca_takes_the_steps_of_two_learning_rates():
    """Against torch's SGD with a group for the output layer; the loss is over the task's classes."""
    words = ("strategy.draws=0", "strategy.slow=0.1", "strategy.clip_norm=null")
    words = (*words, "strategy.momentum=0.9", "strategy.weight_decay=0.01", "strategy.lr=0.05")
    learner = Learner("slca", *words, tune="full")
    plain = learner.strategy.build_model().double()
    plain.load_state_dict(learner.strategy.model.state_dict())
    head = [*plain[-1].parameters()]
    rest = [p for p in plain.parameters() if all(p is not q for q in head)]
    groups = [{"params": head}, {"params": rest, "lr": 0.005}]
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=0.01)
    for task in learner.tasks[:2]:
        for x, y in zip(task.x.split(8), task.y.split(8), strict=True):
            own = plain(x)[:, task.classes]
            optimizer.zero_grad()
            F.cross_entropy(own, (task.classes == y[:, None]).int().argmax(1)).backward()
            optimizer.step()
    learner.learn(0, 1)
    for (name, ours), theirs in zip(
        learner.strategy.model.named_parameters(), plain.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, msg=name)


def test_slca_aligns_by_logits_over_their_length():
    learner = Learner("slca", "strategy.draws=4", tune="bias")
    learner.learn(0, 1)
    strategy = learner.strategy
    seen = torch.cat([t.classes for t in learner.tasks[:2]]).tolist()
    scores = torch.randn(7, 6, dtype=torch.float64)
    y = torch.tensor([seen[i % 4] for i in range(7)])
    losses = []
    for row, label in zip(scores, y.tolist(), strict=True):
        norms = [row[t.classes].norm() for t in learner.tasks[:2]]
        short = row / (sum(norms) / 2) / 0.1
        losses.append(torch.logsumexp(short[seen], 0) - short[label])
    torch.testing.assert_close(strategy.alignment_loss(scores, y), sum(losses) / 7)


@pytest.mark.parametrize("tune", ["norm", "full"])
def test_slca_trains_on_from_the_layer_before_the_alignment(tune: str):
    """Without alignment the weights are those at which each task ends, and nothing is aligned first."""
    plain, aligned = (Learner("slca", f"strategy.draws={n}", tune=tune) for n in (0, 8))
    for t in range(3):
        plain.learn(t)
        aligned.learn(t)
        ours, theirs = aligned.strategy, plain.strategy
        assert torch.equal(ours.unaligned, theirs.weights[theirs.head])
        assert torch.equal(ours.weights, theirs.weights) == (t == 0)
        ours, theirs = ours.weights.clone(), theirs.weights.clone()
        ours[aligned.strategy.head] = theirs[aligned.strategy.head] = 0
        assert torch.equal(ours, theirs)


def test_slca_aligns_in_passes_of_new_draws_with_a_falling_rate():
    """Against torch's SGD and its cosine from pass to pass."""
    words = ("strategy.draws=6", "strategy.align_epochs=3", "strategy.align_lr=0.05")
    learner = Learner("slca", *words, tune="bias")
    learner.learn(0, 1)
    strategy, layer = learner.strategy, learner.strategy.model[-1]
    plain = copy.deepcopy(layer)
    classes = sorted(int(c) for t in learner.tasks[:2] for c in t.classes)
    torch.manual_seed(2)
    strategy.align()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    torch.manual_seed(2)
    y = torch.tensor([c for c in classes for _ in range(6)])
    for _ in range(3):
        z = torch.cat([strategy.drawn(c, strategy.factor(c)) for c in classes])
        for part in torch.randperm(len(y)).split(6):
            optimizer.zero_grad()
            strategy.alignment_loss(plain(z[part]), y[part]).backward()
            optimizer.step()
        schedule.step()
    for ours, theirs in zip(layer.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_slca_draws_from_the_gaussian_of_each_class():
    """Mean and covariance of a class's features, the network being the same for all tasks."""
    learner = Learner("slca", "strategy.draws=20000", "strategy.align_epochs=1", tune="head")
    learner.strategy.align = lambda: None
    learner.learn(0, 1, 2)
    task = learner.tasks[0]
    c = int(task.classes[1])
    z = tokens(learner.strategy.model, task.x[task.y == c])
    found = learner.strategy.drawn(c, learner.strategy.factor(c))
    torch.testing.assert_close(learner.strategy.classes.mean[c], z.mean(0))
    wanted = torch.cov(z.T) + 1e-4 * torch.eye(z.shape[1], dtype=z.dtype)
    torch.testing.assert_close(torch.cov(found.T), wanted, rtol=0, atol=0.05 * float(wanted.max()))
    close = (found.mean(0) - z.mean(0)).abs() / wanted.diagonal().sqrt()
    assert float(close.max()) < 5 / 20000**0.5


def test_slca_aligns_the_output_layer_alone_and_it_helps_old_classes():
    def learnt(draws: int) -> Any:
        learner = Learner("slca", f"strategy.draws={draws}", "strategy.epochs=4", tune="norm")
        learner.learn(0, 1, 2)
        return learner

    def of_first(learner: Any) -> float:
        task = learner.tasks[0]
        return float((learner.scores(task.x).argmax(1) == task.y).double().mean())

    without, aligned = learnt(0), learnt(64)
    assert of_first(aligned) > of_first(without) + 0.2


# --- InfLoRA --------------------------------------------------------------------------------------


def _inputs(learner: Learner, x: Tensor) -> list[np.ndarray]:
    """What the layers of key and value of each block are given: ``(samples * tokens, d)``."""
    seen: list[list[Tensor]] = []
    vit = learner.strategy.model[3]
    hooks = []
    for number, block in enumerate(vit.blocks):
        seen.append([])
        hooks.append(block.norm1.register_forward_hook(lambda *a, n=number: seen[n].append(a[2])))
    with torch.no_grad():
        for one in x:
            learner.strategy.model(one[None])
    for hook in hooks:
        hook.remove()
    return [torch.cat(parts).flatten(0, 1).numpy() for parts in seen]


def _bases(held: list[np.ndarray], inputs: list[np.ndarray], e: float) -> list[np.ndarray]:
    """Gradient projection memory, with the singular value decomposition of the inputs."""
    found = []
    for basis, h in zip(held, inputs, strict=True):
        total, rest = (h**2).sum(), h - h @ basis @ basis.T
        _, s, vt = np.linalg.svd(rest, full_matrices=False)
        have, k = total - (s**2).sum(), 0
        while have < e * total and k < len(s):
            have, k = have + s[k] ** 2, k + 1
        found.append(np.concatenate([basis, vt[:k].T], 1))
    return found


def test_inflora_starts_from_what_is_left_of_the_tasks_inputs():
    learner = Learner("inflora", "strategy.rank=3", "strategy.threshold=0.7")
    held = [np.zeros((64, 0)) for _ in range(4)]
    for t, e in ((0, 0.7), (1, 0.85)):
        before = _inputs(learner, learner.tasks[t].x)
        learner.learn(t)
        for number, block in enumerate(learner.strategy.model[3].blocks):
            rest = before[number] - before[number] @ held[number] @ held[number].T
            wanted = np.linalg.svd(rest, full_matrices=False)[2][:3]
            for part in (block.attention.key, block.attention.value):
                found = part.down.numpy()
                np.testing.assert_allclose(found @ found.T, np.eye(3) / 3, atol=1e-9)
                np.testing.assert_allclose(found.T @ found, wanted.T @ wanted / 3, atol=1e-8)
                assert np.abs(found @ held[number]).max(initial=0) <= 1e-9
        held = _bases(held, _inputs(learner, learner.tasks[t].x), e)
        for basis, layer in zip(held, learner.strategy.layers, strict=True):
            space = learner.strategy.get_buffer(layer.buffer).numpy()
            np.testing.assert_allclose(space, basis @ basis.T, atol=1e-8)


def test_inflora_sums_up_branches_and_trains_b_and_the_output_layer_alone():
    learner = Learner("inflora", "strategy.rank=3", "strategy.threshold=0.7")
    model = learner.strategy.model
    key = model[3].blocks[1].attention.key
    names = {name.rpartition(".")[2] for name, _ in model.named_parameters()}
    assert names == {"up", "weight", "bias"}
    assert all(n.startswith("5.") or n.endswith("up") for n, _ in model.named_parameters())
    fixed = key.weight.clone()
    learner.learn(0)
    first, own = key.up.detach() @ key.down, key.down.clone()
    assert first.abs().max() > 0
    query = learner.strategy.model[3].blocks[0].attention.query
    assert type(query) is nn.Linear
    learner.learn(1)
    torch.testing.assert_close(key.merged, first)
    assert not torch.equal(own, key.down)
    assert torch.equal(key.weight, fixed)
    x = torch.randn(2, 5, 64, dtype=torch.float64)
    wanted = x @ (fixed + first + key.up.detach() @ key.down).T + key.bias
    torch.testing.assert_close(key(x).detach(), wanted)


def test_no_row_of_a_branch_points_into_the_space_of_earlier_tasks():
    """Where that holds all or most of the inputs, rounding is left, which points anywhere."""
    torch.manual_seed(0)
    held, apart = torch.linalg.qr(torch.randn(40, 40))[0].split((12, 28), dim=1)
    space = held @ held.T
    inputs = held @ torch.randn(12, 30)
    directions = find("strategy", "inflora").load().begin.__globals__["directions"]
    for further in (0.0, 0.1):
        x = inputs + further * apart[:, :1] @ torch.randn(1, 30)
        rows = directions(space, x @ x.T, 5)
        assert float((rows @ held).square().sum(1).max()) < 1e-3
    torch.testing.assert_close(rows[:1].abs(), apart[:, :1].T.abs(), atol=1e-4, rtol=0)


def test_inflora_needs_a_frozen_transformer():
    with pytest.raises(UsageError, match=r"^inflora trains its own low-rank .* model.tune=head$"):
        Learner("inflora", tune="lora")
    with pytest.raises(UsageError, match=r"^inflora needs a vision transformer"):
        Learner("inflora", model="mlp")


# --- EASE -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tune", ["adapter", "lora"])
def test_ease_is_the_weighed_cosine_in_the_features_of_each_task(tune: str):
    learner = Learner("ease", "strategy.alpha=0.2", "strategy.temperature=0.5", tune=tune)
    networks: list[nn.Module] = []
    for t in range(3):
        learner.learn(t)
        networks.append(copy.deepcopy(learner.strategy.model))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        pairs = zip(networks[a].parameters(), networks[b].parameters(), strict=True)
        assert all(not torch.equal(p, q) for p, q in pairs)  # each had weights of its own
    means: dict[tuple[int, int], Tensor] = {}
    for b, network in enumerate(networks):
        for task in learner.tasks[b:]:
            for c in task.classes.tolist():
                means[b, c] = tokens(network, task.x[task.y == c]).mean(0)
    for n in (1, 2):  # the newer sub-space, which the last task filled anew
        new = [c for task in learner.tasks[n:] for c in task.classes.tolist()]
        for o in range(n):
            for c in learner.tasks[o].classes.tolist():
                close = [F.cosine_similarity(means[o, c], means[o, j], dim=0) for j in new]
                share = (torch.stack(close) / 0.5).softmax(0)
                means[n, c] = sum(s * means[n, j] for s, j in zip(share, new, strict=True))
    wanted = torch.zeros(5, 6, dtype=torch.float64)
    for o, task in enumerate(learner.tasks):
        for c in task.classes.tolist():
            for b, network in enumerate(networks):
                cosine = F.cosine_similarity(tokens(network, WORLD), means[b, c][None])
                wanted[:, c] += cosine * (1.0 if b == o else 0.2 / 2)  # two others
    torch.testing.assert_close(learner.scores(WORLD), wanted)


def test_ease_refuses_running_statistics():
    with pytest.raises(UsageError, match=r"^ease keeps weights for each task, and this model has"):
        Learner("ease", tune="norm", model="slim_resnet18")
