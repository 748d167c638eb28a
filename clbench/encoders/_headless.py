"""Networks by name as encoders: EfficientNet-Lite0 to a cut, or a model less its last layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from torch import Tensor, nn

from clbench import Encoder, UsageError
from clbench.encoders._lite0 import check_lite0, lite0, network
from clbench.plugins.registry import find
from clbench.settings import AtLeast, Within

LITE0 = "efficientnet_lite0"
DEFAULTS = {"cut": 10, "resolution": 32, "pool": 2}
"""Of efficientnet_lite0."""


@dataclass(frozen=True)
class Headless(Encoder):
    """Base of encoders whose network is given by name."""

    of: str = "slim_resnet18"
    """The network: a model (clbench list models) with default settings, or efficientnet_lite0."""
    cut: Annotated[int | None, Within(0, 16)] = None
    """For efficientnet_lite0: take the latents after this block; null: 10."""
    resolution: Annotated[int | None, AtLeast(1)] = None
    """For efficientnet_lite0 and models with that setting: resize images to this side in pixels; null:
    32, or the model's own."""
    pool: Annotated[int | None, AtLeast(1)] = None
    """For efficientnet_lite0: average the map to this number of rows and columns; null: 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.of == LITE0:
            check_lite0(*self._lite0())
            return
        for name in ("cut", "pool"):
            if getattr(self, name) is not None:
                raise UsageError(f"encoder.{name} is for efficientnet_lite0, not for {self.of!r}")
        if "/" in self.of or "\\" in self.of or self.of.endswith(".py"):
            raise UsageError(
                f"encoder.of={Path(self.of).name}: must be a name; for a network of your own, write "
                "an encoder (encoder=path/to/mine.py)"
            )
        if self.resolution is not None and "resolution" not in _settings(self.of):
            raise UsageError(f"encoder.resolution: model={self.of} has no such setting")

    def files(self) -> tuple[Path, ...]:
        """The model's source."""
        return () if self.of == LITE0 else (find("model", self.of).path,)

    def _lite0(self) -> tuple[int, int, int]:
        given = {name: getattr(self, name) for name in DEFAULTS}
        cut, resolution, pool = (DEFAULTS[n] if v is None else v for n, v in given.items())
        return cut, resolution, pool

    def headless(
        self,
        encoder: str,
        input_shape: tuple[int, ...],
        scale: float,
        state: Mapping[str, Tensor] | None = None,
    ) -> nn.Module:
        """Build the network without its output layer.

        Args:
            encoder: the plug-in's name, for errors.
            input_shape: of a raw sample.
            scale: brings raw values to the unit range.
            state: weights of the whole network; None: random, from torch's generator.

        Raises:
            UsageError: samples or weights do not fit, or the network does not end in a linear layer.
        """
        if self.of == LITE0:
            settings = self._lite0()
            net = network(f"encoder={encoder}", settings[1])
            _fill(net, state, self.of)
            return lite0(encoder, net, input_shape, scale, settings)
        given = {} if self.resolution is None else {"resolution": self.resolution}
        model = find("model", self.of).load()(**given)
        if state is None and model.starts_pretrained:
            raise UsageError(
                f"encoder={encoder}:{self.of}: this model starts from released weights; write an "
                "encoder of your own (encoder=path/to/mine.py)"
            )
        net = model.build(input_shape, 2, scale)
        layers = [*net] if isinstance(net, nn.Sequential) else []
        if not layers or not isinstance(layers[-1], nn.Linear):
            raise UsageError(
                f"encoder.of={self.of}: is not a sequence that ends in a linear layer; write an "
                "encoder of your own (encoder=path/to/mine.py)"
            )
        head = (state or {}).get(f"{len(layers) - 1}.weight")
        if head is not None:  # with the number of classes that it was trained on
            net = model.build(input_shape, len(head), scale)
        _fill(net, state, self.of)
        return nn.Sequential(*[*net][:-1], nn.Flatten())


def _settings(of: str) -> set[str]:
    return {field.name for field in fields(find("model", of).load())}


def _fill(net: nn.Module, state: Mapping[str, Tensor] | None, of: str) -> None:
    if state is None:
        return
    own = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    given = {name: tuple(t.shape) for name, t in state.items()}
    wrong = sorted(n for n in {*own, *given} if own.get(n) != given.get(n))
    if wrong:
        name = wrong[0]
        said = f"is {given.get(name, 'missing')}, must be {own.get(name, 'left out')}"
        raise UsageError(f"the weights are not of {of!r} for these samples: {name} {said}")
    net.load_state_dict(state)
