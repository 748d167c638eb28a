"""Subgroup shift: how labels are tied to an attribute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from small import go, pool, record_of, run
from test_scenarios import IMAGES, TEN, classes, make

from clbench.configure.config import resolve_point
from clbench.configure.sweep import sweep
from clbench.data.pool import TensorPool
from clbench.errors import UsageError
from clbench.stream import Stream

MANY = pool(n_classes=4, n_train=500, n_test=3, shape=(8, 8))


def attributes(stream: Stream, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Label and attribute of each sample of a task."""
    draw = stream.draw(t)
    assert draw.attribute is not None
    return draw.labels, draw.attribute


@pytest.mark.parametrize("shift", ["none", "rotate"])
@pytest.mark.parametrize(("a", "alignment"), [(2, 0.95), (3, 0.6), (4, 0.25), (3, 0.0)])
def test_subgroup_shift_ties_the_attribute_to_the_label(shift: str, a: int, alignment: float):
    """By label: the tied value as often as said, all others alike, in every task anew."""
    stream = make(
        "subgroup_shift", MANY, n_tasks=3, n_attributes=a, alignment=alignment, shift=shift
    )
    drawn = []
    for t in range(3):
        labels, attribute = attributes(stream, t)
        turn = (attribute - labels - (t if shift == "rotate" else 0)) % a
        drawn.append(attribute[np.argsort(stream.draw(t).index)].tolist())
        wanted = np.array([alignment, *[(1 - alignment) / (a - 1)] * (a - 1)])
        for label in range(4):
            found = np.bincount(turn[labels == label], minlength=a)
            assert (found[wanted == 0] == 0).all()
            some = wanted > 0
            assert stats.chisquare(found[some], 500 * wanted[some]).pvalue > 1e-4
    assert drawn[0] != drawn[1] != drawn[2]


def test_subgroup_shift_of_full_alignment_ties_every_sample():
    stream = make("subgroup_shift", MANY, n_tasks=4, n_attributes=3, alignment=1.0, shift="rotate")
    for t in range(4):
        labels, attribute = attributes(stream, t)
        assert (attribute == (labels + t) % 3).all()


@pytest.mark.parametrize("kind", ["background", "stripes", "patch"])
def test_subgroup_shift_shows_the_attribute_in_training_and_testing(kind: str):
    """Each group holds the same test images, all with its attribute."""
    stream = make("subgroup_shift", IMAGES, n_attributes=3, attribute=kind, strength=0.4)
    none = torch.Generator()
    assert stream.transform is not None
    draw, task = stream.draw(0), stream.experience(0)
    raw = IMAGES.gather("train", draw.index)
    assert draw.attribute is not None
    for x, row, a in zip(task.x, raw, draw.attribute.tolist(), strict=True):
        assert torch.equal(x, stream.transform(row[None], a, none)[0])
    world = stream.world()
    assert stream.groups
    assert [(c.label, c.domain) for c in stream.cells] == [
        (c, a) for a in range(3) for c in range(4)
    ]
    of = IMAGES.labels("test")
    for number, cell in enumerate(stream.cells):
        images = IMAGES.gather("test", np.flatnonzero(of == cell.label))
        wanted = stream.transform(images, cell.domain, none)
        assert sorted(wanted.flatten(1).tolist()) == sorted(
            world.x[world.cell == number].flatten(1).tolist()
        )
    assert stream.view(0) == tuple(range(12))


def test_subgroup_shift_delivers_all_classes_and_its_share():
    stream = make("subgroup_shift", MANY, share=0.1, n_tasks=None)
    assert classes(stream, 3) == [(0, 1, 2, 3)] * 3
    assert {len(stream.experience(t)) for t in (0, 1, 10_000)} == {200}
    assert set(stream.draw(0).index) != set(stream.draw(1).index)


def test_the_worst_group_falls_behind_as_the_tie_tightens():
    """Naive training on real digits: the gap to the average at three alignments (one seed)."""
    [point] = sweep(["scenario=subgroup_shift", "strategy=naive", "data=digits"])
    digits = resolve_point(point).data.pool(torch.device("cpu"))
    gaps = []
    for alignment in (0.5, 0.95, 0.99):
        words = (
            "scenario=subgroup_shift",
            f"scenario.alignment={alignment}",
            "strategy=naive",
            "strategy.lr=0.03",
            "strategy.momentum=0.9",
            "strategy.epochs=20",
            "data=digits",
            "model=mlp",
            "model.hidden=[64]",
        )
        one = run(*words, on=digits)
        found = record_of(one, *go(one))
        average, worst = found.metric("world_accuracy"), found.metric("worst_group_accuracy")
        assert average is not None
        assert worst is not None
        assert average > 0.6
        gaps.append(average - worst)
    assert gaps[0] + 0.1 < gaps[1] < gaps[2], gaps


@pytest.mark.parametrize(
    ("bad", "on"),
    [
        ({"n_tasks": 0}, IMAGES),
        ({"chunk": 0}, IMAGES),
        ({"n_attributes": 1}, IMAGES),
        ({"n_attributes": 5}, IMAGES),
        ({"alignment": 1.1}, IMAGES),
        ({"alignment": -0.1}, IMAGES),
        ({"strength": 0.0}, IMAGES),
        ({"strength": 1.0}, IMAGES),
        ({"strength": 0.001}, IMAGES),
        ({"share": 0.0}, IMAGES),
        ({"share": 1.1}, IMAGES),
        ({}, TEN),
        ({"n_attributes": 33}, pool(n_classes=40, n_train=1, n_test=1, shape=(8, 8))),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_subgroup_shift_refuses(bad: dict[str, object], on: TensorPool):
    with pytest.raises(UsageError) as caught:
        make("subgroup_shift", on, **bad)
    assert "\n" not in str(caught.value)
