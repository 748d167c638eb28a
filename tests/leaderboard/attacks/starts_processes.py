"""Starts a process, whose CPU time and memory would be nobody's."""

import os

from clbench.strategy import GradientStrategy

CAUGHT_BY = "raised"


class Forking(GradientStrategy):
    def begin(self, task):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return task
