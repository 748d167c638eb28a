"""Output masking, which restricts the cross-entropy of a step to some classes, and that loss.

``group`` is the modification of SGD in the code of SCoLe (Lesort et al. 2023, arXiv 2207.04543);
``single`` and ``group_zero`` are older variants (Lesort et al. 2021, "Continual learning in deep
networks: an analysis of the last layer", arXiv 2106.01834). Masks apply to training scores only;
predictions use all classes.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Mask = Literal["none", "single", "group_zero", "group"]


def present(y: Tensor, n_classes: int) -> Tensor:
    """``(n_classes,)`` bool: the classes among labels ``(B,)``; unlabelled samples (-1) name none."""
    seen = torch.zeros(n_classes + 1, dtype=torch.bool, device=y.device)
    seen[y] = True  # -1 is the entry after the last class
    return seen[:-1]


def mask_scores(kind: Mask, scores: Tensor, y: Tensor, classes: Tensor) -> Tensor:
    """Mask scores ``(B, n_classes)`` for the loss.

    With z the scores and C the given classes:

    - ``group``: z_c = -inf for c outside C: the softmax is over C, so the others' rows of the output
      layer get a gradient of exactly zero. (SCoLe fills in -1e9, which gives the same.)
    - ``group_zero``: z_c = 0 for c outside C: no gradient either, but they stay in the softmax's
      denominator and push the present ones up.
    - ``single``: z_c = 0 for all but the sample's own label: nothing pushes other classes down, and
      learning stalls.

    Args:
        kind: one of these, or ``none``.
        scores: ``(B, n_classes)``.
        y: ``(B,)`` int64 labels, for ``single``; -1 where unlabelled.
        classes: ``(n_classes,)`` bool, C, which should hold every label in ``y``. Where it holds
            none (nothing is labelled) ``group`` and ``group_zero`` leave the scores as they are.
    """
    if kind == "none":
        return scores
    if kind == "single":
        own = y[:, None] == torch.arange(scores.shape[1], device=y.device)
        return torch.where(own, scores, 0.0)
    allowed = classes | ~classes.any()
    return scores.masked_fill(~allowed, 0.0 if kind == "group_zero" else -torch.inf)


def cross_entropy(
    scores: Tensor, y: Tensor, weight: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Compute the mean cross-entropy of a batch, 0-d; samples without a label are left out.

    With smoothing s a label is the distribution (1 - s) onehot(y) + s uniform over the classes
    (Szegedy et al. 2016, arXiv 1512.00567, section 7). A class whose score is -inf takes no part in it.

    Args:
        scores: ``(B, n_classes)``.
        y: ``(B,)`` int64; -1 where unlabelled.
        weight: ``(B,)`` weights of the samples' losses, whose mean over all is taken; None: the mean
            over the labelled samples.
        smoothing: s, in [0, 1).
    """
    if not smoothing:
        if weight is None:
            return F.cross_entropy(scores, y, ignore_index=-1)
        losses = F.cross_entropy(scores, y, ignore_index=-1, reduction="none")
        return (losses * weight).mean()
    log_p = F.log_softmax(scores, dim=1)
    is_open = scores > -torch.inf
    spread = log_p.masked_fill(~is_open, 0.0).sum(1) / is_open.sum(1)
    own = F.nll_loss(log_p, y, ignore_index=-1, reduction="none")
    labelled = y >= 0
    losses = ((1 - smoothing) * own - smoothing * spread).masked_fill(~labelled, 0.0)
    if weight is None:
        return losses.sum() / labelled.sum()
    return (losses * weight).mean()


def supervised_contrastive(z: Tensor, y: Tensor, sample: Tensor, temperature: float) -> Tensor:
    """Compute the supervised contrastive loss, 0-d (Khosla et al. 2020, arXiv 2004.11362, eq. 2).

    With z of unit length, P(i) the other rows of i's class and T the temperature, it is the mean of

        -1/|P(i)| sum over p in P(i) of log(exp(z_i.z_p / T) / sum over a != i of exp(z_i.z_a / T)).

    A row without a partner counts as 0.

    Args:
        z: ``(n, d)`` of any length; rows are normalised here.
        y: ``(n,)`` int64 classes; an unlabelled row (-1) has the other views of its sample as partners.
        sample: ``(n,)`` int64: which sample each row is a view of.
        temperature: T.
    """
    z = F.normalize(z, dim=1)
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    log_p = F.log_softmax((z @ z.T / temperature).masked_fill(own, -torch.inf), dim=1)
    same = (y[:, None] == y) & (y >= 0) | (sample[:, None] == sample)
    partner = same & ~own
    found = log_p.masked_fill(~partner, 0.0).sum(1) / partner.sum(1).clamp_min(1)
    return -found.mean()
