"""The likelihood study: equal budgets, bounds on the right side, and nothing trained twice."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmarks import kanerva_nll as study
from benchmarks.kanerva_arms import DKM, KM, SHAPE, VAE, Arm, Belief, build, n_parameters
from clbench.memory.kanerva import write_, written

TINY = study.Effort(3e8, 24, 4, 1, 64, 32, 3)


def episode(n: int = 8) -> torch.Tensor:
    return 255 * torch.randint(2, (n, *SHAPE), dtype=torch.uint8)


@pytest.mark.parametrize("effort", [study.FULL, study.SMALL])
def test_all_models_have_as_many_parameters(effort: study.Effort) -> None:
    sizes = [n_parameters(build(n, effort.width, h)) for n, h in study.widths(effort).items()]
    assert max(sizes) <= 1.05 * min(sizes)


def test_all_memories_hold_as_many_numbers() -> None:
    held = []
    for name in study.MODELS:
        memory = build(name, 4, 24).write(episode())
        held.append(0 if memory is None else (memory[0] if name != "kpp" else memory).numel())
    assert held == [0, 2048, 2048, 2048]


def test_a_written_memory_is_the_posterior_that_write_leaves() -> None:
    torch.manual_seed(0)
    mean, covariance = torch.randn(5, 3), torch.eye(5, dtype=torch.float64)
    w, z = torch.randn(4, 5, requires_grad=True), torch.randn(4, 3)
    found = written(mean, covariance, w, z, 0.5)
    [gradient] = torch.autograd.grad(found[0].sum(), w, retain_graph=True)
    assert bool(gradient.abs().sum() > 0)
    assert torch.equal(covariance, torch.eye(5, dtype=torch.float64))
    write_(mean, covariance, w.detach(), z, 0.5)
    assert torch.equal(found[0], mean)
    assert torch.equal(found[1], covariance)


def quadrature(arm: Arm, x: torch.Tensor) -> torch.Tensor:
    """``(T,)``: log p(x | M) by a sum over a grid, for models with one number of each kind."""
    grid = torch.linspace(-9, 9, 721, dtype=torch.float64)
    step, memory = float(grid[1] - grid[0]), arm.write(x)
    log_prior = -(grid**2 + math.log(2 * math.pi)) / 2 + math.log(step)
    if isinstance(arm, VAE):
        codes = grid
    elif isinstance(arm, DKM):
        assert isinstance(memory, Belief)
        codes = grid * memory.mean[0, 0]
    else:
        assert isinstance(arm, KM)
        assert isinstance(memory, Belief)
        read = arm.read(grid[:, None], memory)  # a normal distribution at every key
        of_z = read.log_density(grid[:, None, None]) + math.log(step)  # (z, key)
        codes, log_prior = grid, (of_z + log_prior).logsumexp(1)
    errors = torch.stack([arm.error(code.expand(len(x), 1), x) for code in codes])
    return (log_prior[:, None] - errors).logsumexp(0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "km", "dkm"])
def test_bounds_are_above_and_importance_weights_close_the_gap(name: str) -> None:
    torch.manual_seed(2)
    arms = {"vae": VAE(4, 8, 1), "km": KM(4, 8, 1, 1, 1), "dkm": DKM(4, 8, 1, 1)}
    arm = arms[name].double()
    if isinstance(arm, DKM):
        arm.log_variance.data.zero_()  # as wide as the prior, so that few weights are enough
    x = episode(6)
    with torch.no_grad():
        exact = -quadrature(arm, x)
        one = torch.stack([arm.bounds(x, 1)[0] for _ in range(200)]).mean(0)
        many = arm.bounds(x, 4000)[1]
    assert bool((one >= exact - 0.05).all())
    torch.testing.assert_close(many, exact, atol=0.1, rtol=0)


@pytest.mark.slow
def test_trainings_cost_the_same_counted_operations() -> None:
    x, _ = study.images("mnist5k", TINY)
    for name in study.MODELS:
        _, steps, each = study.train(name, x, 0, TINY)
        assert abs(steps * each - TINY.operations) <= each / 2


def test_a_finished_model_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = study.run("mnist5k", "dkm", 0, TINY, tmp_path)
    assert first.importance < first.bound
    with monkeypatch.context() as patch:
        patch.setattr(study, "train", None)
        assert study.run("mnist5k", "dkm", 0, TINY, tmp_path) == first
    other = study.Effort(2e8, 24, 4, 1, 64, 32, 3)
    assert study.run("mnist5k", "dkm", 0, other, tmp_path).steps < first.steps
    assert "| dynamic KM |" in study.table([first])


def test_images_are_black_or_white_and_scored_ones_are_not_trained_on() -> None:
    x, test = study.images("mnist5k", TINY)
    assert set(x.unique().tolist()) == {0, 255}
    assert not {bytes(i.numpy().tobytes()) for i in x} & {bytes(i.numpy().tobytes()) for i in test}
