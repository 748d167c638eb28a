"""What the shape of a sample says: vector, series, gray image or colour image."""

from __future__ import annotations

CHANNELS_FIRST, CHANNELS_LAST = "channels_first", "channels_last"
CHANNELS = (1, 3, 4)
"""Numbers of channels that images have: gray, colour, colour with alpha."""
LONG = 8
"""Samples ``(C, T)`` at least this many times as long as high are series, and no gray images."""
SMALLEST_SCOLE_SIDE = 16  # two 5x5 convolutions, each followed by a pooling of 2, leave 1 pixel


def suited_model(input_shape: tuple[int, ...]) -> str:
    """The model a data set recommends for samples of this shape when the user names none.

    ``mlp`` for vectors ``(d,)`` and tiny gray images, ``conv1d`` for series ``(C, T)``, ``scole_cnn``
    for gray images ``(H, W)`` or ``(1, H, W)``, ``slim_resnet18`` for images of several channels.
    """
    if is_series(input_shape):
        return "conv1d"
    if len(input_shape) < 2:
        return "mlp"
    if len(input_shape) == 3 and input_shape[0] != 1:
        return "slim_resnet18"
    return "scole_cnn" if min(input_shape[-2:]) >= SMALLEST_SCOLE_SIDE else "mlp"


def is_series(input_shape: tuple[int, ...]) -> bool:
    """Say whether samples of this shape are series of channels, ``(C, T)``, much longer than high."""
    return len(input_shape) == 2 and input_shape[1] >= LONG * input_shape[0]


def channel_axis(shape: tuple[int, ...]) -> str | None:
    """Say from a sample's three sides whether its channels come first or last; None: cannot say.

    The axis with 1, 3 or 4 entries holds the channels. Where both ends have so few, or neither has,
    it is the one that leaves a square.
    """
    first, middle, last = shape
    if first == middle == last == 1:
        return CHANNELS_FIRST
    for is_first, is_last in (
        (first in CHANNELS, last in CHANNELS),
        (middle == last, first == middle),
    ):
        if is_first != is_last:
            return CHANNELS_FIRST if is_first else CHANNELS_LAST
    return None
