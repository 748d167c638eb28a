"""Draws All-Pairs: what image i shows is a pure function of (seed, i) and of the difficulty.

The recipe. Of P pairs and S types, P types are drawn with replacement, and each is there twice. The
label is 1 where it stays so. Where it is 0, the first symbol becomes one of the other S - 1 types, all
equally likely, so that two types are there an odd number of times. Symbols are placed one by one, in
a drawn order. Each is a square of ``smallest`` to ``largest`` pixels, and its place is uniform among
those that leave ``MARGIN`` pixels to the squares before it. An image in which a symbol has no place
left is placed anew. A symbol is its type's figure (``figures``) with every point of its lattice moved.

Random numbers come from a counter on the host (``clbench.data.synbols.counter``). Placing and drawing
are batched tensor operations on whatever device the generator has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clbench.data.pairs.figures import LATTICE, MOST, figures
from clbench.data.synbols.counter import Draws
from clbench.errors import UsageError

MARGIN = 2
"""Pixels between symbols, at least."""
INSET = 2.0
"""Pixels between the edge of a symbol's square and its lattice."""
MOVED = 0.2
"""The most that a point of the lattice is moved along an axis, in distances between points."""
REACH = 1.3
"""Distance in pixels from a stroke's middle at which its intensity ends; it is 1 up to 0.3."""
FULL = 0.5
"""The most of an image that squares with their margin may cover. Random placing jams at 0.56."""
ATTEMPTS = 200
CHUNK = 128
"""Images drawn at one time."""
LABEL, CHANGE, TYPES, SIZE, ORDER, POINTS, PLACE = range(7)
"""Numbers of the children of a sample's draws."""


@dataclass(frozen=True)
class Difficulty:
    """How many pairs of symbols there are, of how many types; written ``4-4``."""

    pairs: int
    types: int

    def __str__(self) -> str:
        return f"{self.pairs}-{self.types}"

    @classmethod
    def parse(cls, text: str, setting: str) -> Difficulty:
        """Read ``4-4``.

        Raises:
            UsageError: it is no two numbers in range. ``setting`` is where it was written.
        """
        pairs, _, types = text.strip().partition("-")
        if (
            not (pairs.isdigit() and types.isdigit())
            or int(pairs) < 1
            or not 2 <= int(types) <= MOST
        ):
            raise UsageError(
                f"{setting}: {text!r} is no difficulty; write pairs-types, such as 4-4, with at "
                f"least 1 pair and 2 to {MOST} types"
            )
        return cls(int(pairs), int(types))


@dataclass(frozen=True)
class Generator:
    """Draws images of one size at any difficulty that fits."""

    seed: int
    side: int
    smallest: int
    largest: int
    device: torch.device

    @property
    def recipe(self) -> list[object]:
        """What the images of a number depend on, beside the difficulty."""
        return ["all pairs 1", self.seed, self.side, self.smallest, self.largest]

    def check(self, difficulty: Difficulty, setting: str) -> None:
        """Refuse a difficulty whose symbols do not fit.

        Raises:
            UsageError: they would cover too much of the image.
        """
        needed = side_for(difficulty.pairs, self.smallest, self.largest, FULL)
        if needed > self.side:
            raise UsageError(
                f"{setting}: {2 * difficulty.pairs} symbols of {self.smallest} to {self.largest} "
                f"pixels do not fit {self.side}x{self.side}; set data.side={needed} or more, or "
                "smaller symbols (data.smallest, data.largest)"
            )

    def labels(self, number: np.ndarray) -> np.ndarray:
        """``(n,)`` int64: 1 where every symbol has a partner. The difficulty does not matter."""
        return Draws.of(self.seed, number).child(LABEL).below(0, 2)

    def types(self, number: np.ndarray, difficulty: Difficulty) -> np.ndarray:
        """``(n, 2 P)`` int64: the type of each symbol, in the order of placing."""
        draws, pairs = Draws.of(self.seed, number), difficulty.pairs
        of_types = draws.child(TYPES)
        drawn = [of_types.below(pair, difficulty.types) for pair in range(pairs)]
        both = np.stack(drawn * 2, 1)
        other = 1 + draws.child(CHANGE).below(0, difficulty.types - 1)
        other[self.labels(number) == 1] = 0
        both[:, 0] = (both[:, 0] + other) % difficulty.types
        order = draws.child(ORDER)
        ranks = np.stack([order.uniform(at) for at in range(2 * pairs)], 1)
        return np.take_along_axis(both, ranks.argsort(1, kind="stable"), 1)

    def sizes(self, number: np.ndarray, difficulty: Difficulty) -> np.ndarray:
        """``(n, 2 P)`` int64: the side of each symbol's square, in pixels."""
        draws = Draws.of(self.seed, number).child(SIZE)
        spread = self.largest - self.smallest + 1
        drawn = [draws.below(at, spread) for at in range(2 * difficulty.pairs)]
        return self.smallest + np.stack(drawn, 1)

    def images(self, number: np.ndarray, difficulty: Difficulty) -> Tensor:
        """``(n, side, side)`` uint8 on the device: images of these numbers."""
        out = torch.zeros(len(number), self.side, self.side, dtype=torch.uint8, device=self.device)
        for start in range(0, len(number), CHUNK):
            part = np.asarray(number)[start : start + CHUNK]
            places = self.places(part, difficulty)
            out[start : start + CHUNK] = self._drawn(part, difficulty, places)
        return out

    def places(self, number: np.ndarray, difficulty: Difficulty) -> Tensor:
        """``(n, 2 P, 2)`` int64: row and column of the first pixel of each symbol's square.

        Raises:
            UsageError: an image has no place for all in ``ATTEMPTS`` tries.
        """
        size = torch.as_tensor(self.sizes(number, difficulty), device=self.device)
        found = torch.zeros(*size.shape, 2, dtype=torch.int64, device=self.device)
        left = np.arange(len(number))
        for attempt in range(ATTEMPTS):
            rows = torch.as_tensor(left, device=self.device)
            draws = Draws.of(self.seed, number[left]).child(PLACE).child(attempt)
            placed, fits = self._placed(draws, size[rows])
            found[rows[fits]] = placed[fits]
            left = left[~fits.cpu().numpy()]
            if len(left) == 0:
                return found
        raise UsageError(f"data.side={self.side}: no place for the symbols of {difficulty}")

    def _placed(self, draws: Draws, size: Tensor) -> tuple[Tensor, Tensor]:
        """Try once: places ``(n, 2 P, 2)``, and ``(n,)`` bool where every symbol has one."""
        n, n_symbols = size.shape
        at = torch.arange(self.side - self.smallest + 1, device=self.device)
        placed = torch.zeros(n, n_symbols, 2, dtype=torch.int64, device=self.device)
        fits = torch.ones(n, dtype=torch.bool, device=self.device)
        for k in range(n_symbols):
            low = placed[:, :k, :, None] - MARGIN - size[:, k, None, None, None]
            high = placed[:, :k, :, None] + (MARGIN + size[:, :k])[:, :, None, None]
            near = ((at > low) & (at < high)).float()  # (n, k, 2, rows)
            inside = at <= self.side - size[:, k, None]
            # Each pair of a row and a column that a square before blocks counts at least one.
            taken = near[:, :, 0].mT @ near[:, :, 1] + (~inside)[:, None, :]
            free = (taken == 0) & inside[:, :, None]
            in_row = free.sum(2)
            total = in_row.sum(1)
            share = torch.as_tensor(draws.uniform(k), device=self.device)
            chosen = (share * total).floor().long()[:, None]
            row = (in_row.cumsum(1) <= chosen).sum(1).clamp_max(len(at) - 1)[:, None]
            before = (in_row.cumsum(1) - in_row).gather(1, row)
            of_row = free.gather(1, row[:, :, None].expand(n, 1, len(at)))[:, 0]
            column = (of_row.cumsum(1) <= chosen - before).sum(1).clamp_max(len(at) - 1)
            placed[:, k, 0], placed[:, k, 1] = row[:, 0], column
            fits &= total > 0
        return placed, fits

    def _strokes(self, number: np.ndarray, difficulty: Difficulty) -> tuple[np.ndarray, np.ndarray]:
        """``(n, 2 P, 5, 2)`` float64 twice: the ends (row, column) of strokes, in a square's pixels."""
        draws = Draws.of(self.seed, number).child(POINTS)
        size = self.sizes(number, difficulty)
        n_points = LATTICE**2
        lattice = np.stack(np.divmod(np.arange(n_points), LATTICE), 1).astype(np.float64)
        slots = 2 * difficulty.pairs * n_points * 2
        moved = np.stack([draws.uniform(slot) for slot in range(slots)], 1)
        moved = (2 * moved - 1).reshape(len(number), -1, n_points, 2) * MOVED
        step = (size - 1 - 2 * INSET) / (LATTICE - 1)
        points = INSET + (lattice + moved) * step[:, :, None, None]
        ends = figures(difficulty.types)[self.types(number, difficulty)]  # (n, 2 P, 5, 2)
        image, symbol = np.ogrid[: len(number), : 2 * difficulty.pairs]
        first, second = (points[image[..., None], symbol[..., None], ends[..., e]] for e in (0, 1))
        return first, second

    def _drawn(self, number: np.ndarray, difficulty: Difficulty, places: Tensor) -> Tensor:
        """``(n, side, side)`` uint8: the symbols at their places; no two of them meet."""
        first, second = (
            torch.as_tensor(ends, device=self.device)[..., None, None, :]
            for ends in self._strokes(number, difficulty)
        )  # (n, 2 P, 5, 1, 1, 2)
        line = torch.arange(self.largest, device=self.device, dtype=torch.float64)
        nearest = first.new_full((*places.shape[:2], self.largest, self.largest), torch.inf)
        for stroke in range(first.shape[2]):
            start, along = first[:, :, stroke], second[:, :, stroke] - first[:, :, stroke]
            down, right = line[:, None] - start[..., 0], line[None, :] - start[..., 1]
            share = (down * along[..., 0] + right * along[..., 1]).div_(along.square().sum(-1))
            share.clamp_(0, 1)
            down, right = down - share * along[..., 0], right - share * along[..., 1]
            torch.minimum(nearest, down.square_().add_(right.square_()), out=nearest)
        distance = nearest.sqrt_()
        value = ((REACH - distance).clamp(0, 1) * 255).round().to(torch.uint8)
        size = torch.as_tensor(self.sizes(number, difficulty), device=self.device)
        cell = torch.arange(self.largest, device=self.device)
        within = cell < size[:, :, None]
        own = within[..., :, None] & within[..., None, :]
        at = places[..., 0, None, None] + cell[:, None], places[..., 1, None, None] + cell[None, :]
        image = torch.arange(len(number), device=self.device)[:, None, None, None]
        flat = (image * self.side + at[0]) * self.side + at[1]
        # What lies outside of a symbol's square goes to one further pixel, which is dropped.
        last = len(number) * self.side**2
        out = torch.zeros(last + 1, dtype=torch.uint8, device=self.device)
        out[torch.where(own, flat, last)] = torch.where(own, value, 0)
        return out[:-1].view(len(number), self.side, self.side)


def side_for(pairs: int, smallest: int, largest: int, covered: float) -> int:
    """The side of an image of which the squares of all symbols, with their margin, cover a share."""
    each = (smallest + largest) / 2 + MARGIN
    return int(np.ceil(np.sqrt(2 * pairs / covered) * each)) - MARGIN
