"""The form of ``reproductions/<name>.yaml``: published numbers, and the words that run them here.

Accuracies are in percent, as papers print them; a record's metrics are shares.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Interval, MaxLen
from pydantic import Field

from clbench.util.schema import Form, Name, Positive, Text

Percent = Annotated[float, Interval(ge=0, le=100)]
Points = Annotated[float, Interval(ge=0, le=100)]
Sentence = Annotated[str, Text(1000, least=1)]
Words = Annotated[list[Annotated[str, Text(200, r"[\w.]+=\S+")]], MaxLen(64)]
"""``key=value`` words, as ``clbench run`` takes them; none of them sweeps."""
Origin = Literal["paper", "readme", "rerun", "figure"]
"""Where a number was read: in the paper, in the authors' README, in a log of somebody who ran the
authors' code again, or off a figure."""


class SourceForm(Form):
    """Who claims the numbers."""

    paper: Sentence
    where: Sentence
    """Table and rows."""
    url: Annotated[str, Text(300, r"https://\S+")]


class NeedsForm(Form):
    """What running all rows takes."""

    data: Sentence
    hours: Annotated[float, Interval(ge=0, le=100_000)]
    """On one core, for all rows and seeds; an estimate."""


class SmallForm(Form):
    """The same in small: for tests, and comparable with nothing."""

    words: Words
    """They take the place of the words with the same key."""
    seeds: Positive = 2
    note: Annotated[str, Text(1000)] = ""
    """What the rows give in small, and why they are not as published."""


class PublishedForm(Form):
    """One published number."""

    mean: Percent
    spread: Points | None = None
    spread_is: Literal["sd", "sem", "unknown"] = "unknown"
    """The standard deviation over seeds, or the standard error of their mean."""
    seeds: Positive | None = None
    """How many; null where the source does not say."""
    origin: Origin = "paper"


class RowForm(Form):
    """One number: what is claimed, and what gives it here."""

    name: Name
    words: Words = Field(default=[])
    """Beside those of the file, whose keys they may take."""
    published: PublishedForm | None = None
    """Null for a row that is only divided by."""
    tolerance: Points | None = None
    """In points; null: that of the file."""
    after: Positive | None = None
    """A number of experiences: the world accuracy after them, in place of the metric at the end."""
    over: Name | None = None
    """The row that the value is divided by, seed by seed."""
    missing: Annotated[str, Text(300)] = ""
    """What clbench lacks to run it; such a row is listed and not run."""
    note: Annotated[str, Text(1000)] = ""


class ReproductionForm(Form):
    """One table, or some rows of it, under one protocol."""

    title: Annotated[str, Text(100, least=1)]
    source: SourceForm
    protocol: Annotated[str, Text(2000, least=1)]
    words: Words
    """Of all rows."""
    seeds: Positive
    """How many runs of each row: seeds 0, 1, ..."""
    metric: Annotated[str, Text(60, least=1)] = "average_accuracy"
    """The metric of the record that is compared."""
    tolerance: Points
    """Largest difference of the means that counts as inside, in points."""
    needs: NeedsForm
    deviates: Annotated[list[Sentence], MaxLen(30)] = Field(default=[])
    """How the runs here differ from the published ones."""
    left_out: Annotated[list[Sentence], MaxLen(30)] = Field(default=[])
    """Rows of the source that are not here, and why."""
    small: SmallForm | None = None
    rows: Annotated[list[RowForm], MaxLen(100)]
