"""iCaRL: exemplars chosen by herding, distillation, and the nearest mean of exemplars.

Rebuffi et al. 2017, "iCaRL: Incremental Classifier and Representation Learning" (CVPR, arXiv
1611.07725). New samples and exemplars are one training set (algorithm 3). The loss has two forms:

- ``form=ce``, as most tables of the field have it (read in PyCIL's code):

      L = CE(f(x), y | classes seen) + alpha * sum over old classes of -q_c log p_c,

  where q and p are softmaxes of the network before the experience and of the learner over the old
  classes, at temperature T = 2, without a factor T^2.
- ``form=bce``, the paper's: each class seen has a sigmoid, and the target of an old class is the old
  network's sigmoid, also for an exemplar of that class:

      L = -sum over classes of [t_c log g_c + (1 - t_c) log(1 - g_c)].

  It is a sum over classes and a mean over samples. The authors' code takes the mean over all classes
  with a learning rate of 2, which is a rate of 2 / classes here (from memory, unverified).
  ``temperature`` and ``label_smoothing`` have no part in it; a sample without a label has no term of
  the new classes.

Deviations: those of ``clbench.exemplars``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from clbench import Batch, UsageError
from clbench.exemplars import ExemplarStrategy
from clbench.settings import AtLeast, Positive
from clbench.space import Log


class ICaRL(ExemplarStrategy):
    """Fits labels and the old network's answers, and predicts by the nearest mean of exemplars."""

    @dataclass(frozen=True)
    class Config(ExemplarStrategy.Config):
        """Settings of iCaRL."""

        form: Literal["ce", "bce"] = "ce"
        """Loss: ce, a softmax over the classes seen and a distillation of the old ones (as most
        tables have it); bce, a sigmoid for each class (the paper)."""
        alpha: Annotated[float, AtLeast(0)] = field(default=1.0, metadata={"space": Log(0.1, 10)})
        """Weight of the distillation of form=ce."""
        temperature: Annotated[float, Positive] = 2.0
        """Scores are divided by it before the softmax of the distillation of form=ce."""

        def without_effect(self) -> dict[str, str]:
            """What form=bce leaves without."""
            idle = ("alpha", "temperature") if self.form == "bce" else ()
            return super().without_effect() | dict.fromkeys(idle, "form=bce")

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.form == "bce" and (self.label_smoothing or self.mask != "none"):
                raise UsageError(
                    "strategy.form=bce has no softmax: leave out strategy.label_smoothing and "
                    "strategy.mask"
                )

    def loss(self, batch: Batch) -> Tensor:
        """Compute the loss of one of the forms, 0-d."""
        raw: Tensor = self.model(batch.x)
        if self.config.form == "bce":
            self._smooths = True  # its settings refuse smoothing
            return self._sigmoids(raw, batch)
        loss = self.fit(raw, batch)
        if not self.n_old:
            return loss
        kept: Tensor = self.distil(raw, batch, self.config.temperature)
        return loss.add(kept, alpha=self.config.alpha)

    def _sigmoids(self, raw: Tensor, batch: Batch) -> Tensor:
        """Compute the binary cross-entropies, summed over classes, mean over samples."""
        own = batch.y[:, None] == torch.arange(raw.shape[1], device=raw.device)
        target, counts = own.to(raw.dtype), self.seen & (batch.y >= 0)[:, None]
        if self.n_old:
            target = torch.where(self.old, self.taught(batch.x).sigmoid(), target)
            counts = counts | self.old
        if batch.task_id is not None:
            counts = counts & (self.old | self.classes_of_task[batch.task_id])
        losses = F.binary_cross_entropy_with_logits(raw, target, reduction="none")
        return (losses * counts).sum(1).mean()
