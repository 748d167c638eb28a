"""Experience replay: every step trains on new samples together with stored ones.

Chaudhry et al. 2019, "On Tiny Episodic Memories in Continual Learning" (arXiv 1902.10486): the loss
is the mean cross-entropy of the joined batch,

    L = 1/(b + r) (sum over b new samples + sum over r replayed samples) of CE(f(x), y).

Deviations: each distinct sample is stored once, is admitted as ``clbench.replay`` explains, and is
drawn with replacement. ``policy=task_balanced`` still admits samples when there are more tasks than
slots. It then holds one sample of each task of a uniform sample of tasks.
"""

from __future__ import annotations

from clbench import ReplayStrategy


class ER(ReplayStrategy):
    """Replays from a memory with one of several admission policies."""
