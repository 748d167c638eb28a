"""Deep generative replay: a generator dreams of earlier tasks, the solver of then labels its dreams.

Shin et al. 2017, "Continual Learning with Deep Generative Replay" (NeurIPS, arXiv 1705.08690),
equation 1: with the scholar (generator and solver) as it was before the experience,

    L = r CE(f(x), y) + (1 - r) CE(f(x'), y'),   x' from its generator, y' = argmax of its solver,

and the new generator learns from new and generated samples in the same mixture. Deviations: the
generator is a small fully connected VAE (the paper: WGAN-GP), ``clbench.memory.vae``, which will do
for 28 x 28 digits and not for photographs; r is a setting (0.5), not the share of the new task among
all, which tends to zero on a long stream. Where tasks are told, a generated sample belongs to the
task that has its class. No sample is stored; ``memory_bytes`` are the generator's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData, UsageError
from clbench.memory.vae import VAE
from clbench.replay import mix, n_new


class GenerativeReplay(GradientStrategy):
    """Replays from a generator instead of a memory of samples."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of generative replay."""

        replay_batch: int | None = None
        """Generated samples per step; null: batch_size."""
        new_share: float = 0.5
        """r: weight of the new samples' loss against the generated ones'."""
        latent_size: int = 32
        """Dimensions of the generator's latent space."""
        generator_width: int = 256
        """Units in each of its hidden layers, two in the encoder and two in the decoder."""
        generator_lr: float = 0.001
        """Its learning rate (Adam)."""
        generator_updates: int = 4
        """Its updates per step, each with other noise on the same batch."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 < self.new_share < 1:
                raise UsageError(f"strategy.new_share={self.new_share} must be between 0 and 1")
            for name in ("latent_size", "generator_width", "generator_updates", "replay_batch"):
                value = getattr(self, name)
                if value is not None and value < 1:
                    raise UsageError(f"strategy.{name}={value} must be at least 1")
            if not 0 < self.generator_lr < float("inf"):
                raise UsageError(f"strategy.generator_lr={self.generator_lr} must be positive")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        width, latent = config.generator_width, config.latent_size
        self.generator = VAE(info.input_shape, info.dtype, info.scale, width, latent)
        self.generator_optimizer = torch.optim.Adam(
            self.generator.parameters(), lr=config.generator_lr
        )
        self.register_buffer("seen", torch.zeros(info.n_classes, dtype=torch.bool))
        self.register_buffer("generator_loss", torch.zeros(()))
        self.seen: Tensor
        """``(n_classes,)`` bool: which classes came in earlier experiences."""
        self.generator_loss: Tensor
        self._scholar: tuple[VAE, nn.Module] | None = None
        """The scholar of before the experience; nothing between experiences."""

    def begin(self, task: TaskData) -> TaskData:
        """Keep the scholar as it is now, if it has learnt anything."""
        if bool(self.seen.any()):
            self._scholar = copy.deepcopy(self.generator), copy.deepcopy(self.model).eval()
        self.generator_loss.zero_()
        return task

    @torch.no_grad()
    def draw(self, batch: Batch) -> Batch:
        """New samples, and generated ones with the old solver's labels."""
        if self._scholar is None:
            return batch
        generator, solver = self._scholar
        x = generator.sample(self.config.replay_batch or self.config.batch_size)
        y = solver(x).masked_fill(~self.seen, -torch.inf).argmax(1)
        task_id = None
        if batch.task_id is not None:
            task_id = self.classes_of_task[:, y].long().argmax(0)
        return mix(batch, Batch(x.to(batch.x.dtype), y, task_id))

    def loss(self, batch: Batch) -> Tensor:
        """``r CE(new) + (1 - r) CE(generated)``."""
        scores = self.scores(batch)
        return self._mixture(
            F.cross_entropy(scores, batch.y, ignore_index=-1, reduction="none"), n_new(batch)
        )

    def _mixture(self, losses: Tensor, n: int) -> Tensor:
        """The mean of the first ``n`` losses, weighed against that of the others."""
        share = self.config.new_share
        new = losses[:n].mean()
        return new if n == len(losses) else share * new + (1 - share) * losses[n:].mean()

    def step(self, batch: Batch) -> None:
        """One update of the solver and some of the generator."""
        super().step(batch)
        for _ in range(self.config.generator_updates):
            loss = self._mixture(self.generator.loss(batch.x), n_new(batch))
            self.generator_optimizer.zero_grad()
            loss.backward()
            self.generator_optimizer.step()
        self.generator_loss.add_(loss.detach())

    def consolidate(self, task: TaskData) -> None:
        """Note the classes that the scholar knows from now on, and let the old one go."""
        known = task.y[:, None] == torch.arange(self.info.n_classes, device=task.y.device)
        self.seen.logical_or_(known.any(0))
        n_steps = self.config.epochs * -(-len(task) // self.config.batch_size)
        self.generator_loss.div_(n_steps)
        self._scholar = None
        self.generator_optimizer.zero_grad()

    def diagnostics(self) -> dict[str, Tensor]:
        """The mean losses of the last experience; the generator's in nats a sample."""
        return {**super().diagnostics(), "generator_loss": self.generator_loss}

    def memory_bytes(self) -> int:
        """Bytes of the generator."""
        return sum(p.nbytes for p in self.generator.parameters())

    def get_extra_state(self) -> dict[str, Any]:
        """Both optimizers' states."""
        return {**super().get_extra_state(), "generator": self.generator_optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore both optimizers' states."""
        super().set_extra_state(state)
        self.generator_optimizer.load_state_dict(state["generator"])
