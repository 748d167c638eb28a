"""Latent replay: trains a head on latents with class-balanced replay of stored latents.

Ostapenko et al. 2022, "Continual Learning with Foundation Models: An Empirical Study of Latent
Replay" (arXiv 2205.00329). The memory keeps ``replay_per_class`` random samples of each class (2 to
50 in the study). An experience is trained on together with the memory. Samples are repeated so that
every class comes equally often, as often as the experience's largest class (the study's "mean count
of new classes", which after balancing is the same). So an experience's steps grow with the number of
classes seen. The samples of a class come equally often, or one time more.

The network is the run's model. The study uses ``model=mlp model.hidden=[1024]`` with
``strategy.batch_size=64 strategy.epochs=100``. Only Adam and its 0.001 are defaults here, since a
board fixes the rest. Deviations: learning rate, weight decay and schedule are not chosen on a
validation part of the first task, and no best state is kept; if a class recurs, its stored samples
count as the experience's, and the memory keeps a uniform sample of all that came; repeats are drawn
once an experience, not once an epoch. It works on pixels too. Boundaries are not needed, but
experiences of a few samples give few steps each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn

from clbench import GradientStrategy, StreamInfo, TaskData
from clbench.memory.buffer import SampleMemory, slot_layout
from clbench.memory.policies import POLICIES, Candidates, class_balanced, rank_within
from clbench.settings import AtLeast


def at_most(per_class: int, candidates: Candidates) -> Tensor:
    """Order candidates as ``class_balanced`` does, and drop those beyond ``per_class`` of a class."""
    order = class_balanced(candidates)
    return order[rank_within(candidates.y, order)[order] < per_class]


def equally_often(y: Tensor, own: Tensor, order: Tensor) -> Tensor:
    """Choose as many samples of each class as the experience's largest class has, ``(m,)`` int64.

    Args:
        y: ``(n,)`` int64 labels; samples with -1 are left out.
        own: ``(n,)`` bool, whether a sample is the experience's and not the memory's.
        order: ``(n,)``, a permutation: the order in which a class's samples are repeated.
    """
    order = order[y[order] >= 0]
    classes, count = y[order].unique(return_counts=True)
    if len(classes) == 0:
        return order
    of_own = (y[None] == classes[:, None]) & own
    # If the experience has no labelled sample, the memory alone is used.
    most = max(int(of_own.sum(1).max()), 1)
    by_class = order[y[order].argsort(stable=True)]
    first = count.cumsum(0) - count
    turn = torch.arange(most, device=y.device) % count[:, None]
    return by_class[(first[:, None] + turn).flatten()]


class MlpHead(GradientStrategy):
    """Trains on new and stored samples, with every class equally often."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of latent replay."""

        optimizer: str = "adam"
        """sgd, adam, or any other class of torch.optim. Its state is kept between experiences unless
        reset_optimizer is set."""
        replay_per_class: Annotated[int, AtLeast(1)] = 20
        """Stored samples of each class (er_size_per_class in the study)."""

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
        """Return new and stored samples, every class equally often; store the experience."""
        balanced = self._balanced(task)
        self.memory.add(task)
        return balanced

    def _balanced(self, task: TaskData) -> TaskData:
        n = int(self.memory.filled)
        new = torch.isin(self.memory.key[:n], task.key, invert=True).nonzero().squeeze(1)
        everything = task.joined(self.memory.part(new))
        y = everything.y
        own = torch.arange(len(y), device=y.device) < len(task)
        index = equally_often(y, own, torch.randperm(len(y), device=y.device))
        if len(index) == 0:
            return task
        index = index[torch.randperm(len(index), device=y.device)]
        return everything.part(index)

    def memory_bytes(self) -> int:
        """Count the bytes of the memory."""
        return self.memory.nbytes()
