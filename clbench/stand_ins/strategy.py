"""Trains on each experience as it comes, and does nothing else."""

from __future__ import annotations

from clbench import GradientStrategy


class Plain(GradientStrategy):
    """The training loop alone."""
