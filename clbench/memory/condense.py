"""Dataset condensation: synthetic samples whose gradients are those of real ones.

Zhao, Mopuri, Bilen 2021, "Dataset Condensation with Gradient Matching" (ICLR, arXiv 2006.05929, DC)
and Lee, Chun, Jung, Yun, Yoon 2022, "Dataset Condensation with Contrastive Signals" (ICML, arXiv
2202.02916, DCC). With L_c(X) the mean cross-entropy of the samples of class c in X, the synthetic
samples S of the real ones T minimise

    DC:   sum_c D(grad L_c(S), grad L_c(T)),
    DCC:  D(sum_c grad L_c(S), sum_c grad L_c(T)),

over networks in training: each starts from fresh weights, and after every step of S it is itself
trained on S. D is the sum, over the rows of all weight matrices (or filters), of 1 - cosine; vectors
such as biases are left out, as in the authors' code (from memory, not checked). Deviations: batch
normalisation uses the statistics of each side's own batch, where DC fixes those of real ones first;
the bi-level warm-up of DCC is left out, since its text was not at hand; numbers of steps are smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Matching = Literal["dcc", "dc"]
Draw = Callable[[Tensor], Tensor]
"""``(m,)`` classes to raw real samples of these classes, ``(m, *input_shape)``."""


@dataclass(frozen=True)
class Effort:
    """How long to condense. A step takes about six passes over the samples that it compares."""

    networks: int
    steps: int
    """Updates of the samples for each network."""
    network_steps: int
    """Updates of the network after each update of the samples."""
    real: int
    """Real samples of each class at every step."""
    lr: float
    """Of the samples, in the unit range (SGD with momentum 0.5)."""
    network_lr: float
    """Of the networks (SGD with momentum 0.5)."""


MOMENTUM = 0.5


def gradients(
    model: nn.Module, x: Tensor, y: Tensor, weight: Tensor, create_graph: bool = False
) -> list[Tensor]:
    """Gradients by all trainable parameters of the weighted sum of cross-entropies.

    Args:
        model: the network.
        x: ``(n, *input_shape)`` raw samples, as floats.
        y: ``(n,)`` classes.
        weight: ``(n,)``.
        create_graph: whether they have gradients themselves.
    """
    loss = (F.cross_entropy(model(x), y, reduction="none") * weight).sum()
    parameters = [p for p in model.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, parameters, create_graph=create_graph))


def distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """D, 0-d: the sum over layers and over their output units of 1 - cosine."""
    found = [
        (1 - F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1, eps=1e-12)).sum()
        for a, b in zip(ours, theirs, strict=True)
        if a.dim() > 1
    ]
    return torch.stack(found).sum()


def _class_means(y: Tensor, n_classes: int) -> Tensor:
    """``(n,)``: 1 / (samples of the same class)."""
    return 1 / torch.bincount(y, minlength=n_classes)[y]


def matching_loss(
    model: nn.Module,
    ours: tuple[Tensor, Tensor],
    theirs: tuple[Tensor, Tensor],
    n_classes: int,
    matching: Matching,
) -> Tensor:
    """Compute the loss that the synthetic samples minimise, 0-d, with a gradient by them.

    Args:
        model: the network.
        ours: synthetic raw samples, as floats ``(n, *input_shape)``, and their classes ``(n,)``.
        theirs: real ones, of the same classes.
        n_classes: of the stream.
        matching: ``dcc`` or ``dc``.
    """
    (x, y), (real, real_y) = ours, theirs
    weight, real_weight = _class_means(y, n_classes), _class_means(real_y, n_classes)
    if matching == "dcc":
        wanted = gradients(model, real, real_y, real_weight)
        return distance(gradients(model, x, y, weight, create_graph=True), wanted)
    found = []
    for label in y.unique().tolist():
        own, their = (y == label).nonzero()[:, 0], (real_y == label).nonzero()[:, 0]
        wanted = gradients(model, real[their], real_y[their], real_weight[their])
        got = gradients(model, x[own], y[own], weight[own], create_graph=True)
        found.append(distance(got, wanted))
    return torch.stack(found).sum()


def condense(
    unit: Tensor,
    y: Tensor,
    draw: Draw,
    fresh: Callable[[], nn.Module],
    effort: Effort,
    *,
    scale: float,
    n_classes: int,
    matching: Matching,
    bounded: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Condense real samples into synthetic ones.

    Args:
        unit: ``(n, *input_shape)`` samples to start from, in floats, raw values times ``scale``.
        y: ``(n,)`` their classes.
        draw: gives real samples.
        fresh: makes a network with fresh weights.
        effort: how long.
        scale: of raw values.
        n_classes: of the stream.
        matching: ``dcc`` or ``dc``.
        bounded: whether samples stay in [0, 1], as images do.

    Returns:
        The synthetic samples like ``unit``, and the matching losses of all steps, 0-d each.
    """
    x = unit.detach().clone().requires_grad_()
    images = torch.optim.SGD([x], lr=effort.lr, momentum=MOMENTUM)
    classes = y.unique()
    real_y = classes.repeat_interleave(effort.real)
    losses = []
    for _ in range(effort.networks):
        model = fresh()
        own = torch.optim.SGD(model.parameters(), lr=effort.network_lr, momentum=MOMENTUM)
        for _ in range(effort.steps):
            real = draw(real_y).to(x.dtype)
            loss = matching_loss(model, (x / scale, y), (real, real_y), n_classes, matching)
            [x.grad] = torch.autograd.grad(loss, [x])
            images.step()
            if bounded:
                with torch.no_grad():
                    x.clamp_(0, 1)
            losses.append(loss.detach())
            for _ in range(effort.network_steps):
                own.zero_grad()
                F.cross_entropy(model(x.detach() / scale), y).backward()
                own.step()
    return x.detach(), losses
