"""EMA, gradient noise, L2 to init, shrink and perturb, SAM: each against its equation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats
from small import run

from clbench.engine.build import Run
from clbench.errors import UsageError
from clbench.strategy import Batch
from clbench.stream import TaskData

ON = ("scenario=scole", "scenario.n_tasks=20")


def make(name: str, *words: str) -> tuple[Run, Any]:
    r = run(f"strategy={name}", *ON, *words)
    strategy: Any = r.strategy().double()
    strategy.bind()  # as learn() does: double() has moved the weights
    return r, strategy


def first_batch(r: Run, t: int = 0) -> tuple[TaskData, Batch]:
    task = r.stream.experience(t)
    return task, Batch(task.x, task.y, None, task.classes)


# --- EMA -----------------------------------------------------------------------------------------


def averaged(strategy: Any) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in strategy.average.parameters()])


def test_the_average_is_the_weighted_sum_of_all_weights_so_far():
    r, strategy = make("ema", "strategy.rho=0.9", "strategy.batch_size=7")
    path = [strategy.weights.clone()]
    sizes: list[int] = []
    descend = strategy.descend

    def noting(gradient: torch.Tensor) -> None:
        descend(gradient)
        path.append(strategy.weights.clone())

    strategy.descend = noting
    for t in range(2):
        task = r.stream.experience(t)
        sizes += [len(part) for part in task.y.split(7)]
        strategy.learn(task)
    assert min(sizes) < max(sizes) == 7
    kept = [0.9 ** (n / 32) for n in sizes]
    wanted = math.prod(kept) * path[0]
    for i, (rho, w) in enumerate(zip(kept, path[1:], strict=True)):
        wanted = wanted + (1 - rho) * math.prod(kept[i + 1 :]) * w
    torch.testing.assert_close(averaged(strategy), wanted)
    x = r.stream.experience(0).x.double()
    torch.testing.assert_close(strategy(x), strategy.average(x))
    assert not torch.allclose(strategy(x), strategy.model(x))


def test_weights_that_stand_still_are_their_own_average():
    r, strategy = make("ema", "strategy.lr=1e-300")
    start = strategy.weights.clone()
    for t in range(3):
        strategy.learn(r.stream.experience(t))
    torch.testing.assert_close(averaged(strategy), start)


@pytest.mark.parametrize("batch", [1, 2, 8, 24])
@pytest.mark.parametrize("words", [("strategy.rho=0.97",), ("strategy.half_life=40",)])
def test_the_same_samples_leave_the_same_share_whatever_the_batch_size(batch: int, words: Any):
    """24 samples in steps of any size: rho^(24/32), or half after half_life samples."""
    _, strategy = make("ema", *words)
    share = strategy.config.kept(batch) ** (24 // batch)
    wanted = 0.97 ** (24 / 32) if "rho" in words[0] else 0.5 ** (24 / 40)
    assert share == pytest.approx(wanted, rel=1e-12)


def test_running_statistics_are_averaged_like_the_weights():
    from small import pool

    images = pool(shape=(8, 8))
    r = run("strategy=ema", *ON, "model=slim_resnet18", "strategy.rho=0.8", on=images)
    strategy: Any = r.strategy()
    named = dict(strategy.average.named_buffers())
    name = next(n for n in named if n.endswith("running_mean"))
    count = next(n for n in named if n.endswith("num_batches_tracked"))
    task, batch = first_batch(r)
    strategy.train()
    strategy.begin(task)
    before = named[name].clone()
    strategy.step(batch)
    now = strategy.model.get_buffer(name)
    assert not torch.equal(before, now)
    rho = 0.8 ** (len(batch.y) / 32)
    torch.testing.assert_close(named[name], rho * before + (1 - rho) * now)
    assert named[count] == 1


# --- gradient noise ------------------------------------------------------------------------------


@pytest.mark.parametrize(("clock", "steps"), [("global", (0, 1, 2, 3)), ("task", (0, 1, 0, 1))])
def test_noise_has_the_variance_of_the_schedule(clock: str, steps: tuple[int, ...]):
    """Chi-square: the sum of squares over sigma_t^2 has P degrees of freedom."""
    words = ("strategy.eta=0.3", "strategy.gamma=0.55", f"strategy.clock={clock}")
    r, strategy = make("gradient_noise", *words, "strategy.lr=1", "model=mlp", "model.hidden=[64]")
    torch.manual_seed(0)
    noises = []
    for number in range(4):
        task, batch = first_batch(r, number // 2)
        if number % 2 == 0:
            strategy.begin(task)
        before, gradient = strategy.weights.clone(), strategy.clip(strategy.gradient(batch))
        strategy.step(batch)
        noises.append(before - gradient - strategy.weights)
    for noise, t in zip(noises, steps, strict=True):
        variance = 0.3 / (1 + t) ** 0.55
        p = stats.chi2.cdf(float(noise.square().sum()) / variance, len(noise))
        assert 0.001 < p < 0.999
        assert stats.kstest(noise.numpy() / math.sqrt(variance), "norm").pvalue > 0.001
    assert abs(float(torch.corrcoef(torch.stack(noises))[0, 1])) < 4 / math.sqrt(len(noises[0]))


def test_no_noise_is_naive():
    r, strategy = make("gradient_noise", "strategy.eta=0")
    _, plain = make("naive")
    for learner in (strategy, plain):
        learner.learn(r.stream.experience(0))
    assert torch.equal(strategy.weights, plain.weights)


# --- L2 to init ----------------------------------------------------------------------------------


def test_l2_init_descends_the_loss_plus_lam_times_the_squared_distance():
    r, strategy = make("l2_init", "strategy.lam=0.7", "strategy.lr=0.03", "strategy.clip_norm=null")
    start = [p.detach().clone() for p in strategy.model.parameters()]
    strategy.learn(r.stream.experience(0))
    _, batch = first_batch(r, 1)
    parameters = list(strategy.model.parameters())
    distance = sum((p - p0).square().sum() for p, p0 in zip(parameters, start, strict=True))
    total = torch.autograd.grad(strategy.loss(batch) + 0.7 * distance, parameters)
    wanted = [p.detach() - 0.03 * g for p, g in zip(parameters, total, strict=True)]
    strategy.step(batch)
    for p, w in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(p.detach(), w)


# --- shrink and perturb --------------------------------------------------------------------------


def test_before_a_task_weights_are_shrunk_and_fresh_ones_added():
    r, strategy = make("shrink_and_perturb", "strategy.shrink=0.4", "strategy.sigma=0.1")
    task = r.stream.experience(0)
    strategy.learn(task)
    before = strategy.weights.clone()
    torch.manual_seed(5)
    strategy.begin(task)
    torch.manual_seed(5)
    fresh = torch.cat([p.detach().reshape(-1) for p in strategy.build_model().parameters()])
    torch.testing.assert_close(strategy.weights, 0.4 * before + 0.1 * fresh.double())


def test_after_a_step_weights_are_shrunk_and_noise_is_added():
    words = ("strategy.every=step", "strategy.shrink=0.9", "strategy.sigma=0.2", "strategy.lr=0.5")
    r, strategy = make("shrink_and_perturb", *words, "model=mlp", "model.hidden=[64]")
    task, batch = first_batch(r)
    before, gradient = strategy.weights.clone(), strategy.clip(strategy.gradient(batch))
    strategy.begin(task)
    assert torch.equal(strategy.weights, before)
    torch.manual_seed(0)
    strategy.step(batch)
    noise = strategy.weights - 0.9 * (before - 0.5 * gradient)
    p = stats.chi2.cdf(float(noise.square().sum()) / 0.2**2, len(noise))
    assert 0.001 < p < 0.999


# --- sharpness-aware minimisation ----------------------------------------------------------------


def test_sam_on_a_quadratic_worked_by_hand():
    """L = w'Aw/2 at w: g = Aw, then w - lr A (w + rho g/|g|)."""
    r, strategy = make("sam", "strategy.rho=0.3", "strategy.lr=0.05", "strategy.clip_norm=null")
    n = len(strategy.weights)
    a = torch.linspace(0.5, 2, n).double()
    parts = strategy.per_parameter(a)
    strategy.loss = lambda batch: sum(
        (part * p.square()).sum() / 2
        for part, p in zip(parts, strategy.model.parameters(), strict=True)
    )
    w = strategy.weights.clone()
    g = a * w
    wanted = w - 0.05 * a * (w + 0.3 * g / g.norm())
    strategy.step(first_batch(r)[1])
    torch.testing.assert_close(strategy.weights, wanted, rtol=1e-10, atol=1e-12)


def test_sam_takes_two_gradients_a_step_and_reports_the_loss_at_the_weights():
    r, strategy = make("sam", "strategy.rho=5")
    model_calls: list[float] = []
    loss = strategy.loss

    def noting(batch: Batch) -> torch.Tensor:
        found = loss(batch)
        model_calls.append(float(found.detach()))
        return found

    strategy.loss = noting
    task = r.stream.experience(0)
    strategy.learn(task)
    n_steps = -(-len(task) // 32)
    assert len(model_calls) == 2 * n_steps
    reported = sum(model_calls[::2]) / n_steps
    assert float(strategy.diagnostics()["loss"]) == pytest.approx(reported)
    assert all(up > at for at, up in zip(model_calls[::2], model_calls[1::2], strict=True))


def test_without_a_neighbourhood_sam_is_naive():
    r, strategy = make("sam", "strategy.rho=0")
    _, plain = make("naive")
    for learner in (strategy, plain):
        learner.learn(r.stream.experience(0))
    assert torch.equal(strategy.weights, plain.weights)


@pytest.mark.parametrize(
    "words",
    [
        ("ema", "rho=1"),
        ("ema", "reference_batch=0"),
        ("ema", "half_life=0"),
        ("gradient_noise", "eta=-1"),
        ("gradient_noise", "gamma=inf"),
        ("l2_init", "lam=-1"),
        ("shrink_and_perturb", "shrink=1.1"),
        ("shrink_and_perturb", "sigma=-1"),
        ("sam", "rho=-0.1"),
    ],
)
def test_refusals(words: tuple[str, str]):
    with pytest.raises(UsageError, match=f"strategy.{words[1].split('=')[0]}") as caught:
        make(words[0], f"strategy.{words[1]}")
    assert "\n" not in str(caught.value)
