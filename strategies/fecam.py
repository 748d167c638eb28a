"""FeCAM: the Mahalanobis distance to each class mean, with that class's own covariance.

Goswami et al. 2023, "FeCAM: Exploiting the Heterogeneity of Class Distributions in Exemplar-Free
Continual Learning" (NeurIPS, arXiv 2309.14062). Of every class the mean and the covariance S of its
samples are kept. S is shrunk (eq. 9) and made a correlation matrix, so that classes can be compared
(eq. 7 and 8):

    S + shrink_variance v1 I + shrink_covariance v2 (1 - I),   then   S_ij / sqrt(S_ii S_jj),

where v1 and v2 are the means of its diagonal and of its other entries. The score of a class is
``-(x - mu)^T S^-1 (x - mu)`` with x and mu of length one, and the pseudo-inverse. It is made for the
latents of a frozen encoder (``encoder=``) and runs on pixels too. ``tukey=true`` takes the root of
every value first (Tukey's transform with lambda 1/2), which the paper does for networks trained from
scratch.

The state is honest, and large: the scatter matrices and the inverses have ``2 n_classes d^2`` numbers.
Half would do where no class comes again.

Deviations: the order of steps follows a reading of a public implementation (LAMDA-PILOT), which shrinks
by 100 I alone. The authors' code for a frozen vision transformer scales samples to length one before
mean and covariance are taken, and leaves v2 out (``shrink_covariance=0``). That for networks trained
from scratch shrinks each covariance twice, here it is shrunk once, and scores the first task by
distances to the output layer's weights. With ``tukey`` it takes the root of the mean of a class's
features, here the mean of the roots is taken; and it scales a test sample to length one before the root
too, which changes nothing, as all is scaled afterwards. The defaults 1 and 1 are those of its settings
for CIFAR-100 (100 with few samples a class is from memory, unverified); a class of one sample has the
identity as its matrix; the network is not trained on the first task: bring a frozen one as encoder.
There is one pass, no network, no gradient and no augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench import Strategy, StreamInfo, TaskData
from clbench.latents import ClassCovariances, among_seen, batches, vectors, width
from clbench.settings import AtLeast
from clbench.space import Choices, Log


class FeCAM(Strategy):
    """Predicts the class whose mean is nearest in that class's own metric."""

    @dataclass(frozen=True)
    class Config(Strategy.Config):
        """Settings of FeCAM."""

        shrink_variance: Annotated[float, AtLeast(0)] = field(
            default=1.0, metadata={"space": Log(0.01, 100)}
        )
        """Weight of the mean variance, added to the diagonal of each covariance (gamma_1)."""
        shrink_covariance: Annotated[float, AtLeast(0)] = field(
            default=1.0, metadata={"space": Log(0.01, 100)}
        )
        """Weight of the mean covariance, added off the diagonal (gamma_2)."""
        tukey: bool = field(default=False, metadata={"space": Choices(False, True)})
        """Take the root of every value first; negative values become 0. For features behind a ReLU."""
        batch_size: Annotated[int, AtLeast(1)] = 64
        """Samples that the statistics are updated with at once; it changes speed alone."""

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        d = width(info)
        self.classes = ClassCovariances(info.n_classes, d)
        self.register_buffer("inverse", torch.zeros(info.n_classes, d, d))
        self.inverse: Tensor
        """``(n_classes, d, d)``: of the correlation matrices, as of the last ``prepare``."""

    def _vectors(self, x: Tensor) -> Tensor:
        z = vectors(x, self.info.scale, self.inverse.dtype)
        return z.clamp_min(0).sqrt() if self.config.tukey else z

    @torch.no_grad()
    def learn(self, task: TaskData) -> None:
        """Update means and scatter matrices."""

        def parts() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            for x, of, labelled in batches(task, self.config.batch_size):
                yield self._vectors(x), of, labelled

        self.classes.add(parts)

    @torch.no_grad()
    def prepare(self) -> None:
        """Invert each class's correlation matrix, in double precision."""
        for number in range(self.info.n_classes):
            matrix = self.correlation(self.classes.covariance(number).double())
            values, basis = torch.linalg.eigh(matrix)
            kept = values.abs() > len(matrix) * torch.finfo(values.dtype).eps * values.abs().max()
            inverse = (basis * torch.where(kept, 1 / values, 0.0)) @ basis.mT
            self.inverse[number] = inverse.to(self.inverse.dtype)

    def correlation(self, covariance: Tensor) -> Tensor:
        """Shrink a ``(d, d)`` covariance, and divide it by its standard deviations."""
        d, variance = len(covariance), covariance.diagonal()
        others = (covariance.sum() - variance.sum()) / max(1, d * d - d)
        shrunk = covariance + self.config.shrink_covariance * others
        shrunk.diagonal().copy_(variance + self.config.shrink_variance * variance.mean())
        deviation = shrunk.diagonal().clamp_min(1e-30).sqrt()
        matrix: Tensor = shrunk / deviation / deviation[:, None]
        matrix.diagonal().fill_(1)
        return matrix

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute minus squared distances: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        z, mean = F.normalize(self._vectors(x), dim=1), F.normalize(self.classes.mean, dim=1)
        found = [
            -((gap @ inverse) * gap).sum(1)
            for gap, inverse in zip((z - m for m in mean), self.inverse, strict=True)
        ]
        return among_seen(torch.stack(found, dim=1), self.classes.count)
