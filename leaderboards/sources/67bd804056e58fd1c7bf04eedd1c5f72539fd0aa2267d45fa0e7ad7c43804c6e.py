"""APER: cosines to class means of the features of two networks, as built and adapted to task 1.

Zhou et al. 2023/2024, "Revisiting Class-Incremental Learning with Pre-Trained Models: Generalizability
and Adaptivity are All You Need" (IJCV, arXiv 2303.07338; first called ADAM). The network is tuned on
the first task alone, as ``model.tune`` says (the paper's APER with adapter, VPT or finetuning are
adapter, prompt and full); its features and those of the network as it was before are joined (eq. 7),
and a sample belongs to the class with the mean at the smallest angle (eq. 3 and 8). SimpleCIL is this
without the adapted network: ``strategy=nmc strategy.metric=cosine`` on an encoder.

The equations' numbers are from memory, unverified. Deviations: the first experience is what is
adapted to, which is a part of the first task in a stream of chunks; features are not normalised one
by one before they are joined, as in the authors' code; with prompts, the network as built has
untrained ones, where the authors' has none.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from clbench import StreamInfo
from clbench.first_session import SmallestAngle
from clbench.latents import ClassMeans
from clbench.nets.features import features


class Aper(SmallestAngle):
    """Predicts the class whose mean has the smallest angle, in the features of two networks."""

    def __init__(
        self, info: StreamInfo, config: SmallestAngle.Config, build_model: Callable[[], nn.Module]
    ) -> None:
        super().__init__(info, config, build_model)
        self.before = copy.deepcopy(self.model).requires_grad_(False)
        self.means = ClassMeans(info.n_classes, 2 * self.width)

    def features(self, x: Tensor) -> Tensor:
        """Join those of both networks: ``(B, *input_shape)`` to ``(B, 2 d)``."""
        return torch.cat([features(self.before, x), features(self.model, x)], 1)
