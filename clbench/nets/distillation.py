"""Terms that keep a network near its older self."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def copy_into(teacher: nn.Module, model: nn.Module) -> None:
    """Give a network of the same kind the parameters and buffers of ``model``; set it to eval mode."""
    teacher.eval()
    now = model.state_dict()
    for name, value in teacher.state_dict().items():
        value.copy_(now[name])


def soft_cross_entropy(
    scores: Tensor, taught: Tensor, classes: Tensor, temperature: float
) -> Tensor:
    """Compute ``-sum_c q_c log p_c`` over the given classes, the mean over samples, 0-d.

    q and p are softmaxes of the teacher's and the learner's scores over those classes, divided by the
    temperature (Hinton et al. 2015, arXiv 1503.02531). There is no factor of the squared temperature.

    Args:
        scores: ``(B, C)`` of the learner.
        taught: ``(B, C)`` of the teacher.
        classes: ``(C,)`` bool with at least one class.
        temperature: above 0.
    """
    others = ~classes
    log_p = (scores / temperature).masked_fill(others, -torch.inf).log_softmax(1)
    q = (taught / temperature).masked_fill(others, -torch.inf).softmax(1)
    return -(q * log_p.masked_fill(others, 0.0)).sum(1).mean()
