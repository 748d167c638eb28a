"""When classes come: what a run notes of its stream beside the counts of right answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from clbench.stream import Draw, Stream


class Exposure:
    """Notes at which experience the class of each cell comes for the first time.

    A cell whose domain (and task, where tasks are told) is complete is not looked at again, so the cost
    of an experience is flat.
    """

    def __init__(self, stream: Stream, first: list[int], experiences: int) -> None:
        """Go on from what was noted; nothing is, of a run that began before anything was.

        Args:
            stream: the stream.
            first: ``(C,)`` experiences learnt by then, -1: not yet; empty before the first one. It is
                changed in place.
            experiences: experiences learnt so far.
        """
        if not first and experiences == 0:
            first += [-1] * len(stream.cells)
        self.first, self.told = first, stream.task_ids
        self.domains = stream.domains
        self.left: dict[tuple[int, int | None], dict[int, int]] = {}
        for number, cell in enumerate(stream.cells if first else ()):
            if first[number] < 0:
                self.left.setdefault((cell.domain, cell.task_id), {})[cell.label] = number

    def note(self, draw: Draw, experiences: int) -> None:
        """Enter what a delivered experience held; ``experiences`` counts it already."""
        domain, task = draw.plan.domain, draw.task if self.told else None
        for d in self.domains if domain is None else (domain,):
            left = self.left.get((d, task))
            if left is None:
                continue
            for label in np.unique(draw.right).tolist():
                number = left.pop(label, None)
                if number is not None:
                    self.first[number] = experiences
            if not left:
                del self.left[d, task]


def described(samples: list[int], first: list[int], n_evaluations: int) -> dict[str, Any] | None:
    """The record's field; None where part of the run was made before it was noted."""
    if len(samples) != n_evaluations or not first:
        return None
    return {"samples": samples, "first": first}
