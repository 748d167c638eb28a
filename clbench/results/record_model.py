"""The form of a record: what each field of the JSON file must look like.

An optional field is one line here (with the default None) and one in ``Record``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Interval, MaxLen
from pydantic import AfterValidator, FailFast, Field

from clbench.results.record import SCHEMA, Status
from clbench.util.schema import (
    LARGEST,
    Count,
    Counts,
    Form,
    Name,
    Positive,
    Seconds,
    Settings,
    Sha256,
    Share,
    Text,
    Time,
)

MAX_NUMBERS = 10**6
"""Numbers in one list."""


def _few_enough(rows: list[list[int]]) -> list[list[int]]:
    if sum(map(len, rows)) > MAX_NUMBERS:
        raise ValueError(f"must hold at most {MAX_NUMBERS} numbers")
    return rows


Rows = Annotated[list[Annotated[list[Count], FailFast()]], FailFast(), AfterValidator(_few_enough)]
"""A row of whole numbers for each evaluation, or for each view."""
Series = Annotated[list[float | None], MaxLen(MAX_NUMBERS), FailFast()]
Label = Annotated[int, Interval(ge=0, le=10**5)]
Size = Annotated[int, Interval(ge=1, le=10**9)]
Version = Annotated[str, Text(100)]


class Error(Form):
    """What went wrong."""

    type: Annotated[str, Text(100)]
    message: Annotated[str, Text(700)]


class OfBoard(Form):
    """The board that the run was made on."""

    name: Annotated[str, Text(60)]
    protocol: Annotated[str, Text(20)]
    division: Annotated[str, Text(20)]


class Tuning(Form):
    """How the settings were chosen."""

    ruleset: Literal["fixed", "tuned"]
    trials: Count
    grid_sha256: Sha256 | None


class Declares(Form):
    """What the strategy says of itself."""

    pretrained: bool
    grows: bool
    resumable: bool
    trains_network: bool | None = None
    """Whether it trained the network that it was given, as the harness saw; of completed runs."""


class Sources(Form):
    """Hashes of the sources that ran."""

    strategy: Sha256
    model: Sha256
    scenario: Sha256
    engine: Sha256
    encoder: Sha256 = ""


class Stream(Form):
    """What the stream was."""

    n_classes: Annotated[int, Interval(ge=1, le=10**5)]
    n_tasks: Positive | None
    experiences: Annotated[int, Interval(ge=0, le=10**6)]
    task_ids: bool
    disjoint_classes: bool
    groups: bool = False


class Cell(Form):
    """One class in one domain, and its test samples."""

    label: Label
    domain: Count
    task_id: Count | None
    size: Size


class CellCounts(Form):
    """What was answered right."""

    evaluated_after: Annotated[Counts, MaxLen(MAX_NUMBERS)]
    cells: Annotated[list[Cell], MaxLen(MAX_NUMBERS), FailFast()]
    views: Rows
    correct: Rows


class Tasks(Form):
    """The tasks that ended."""

    view: Annotated[
        list[Annotated[int, Interval(ge=-1, le=LARGEST)]], MaxLen(MAX_NUMBERS), FailFast()
    ]
    end: Annotated[list[Positive], MaxLen(MAX_NUMBERS), FailFast()]


class Measured(Form):
    """The value of a metric: null where undefined."""

    value: float | None
    n_terms: Count


class Retention(Form):
    """Accuracy of classes by the tasks since they were last seen."""

    since: Count
    to: Count
    accuracy: Share
    n_terms: Positive


class Frequency(Form):
    """Accuracy of a cell by how often it came."""

    label: Count
    frequency: Share
    accuracy: Share
    n_terms: Positive


class Cost(Form):
    """Operations, bytes, samples, updates and seconds; ``encode_`` where an encoder is frozen."""

    train_seconds: Seconds | None
    predict_seconds: Seconds
    harness_seconds: Seconds
    train_flops: Count
    predict_flops: Count
    flops_method: Annotated[str, Text()]
    flops_uncounted: Annotated[list[Annotated[str, Text(100)]], MaxLen(100), FailFast()]
    samples_delivered: Count
    updates: Count
    state_bytes: Count
    state_bytes_method: Annotated[str, Text()]
    memory_bytes: Count
    frozen_bytes: Count
    peak_rss_bytes: Count | None
    flops_ranked: bool | None = None
    """Whether the counted operations speak for all; None in records from before it was asked."""
    encode_flops: Count = 0
    encode_samples: Count = 0
    encode_seconds: Seconds = 0.0


class Environment(Form):
    """What it ran on; no name of a host."""

    python: Version
    torch: Version
    numpy: Version
    system: Version
    machine: Version
    cpu_capability: Version
    cores: Positive | None
    threads: Positive
    device: Annotated[str, Text(20)]
    accelerator: Version | None
    hardware_class: Annotated[str, Text(200)]
    processor: Version | None = None
    """Maker and model; None in records from before it was asked, and where the system does not tell."""


class Code(Form):
    """The clbench that ran."""

    clbench: Version
    commit: Annotated[str, Text(64, "[0-9a-f]{40,64}")] | None
    dirty: bool | None


class Encoder(Form):
    """What was encoded by what."""

    encoder: Name
    settings: Settings
    weights_sha256: Sha256
    code_sha256: Sha256
    packages: Annotated[dict[Name, Version], MaxLen(64)]
    data_sha256: Sha256
    latents: Positive
    samples: Positive
    scale: Annotated[float, Interval(ge=0, le=1)]
    flops_per_sample: Count
    seconds: Seconds


class Bracket(Form):
    """Test samples that are alike in a factor."""

    factor: Annotated[str, Text(60)]
    bracket: Annotated[str, Text(100)]
    size: Size


class Factors(Form):
    """The test samples again, by what is known of how each was made."""

    brackets: Annotated[list[Bracket], MaxLen(10**4), FailFast()]
    correct: Rows


PerExperience = Annotated[list[Count], MaxLen(MAX_NUMBERS), FailFast()]
"""A whole number for each experience."""


class OnlineClasses(Form):
    """Predictions before learning, by class."""

    size: Annotated[list[Count], MaxLen(10**5), FailFast()]
    correct: Annotated[list[Count], MaxLen(10**5), FailFast()]


class Ahead(Form):
    """Predictions of later experiences."""

    distance: Positive
    correct: PerExperience


class Realtime(Form):
    """The clock of operations."""

    flops_per_sample: Positive
    spent_flops: Count
    missed: PerExperience


class Online(Form):
    """What was answered right before it was learnt."""

    size: PerExperience
    correct: PerExperience
    blind: PerExperience
    window: Positive
    classes: OnlineClasses | None
    ahead: Ahead | None
    realtime: Realtime | None


class Exposure(Form):
    """When samples and classes came."""

    samples: Annotated[Counts, MaxLen(MAX_NUMBERS)]
    first: Annotated[
        list[Annotated[int, Interval(ge=-1, le=LARGEST)]], MaxLen(MAX_NUMBERS), FailFast()
    ]


class Answers(Form):
    """Test samples of each class by the class answered, at the last evaluation."""

    after: Count
    counts: Rows


class RecordForm(Form):
    """The record of a run, written by the harness. ``clbench.results.record`` says what it means."""

    schema_: Annotated[int, Interval(ge=SCHEMA, le=SCHEMA)] = Field(alias="schema")
    status: Status
    error: Error | None
    config: Settings
    config_sha256: Sha256
    overrides: Annotated[list[Annotated[str, Text(1000)]], MaxLen(200), FailFast()]
    board: OfBoard | None
    tuning: Tuning
    declares: Declares
    sources: Sources
    source_sha256: Sha256
    pool_sha256: Sha256
    stream_sha256: Sha256
    seed: Count
    stream: Stream
    counts: CellCounts
    tasks: Tasks
    metrics: Annotated[dict[Name, Measured], MaxLen(200)]
    retention: Annotated[list[Retention], MaxLen(64), FailFast()]
    frequency: Annotated[list[Frequency], MaxLen(MAX_NUMBERS), FailFast()]
    diagnostics: Annotated[dict[Annotated[str, Text(100, r"[\w.() /%-]+")], Series], MaxLen(64)]
    warnings: Annotated[list[Annotated[str, Text(1000)]], MaxLen(1000), FailFast()]
    cost: Cost
    predictions_sha256: Annotated[str, Text(64, "([0-9a-f]{64})?")]
    environment: Environment
    code: Code
    started: Time
    finished: Time
    run_sha256: Sha256 | None = None
    plugin_sha256: Annotated[dict[Name, Sha256], MaxLen(8)] | None = None
    results_versions: Annotated[dict[Name, Count], MaxLen(20)] | None = None
    encoder: Encoder | None = None
    factors: Factors | None = None
    class_names: Annotated[list[Annotated[str, Text(100)]], MaxLen(10**5)] | None = None
    online: Online | None = None
    exposure: Exposure | None = None
    answers: Answers | None = None
    resolved: Annotated[dict[Name, Settings], MaxLen(8)] | None = None
    content_sha256: Sha256 | None = None
