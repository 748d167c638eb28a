"""The forms of ``entry.yaml`` and ``verified.json``, and all published JSON Schemas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import FailFast, Field

from clbench.util.schema import Count, Form, Name, Plain, Seed, Sha256, Text, Word


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
    division: Annotated[str, Text(20)] = "closed"
    tuned_on: Annotated[list[Count], MaxLen(1000), FailFast()] = Field(default=[])
    """Seeds that settings were chosen on: some of the board's tuning seeds, or none."""
    paper_reference: Annotated[dict[Word, Plain], MaxLen(3)] = Field(default={})
    """``{value, source, comparable}``: what the paper says."""
    declaration: Annotated[dict[Word, bool], MaxLen(10)] = Field(default={})
    """``{no_test_data: true, no_evaluation_seed_tuning: true}``"""
    sources: dict[Literal["strategy", "model"], Sha256] = Field(default={})
    """``{strategy: sha256, model: sha256}``: files of ``sources/``; clbench submit writes it."""


class VerificationForm(Form):
    """What was run again, and with what result; written by ``clbench verify``."""

    tier: Literal["reproduced", "held-out"]
    sources: Annotated[dict[Word, Sha256], MaxLen(5)]
    records_sha256: Annotated[dict[Seed, Sha256], MaxLen(1000)]
    detail: Annotated[dict[Name, Plain], MaxLen(64)]


KINDS = ("record", "entry", "verified", "board", "draft", "tuning", "reproduction")
"""The files that have a form."""


def form_of(kind: str) -> type[Form]:
    """The form of a kind of file."""
    from clbench.configure.board_model import BoardForm, Draft, TuningForm
    from clbench.reproduce.form import ReproductionForm
    from clbench.results.record_model import RecordForm

    forms: list[type[Form]]
    forms = [
        RecordForm,
        EntryForm,
        VerificationForm,
        BoardForm,
        Draft,
        TuningForm,
        ReproductionForm,
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
