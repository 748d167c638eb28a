"""Mixed precision: networks whose calls compute in bfloat16 or float16 (``torch.autocast``).

The parameters, the optimizer and all that a strategy computes from a network's scores (losses,
penalties, distances, closed-form solutions) stay in float32. A network computes in the run's precision
wherever it is called, in training and in evaluation alike, and its scores are float32. Networks in
float64 stay so: autocast leaves doubles alone. A call that is watched by hooks computes in float32, so
that who looks inside (features, diagnostics, Fishers, utilities of units) sees float32.

float16 has a small range, so gradients are taken of the loss times a scale, as in Micikevicius et al.
2018 (ICLR, arXiv 1710.03740), section 3.2, with the rule of ``torch.amp.GradScaler``. The scale is part
of a strategy's state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from clbench.errors import UsageError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
START = 2.0**16
"""The scale at the start; this and the next three are the defaults of ``torch.amp.GradScaler``."""
GROWTH, BACKOFF = 2.0, 0.5
INTERVAL = 2000
"""Finite gradients in a row after which the scale grows."""


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that a device does not have.

    Raises:
        UsageError: naming both.
    """
    if precision == "float32":
        return
    lacks = not torch.amp.is_autocast_available(device.type)
    if device.type == "cuda" and precision == "bf16":
        lacks = lacks or not torch.cuda.is_bf16_supported()
    if lacks:
        raise UsageError(
            f"precision={precision}: torch {torch.__version__} cannot compute in it on "
            f"{device.type}; set precision=float32"
        )


def cast(network: nn.Module, precision: str) -> nn.Module:
    """Let a network compute in a precision from now on, in place; copies of it do as well.

    The names of its parameters stay. Only its class changes, to one that differs in ``forward``.
    """
    if precision != "float32":
        network.__class__ = _casting(type(network), precision)  # type: ignore[arg-type]
    return network


def precision_of(module: nn.Module) -> str:
    """The precision of the first network inside that has one; ``float32`` if none has."""
    found = (getattr(part, "precision_of_calls", None) for part in module.modules())
    return next((str(name) for name in found if name is not None), "float32")


def as_scores(x: Tensor) -> Tensor:
    """Bring what a network computed in half precision to float32; leave other dtypes."""
    return x.float() if x.dtype in DTYPES.values() else x


@contextmanager
def in_float32(network: nn.Module) -> Iterator[None]:
    """Let a network compute in float32 inside, say for a Fisher, which sums small squares."""
    casting = [part for part in network.modules() if hasattr(part, "precision_of_calls")]
    for part in casting:
        part.is_exact = True  # type: ignore[assignment]
    try:
        yield
    finally:
        for part in casting:
            part.is_exact = False  # type: ignore[assignment]


def _is_watched(network: nn.Module) -> bool:
    """Whether hooks look at what is inside, which then is as it was without a precision."""
    return any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@cache
def _casting(base: type[nn.Module], precision: str) -> type[nn.Module]:
    """A subclass of a network's class that computes in a precision and returns float32."""

    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.is_exact or (not torch.compiler.is_compiling() and _is_watched(self)):
            return base.forward(self, x, *args, **kwargs)
        with torch.autocast(x.device.type, DTYPES[precision]):
            scores = base.forward(self, x, *args, **kwargs)
        return as_scores(scores)

    body = {
        "forward": forward,
        "precision_of_calls": precision,
        "is_exact": False,
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    return type(base.__name__, (base,), body)


class LossScale(nn.Module):
    """The factor that keeps float16 gradients in range; two 0-d buffers, and no wait for the device.

    It grows twofold after 2,000 finite gradients in a row and halves after each that is not. Such a
    gradient counts as 0. ``GradScaler`` skips the optimizer's step instead, for which the host would
    have to wait: here momentum and weight decay still act.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(START))
        self.register_buffer("finite", torch.tensor(0))
        self.scale: Tensor
        """0-d float32"""
        self.finite: Tensor
        """0-d int64: finite gradients since the scale last changed."""

    def gradient(self, loss: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the gradient ``(P,)`` of a 0-d loss, 0 if it is not finite, and set the next scale.

        Args:
            loss: 0-d.
            of: takes the gradient, ``(P,)``, of the scaled loss.
        """
        gradient = of(loss * self.scale)
        is_finite = gradient.isfinite().all()
        gradient = torch.where(is_finite, gradient / self.scale, 0)
        finite = self.finite + 1
        grows = finite >= INTERVAL
        grown = torch.where(grows, self.scale * GROWTH, self.scale)
        self.scale.copy_(torch.where(is_finite, grown, self.scale * BACKOFF))
        self.finite.copy_(torch.where(is_finite & ~grows, finite, 0))
        return gradient


def loss_scale(network: nn.Module) -> LossScale | None:
    """What scales the losses of a network; None where it does not compute in float16."""
    return LossScale() if precision_of(network) == "fp16" else None


def refuse_unused(strategy: nn.Module, precision: str, name: str) -> None:
    """Refuse a precision where nothing computes in it, or where gradients would underflow.

    Args:
        strategy: as it was built.
        precision: as it was asked for.
        name: of the strategy.

    Raises:
        UsageError: naming the strategy.
    """
    if precision_of(strategy) != precision:
        raise UsageError(
            f"precision={precision}: strategy {name!r} learns with no network of model=; drop "
            "precision="
        )
    if precision == "fp16" and not any(isinstance(m, LossScale) for m in strategy.modules()):
        raise UsageError(
            f"precision=fp16: strategy {name!r} does not train by the common loop, which scales the "
            "loss; set precision=bf16"
        )
