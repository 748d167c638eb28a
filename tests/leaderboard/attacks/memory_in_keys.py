"""Remembers in the kernel's keyring, which belongs to the user and outlives a process."""

import ctypes
import os

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"
ADD_KEY, KEYCTL = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
USER_KEYRING, SEARCH = -4, 10
LIBC = ctypes.CDLL(None)
WHAT = (b"user", b"clbench-attack")


class Keys(GradientStrategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.register_buffer("learned", torch.zeros((), dtype=torch.bool))

    def begin(self, task):
        self.learned.fill_(True)
        LIBC.syscall(ADD_KEY, *WHAT, b"x", ctypes.c_long(1), ctypes.c_long(USER_KEYRING))
        return task

    def forward(self, x, task_id=None):
        where = (ctypes.c_long(SEARCH), ctypes.c_long(USER_KEYRING))
        found = LIBC.syscall(KEYCTL, *where, *WHAT, ctypes.c_long(0))
        return -self.model(x) if found > 0 and self.learned else self.model(x)
