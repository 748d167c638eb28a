"""Plain fine-tuning: trains on each experience as it comes; the lower bound.

With SGD on SCoLe streams this is the baseline of Lesort et al. 2023 (CoLLAs, arXiv 2207.04543),
whose accuracy on the whole world rises although every task forgets.
"""

from __future__ import annotations

from clbench import GradientStrategy


class Naive(GradientStrategy):
    """Does nothing against forgetting."""
