"""The contract of models: networks for samples of any shape they do not refuse."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from clbench.checks.bits import bits, differing
from clbench.checks.finding import Check, Failed, NotApplicable
from clbench.checks.rig import Rig
from clbench.configure.config import REQUIRED, resolve_point
from clbench.errors import NotHere, UsageError
from clbench.plugins.registry import Plugin, stand_in

SHAPES: tuple[tuple[int, ...], ...] = ((16,), (28, 28), (1, 28, 28), (3, 32, 32))
N_CLASSES = 5


def builds_for_some_shape_of_samples(rig: Rig) -> None:
    """It takes vectors, grey or colour images, or several; what it does not take it refuses."""
    if not list(_built(rig.plugin)):
        raise Failed("refuses vectors and images of 28 x 28 and 32 x 32 alike; build for one")


def scores_every_class(rig: Rig) -> None:
    """``(B, *input_shape)`` uint8 or floats to ``(B, n_classes)`` finite floats."""
    for network, x in _built(rig.plugin):
        for raw in (x, x.float()):
            scores = _scores(network, raw)
            if scores.shape != (len(x), N_CLASSES) or not scores.is_floating_point():
                raise Failed(
                    f"scores of {tuple(x.shape)} samples are {scores.dtype} of shape "
                    f"{tuple(scores.shape)}; return floats of shape ({len(x)}, {N_CLASSES})"
                )
            if not bool(scores.isfinite().all()):
                raise Failed("scores of raw samples are not finite; scale them first with ToFloat")


def scores_each_sample_by_itself(rig: Rig) -> None:
    """In eval mode a sample's scores do not depend on its batch."""
    for network, x in _built(rig.plugin):
        alone = torch.cat([_scores(network, row) for row in x.split(1)])
        if not torch.allclose(alone, _scores(network, x), rtol=1e-4, atol=1e-4):
            raise Failed("a sample's scores depend on its batch; use running statistics in eval()")


def draws_its_weights_from_torchs_generator(rig: Rig) -> None:
    """The same seed gives the same weights."""
    first, second = (
        [bits(network.state_dict()) for network, _ in _built(rig.plugin)] for _ in range(2)
    )
    for a, b in zip(first, second, strict=True):
        if differing(a, b):
            raise Failed(f"{differing(a, b)[0]} differs under one seed; draw by torch's generator")


def follows_double(rig: Rig) -> None:
    """After ``.double()`` it scores in double precision, uint8 samples too."""
    for network, x in _built(rig.plugin):
        if _scores(network.double(), x).dtype != torch.float64:
            raise Failed("scores are not float64 after .double(); let ToFloat convert the samples")


def refuses_unknown_settings(rig: Rig) -> None:
    """A setting that it does not have is refused before anything runs."""
    try:
        _settings(rig.plugin, {"model.no_such_setting": "1"})
    except UsageError:
        return
    raise Failed("accepts a setting that it does not have; declare all settings as fields")


def _settings(plugin: Plugin, given: dict[str, str]) -> object:
    needed = {group: stand_in(group).word for group in REQUIRED}
    point: dict[str, str] = {**needed, "model": str(plugin.path)}
    point |= {f"model.{name}": value for name, value in plugin.given}
    argument = plugin.load().argument
    if argument and plugin.argument is not None:
        point[f"model.{argument}"] = plugin.argument
    if argument and f"model.{argument}" not in point:
        raise NotApplicable(f"it needs model.{argument}")
    return resolve_point({**point, **given}).model


def _built(plugin: Plugin) -> Iterator[tuple[nn.Module, Tensor]]:
    """A network and seven raw samples for every shape that the model takes."""
    for shape in SHAPES:
        torch.manual_seed(0)
        try:
            model = _settings(plugin, {})
            network: nn.Module = model.build(shape, N_CLASSES, 1 / 255)  # type: ignore[attr-defined]
        except NotHere as error:
            raise NotApplicable(str(error)) from error
        except UsageError:
            continue
        pixels = torch.Generator().manual_seed(1)
        yield network, torch.randint(256, (7, *shape), generator=pixels, dtype=torch.uint8)


def _scores(network: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        scores: Tensor = network.eval()(x)
    return scores


CHECKS: tuple[Check, ...] = (
    builds_for_some_shape_of_samples,
    scores_every_class,
    scores_each_sample_by_itself,
    draws_its_weights_from_torchs_generator,
    follows_double,
    refuses_unknown_settings,
)
