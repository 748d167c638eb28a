"""The forms of what boards show, for machines: a row, a board, all boards."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen

from clbench.util.schema import Count, Form, Sha256, Text


class RowForm(Form):
    """An entry as it is shown after a change."""

    board: Annotated[str, Text(60)]
    entry: Annotated[str, Text(60)]
    name: Annotated[str, Text(60)]
    division: Annotated[str, Text(20)]
    tier: Annotated[str, Text(60)]
    primary: float | None
    """Its mean, over the seeds of the board."""
    half_width: float | None
    """Of the 95 % interval."""
    rank_low: Count | None
    rank_high: Count | None
    errors: Annotated[list[Annotated[str, Text(200)]], MaxLen(3)]
    """Why it is not ranked."""


class CeilingForm(Form):
    """The upper end of a division's scale."""

    strategy: Annotated[str, Text(100)]
    mean: float


class EntryRowForm(RowForm):
    """An entry as the tables show it."""

    strategy: Annotated[str, Text(100)]
    is_evidence: bool
    """Whether its numbers are the verifier's on every seed; if not, they are claims."""
    n_verified: Count
    seeds: Annotated[dict[Annotated[str, Text(20)], float], MaxLen(1000)]
    """The primary by seed."""
    contested: Annotated[list[Annotated[str, Text(1000)]], MaxLen(20)]


class BoardRowsForm(Form):
    """A board, its scale, and its entries in the order of the tables."""

    name: Annotated[str, Text(100)]
    title: Annotated[str, Text(200)]
    protocol: Annotated[str, Text(20)]
    sha256: Sha256
    primary: Annotated[str, Text(60)]
    floor: float
    lower_anchor: float
    ceilings: Annotated[dict[Annotated[str, Text(20)], CeilingForm], MaxLen(4)]
    """By division."""
    repository: Annotated[str, Text(200)]
    """Empty for boards that are kept here; else whose word the ledger is."""
    entries: list[EntryRowForm]


class BoardsForm(Form):
    """All boards."""

    version: Count
    boards: Annotated[list[BoardRowsForm], MaxLen(1000)]
