"""The base of methods that train the network on the first experience alone, and then classify in it.

First-session adaptation (Panos et al. 2023, ICCV, arXiv 2303.13199): a pretrained network is tuned, as
``model.tune`` says, on the first experience; from then on it is frozen, and a classifier in closed form
is kept on its features. A method is its classifier.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.latents import ClassMeans, among_seen, batches
from clbench.nets.features import features
from clbench.nets.modes import switch
from clbench.nets.parameters import output_layer
from clbench.nets.training import TrainingSettings
from clbench.strategy import GradientStrategy, StreamInfo
from clbench.stream import TaskData

OF_TRAINING = tuple(
    f.name
    for f in fields(TrainingSettings)
    if f.name not in ("batch_size", "weights_path", "weights_sha256")
)
"""Settings that say how a network is trained, and nothing else."""


class FirstSession(GradientStrategy):
    """Trains on the first experience; ``collect`` sees the features of every one."""

    results_version: ClassVar[int] = 1
    """Raised by a change of this base that alters what its strategies give."""

    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        """Settings of the first phase."""

        adapt: bool = True
        """Train the network on the first experience (the first phase); false: it stays as it was
        built, say pretrained."""

        def without_effect(self) -> dict[str, str]:
            """Without the first phase nothing is trained."""
            idle = () if self.adapt else OF_TRAINING
            return super().without_effect() | dict.fromkeys(idle, "adapt=false")

    def __init__(
        self, info: StreamInfo, config: Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        layer = output_layer(self.model)
        if layer is None:
            raise UsageError(
                f"{type(self).__name__} classifies in the input of a linear output layer, and this "
                "model has none; use another model"
            )
        self.width = layer.in_features
        self.register_buffer("is_adapted", torch.tensor(not config.adapt))
        self.is_adapted: Tensor
        """0-d bool"""

    def learn(self, task: TaskData) -> None:
        """Train on the first experience, and give the features of any to ``collect``."""
        if not bool(self.is_adapted):
            super().learn(task)
            self.is_adapted.fill_(True)
        switch(self, False)
        with torch.no_grad():
            self.collect(task)

    def parts(self, task: TaskData) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Go through the features of an experience by batches.

        It yields ``(B, d)``, their classes ``(B,)`` int64, and ``(B,)`` int64 that is 1 for a labelled
        sample.
        """
        for x, of, labelled in batches(task, self.config.batch_size):
            yield self.features(x), of, labelled

    def features(self, x: Tensor) -> Tensor:
        """Map raw samples ``(B, *input_shape)`` to features ``(B, d)``."""
        return features(self.model, x)

    @abstractmethod
    def collect(self, task: TaskData) -> None:
        """Add an experience to the classifier; no gradient is recorded."""


class SmallestAngle(FirstSession):
    """Predicts the class whose mean has the smallest angle; a subclass makes ``means``."""

    means: ClassMeans

    def collect(self, task: TaskData) -> None:
        """Update the class means."""
        shares = self.means.shares(task.y, self.config.batch_size).split(self.config.batch_size)
        for (z, of, _), share in zip(self.parts(task), shares, strict=True):
            self.means.move(self.means.gaps(z, of), of, share)

    def forward(self, x: Tensor, task_id: Tensor | None = None) -> Tensor:
        """Compute cosines to the class means: ``(B, *input_shape)`` to ``(B, n_classes)``."""
        z, means = F.normalize(self.features(x), dim=1), F.normalize(self.means.mean, dim=1)
        return among_seen(z @ means.mT, self.means.count)
