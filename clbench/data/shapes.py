"""What the shape of a sample says: vector, gray image or colour image."""

from __future__ import annotations

SMALLEST_SCOLE_SIDE = 16  # two 5x5 convolutions, each followed by a pooling of 2, leave 1 pixel


def suited_model(input_shape: tuple[int, ...]) -> str:
    """The model a data set recommends for samples of this shape when the user names none.

    ``mlp`` for vectors ``(d,)`` and tiny gray images, ``scole_cnn`` for gray images ``(H, W)`` or
    ``(1, H, W)``, ``slim_resnet18`` for images of several channels.
    """
    if len(input_shape) < 2:
        return "mlp"
    if len(input_shape) == 3 and input_shape[0] != 1:
        return "slim_resnet18"
    return "scole_cnn" if min(input_shape[-2:]) >= SMALLEST_SCOLE_SIDE else "mlp"
