"""A network that grows: several backbones side by side under one output layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from clbench.nets.head import replace_output
from clbench.nets.parameters import output_layer


class Grown(nn.Module):
    """Backbones whose features are joined; all but the newest are frozen and in eval mode.

    With two or more backbones there is an auxiliary output layer on the newest one's features.
    """

    def __init__(
        self, build_model: Callable[[], nn.Module], n_classes: int, extra: int = 0
    ) -> None:
        """Start with one backbone.

        Args:
            build_model: makes a network with an output layer, which is taken off.
            n_classes: of the output layer.
            extra: outputs that the auxiliary layer has beside one for each class.
        """
        super().__init__()
        self.build_model, self.n_auxiliary = build_model, n_classes + extra
        backbone, self.width = self._headless()
        self.backbones = nn.ModuleList([backbone])
        self.head = nn.Linear(self.width, n_classes)

    def _headless(self) -> tuple[nn.Module, int]:
        model = self.build_model()
        layer = output_layer(model)
        width = 0 if layer is None else layer.in_features
        return replace_output(model, nn.Identity()), width

    @torch.no_grad()
    def add(self) -> None:
        """Freeze what is there and add a copy of the newest backbone.

        The output layer gets columns for it, drawn at random; all others stay.
        """
        like = self.head.weight
        with torch.device(like.device):
            backbone, _ = self._headless()
            head = nn.Linear(self.head.in_features + self.width, self.head.out_features)
            auxiliary = nn.Linear(self.width, self.n_auxiliary)
        newest = self.backbones[-1]
        backbone.load_state_dict(newest.state_dict())
        newest.requires_grad_(False)
        self.backbones.append(backbone.to(like.dtype))
        head = head.to(like.dtype)
        head.weight[:, : self.head.in_features] = like
        head.bias.copy_(self.head.bias)
        self.auxiliary = auxiliary.to(like.dtype)
        # Last again, so that it is the output layer.
        del self.head
        self.head = head
        self.train(self.training)

    def train(self, mode: bool = True) -> Grown:
        """Set the mode of the newest backbone; the others stay in eval mode."""
        super().train(mode)
        for backbone in self.backbones[:-1]:
            backbone.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """Join the features of all backbones: ``(B, *input_shape)`` to ``(B, n d)``."""
        return torch.cat([backbone(x).flatten(1) for backbone in self.backbones], dim=1)

    def newest(self, z: Tensor) -> Tensor:
        """Compute the auxiliary scores, ``(B, n_auxiliary)``, of joined features ``(B, n d)``."""
        scores: Tensor = self.auxiliary(z[:, -self.width :])
        return scores

    def forward(self, x: Tensor) -> Tensor:
        """``(B, *input_shape)`` to ``(B, n_classes)``."""
        scores: Tensor = self.head(self.features(x))
        return scores
