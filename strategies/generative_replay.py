"""Deep generative replay: replays generated samples, labelled by the previous model.

Shin et al. 2017, "Continual Learning with Deep Generative Replay" (NeurIPS, arXiv 1705.08690),
equation 1. With the scholar (generator and solver) as it was before the experience,

    L = r CE(f(x), y) + (1 - r) CE(f(x'), y'),   x' from its generator, y' = argmax of its solver,

and the new generator is trained on new and generated samples in the same mixture. Deviations: the
generator is a small fully connected VAE (the paper: WGAN-GP), ``clbench.memory.vae``, which suffices
for 28 x 28 digits and not for photographs; r is a setting (0.5) and not the new task's share of all
tasks, which tends to zero on a long stream. If task ids are given, a generated sample gets that of the
task that has its class. No sample is stored; ``memory_bytes`` are the generator's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData
from clbench.memory.vae import VAE
from clbench.replay import mix, mixture, n_new
from clbench.settings import AtLeast, Positive, Within
from clbench.space import Log, Uniform


class GenerativeReplay(GradientStrategy):
    """Replays samples of a generator instead of stored ones."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of generative replay."""

        replay_batch: Annotated[int | None, AtLeast(1)] = None
        """Generated samples per step; null: batch_size."""
        new_share: Annotated[float, Within(0, 1, open_low=True, open_high=True)] = field(
            default=0.5, metadata={"space": Uniform(0.2, 0.8)}
        )
        """r: weight of the new samples' loss; the generated ones' has the weight 1 - r."""
        latent_size: Annotated[int, AtLeast(1)] = 32
        """Dimensions of the generator's latent space."""
        generator_width: Annotated[int, AtLeast(1)] = 256
        """Units in each of the generator's hidden layers, two in the encoder and two in the decoder."""
        generator_lr: Annotated[float, Positive] = field(
            default=0.001, metadata={"space": Log(1e-4, 1e-2)}
        )
        """The generator's learning rate (Adam)."""
        generator_updates: Annotated[int, AtLeast(1)] = 4
        """The generator's updates per step, on the same batch with other noise each."""

        def misleading(self) -> dict[str, str]:
            """What has to be the network of before."""
            would = "would have a fresh network label what is replayed"
            return super().misleading() | {"reset_weights": would}

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
        """``(n_classes,)`` bool: classes that came in earlier experiences."""
        self.generator_loss: Tensor
        self._scholar: tuple[VAE, nn.Module] | None = None
        """The scholar from before the experience; None between experiences."""

    def resolved(self) -> dict[str, object]:
        """Add the generated samples per step."""
        return {**super().resolved(), "replay_batch": self.config.batch_size}

    def begin(self, task: TaskData) -> TaskData:
        """Copy the scholar as it is now, if it was trained at all."""
        if bool(self.seen.any()):
            self._scholar = copy.deepcopy(self.generator), copy.deepcopy(self.model).eval()
        self.generator_loss.zero_()
        return task

    @torch.no_grad()
    def draw(self, batch: Batch) -> Batch:
        """Add generated samples, labelled by the previous solver, to the new ones."""
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
        """Compute ``r CE(new) + (1 - r) CE(generated)``, 0-d."""
        n = n_new(batch)
        losses = F.cross_entropy(self.scores(batch), batch.y, ignore_index=-1, reduction="none")
        return mixture(losses, n, self.config.new_share, (batch.y[:n] >= 0).sum().clamp_min(1))

    def step(self, batch: Batch) -> None:
        """Update the solver once, and the generator ``generator_updates`` times."""
        super().step(batch)
        for _ in range(self.config.generator_updates):
            losses = self.generator.loss(batch.x)
            loss = mixture(losses, n_new(batch), self.config.new_share)
            self.generator_optimizer.zero_grad()
            loss.backward()
            self.generator_optimizer.step()
        self.generator_loss.add_(loss.detach())

    def consolidate(self, task: TaskData) -> None:
        """Note the classes that the scholar knows from now on, and drop the previous scholar."""
        known = task.y[:, None] == torch.arange(self.info.n_classes, device=task.y.device)
        self.seen.logical_or_(known.any(0))
        n_steps = self.config.epochs * -(-len(task) // self.config.batch_size)
        self.generator_loss.div_(n_steps)
        self._scholar = None
        self.generator_optimizer.zero_grad()

    def diagnostics(self) -> dict[str, Tensor]:
        """Return the mean losses of the last experience, the generator's in nats per sample."""
        return {**super().diagnostics(), "generator_loss": self.generator_loss}

    def memory_bytes(self) -> int:
        """Count the bytes of the generator."""
        return sum(p.nbytes for p in self.generator.parameters())

    def get_extra_state(self) -> dict[str, Any]:
        """Return the states of both optimizers."""
        return {**super().get_extra_state(), "generator": self.generator_optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the states of both optimizers."""
        super().set_extra_state(state)
        self.generator_optimizer.load_state_dict(state["generator"])
