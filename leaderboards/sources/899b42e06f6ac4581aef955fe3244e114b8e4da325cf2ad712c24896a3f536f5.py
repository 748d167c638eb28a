"""Kanerva++ as a continual learner: replays what a memory of constant size generates.

The memory is that of Ramapuram, Wu, Kalousis 2021 (ICLR, arXiv 2103.03905; see
``clbench.memory.kanerva_pp``); its use on a stream is ours. A network is trained on new samples mixed
with generated ones, and the memory's networks on the same mixture, each batch as one episode. After an
experience one episode is written, of equally many samples of every class known: those of the
experience, and for the other classes reads of the previous memory. So the memory is rewritten, and its
bytes stay.

- ``keys=stored`` keeps the key and the label of ``n_keys`` samples, equally many of each class. A
  replayed sample is a read at a stored key, and has its label.
- ``keys=prior`` keeps none. Keys are drawn from N(0, I), and the previous network labels the reads.

No raw sample is stored. ``memory_bytes`` counts the memory, its networks and the keys. Classes are
forgotten where there are more of them than keys. The loss is that of generative replay (Shin et al.
2017, arXiv 1705.08690, eq. 1), ``r CE(new) + (1 - r) CE(generated)``, with r a setting.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Batch, GradientStrategy, StreamInfo, TaskData
from clbench.memory.kanerva_pp import KEY, KanervaPP, Sizes
from clbench.memory.policies import spread
from clbench.nets.losses import present
from clbench.replay import mix, mixture, n_new
from clbench.settings import AtLeast, Positive, Within
from clbench.space import Log, Uniform


class KanervaPlusPlus(GradientStrategy):
    """Replays reads of a memory that is written by one pass of a network."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of the memory and of its replay."""

        keys: Literal["stored", "prior"] = "stored"
        """Where reads point. stored: at keys of earlier samples, with their labels; prior: at keys from
        N(0, I), labelled by the previous network."""
        n_keys: Annotated[int, AtLeast(1)] = 200
        """Keys that are kept (keys=stored), of 20 bytes each with their label in float32."""
        episode: Annotated[int, AtLeast(1)] = 64
        """Samples that are written into the memory after an experience."""
        replay_batch: Annotated[int | None, AtLeast(1)] = None
        """Generated samples per step; null: batch_size."""
        new_share: Annotated[float, Within(0, 1, open_low=True, open_high=True)] = field(
            default=0.5, metadata={"space": Uniform(0.2, 0.8)}
        )
        """r: weight of the new samples' loss; the generated ones' has the weight 1 - r."""
        latent_size: Annotated[int, AtLeast(1)] = 32
        """Dimensions of a sample's latent, z."""
        generator_width: Annotated[int, AtLeast(1)] = 256
        """Units in the hidden layers of the posterior, the prior and the decoder."""
        memory_side: Annotated[int, AtLeast(8)] = 16
        """Cells on a side of the memory, which has 8 channels; blocks of half its side are read."""
        generator_lr: Annotated[float, Positive] = field(
            default=0.001, metadata={"space": Log(1e-4, 1e-2)}
        )
        """The learning rate of the memory's networks (Adam)."""
        free_nats: Annotated[float, AtLeast(0)] = 3.0
        """Nats of a key, on average, that cost nothing in the training of the memory's networks. With 0
        keys soon point nowhere in particular, and reads of all keys look alike."""
        generator_updates: Annotated[int, AtLeast(1)] = 4
        """Updates of the memory's networks per step, on the same batch with other noise each."""

        def misleading(self) -> dict[str, str]:
            """What has to be the network of before."""
            would = "would have a fresh network label what is replayed"
            return super().misleading() | {"reset_weights": would}

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        side = config.memory_side
        sizes = Sizes(config.latent_size, config.generator_width, side=side, block=side // 2)
        self.generator = KanervaPP(info.input_shape, info.dtype, info.scale, sizes)
        self.generator_optimizer = torch.optim.Adam(
            self.generator.parameters(), lr=config.generator_lr
        )
        n = config.n_keys if config.keys == "stored" else 0
        self.register_buffer("memory", torch.zeros(self.generator.memory_shape))
        self.register_buffer("key", torch.zeros(n, KEY))
        self.register_buffer("label", torch.full((n,), -1))
        self.register_buffer("seen", torch.zeros(info.n_classes, dtype=torch.bool))
        self.register_buffer("generator_loss", torch.zeros(()))
        self.memory: Tensor
        """``(8, side, side)``"""
        self.key: Tensor
        """``(n_keys, 3)``"""
        self.label: Tensor
        """``(n_keys,)`` int64: classes of the keys; -1 before the first write."""
        self.seen: Tensor
        """``(n_classes,)`` bool: classes that came in earlier experiences."""
        self.generator_loss: Tensor
        self._scholar: tuple[KanervaPP, nn.Module] | None = None
        """Generator and network from before the experience; None between experiences."""

    def resolved(self) -> dict[str, object]:
        """Add the generated samples per step."""
        return {**super().resolved(), "replay_batch": self.config.batch_size}

    def begin(self, task: TaskData) -> TaskData:
        """Copy the networks as they are now, if anything was written."""
        if bool(self.seen.any()):
            self._scholar = copy.deepcopy(self.generator), copy.deepcopy(self.model).eval()
        self.generator_loss.zero_()
        return task

    @torch.no_grad()
    def draw(self, batch: Batch) -> Batch:
        """Add generated samples to the new ones."""
        if self._scholar is None:
            return batch
        x, y = self._reads(self.config.replay_batch or self.config.batch_size, *self._scholar)
        task_id = None
        if batch.task_id is not None:
            task_id = self.classes_of_task[:, y].long().argmax(0)
        return mix(batch, Batch(x.to(batch.x.dtype), y, task_id))

    def _reads(self, n: int, generator: KanervaPP, solver: nn.Module) -> tuple[Tensor, Tensor]:
        """``(n, *input_shape)`` reads of the memory and their ``(n,)`` labels."""
        if self.config.keys == "stored":
            at = torch.randint(self.config.n_keys, (n,), device=self.key.device)
            return generator.sample(self.memory, self.key[at]), self.label[at]
        key = torch.randn(n, KEY, device=self.memory.device, dtype=self.memory.dtype)
        x = generator.sample(self.memory, key)
        return x, solver(x).masked_fill(~self.seen, -torch.inf).argmax(1)

    def loss(self, batch: Batch) -> Tensor:
        """Compute ``r CE(new) + (1 - r) CE(generated)``, 0-d."""
        losses = F.cross_entropy(self.scores(batch), batch.y, ignore_index=-1, reduction="none")
        n = n_new(batch)
        return mixture(losses, n, self.config.new_share, (batch.y[:n] >= 0).sum().clamp_min(1))

    def step(self, batch: Batch) -> None:
        """Update the network once, and the memory's networks ``generator_updates`` times."""
        super().step(batch)
        for _ in range(self.config.generator_updates):
            losses = self.generator.loss(batch.x, self.config.free_nats)
            loss = mixture(losses, n_new(batch), self.config.new_share)
            self.generator_optimizer.zero_grad()
            loss.backward()
            self.generator_optimizer.step()
        self.generator_loss.add_(loss.detach())

    @torch.no_grad()
    def consolidate(self, task: TaskData) -> None:
        """Write the memory anew, of the experience and of reads of what was there."""
        here = present(task.y, self.info.n_classes)
        x, y = self._earlier(here)
        classes = (here | present(y, self.info.n_classes)).nonzero().squeeze(1)
        if len(classes):
            n = max(self.config.episode, len(self.key))
            # Every class once, in random order, and again: any first part of them is balanced.
            rounds = torch.rand(-(-n // len(classes)), len(classes), device="cpu").argsort(1)
            wanted = classes[rounds.flatten()[:n].to(y.device)]
            at = spread(torch.cat([task.y, y]), wanted)
            is_new = at < len(task)
            chosen = torch.empty(n, *self.info.input_shape, dtype=x.dtype, device=x.device)
            chosen[is_new] = task.part(at[is_new]).x.to(x.dtype)
            chosen[~is_new] = x[at[~is_new] - len(task)]
            self.memory.copy_(self.generator.write(chosen[: self.config.episode]))
            if len(self.key):
                of_key, _ = self.generator.infer(chosen[: len(self.key)])
                self.key.copy_(of_key.mean)
                self.label.copy_(wanted[: len(self.key)])
        self.seen.logical_or_(here)
        n_steps = self.config.epochs * -(-len(task) // self.config.batch_size)
        self.generator_loss.div_(n_steps)
        self._scholar = None
        self.generator_optimizer.zero_grad()

    def _earlier(self, here: Tensor) -> tuple[Tensor, Tensor]:
        """Read samples of classes outside of ``here`` (a mask): ``(n, *input_shape)``, ``(n,)``."""
        none = torch.zeros(0, *self.info.input_shape, dtype=self.info.dtype, device=here.device)
        if self._scholar is None:
            return none, here.new_zeros(0, dtype=torch.int64)
        generator, solver = self._scholar
        if self.config.keys == "stored":
            old = (~here[self.label]).nonzero().squeeze(1)
            return generator.sample(self.memory, self.key[old]), self.label[old]
        x, y = self._reads(2 * self.config.episode, generator, solver)
        old = (~here[y]).nonzero().squeeze(1)
        return x[old], y[old]

    def diagnostics(self) -> dict[str, Tensor]:
        """Return the mean losses of the last experience, the memory's in nats per sample."""
        return {**super().diagnostics(), "generator_loss": self.generator_loss}

    def memory_bytes(self) -> int:
        """Count the bytes of the memory, of its networks and of the keys."""
        parts = [*self.generator.parameters(), self.memory, self.key, self.label]
        return sum(part.nbytes for part in parts)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the states of both optimizers."""
        return {**super().get_extra_state(), "generator": self.generator_optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the states of both optimizers."""
        super().set_extra_state(state)
        self.generator_optimizer.load_state_dict(state["generator"])
