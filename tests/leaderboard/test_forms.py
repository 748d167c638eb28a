"""Published JSON Schemas: generated from the models, and every file of every board fits."""

from __future__ import annotations

import argparse
import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from clbench.cli import main, validate
from clbench.configure.board import Board
from clbench.configure.board_model import BoardForm
from clbench.leaderboard.entry import Meta, SeedRun, Verification
from clbench.leaderboard.models import (
    KINDS,
    EntryForm,
    HeldOutForm,
    SeedRunForm,
    StabilityForm,
    VerificationForm,
    form_of,
    json_schema,
)
from clbench.leaderboard.reproduce.held_out import HeldOut
from clbench.leaderboard.stability import Stability
from clbench.results.record import Record, optional_fields
from clbench.results.record_model import RecordForm
from clbench.util import seal
from clbench.util.schema import Form, faults

ROOT = Path(__file__).parents[2]
FILES = {
    "record": "*/entries/*/runs/*.json",
    "entry": "*/entries/*/entry.yaml",
    "verified": "*/verified/*.json",
    "board": "*/board.yaml",
    "reproduction": "../reproductions/*.yaml",
}


@cache
def files(kind: str) -> list[Path]:
    boards = ROOT / "leaderboards"
    return [path for path in sorted(boards.glob(FILES[kind])) if path.name != "board.json"]


def read(path: Path) -> Any:
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_schema_is_generated(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """After a change: clbench validate --schema KIND > docs/schemas/KIND.schema.json."""
    assert main(["validate", "--schema", kind]) == 0
    fresh = capsys.readouterr().out
    assert json.loads(fresh) == json_schema(kind)
    assert (ROOT / "docs" / "schemas" / f"{kind}.schema.json").read_text() == fresh


def test_every_kind_is_published() -> None:
    published = {path.name for path in (ROOT / "docs" / "schemas").iterdir()}
    assert published == {f"{kind}.schema.json" for kind in KINDS}
    parser = argparse.ArgumentParser()
    validate.add(parser.add_subparsers())
    for kind in KINDS:
        assert parser.parse_args(["validate", "--schema", kind]).schema == kind


@pytest.mark.parametrize("kind", FILES)
def test_every_file_of_every_board_has_its_form(kind: str) -> None:
    assert files(kind) or not files(
        "entry"
    )  # boards that have no entry yet have a board.yaml alone
    for path in files(kind):
        assert faults(form_of(kind), read(path)) == [], path


@pytest.mark.parametrize("kind", FILES)
def test_every_file_of_every_board_fits_the_json_schema(kind: str) -> None:
    """Every twentieth entry, and one record of each: this validator is a thousand times slower."""
    jsonschema = pytest.importorskip("jsonschema", reason="needs the package jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema(kind))
    some = [path for path in files(kind) if not path.name.startswith("seed") or "0" in path.name]
    for path in some[:: 20 if len(some) > 100 else 1]:
        validator.validate(read(path))


@pytest.mark.parametrize(
    ("form", "kept"),
    [
        (RecordForm, {f.name for f in dataclasses.fields(Record)} | {seal.KEY}),
        (EntryForm, {f.name for f in dataclasses.fields(Meta)}),
        (VerificationForm, {f.name for f in dataclasses.fields(Verification)}),
        (SeedRunForm, {f.name for f in dataclasses.fields(SeedRun)}),
        (HeldOutForm, {f.name for f in dataclasses.fields(HeldOut)}),
        (StabilityForm, {f.name for f in dataclasses.fields(Stability)}),
        (BoardForm, {f.name for f in dataclasses.fields(Board)} - {"name", "folder"}),
    ],
)
def test_forms_have_the_fields_of_what_is_read(form: type[Form], kept: set[str]) -> None:
    assert {field.alias or name for name, field in form.model_fields.items()} == kept


def test_optional_fields_of_a_record_are_those_of_its_form() -> None:
    optional = {n for n, f in RecordForm.model_fields.items() if not f.is_required()}
    assert optional == optional_fields() | {seal.KEY}
