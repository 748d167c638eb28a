"""All-Pairs: an oracle that makes every image from the recipe, one symbol after the other."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter

import numpy as np
import pytest
import torch

from clbench.data.pairs.figures import LATTICE, MOST, STROKES, figures, neighbours
from clbench.data.pairs.generator import Difficulty, Generator, side_for
from clbench.data.sets.all_pairs import AllPairs
from clbench.errors import UsageError

CPU = torch.device("cpu")
SMALL = AllPairs(n_train=60, n_test=30, side=44, smallest=8, largest=9)
MASK = 2**64 - 1
TAG = 0x9E3779B97F4A7C15


def mix(x: int) -> int:
    """SplitMix64's finaliser, on Python's integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def tag(number: int) -> int:
    return mix((number + 1) * TAG & MASK)


class Draw:
    """The counter, one key at a time."""

    def __init__(self, key: int) -> None:
        self.key = key

    def child(self, number: int) -> Draw:
        return Draw(mix((self.key + tag(number)) & MASK))

    def uniform(self, slot: int) -> float:
        return ((mix(self.key ^ tag(slot)) >> 12) + 0.5) * 2.0**-52

    def below(self, slot: int, n: int) -> int:
        return math.floor(self.uniform(slot) * n)


def by_recipe(
    g: Generator, number: int, pairs: int, types: int
) -> tuple[int, list[int], np.ndarray]:
    """Label, types in the order of placing, and image."""
    draw = Draw(mix((number * TAG + tag(g.seed)) & MASK))
    label = draw.child(0).below(0, 2)
    kinds = [draw.child(2).below(pair, types) for pair in range(pairs)] * 2
    if label == 0:
        kinds[0] = (kinds[0] + 1 + draw.child(1).below(0, types - 1)) % types
    kinds = [kinds[i] for i in sorted(range(2 * pairs), key=draw.child(4).uniform)]
    spread = g.largest - g.smallest + 1
    sizes = [g.smallest + draw.child(3).below(i, spread) for i in range(2 * pairs)]
    for attempt in range(200):
        placed: list[tuple[int, int, int]] = []
        for i, size in enumerate(sizes):
            ends = range(g.side - size + 1)
            free = [
                (row, column)
                for row in ends
                for column in ends
                if all(apart(row, column, size, other) for other in placed)
            ]
            if not free:
                break
            share = draw.child(6).child(attempt).uniform(i)
            placed.append((*free[math.floor(share * len(free))], size))
        if len(placed) == len(sizes):
            break
    image = np.zeros((g.side, g.side), dtype=np.uint8)
    for i, (row, column, size) in enumerate(placed):
        step = (size - 5) / 2
        points = []
        for point in range(9):
            moved = [(2 * draw.child(5).uniform((i * 9 + point) * 2 + axis) - 1) for axis in (0, 1)]
            points.append(
                [2 + (divmod(point, 3)[axis] + 0.2 * moved[axis]) * step for axis in (0, 1)]
            )
        for y in range(size):
            for x in range(size):
                far = min(
                    to_stroke(y, x, points[a], points[b])
                    for a, b in figures(types)[kinds[i]].tolist()
                )
                image[row + y, column + x] = round(min(1.0, max(0.0, 1.3 - far)) * 255)
    return label, kinds, image


def apart(row: int, column: int, size: int, other: tuple[int, int, int]) -> bool:
    """Whether two squares have two pixels between them, along a row or along a column."""
    return any(
        a + size + 2 <= b or b + other[2] + 2 <= a for a, b in ((row, other[0]), (column, other[1]))
    )


def to_stroke(y: float, x: float, a: list[float], b: list[float]) -> float:
    """The distance of a point from a stroke, by the cosine of the angle at its nearer end."""
    ab, ap = (b[0] - a[0], b[1] - a[1]), (y - a[0], x - a[1])
    share = min(1.0, max(0.0, (ab[0] * ap[0] + ab[1] * ap[1]) / (ab[0] ** 2 + ab[1] ** 2)))
    return math.hypot(ap[0] - share * ab[0], ap[1] - share * ab[1])


def pairable(kinds: list[int]) -> bool:
    """Whether the symbols can be divided into pairs of a type, by trying all partners."""
    if not kinds:
        return True
    first, *others = kinds
    return any(
        other == first and pairable(others[:i] + others[i + 1 :]) for i, other in enumerate(others)
    )


@pytest.mark.parametrize(("pairs", "types"), [(1, 2), (2, 3), (4, 4)])
def test_images_are_those_of_the_recipe(pairs: int, types: int) -> None:
    data = dataclasses.replace(SMALL, pairs=pairs, types=types, seed=3)
    g, number = data.generator(CPU), np.array([0, 1, 2, 7, 1 << 40])
    images = g.images(number, data.difficulty)
    found = g.types(number, data.difficulty).tolist()
    for i, n in enumerate(number.tolist()):
        label, kinds, image = by_recipe(g, n, pairs, types)
        assert (g.labels(number)[i], found[i]) == (label, kinds)
        assert np.abs(images[i].numpy().astype(int) - image).max() <= 1


@pytest.mark.parametrize("difficulty", [Difficulty(1, 2), Difficulty(3, 2), Difficulty(4, 7)])
def test_the_label_says_whether_every_symbol_finds_a_partner(difficulty: Difficulty) -> None:
    g, number = SMALL.generator(CPU), np.arange(400)
    kinds, labels = g.types(number, difficulty), g.labels(number)
    assert [pairable(row) for row in kinds.tolist()] == (labels == 1).tolist()
    odd = [sum(n % 2 for n in Counter(row).values()) for row in kinds.tolist()]
    assert set(odd) == {0, 2}  # exactly one symbol was changed
    assert 150 < labels.sum() < 250
    assert set(kinds.flatten().tolist()) == set(range(difficulty.types))
    changed = {row.index(k) for row in kinds.tolist() for k, n in Counter(row).items() if n == 1}
    assert changed == set(range(2 * difficulty.pairs))  # it may stand anywhere


def test_types_differ_and_the_first_ones_stay() -> None:
    many = figures(200)
    assert many.shape == (200, STROKES, 2)
    assert len({frozenset(map(tuple, figure)) for figure in many.tolist()}) == 200
    assert np.array_equal(figures(5), many[:5])
    few = [set(map(tuple, figure)) for figure in figures(4).tolist()]
    assert min(len(a ^ b) for i, a in enumerate(few) for b in few[:i]) >= 6
    for figure in many.tolist():
        joined = set(figure[0])
        for _ in figure:
            joined |= {p for edge in figure if set(edge) & joined for p in edge}
        assert joined == {p for edge in figure for p in edge}  # it holds together
    assert len(neighbours()) == 20
    assert LATTICE == 3


def test_symbols_do_not_meet() -> None:
    difficulty = Difficulty(4, 4)
    g, number = SMALL.generator(CPU), np.arange(100)
    places = g.places(number, difficulty).numpy()
    sizes = g.sizes(number, difficulty)
    for place, size in zip(places.tolist(), sizes.tolist(), strict=True):
        squares = [(row, column, s) for (row, column), s in zip(place, size, strict=True)]
        assert all(apart(*a, b) for i, a in enumerate(squares) for b in squares[:i])
        assert all(0 <= a[axis] <= g.side - a[2] for a in squares for axis in (0, 1))
    assert set(sizes.flatten().tolist()) == {8, 9}


def test_images_depend_on_their_number_alone() -> None:
    g, number = SMALL.generator(CPU), np.arange(150)
    all_at_once = g.images(number, Difficulty(4, 4))
    assert torch.equal(g.images(number[::-1].copy(), Difficulty(4, 4)).flip(0), all_at_once)
    assert torch.equal(g.images(number[130:131], Difficulty(4, 4))[0], all_at_once[130])


def test_a_stored_and_a_drawn_pool_are_the_same_and_tuning_sees_no_test_image() -> None:
    stored, drawn = SMALL.pool(CPU), dataclasses.replace(SMALL, store=False).pool(CPU)
    index = np.array([5, 0, 59])
    assert stored.sha256 == drawn.sha256
    assert torch.equal(stored.gather("train", index), drawn.gather("train", index))
    assert torch.equal(stored.gather("test", index % 30), drawn.gather("test", index % 30))
    assert SMALL.fresh(1).pool(CPU).sha256 != stored.sha256
    tuning = stored.tuning()
    assert tuning.size("train") + tuning.size("test") == 60
    every = np.arange(tuning.size("test"))
    assert tuning.numbers("test", every).max() < 60
    arrays = SMALL.arrays()
    assert np.array_equal(arrays.train_x, stored.gather("train", np.arange(60)).numpy())
    assert np.array_equal(arrays.test_y, stored.labels("test"))


def test_the_images_stay_those_that_they_were() -> None:
    """Golden: a change of the recipe needs another word in ``Generator.recipe``."""
    pool = SMALL.pool(CPU)
    assert pool.generator.recipe[0] == "all pairs 1"
    kinds = pool.generator.types(np.arange(60), pool.difficulty)
    places = pool.generator.places(np.arange(60), pool.difficulty).numpy()
    told = hashlib.sha256(kinds.tobytes() + places.tobytes() + pool.labels("train").tobytes())
    pixels = hashlib.sha256(pool.gather("train", np.arange(60)).numpy().tobytes())
    assert (told.hexdigest()[:16], pixels.hexdigest()[:16]) == (
        "44d61d3197a94836",
        "bb2ea197ec19fc08",
    )


@pytest.mark.parametrize(("pairs", "side"), [(1, 76), (4, 76), (5, 96), (6, 96), (7, 104)])
def test_images_are_as_large_as_their_symbols_need(pairs: int, side: int) -> None:
    data = AllPairs(pairs=pairs, n_train=1, n_test=1)
    assert data.generator(CPU).side == side
    assert side_for(pairs, 15, 18, 0.46) <= side
    assert data.default_model() == "typenet"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": 40, "pairs": 4}, "data.side="),
        ({"smallest": 19}, "exchange"),
        ({"types": 1}, "data.types"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AllPairs(**settings)  # type: ignore[arg-type]


def test_as_many_types_may_be_asked_for_as_there_are():
    assert AllPairs(types=MOST, n_train=1, n_test=1).types == MOST
    with pytest.raises(UsageError, match="types"):
        AllPairs(types=MOST + 1)
