"""What the forms of files are made of: strict pydantic models, and faults in a line each.

A model says what plain data must look like; ``faults`` says what is wrong with some, and where
(``cost.train_flops must be at least 0, and is -1``). Published JSON Schemas come from the models.
Import this module where a file is read: it loads pydantic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import GroupedMetadata, Interval, MaxLen
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    FailFast,
    StringConstraints,
    Tag,
    ValidationError,
)
from typing_extensions import TypeAliasType

LARGEST = 10**18
"""Of any count. Every such number, and a sum of a few, fits into 64 bits."""
CUT = 40
"""Characters of a stranger's value that a fault repeats."""


class Form(BaseModel):
    """A mapping with exactly these keys; those with a default may be absent. Nothing is converted."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


@dataclass(frozen=True)
class Text(GroupedMetadata):
    """Printable text of so many characters; ``pattern`` matches all of it."""

    most: int = 200
    pattern: str = ""
    least: int = 0

    def __iter__(self) -> Iterator[object]:
        """The constraints, for pydantic."""
        whole = f"^(?:{self.pattern})$" if self.pattern else None
        yield from StringConstraints(
            min_length=self.least or None, max_length=self.most, pattern=whole
        )
        yield AfterValidator(_printable)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be shown")
    return text


def _time(text: str) -> str:
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - only compared with its like
    except ValueError as error:
        raise ValueError("must be a time such as 2026-01-31T23:59:59Z") from error
    return text


NAME = r"[A-Za-z0-9][\w.-]*"
SEED = r"0|[1-9]\d{0,8}"

Count = Annotated[int, Interval(ge=0, le=LARGEST)]
Positive = Annotated[int, Interval(ge=1, le=LARGEST)]
Seconds = Annotated[float, Interval(ge=0, le=1e9)]
Share = Annotated[float, Interval(ge=-1.001, le=1.001)]
"""With room for rounding."""
Sha256 = Annotated[str, Text(64, "[0-9a-f]{64}")]
Name = Annotated[str, Text(100, NAME)]
Word = Annotated[str, Text(100, r"\w+")]
Seed = Annotated[str, Text(9, SEED)]
Time = Annotated[str, Text(20), AfterValidator(_time)]
"""In UTC, as ``2026-01-31T23:59:59Z``."""
Counts = Annotated[list[Count], FailFast()]

_KINDS = {
    str: "<text>",
    bool: "<flag>",
    int: "<number>",
    float: "<number>",
    type(None): "<null>",
    list: "<list>",
    dict: "<mapping>",
}


def _kind(value: Any) -> str | None:
    return _KINDS.get(type(value))


if TYPE_CHECKING:
    Plain = Any
else:  # mypy knows no recursive alias with a discriminator
    Plain = TypeAliasType(
        "Plain",
        Annotated[
            Annotated[str, Text(1000), Tag("<text>")]
            | Annotated[bool, Tag("<flag>")]
            | Annotated[float, Tag("<number>")]
            | Annotated[None, Tag("<null>")]
            | Annotated[list["Plain"], MaxLen(1000), Tag("<list>")]
            | Annotated[
                dict[Annotated[str, Text(100, r"[\w.-]+")], "Plain"],
                MaxLen(64),
                Tag("<mapping>"),
            ],
            Discriminator(_kind),
        ],
    )
"""A setting: a number, a text, true, false, null, or a list or mapping of such."""
Settings = Annotated[dict[Name, Plain], MaxLen(64)]


def faults(form: type[Form], data: Any) -> list[str]:
    """All that is wrong with the form of some plain data, a printable line each."""
    try:
        form.model_validate(data)
    except ValidationError as error:
        return [_line(found) for found in error.errors(include_url=False)]
    return []


WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "none_required": "must be null",
    "string_type": "must be a text",
    "string_unicode": "must be a text",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "union_tag_invalid": "must be plain data",
    "union_tag_not_found": "must be plain data",
    "greater_than_equal": "must be at least {ge:g}, and is {value}",
    "less_than_equal": "must be at most {le:g}, and is {value}",
    "string_too_short": "has less than {min_length} characters",
    "string_too_long": "has more than {max_length} characters",
    "string_pattern_mismatch": "is malformed: {value!r}",
    "literal_error": "must be one of {expected}, and is {value!r}",
    "too_short": "has less than {min_length} items",
    "too_long": "has more than {max_length} items",
    "value_error": "{error}",
}


def _line(found: Mapping[str, Any]) -> str:
    value = found["input"]
    cut = value[:CUT] if isinstance(value, str) else str(value)[:CUT]
    template = WORDS.get(found["type"])
    said = template.format(**found.get("ctx", {}), value=cut) if template else found["msg"]
    text = f"{place(found['loc'])} {said}"
    return "".join(c if c.isprintable() else "?" for c in text)


def place(parts: tuple[int | str, ...]) -> str:
    """``counts.cells[3].size``; ``the file`` for all of it."""
    if parts[-1:] == ("[key]",):
        return f"a key of {place(parts[:-2])}"
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _KINDS.values():  # of the kind that a plain value has
            path += f".{part[:CUT]}" if path else part[:CUT]
    return path or "the file"
