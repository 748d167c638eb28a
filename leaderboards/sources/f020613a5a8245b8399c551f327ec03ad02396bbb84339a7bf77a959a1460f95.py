"""WA: distillation, then the new classes' weights are scaled to the length of the old ones'.

Zhao et al. 2020, "Maintaining Discrimination and Fairness in Class Incremental Learning" (CVPR, arXiv
1911.07053). With lambda the share of old among all classes seen, the loss on new samples and exemplars
is (eq. 3, as PyCIL has it)

    L = (1 - lambda) CE(f(x), y | classes seen) + lambda * KD(old classes, T = 2),

and after the experience each new class's weight vector is multiplied by the mean length of the old
classes' vectors over that of the new ones (eq. 8 and 9). Biases stay.

Deviations: those of ``clbench.exemplars``; the paper also clips weights at zero while it trains (from
memory, unverified), and PyCIL does not; KD has no factor T^2. An experience without new classes is not
aligned. There lambda would be 1, and no label would be learnt from, so it counts as one with one new
class; this is our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

from torch import Tensor, nn

from clbench import Batch, StreamInfo, TaskData, UsageError
from clbench.exemplars import ExemplarStrategy, align
from clbench.nets.parameters import output_layer
from clbench.settings import Positive
from clbench.space import Choices


class WA(ExemplarStrategy):
    """Aligns the lengths of the classes' weights after each experience."""

    @dataclass(frozen=True)
    class Config(ExemplarStrategy.Config):
        """Settings of weight aligning."""

        readout: Literal["nme", "softmax"] = "softmax"
        """What predicts: softmax, the output layer (the paper); nme, the nearest mean of exemplars."""
        temperature: Annotated[float, Positive] = field(
            default=2.0, metadata={"space": Choices(1.0, 2.0, 4.0)}
        )
        """Scores are divided by it before the softmax of the distillation."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        if type(output_layer(self.model)) is not nn.Linear:
            raise UsageError(
                "the lengths of this output layer's weights have no effect, so they cannot be "
                "aligned; set model.head=linear"
            )

    def loss(self, batch: Batch) -> Tensor:
        """Compute cross-entropy and distillation, weighted by the classes' numbers, 0-d."""
        raw: Tensor = self.model(batch.x)
        loss = self.fit(raw, batch)
        if not self.n_old:
            return loss
        share = self.n_old / (self.n_old + max(1, self.n_new))
        return (1 - share) * loss + share * self.distil(raw, batch, self.config.temperature)

    def finish(self, task: TaskData) -> None:
        """Align the new classes' weights."""
        layer = output_layer(self.model)
        if self.n_old and self.n_new and layer is not None:
            align(layer, self.old, self.seen & ~self.old)
