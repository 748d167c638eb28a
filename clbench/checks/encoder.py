"""The contract of encoders: frozen networks that give each sample the same latents every time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from clbench.checks.bits import bits, differing
from clbench.checks.finding import Check, Failed, NotApplicable
from clbench.checks.rig import Rig
from clbench.configure.config import REQUIRED, resolve_point
from clbench.errors import UsageError
from clbench.plugins.registry import Plugin, stand_in

SHAPES: tuple[tuple[int, ...], ...] = ((16,), (28, 28), (1, 28, 28), (3, 32, 32))


def gives_a_vector_for_each_sample(rig: Rig) -> None:
    """``(B, *input_shape)`` uint8 or floats to ``(B, d)`` finite float32."""
    for network, x in _built(rig.plugin):
        for raw in (x, x.float()):
            z = _encode(network, raw)
            if z.dim() != 2 or len(z) != len(x) or z.dtype != torch.float32:
                raise Failed(
                    f"gives {z.dtype} of shape {tuple(z.shape)} for {tuple(x.shape)} samples; "
                    f"return float32 of shape ({len(x)}, d)"
                )
            if not bool(z.isfinite().all()):
                raise Failed("gives latents that are not finite; bring samples to the unit range")
        if not torch.equal(_encode(network, x), _encode(network, x.float())):
            raise Failed("uint8 and float samples of equal values differ; convert, then scale")


def encodes_each_sample_by_itself(rig: Rig) -> None:
    """A sample's latents do not depend on the others in its batch."""
    for network, x in _built(rig.plugin):
        together = _encode(network, x)
        alone = torch.cat([_encode(network, row) for row in x.split(1)])
        if not torch.allclose(alone, together, rtol=1e-3, atol=1e-4 * float(together.abs().max())):
            raise Failed("latents depend on the batch; use running statistics, as eval() does")


def is_frozen(rig: Rig) -> None:
    """Encoding changes nothing of the encoder and draws no random numbers."""
    for network, x in _built(rig.plugin):
        before = bits(network.state_dict()), torch.get_rng_state()
        _encode(network, x)
        if differing(before[0], bits(network.state_dict())):
            raise Failed("encoding changes the encoder's state; keep no statistics of samples")
        if not torch.equal(before[1], torch.get_rng_state()):
            raise Failed("encoding draws random numbers; an encoder is deterministic")


def is_the_same_when_built_again(rig: Rig) -> None:
    """Weights and latents follow from the settings, whatever state torch's generator is in."""
    torch.manual_seed(0)
    first = [bits([network.state_dict(), _encode(network, x)]) for network, x in _built(rig.plugin)]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = [bits([network.state_dict(), _encode(network, x)]) for network, x in _built(rig.plugin)]
    if not torch.equal(state, torch.get_rng_state()):
        raise Failed("build() draws from torch's generator; use torch.random.fork_rng and a seed")
    for a, b in zip(first, again, strict=True):
        if differing(a, b):
            raise Failed(f"{differing(a, b)[0]} differs when built again; seed what is drawn")


def refuses_unknown_settings(rig: Rig) -> None:
    """A setting that it does not have is refused before anything runs."""
    try:
        _settings(rig.plugin, {"encoder.no_such_setting": "1"})
    except UsageError as error:
        if "no_such_setting" in str(error):
            return
    raise Failed("accepts a setting that it does not have; declare all settings as fields")


def _settings(plugin: Plugin, given: dict[str, str]) -> object:
    needed = {group: stand_in(group).word for group in REQUIRED}
    point = {**needed, "encoder": str(plugin.path), **given}
    return resolve_point(point).encoder


def _built(plugin: Plugin) -> Iterator[tuple[nn.Module, Tensor]]:
    """A network and seven raw samples for every shape that the encoder takes by its defaults.

    Raises:
        NotApplicable: it takes none: its weights are not here, or it needs settings.
    """
    reason, found = "", 0
    for shape in SHAPES:
        try:
            encoder = _settings(plugin, {})
            network: nn.Module = encoder.build(shape, 1 / 255)  # type: ignore[attr-defined]
        except UsageError as error:
            reason = str(error)
            continue
        found += 1
        pixels = torch.Generator().manual_seed(1)
        yield network.eval(), torch.randint(256, (7, *shape), generator=pixels, dtype=torch.uint8)
    if not found:
        raise NotApplicable(reason)


def _encode(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        z: Tensor = network(x)
    return z


CHECKS: tuple[Check, ...] = (
    gives_a_vector_for_each_sample,
    encodes_each_sample_by_itself,
    is_frozen,
    is_the_same_when_built_again,
    refuses_unknown_settings,
)
