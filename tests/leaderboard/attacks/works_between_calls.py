"""Works in a thread, outside torch, while no call is made."""

import threading
import time

import numpy as np

from clbench.strategy import GradientStrategy

CAUGHT_BY = "no FLOPs rank"
IS_SHOWN = True
SECONDS = 2.0


def work():
    large = np.ones((700, 700))
    while time.thread_time() < SECONDS:
        large = large @ large / 700


class Threaded(GradientStrategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        threading.Thread(target=work, daemon=True).start()
