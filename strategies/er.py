"""Experience replay: every step learns from new samples and from stored ones alike.

Chaudhry et al. 2019, "On Tiny Episodic Memories in Continual Learning" (arXiv 1902.10486): the loss
is the mean cross-entropy of the joined batch,

    L = 1/(b + r) (sum over b new samples + sum over r replayed samples) of CE(f(x), y).

Deviations: each distinct sample is stored once, admitted as ``clbench.replay`` says, and drawn with
replacement. ``policy=task_balanced`` goes on admitting where
tasks outnumber slots: then it holds one sample each of a uniform sample of tasks.
"""

from __future__ import annotations

from clbench import ReplayStrategy


class ER(ReplayStrategy):
    """Replay from a memory under one of five admission policies."""
