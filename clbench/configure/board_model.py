"""The forms of ``board.yaml``, ``draft.yaml`` and of what ``clbench tune`` writes."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Interval, MaxLen
from pydantic import AfterValidator, FailFast, Field

from clbench.util.schema import Count, Form, Plain, Positive, Sha256, Text, Word

Version = Annotated[str, Text(20, r"\d+\.\d+")]
Seeds = Annotated[list[Count], MaxLen(1000), FailFast()]
Division = Literal["network", "any", "open", "closed"]
"""``closed``: of boards of protocol 1, whose network was fixed and whose solvers were free."""
Groups = Annotated[dict[Word, Plain], MaxLen(64)]
Training = Annotated[dict[Word, bool | int | float | Annotated[str, Text(200)] | None], MaxLen(20)]
AnchorWords = Annotated[list[Annotated[str, Text(1000)]], MaxLen(20)]
Words = Annotated[dict[Annotated[str, Text(100)], Annotated[str, Text(1000)]], MaxLen(64)]


def _known(name: str) -> str:
    """A metric of the table."""
    from clbench.plugins.registry import did_you_mean
    from clbench.results import metrics

    table = metrics.table()
    if name not in table:
        raise ValueError(
            f"must be a metric (clbench list metrics), and is {name!r}{did_you_mean(name, table)}"
        )
    return name


Primary = Annotated[str, Text(60), AfterValidator(_known)]


class BudgetForm(Form):
    """How much training the protocol allows."""

    epochs: Positive | None
    batch_size: Positive | None
    samples: Positive | None
    train_flops: Positive | None


class AnchorForm(Form):
    """A fixed point of the primary metric's scale."""

    strategy: Annotated[str, Text(100)]
    mean: float
    sd: Annotated[float, Interval(ge=0)]
    train_flops: Annotated[float, Interval(ge=0)]
    words: AnchorWords = Field(default=[])
    """Its settings beyond what the board gives everyone: ``naive.lr=0.03``."""


class ReferenceForm(AnchorForm):
    """A strategy that was run beside the two anchors."""

    division: Literal["network", "any"]
    """``network`` where it trained the board's network."""


class TuningRules(Form):
    """How the settings of every entry are chosen."""

    trials: Positive
    """Points of the random search, the defaults among them."""
    tasks: Positive | None
    """A trial learns so many of the first tasks; null: all."""


class BoardForm(Form):
    """A frozen protocol. ``clbench.configure.board`` says what each field means."""

    protocol: Version
    title: Annotated[str, Text(200)]
    description: Annotated[str, Text(2000)]
    settings: Groups
    model: Groups
    seeds: Seeds
    tuning_seeds: Seeds
    pool_sha256: Sha256
    stream_sha256: Annotated[dict[Annotated[str, Text(20, r"0|[1-9]\d*")], Sha256], MaxLen(1000)]
    budget: BudgetForm
    primary: Primary
    floor: AnchorForm
    naive: AnchorForm
    ceiling: AnchorForm
    divisions: Annotated[list[Division], MaxLen(3)]
    training: Training = Field(default={})
    tuning: TuningRules | None = None
    references: Annotated[list[ReferenceForm], MaxLen(20)] = Field(default=[])
    sha256: Sha256


class Anchors(Form):
    """What the fixed points of a board's scale are measured by."""

    floor: Literal["chance"]
    """``chance``: one over the number of classes, where the primary is an accuracy; else 0."""
    naive: Annotated[str, Text(100)]
    """The strategy that does nothing against forgetting."""
    ceiling: Annotated[str, Text(100)]
    """The strategy that the best possible is measured by."""
    references: Annotated[list[Annotated[str, Text(100)]], MaxLen(20)] = Field(default=[])
    """Other strategies that are run; the best of them and the ceiling is the ceiling of *any*."""
    words: AnchorWords = Field(default=[])
    """Settings of these strategies, each addressed by name: ``joint.lr=0.05``."""


class Draft(Form):
    """``draft.yaml``: what a person decides. Edit it, then freeze."""

    words: Annotated[list[Annotated[str, Text(1000)]], MaxLen(200)]
    """``key=value`` of scenario, data, model and the common settings."""
    anchors: Anchors
    """What is run to measure the scale; a new draft has those of ``leaderboards/draft.yaml``."""
    protocol: Annotated[str, Text(20)] = "1.0"
    title: Annotated[str, Text(200)] = ""
    description: Annotated[str, Text(2000)] = ""
    seeds: Seeds = Field(default=[*range(10)])
    tuning_seeds: Seeds = Field(default=[100, 101])
    primary: Annotated[str, Text(60)] = "anytime_world_accuracy"
    epochs: Positive | None = 1
    batch_size: Positive | None = 32
    samples: Positive | None = None
    train_flops: Positive | None = None
    train_flops_times: Positive | None = 30
    """Where train_flops is null: the budget is so many times what ``naive`` takes."""
    training: Training = Field(default={})
    """``{schedule: cosine}``: settings of a strategy that has them, where the entrant says nothing."""
    trials: Positive = 12
    """Trials of ``clbench tune`` for every entry."""
    tuning_tasks: Positive | None = None
    """A trial learns so many of the first tasks; null: all."""
    divisions: Annotated[list[Annotated[str, Text(20)]], MaxLen(10)] = Field(
        default=["network", "any", "open"]
    )


class TunedOn(Form):
    """The board, by name and content."""

    name: Annotated[str, Text(100)]
    sha256: Sha256


class TrialForm(Form):
    """One point of the search, and the primary on each tuning seed."""

    settings: Words
    """What was drawn; empty for the defaults."""
    values: Annotated[list[float], MaxLen(1000)]
    """0 where the run failed, or took more than its share of the budget."""


class TuningForm(Form):
    """The trial table of one strategy: all trials, in the order of the search."""

    board: TunedOn | None
    """null: tuned without a board."""
    strategy: Annotated[str, Text(100)]
    primary: Annotated[str, Text(60)]
    seeds: Seeds
    tasks: Positive | None
    """Tasks that each trial learned; null: all."""
    sampler: Literal["random", "tpe"]
    fixed: Words
    """What the tuner set for all trials."""
    space: Annotated[dict[Annotated[str, Text(100)], dict[str, list[Plain]]], MaxLen(64)]
    """By setting: ``{log: [low, high]}``, ``{uniform: [low, high]}`` or ``{choices: [...]}``."""
    results: Annotated[list[TrialForm], MaxLen(1000)]
    best: Words
    """What ``fixed`` and the best trial set."""
