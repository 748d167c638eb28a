"""The forms of ``entry.yaml`` and of ledgers, and all published JSON Schemas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import FailFast, Field

from clbench.results.record_model import RecordForm
from clbench.util.schema import (
    Count,
    Form,
    Name,
    Plain,
    Seconds,
    Seed,
    Sha256,
    Text,
    Time,
    Word,
)


class EntryForm(Form):
    """Who submits what to a board. Rule S3 asks for more: addresses, declarations, the division."""

    name: Annotated[str, Text(60, least=1)]
    """As shown."""
    strategy: Annotated[str, Text(100, least=1)]
    """The strategy's name."""
    authors: Annotated[list[Annotated[str, Text(100, least=1)]], MaxLen(50), FailFast()] = Field(
        default=[]
    )
    affiliation: Annotated[str, Text(200)] = ""
    url: Annotated[str, Text(500)] = ""
    """Paper or project page."""
    code: Annotated[str, Text(500)] = ""
    """Upstream code."""
    description: Annotated[str, Text(400)] = ""
    """One sentence."""
    division: Annotated[str, Text(20)] = "network"
    tuned_on: Annotated[list[Count], MaxLen(1000), FailFast()] = Field(default=[])
    """Seeds that settings were chosen on: some of the board's tuning seeds, or none."""
    paper_reference: Annotated[dict[Word, Plain], MaxLen(3)] = Field(default={})
    """``{value, source, comparable}``: what the paper says."""
    declaration: Annotated[dict[Word, bool], MaxLen(10)] = Field(default={})
    """``{no_test_data: true, no_evaluation_seed_tuning: true}``"""
    sources: dict[Literal["strategy", "model"], Sha256] = Field(default={})
    """``{strategy: sha256, model: sha256}``: files of ``sources/``; clbench submit writes it."""


class SeedRunForm(Form):
    """What the verifier's run of one seed gave."""

    equal: bool
    """Whether every answer was the claimed one."""
    claim_sha256: Sha256
    """Hash of the whole record that was compared."""
    claimed: float | None
    primary: float | None
    """The primary, of the claimed and of the verifier's counts."""
    cost: Annotated[dict[Word, Plain], MaxLen(64)]
    """The verifier's; every call was counted."""
    environment: Annotated[dict[Word, Plain], MaxLen(64)]
    """The verifier's platform."""
    cpu_seconds: Seconds | None
    """Of training, as the kernel counts it."""
    predictions_sha256: Sha256
    verified: Time
    record: RecordForm | None = None
    """The verifier's whole record, where its counts are not the claimed ones."""


class HeldOutForm(Form):
    """The run on data that nobody had seen."""

    passed: bool
    seed: Count
    claimed: float
    """The entry's place on the board: 0 at the lower anchor, 1 without error."""
    found: float
    """Its place on the fresh data, as the mean over the draws."""
    draws: Annotated[list[float], MaxLen(10)] = Field(default=[])
    """Its place on each draw; empty: in a ledger of before there was more than one."""
    primary: Annotated[dict[Name, float], MaxLen(4)]
    commitment: Sha256
    """Hash of the secret and the board."""
    secret: Annotated[str, Text(200, "[0-9a-f]*")] = ""
    """In hexadecimal, where it was drawn for this run."""


class FlopsForm(Form):
    """Whether operations rank."""

    ranked: bool
    ratio: float | None
    """CPU seconds per counted operation, over those of the board's lower anchor."""
    limit: float
    why: Annotated[str, Text(400)]


class StabilityForm(Form):
    """What a perturbation moves."""

    seeds: Annotated[list[Count], MaxLen(1000)]
    rate_rms: float | None
    """Root mean square of the change of the primary, with the learning rate × (1 + 1e-6)."""
    threads_rms: float | None
    """Likewise with another number of threads."""
    sd: float
    """Standard deviation of the primary over seeds."""
    unstable: bool
    """Whether the larger change exceeds half of it."""


class TrialsForm(Form):
    """Trials of the entry's table that were run again."""

    table_sha256: Sha256
    trials: Annotated[list[Count], MaxLen(1000)]
    """Their numbers; the best one is the first."""
    equal: bool
    """Whether each gave what the table says; else it was another platform."""


class VerificationForm(Form):
    """What was run again, and with what result; written by ``clbench verify``."""

    board_sha256: Sha256
    sources: Annotated[dict[Word, Sha256], MaxLen(5)]
    """Hash of each source's bytes."""
    rebuilt: bool
    """Whether it was rebuilt from its state; if not, it is not ranked."""
    guards: Annotated[dict[Word, bool | Annotated[str, Text(300)]], MaxLen(32)]
    """Each measure of isolation: true, or what was missing."""
    seeds: Annotated[dict[Seed, SeedRunForm], MaxLen(1000)]
    held_out: HeldOutForm | None
    flops: FlopsForm
    stability: StabilityForm | None = None
    tuning: TrialsForm | None = None


KINDS = (
    *("record", "entry", "verified", "board", "draft", "tuning", "reproduction"),
    *("contested", "boards"),
)
"""The files that have a form."""


def form_of(kind: str) -> type[Form]:
    """The form of a kind of file."""
    from clbench.configure.board_model import BoardForm, Draft, TuningForm
    from clbench.leaderboard.contest import ContestedForm
    from clbench.leaderboard.forms import BoardsForm
    from clbench.reproduce.form import ReproductionForm

    forms: list[type[Form]]
    forms = [
        RecordForm,
        EntryForm,
        VerificationForm,
        BoardForm,
        Draft,
        TuningForm,
        ReproductionForm,
        ContestedForm,
        BoardsForm,
    ]
    return dict(zip(KINDS, forms, strict=True))[kind]


def json_schema(kind: str) -> dict[str, Any]:
    """The published JSON Schema (2020-12) of a kind of file."""
    form = _closed(form_of(kind).model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **form}


def _closed(part: Any) -> Any:
    """The same, where no key escapes the pattern of the keys of its mapping."""
    if isinstance(part, list):
        return [_closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    closed = {"additionalProperties": False} if "patternProperties" in part else {}
    return {**closed, **{key: _closed(item) for key, item in part.items()}}
