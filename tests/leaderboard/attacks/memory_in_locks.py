"""Remembers by holding a lock on a file that everybody may read; predictions ask for it."""

import fcntl
import os

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"
HELD = []


def lock():
    file = os.open(torch.__file__, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        return file
    return file


class Locks(GradientStrategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.register_buffer("learned", torch.zeros((), dtype=torch.bool))

    def begin(self, task):
        self.learned.fill_(True)
        if not HELD:
            HELD.append(lock())
        return task

    def forward(self, x, task_id=None):
        mine = lock()
        if mine is not None:
            os.close(mine)
        return -self.model(x) if mine is None and self.learned else self.model(x)
