"""A head trained on latents with class-balanced replay of latents.

Of Ostapenko et al. 2022, "Continual Learning with Foundation Models: An Empirical Study of Latent
Replay" (arXiv 2205.00329). The memory keeps ``replay_per_class`` random samples of each class (2 to
50 in the study). An experience is trained on together with the memory, oversampled so that every
class comes equally often: each of its own as often as its largest, and each stored one as often, too
(the study's "mean count of new classes", which after balancing is that). So an experience's steps
grow with the classes seen, up to all of them. Repeats go around: no sample comes twice before all of
its class have come once.

The network is the run's model. The study's is ``model=mlp model.hidden=[1024]`` with
``strategy.batch_size=64 strategy.epochs=100``; as defaults stand here Adam and its 0.001 alone, for a
board fixes the rest. Deviations: no choice of learning rate, weight decay and schedule on a validation
part of the first task, no best state kept; where a class comes again, its stored samples count as
its own, and the memory keeps a uniform sample of all that came; what repeats is drawn once an
experience, not once an epoch. Works on pixels, too. Boundaries are not needed, but experiences of a
few samples make few steps of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from clbench import GradientStrategy, StreamInfo, TaskData
from clbench.latents import check_at_least
from clbench.memory.buffer import SampleMemory, slot_layout
from clbench.memory.policies import POLICIES, Candidates, class_balanced, rank_within


def at_most(per_class: int, candidates: Candidates) -> Tensor:
    """The order of ``class_balanced``, without what a class has beyond its share."""
    order = class_balanced(candidates)
    return order[rank_within(candidates.y, order)[order] < per_class]


def equally_often(y: Tensor, own: Tensor, order: Tensor) -> Tensor:
    """``(m,)`` int64 indices of samples, of each class as many as the largest own class has.

    Args:
        y: ``(n,)`` int64 labels; -1 takes no part.
        own: ``(n,)`` bool: of the experience, and not of the memory.
        order: ``(n,)`` a permutation, in which a class's samples are gone around.
    """
    order = order[y[order] >= 0]
    classes, count = y[order].unique(return_counts=True)
    if len(classes) == 0:
        return order
    of_own = (y[None] == classes[:, None]) & own
    # Where nothing of the experience is labelled, there is the memory.
    most = max(int(of_own.sum(1).max()), 1)
    by_class = order[y[order].argsort(stable=True)]
    first = count.cumsum(0) - count
    turn = torch.arange(most, device=y.device) % count[:, None]
    return by_class[(first[:, None] + turn).flatten()]


class MlpHead(GradientStrategy):
    """Trains on new and stored samples, every class equally often."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of latent replay."""

        optimizer: str = "adam"
        """sgd, adam, or any other class of torch.optim; its state lasts unless reset_optimizer."""
        replay_per_class: int = 20
        """Stored samples of each class (er_size_per_class in the study)."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_at_least(replay_per_class=self.replay_per_class)

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        policy = "class_balanced"
        size = info.n_classes * config.replay_per_class
        self.memory = SampleMemory(size, policy, slot_layout(info, policy))
        capped = partial(at_most, config.replay_per_class)
        self.memory.policy = replace(POLICIES[policy], order=capped)

    def begin(self, task: TaskData) -> TaskData:
        """What there is to be trained on, every class equally often; then store the experience."""
        balanced = self._balanced(task)
        self.memory.add(task)
        return balanced

    def _balanced(self, task: TaskData) -> TaskData:
        n = int(self.memory.filled)
        new = torch.isin(self.memory.key[:n], task.key, invert=True).nonzero().squeeze(1)
        stored = self.memory.gather(new, like=task.x)
        y = torch.cat([task.y, stored.y])
        own = torch.arange(len(y), device=y.device) < len(task)
        index = equally_often(y, own, torch.randperm(len(y), device=y.device))
        if len(index) == 0:
            return task
        index = index[torch.randperm(len(index), device=y.device)]
        ids = None
        if task.task_id is not None and stored.task_id is not None:
            ids = torch.cat([task.task_id, stored.task_id])[index]
        return replace(
            task,
            x=torch.cat([task.x, stored.x])[index],
            y=y[index],
            key=torch.cat([task.key, self.memory.key[new]])[index],
            task_id=ids,
        )

    def memory_bytes(self) -> int:
        """Bytes of the memory."""
        return self.memory.nbytes()
