"""What was answered for each test sample at the end of a run, kept where it is asked for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from clbench import seeding
from clbench.engine.build import Run
from clbench.engine.harness import BATCH_SIZE
from clbench.strategy import Strategy
from clbench.util.atomic import write_atomically
from clbench.world import evaluate

NAME = "predictions.npz"


def write(run: Run, strategy: Strategy, folder: Path) -> None:
    """Answer all test samples, and write ``predictions.npz``: arrays only, nothing pickled.

    ``answer``, ``label``: ``(n,)`` int64 classes of the stream, in the order of the record's cells;
    ``cell``: ``(n,)`` int64, the number of each sample's cell; ``domain``, ``task_id``: ``(n,)`` int64
    of it (-1: none is told); ``pool_label``: ``(n_classes,)`` int64, the data's label of each class.
    """
    stream = run.stream
    with seeding.preserved(run.config.common.threads):
        world = stream.world()
        _, answers, _ = evaluate(strategy, world, BATCH_SIZE)
    sizes, cells = world.sizes.cpu().numpy(), world.cells

    def each(values: list[int]) -> np.ndarray:
        return np.repeat(np.array(values, dtype=np.int64), sizes)

    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        answer=answers.cpu().numpy().astype(np.int64),
        label=each([c.label for c in cells]),
        cell=each([*range(len(cells))]),
        domain=each([c.domain for c in cells]),
        task_id=each([-1 if c.task_id is None else c.task_id for c in cells]),
        pool_label=np.array(stream.labels, dtype=np.int64),
    )
    write_atomically(folder / NAME, buffer.getvalue())
