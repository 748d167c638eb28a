"""Schedules against torch's, whole runs against loops by hand, and settings of the first task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import go, pool, run
from torch import Tensor, nn
from torch.optim import lr_scheduler

from clbench.errors import UsageError
from clbench.nets.losses import cross_entropy
from clbench.nets.optim import FlatWeights, build_optimizer
from clbench.nets.training import First, TrainingSettings
from clbench.strategy import Batch, GradientStrategy

STREAM = ("scenario=class_incremental", "strategy=naive", "strategy.clip_norm=null")


def rates(settings: TrainingSettings, per_epoch: int) -> list[float]:
    n = settings.epochs * per_epoch
    found = [settings.lr_at(step, n) for step in range(n)]
    return [settings.base_lr if rate is None else rate for rate in found]


def scheduled(n: int, each: int, lr: float, make: Callable[[Any], Any]) -> list[float]:
    """The rates of ``n`` steps under a scheduler of torch that moves after ``each`` of them."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, found = make(optimizer), []
    for step in range(n):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % each == 0:
            scheduler.step()
    return found


@pytest.mark.parametrize("per_epoch", [1, 3])
@pytest.mark.parametrize("milestones", [(1,), (2, 5), (3, 4, 9)])
def test_multistep_is_that_of_torch(milestones: tuple[int, ...], per_epoch: int):
    ours = TrainingSettings(
        lr=0.3, epochs=8, schedule="multistep", milestones=milestones, milestone_factor=0.2
    )
    wanted = scheduled(
        8 * per_epoch, per_epoch, 0.3, lambda o: lr_scheduler.MultiStepLR(o, milestones, 0.2)
    )
    assert rates(ours, per_epoch) == pytest.approx(wanted)


def test_cosine_is_that_of_torch():
    ours = TrainingSettings(lr=0.3, epochs=4, schedule="cosine")
    wanted = scheduled(12, 1, 0.3, lambda o: lr_scheduler.CosineAnnealingLR(o, 12))
    assert rates(ours, 3) == pytest.approx(wanted)


def test_a_warm_up_rises_to_the_rate_and_the_rest_follows():
    plain = TrainingSettings(lr=0.4, epochs=5, warmup=2)
    assert rates(plain, 2) == pytest.approx([0.1, 0.2, 0.3, 0.4, *[0.4] * 6])
    cosine = TrainingSettings(lr=0.4, epochs=5, warmup=2, schedule="cosine")
    rest = TrainingSettings(lr=0.4, epochs=3, schedule="cosine")
    assert rates(cosine, 2) == pytest.approx([0.1, 0.2, 0.3, 0.4, *rates(rest, 2)])
    steps = TrainingSettings(lr=0.4, epochs=5, warmup=1, schedule="multistep", milestones=(3,))
    assert rates(steps, 2) == pytest.approx([0.2, *[0.4] * 5, *[0.04] * 4])


def test_a_constant_rate_is_left_alone():
    assert TrainingSettings(lr=0.3).lr_at(0, 5) is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"schedule": "multistep"}, "go together"),
        ({"milestones": (3,)}, "go together"),
        ({"schedule": "multistep", "milestones": (3, 2)}, "must ascend"),
        ({"schedule": "multistep", "milestones": (2, 2)}, "must ascend"),
        ({"warmup": 2}, "at most strategy.epochs=1"),
        ({"nesterov": True}, "needs strategy.momentum"),
        ({"first": First(milestones=(3,))}, "strategy.first: .* go together"),
        ({"warmup": 2, "epochs": 2, "first": First(epochs=1)}, "strategy.first: strategy.warmup=2"),
    ],
)
def test_what_does_not_go_together(settings: dict[str, Any], says: str):
    with pytest.raises(UsageError, match=says) as error:
        GradientStrategy.Config(**settings)
    assert "\n" not in str(error.value)


def test_a_warm_up_of_gdumb_counts_in_passes_over_the_memory():
    """The passes over an experience, one, are no bound and no unit there."""
    named = (*STREAM[:1], "strategy=gdumb", "strategy.memory_epochs=4")
    config = run(*named, "strategy.warmup=2").config.strategy
    assert config.epochs == 1
    assert [config.lr_at(step, 8) for step in (0, 3)] == pytest.approx([0.025, 0.1])
    with pytest.raises(UsageError, match=r"at most strategy.memory_epochs=4"):
        run(*named, "strategy.warmup=5")


# --- whole runs ----------------------------------------------------------------------------------


def by_hand(
    words: tuple[str, ...],
    phases: list[dict[str, Any]],
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    **optimizer_settings: Any,
) -> tuple[Tensor, Tensor]:
    """The weights of a run, and those of a loop over torch's optimizer and scheduler in float64."""
    r = run(*STREAM, *words, on=pool(n_classes=6, n_train=9))
    strategy = r.strategy().double()
    net = copy.deepcopy(strategy.model)  # type: ignore[union-attr]
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0, **optimizer_settings)  # type: ignore[union-attr]
    for t in range(3):
        task = r.stream.experience(t)
        strategy.learn(task)
        phase = phases[min(t, len(phases) - 1)]
        for group in optimizer.param_groups:
            group |= {k: v for k, v in phase.items() if k in ("lr", "weight_decay")}
            group.pop("initial_lr", None)
        scheduler = lr_scheduler.MultiStepLR(optimizer, phase.get("milestones", []), 0.5)
        for epoch in range(phase["epochs"]):
            order = torch.arange(len(task)) if epoch == 0 else task.epoch(epoch)
            for rows in order.split(phase.get("batch_size", 4)):  # type: ignore[union-attr]
                optimizer.zero_grad()
                loss(net(task.x[rows]), task.y[rows]).backward()
                optimizer.step()
            scheduler.step()
    wanted = torch.cat([p.detach().reshape(-1) for p in net.parameters()])  # type: ignore[union-attr]
    return strategy.weights, wanted  # type: ignore[return-value]


BASE = ("strategy.batch_size=4", "strategy.momentum=0.9")
STEPS = ("strategy.schedule=multistep", "strategy.milestone_factor=0.5")


def test_multistep_weight_decay_and_nesterov_by_hand():
    words = (*BASE, *STEPS, "strategy.epochs=4", "strategy.milestones=[1,3]", "strategy.lr=0.05")
    more = ("strategy.weight_decay=0.01", "strategy.nesterov=true")
    phase = {"epochs": 4, "lr": 0.05, "milestones": [1, 3], "weight_decay": 0.01}
    ours, wanted = by_hand((*words, *more), [phase], momentum=0.9, nesterov=True)
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)
    plain, _ = by_hand(words, [phase], momentum=0.9)
    assert not torch.allclose(ours, plain)


def test_the_first_task_has_settings_of_its_own():
    """PyCIL's protocol in small: more epochs, other milestones and decay for the first task."""
    words = (*BASE, *STEPS, "strategy.epochs=2", "strategy.milestones=[1]", "strategy.lr=0.02")
    first = ("epochs=4", "milestones=[2,3]", "lr=0.1", "weight_decay=0.02", "batch_size=5")
    phases = [
        {"epochs": 4, "milestones": [2, 3], "lr": 0.1, "weight_decay": 0.02, "batch_size": 5},
        {"epochs": 2, "milestones": [1], "lr": 0.02, "weight_decay": 0.0},
    ]
    given = tuple(f"strategy.first.{word}" for word in first)
    ours, wanted = by_hand((*words, *given), phases, momentum=0.9)
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)
    without, _ = by_hand(words, phases, momentum=0.9)
    assert not torch.allclose(ours, without)


def test_a_rate_of_the_first_task_ends_with_it_under_a_constant_schedule():
    words = (*BASE, "strategy.lr=0.02", "strategy.first.lr=0.1", "strategy.first.weight_decay=0.5")
    phases = [{"epochs": 1, "lr": 0.1, "weight_decay": 0.5}, {"epochs": 1, "lr": 0.02}]
    phases[1]["weight_decay"] = 0.0
    ours, wanted = by_hand(words, phases, momentum=0.9)
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)


def test_label_smoothing_is_that_of_torch():
    words = (*BASE, "strategy.lr=0.05", "strategy.label_smoothing=0.2")
    ours, wanted = by_hand(
        words,
        [{"epochs": 1, "lr": 0.05}],
        lambda scores, y: F.cross_entropy(scores, y, label_smoothing=0.2),
        momentum=0.9,
    )
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("at", [1, 2])
def test_a_resumed_run_knows_whether_the_first_task_is_over(at: int):
    words = ("strategy.first.epochs=3", "strategy.first.lr=0.5", "strategy.epochs=2")
    r = run(*STREAM, *words, on=pool(n_classes=6, n_train=9))
    whole, parted = r.strategy(), r.strategy()
    for t in range(3):
        if t == at:
            again = r.strategy()
            again.load_state_dict(copy.deepcopy(parted.state_dict()))
            parted = again
        task = r.stream.experience(t)
        whole.learn(task)
        parted.learn(task)
    assert torch.equal(whole.weights, parted.weights)  # type: ignore[arg-type]


def test_without_it_the_state_is_that_of_before():
    state = run(*STREAM).strategy().state_dict()
    assert [*state["_extra_state"]] == ["optimizer"]
    assert "nesterov" not in str(state["_extra_state"])


@pytest.mark.parametrize("name", ["joint", "gdumb"])
@pytest.mark.parametrize("word", ["first.epochs=2", "patience=2"])
def test_a_loop_of_its_own_refuses_settings_of_the_common_one(name: str, word: str):
    with pytest.raises(UsageError, match="which this strategy replaces"):
        run(*STREAM[:1], f"strategy={name}", f"strategy.{word}").strategy()


# --- label smoothing -----------------------------------------------------------------------------


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(6, 5, dtype=torch.float64, requires_grad=True), torch.arange(6) % 5


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_smoothed_cross_entropy_is_that_of_torch(smoothing: float):
    scores, y = batch()
    wanted = F.cross_entropy(scores, y, label_smoothing=smoothing)
    ours = cross_entropy(scores, y, smoothing=smoothing)
    torch.testing.assert_close(ours, wanted)
    y = torch.where(torch.arange(6) < 2, -1, y)  # unlabelled
    ours = cross_entropy(scores, y, smoothing=smoothing)
    wanted = F.cross_entropy(scores[2:], y[2:], label_smoothing=smoothing)
    torch.testing.assert_close(ours, wanted)
    weight = torch.linspace(0, 2, 6, dtype=torch.float64)
    losses = F.cross_entropy(
        scores, y, label_smoothing=smoothing, ignore_index=-1, reduction="none"
    )
    ours = cross_entropy(scores, y, weight, smoothing)
    torch.testing.assert_close(ours, (losses * weight).mean())


def test_masked_classes_take_no_part_in_smoothing():
    scores, y = batch()
    y = y % 3
    masked = scores.masked_fill(torch.arange(5) > 2, -torch.inf)
    ours = cross_entropy(masked, y, smoothing=0.3)
    wanted = F.cross_entropy(scores[:, :3], y, label_smoothing=0.3)
    torch.testing.assert_close(ours, wanted)
    [gradient] = torch.autograd.grad(ours, scores)
    assert bool(gradient.isfinite().all())
    assert bool((gradient[:, 3:] == 0).all())


@pytest.mark.parametrize("name", ["naive", "ewc", "er", "sam", "agem"])
def test_a_common_loss_is_smoothed(name: str):
    r = run(*STREAM[:1], f"strategy={name}", "strategy.label_smoothing=0.2")
    assert go(r)[1].status == "completed"


@pytest.mark.parametrize("setting", ["label_smoothing=0.2", "accumulate=2"])
@pytest.mark.parametrize("name", ["er_ace", "lwf", "der", "derpp", "generative_replay", "podnet"])
def test_settings_of_a_common_loss_that_is_replaced_are_refused_at_once(name: str, setting: str):
    r = run(*STREAM[:1], f"strategy={name}", f"strategy.{setting}")
    with pytest.raises(UsageError, match="of the common loss") as error:
        r.strategy()
    assert "\n" not in str(error.value)


SMOOTHED = ("icarl", "wa", "bic", "lucir", "expansion", "foster")
"""Strategies with a loss of their own that has the cross-entropy of ``clbench.exemplars`` in it."""


@pytest.mark.parametrize("name", SMOOTHED)
def test_a_loss_of_its_own_with_the_shared_cross_entropy_is_smoothed(name: str):
    """In the first task, where it is that cross-entropy alone; a later task passes too."""
    words = ("scenario=class_incremental", "scenario.n_tasks=2", f"strategy={name}")
    r = run(*words, "strategy.label_smoothing=0.2")
    strategy = r.strategy()
    task = strategy.begin(r.stream.experience(0))
    here = sorted(set(task.y.tolist()))
    scores = strategy.model(task.x)[:, here]
    y = torch.tensor([here.index(c) for c in task.y.tolist()])
    wanted = F.cross_entropy(scores, y, label_smoothing=0.2)
    torch.testing.assert_close(strategy.loss(Batch(task.x, task.y)), wanted)
    assert go(r)[1].status == "completed"


@pytest.mark.parametrize("name", [*SMOOTHED, "podnet"])
def test_a_loss_with_more_than_means_over_samples_refuses_to_be_cut(name: str):
    r = run(*STREAM[:1], f"strategy={name}", "strategy.accumulate=2")
    with pytest.raises(UsageError, match="of the common loss"):
        r.strategy()


def test_sigmoids_have_no_smoothed_labels():
    with pytest.raises(UsageError, match="has no softmax"):
        run(
            *STREAM[:1], "strategy=icarl", "strategy.form=bce", "strategy.label_smoothing=0.2"
        ).strategy()


def test_a_loss_that_extends_the_common_one_may_say_so():
    class Extended(GradientStrategy):
        extends_loss = True

        def loss(self, batch: Batch) -> Tensor:
            return super().loss(batch) + 0.0

    r = run(*STREAM, "strategy.label_smoothing=0.2", "strategy.accumulate=2")
    assert go(replace(r, strategy_class=Extended))[1].status == "completed"


def test_a_step_that_passes_the_common_loss_by_is_found():
    class Apart(GradientStrategy):
        def step(self, batch: Batch) -> None:
            self.descend(self.gradient_of(F.cross_entropy(self.scores(batch), batch.y)))

    r = run(*STREAM, "strategy.label_smoothing=0.2")
    error = go(replace(r, strategy_class=Apart))[1].error
    assert "cross-entropy of its own" in str(error)


# --- optimizers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_nesterov_is_that_of_torch(decay: float):
    def nets() -> Iterator[nn.Module]:
        for _ in range(2):
            torch.manual_seed(0)
            yield nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()

    ours, theirs = nets()
    flat = FlatWeights(ours)
    mine = build_optimizer("sgd", flat, 0.1, 0.8, decay, nesterov=True)
    other = torch.optim.SGD(
        theirs.parameters(), lr=0.1, momentum=0.8, weight_decay=decay, nesterov=True
    )
    x = torch.randn(7, 4, dtype=torch.float64)
    for _ in range(20):
        flat.vector.grad = flat.gradient(ours(x).square().mean())
        mine.step()
        other.zero_grad()
        theirs(x).square().mean().backward()
        other.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_nesterov_is_of_sgd():
    with pytest.raises(UsageError, match="not a setting of optimizer 'adam'"):
        build_optimizer("adam", FlatWeights(nn.Linear(2, 2)), 0.1, 0.0, 0.0, nesterov=True)
