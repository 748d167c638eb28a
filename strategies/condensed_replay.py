"""Condensed replay: replays synthetic samples that give the network the gradients of real ones.

The memory is that of experience replay, with as many samples and as many bytes. After an experience
it admits samples as ``policy`` says; then all stored samples of the experience's classes are changed so
that their gradients match those of the whole experience: Dataset Condensation with Contrastive Signals
(``matching=dcc``: Lee et al. 2022, arXiv 2202.02916) or Dataset Condensation (``matching=dc``: Zhao,
Mopuri & Bilen 2021, arXiv 2006.05929), see ``clbench.memory.condense``. They are stored in the data's
own dtype, images as rounded uint8, so that one takes no more bytes than a real sample. The rest is ER
(Chaudhry et al. 2019, arXiv 1902.10486). The use on a stream is ours.

It is expensive: each experience costs ``networks`` x ``steps`` matching steps, whatever its size. The
counted operations of a run include them. A run goes on from the last finished experience, as all do;
``matching_loss`` says how far the last experience was condensed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from clbench import ReplayStrategy, StreamInfo, TaskData
from clbench.memory.condense import Effort, Matching, condense
from clbench.memory.policies import Name, spread
from clbench.nets.losses import present
from clbench.settings import AtLeast, Positive
from clbench.space import Log


class CondensedReplay(ReplayStrategy):
    """Replays from a memory of synthetic samples, condensed from each experience."""

    replays_current = False

    @dataclass(frozen=True)
    class Config(ReplayStrategy.Config):
        """Settings of condensation."""

        policy: Name = "class_balanced"
        """Samples that a full memory keeps, and that condensation starts from."""
        matching: Matching = "dcc"
        """Gradients that are matched. dcc: summed over classes; dc: of each class by itself."""
        networks: Annotated[int, AtLeast(1)] = 4
        """Fresh networks for each experience (the papers: 1,000)."""
        steps: Annotated[int, AtLeast(1)] = 10
        """Updates of the synthetic samples for each network."""
        network_steps: Annotated[int, AtLeast(0)] = 10
        """Updates of a fresh network on the synthetic samples after each of theirs."""
        real_batch: Annotated[int, AtLeast(1)] = 64
        """Real samples of each class at every step (the papers: 256)."""
        image_lr: Annotated[float, Positive] = field(default=0.1, metadata={"space": Log(0.01, 10)})
        """Learning rate of the synthetic samples, in the unit range."""
        network_lr: Annotated[float, Positive] = 0.01
        """Learning rate of the fresh networks."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.register_buffer("matched", torch.zeros(2))
        self.matched: Tensor
        """``(2,)``: mean matching losses of the first and the last network, of the last experience."""

    def consolidate(self, task: TaskData) -> None:
        """Admit the experience, and condense it into the stored samples of its classes."""
        self.admit(task)
        here = present(task.y, self.info.n_classes)
        filled = int(self.memory.filled)
        slots = here[self.memory.y[:filled]].nonzero().squeeze(1)
        if len(slots) == 0:
            return
        config, info, device = self.config, self.info, self.weights.device

        def draw(classes: Tensor) -> Tensor:
            return task.part(spread(task.y, classes)).x

        def fresh() -> nn.Module:
            with torch.device(device):
                return self.build_model()

        stored = self.memory.x[slots]
        unit = stored.to(self.weights.dtype) * info.scale
        is_whole = not info.dtype.is_floating_point
        effort = Effort(
            networks=config.networks,
            steps=config.steps,
            network_steps=config.network_steps,
            real=config.real_batch,
            lr=config.image_lr,
            network_lr=config.network_lr,
        )
        made, losses = condense(
            unit,
            self.memory.y[slots],
            draw,
            fresh,
            effort,
            scale=info.scale,
            n_classes=info.n_classes,
            matching=config.matching,
            bounded=is_whole,
        )
        raw = made / info.scale
        self.memory.x[slots] = (raw.round() if is_whole else raw).to(stored.dtype)
        each = torch.stack(losses).view(config.networks, config.steps).mean(1)
        self.matched.copy_(each[[0, -1]])

    def diagnostics(self) -> dict[str, Tensor]:
        """Add the mean matching losses of the first and of the last network."""
        first, last = self.matched.unbind()
        return {**super().diagnostics(), "matching_loss_first": first, "matching_loss": last}
