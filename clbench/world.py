"""The test samples that a stream is evaluated on, in disjoint cells that are predicted in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from clbench import seeding
from clbench.data.pool import Pool
from clbench.data.rows import Held, cut, held_by
from clbench.data.transforms import Transform
from clbench.nets.modes import switch
from clbench.results.factors import Factors, bracketed
from clbench.seeding import Axis


class Cell(NamedTuple):
    """The smallest unit that is scored: every test sample of one class, in one domain."""

    label: int
    domain: int = 0
    task_id: int | None = None
    """The task to whose classes predictions are restricted; None if the scenario gives no task ids."""

    @property
    def name(self) -> str:
        """``class_3``, ``class_3/domain_1`` or ``class_3/task_1``, as in ``Record.frame``."""
        parts = [f"class_{self.label}"]
        parts += [f"domain_{self.domain}"] if self.domain else []
        parts += [f"task_{self.task_id}"] if self.task_id is not None else []
        return "/".join(parts)


@dataclass(frozen=True)
class World:
    """The samples of all cells in one random order, so that a batch does not reveal its labels."""

    cells: tuple[Cell, ...]
    sizes: Tensor
    """``(n_cells,)`` int64: test samples of each cell."""
    if TYPE_CHECKING:
        x: Tensor
    else:
        x: Tensor = Held()
    """``(n, *input_shape)``; gathered when it is read, where the samples are in a file."""
    y: Tensor
    """``(n,)`` int64"""
    cell: Tensor
    """``(n,)`` int64: the cell of each sample."""
    position: Tensor
    """``(n,)`` int64: the position of each sample in canonical order, cell by cell."""
    task_id: Tensor | None
    """``(n,)`` int64; None if the scenario gives no task ids."""
    allowed: Tensor | None
    """``(n_tasks, n_classes)`` bool: the classes that may be predicted under each task id."""
    factors: Factors | None = None
    """The factors that generated the samples; None if they are unknown."""


def build_world(
    pool: Pool,
    cells: tuple[Cell, ...],
    labels: tuple[int, ...],
    n_classes: int,
    transform: Transform | None,
    seed: int,
) -> World:
    """Gather the test samples of every cell, in one random order.

    Args:
        pool: holds the samples.
        cells: the cells to gather, those of a domain one after another.
        labels: ``(n_cells,)``: the label that the pool gives to each cell's class.
        n_classes: the number of classes that the learner predicts.
        transform: turns raw samples into those of a domain; None if samples stay raw.
        seed: of the run; seeds the order and the noise of random transforms.
    """
    of = pool.labels("test")
    members = {label: np.flatnonzero(of == label) for label in set(labels)}
    index = [members[label] for label in labels]
    sizes = np.array([len(i) for i in index])
    xs: list[Tensor] = []
    known: list[Mapping[str, np.ndarray]] = []
    for domain in dict.fromkeys(cell.domain for cell in cells):
        here = [i for i, cell in zip(index, cells, strict=True) if cell.domain == domain]
        samples = np.concatenate(here)
        if transform is None:
            if pool.rows("test", samples[:0]) is None:
                xs.append(pool.gather("test", samples))
            known.append(pool.factors("test", samples))
            continue
        noise = seeding.torch_generator(seed, Axis.EVALUATE, 1, domain)
        known.append(transform.factors(pool, "test", samples, domain))
        change = partial(transform.bound("test", samples), domain=domain, generator=noise)
        xs.append(pool.changed("test", samples, change))
    # Cells of one domain are adjacent in canonical order, so the parts can be concatenated.
    order = np.argsort([cell.domain for cell in cells], kind="stable")
    if (np.diff(order) != 1).any():
        raise ValueError("cells must be ordered by domain")
    canonical = np.repeat(np.arange(len(cells)), sizes)
    mix = seeding.generator(seed, Axis.EVALUATE, 0).permutation(len(canonical))
    cell = canonical[mix]
    rows = pool.rows("test", np.concatenate(index)[mix]) if transform is None else None
    device = pool.device
    truth = np.array([c.label for c in cells])[canonical]
    values = {name: np.concatenate([part[name] for part in known]) for name in known[0]}

    def put(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, device=device)

    task_id = allowed = None
    if cells[0].task_id is not None:
        tasks = np.array([c.task_id for c in cells])
        allowed_np = np.zeros((tasks.max() + 1, n_classes), dtype=bool)
        allowed_np[tasks, [c.label for c in cells]] = True
        task_id, allowed = put(tasks[cell]), put(allowed_np)
    return World(
        cells=cells,
        sizes=put(sizes),
        x=torch.cat(xs).index_select(0, put(mix)) if rows is None else cast(Tensor, rows),
        y=put(truth[mix]),
        cell=put(cell),
        position=put(mix),
        task_id=task_id,
        allowed=allowed,
        factors=bracketed(values, put(truth)),
    )


@torch.inference_mode()
def evaluate(
    strategy: torch.nn.Module, world: World, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Predict every sample once, in evaluation mode; the strategy is left in the mode it was in.

    Args:
        strategy: maps ``(B, *input_shape)`` and ``(B,)`` task ids or None to ``(B, n_classes)`` scores.
        world: the samples, whose random order mixes the cells in each batch.
        batch_size: samples of a batch; the last batch may be smaller.

    Returns:
        ``(n_cells,)`` int64: correct predictions in each cell; ``(n,)`` int64: predicted classes, cell
        by cell; 0-d bool: whether no score was NaN or plus infinity (minus infinity excludes a class).
    """
    predictions = torch.empty_like(world.y)
    sane = torch.ones((), dtype=torch.bool, device=world.y.device)
    was_training = strategy.training
    switch(strategy, False)
    for number, x in enumerate(cut(held_by(world), batch_size)):
        part = slice(number * batch_size, number * batch_size + len(x))
        task_id = None if world.task_id is None else world.task_id[part]
        scores = strategy(x, task_id)
        sane &= (scores < torch.inf).all()
        if task_id is not None and world.allowed is not None:
            scores = scores.masked_fill(~world.allowed[task_id], -torch.inf)
        predictions[part] = scores.argmax(1)
    switch(strategy, was_training)
    correct = torch.zeros_like(world.sizes)
    correct.scatter_add_(0, world.cell, (predictions == world.y).long())
    canonical = torch.empty_like(predictions)
    canonical[world.position] = predictions
    return correct, canonical, sane
