"""Reads and writes YAML with the scalars of YAML 1.2's core schema, and refuses a key given twice.

PyYAML reads YAML 1.1, where ``010`` is eight, ``no`` is false, ``12:30`` is 750 and the last of two
equal keys wins. Here ``010`` is ten and ``no`` is a text, as on the command line. What ``dump`` writes
means the same to readers of either version.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
MERGE = f"{_TAG}merge"
CORE = [
    (f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    (f"{_TAG}int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")),
    (
        f"{_TAG}float",
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
    ),
    (f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
    (MERGE, re.compile(r"<<\Z")),
]
"""Tags of plain scalars, the first that matches; all else is text."""
LONGEST_NUMBER = 1000
"""Characters of a whole number."""


class YamlError(Exception):
    """The text is not YAML, or holds a key twice; the message is one line."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.problem, self.line = problem, line


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    if len(text) > LONGEST_NUMBER:
        raise YamlError(f"a number of {len(text):,} characters", node.start_mark.line + 1)
    bases = {"0o": 8, "0x": 16}
    return int(text, bases.get(text[:2], 10))


class Loader(yaml.SafeLoader):
    """Builds plain data from YAML 1.2, without aliases, merge keys and tags.

    An alias could make gigabytes of a few bytes.
    """

    max_depth = 20
    depth = 0

    yaml_implicit_resolvers = {None: CORE}  # noqa: RUF012 - PyYAML never changes it
    yaml_constructors = {  # noqa: RUF012
        **yaml.SafeLoader.yaml_constructors,
        f"{_TAG}int": _integer,
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node of a limited depth."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if self.check_event(yaml.AliasEvent):
            raise YamlError("anchors and aliases are not allowed", line)
        if getattr(event, "anchor", None) is not None:
            raise YamlError("anchors and aliases are not allowed", line)
        if getattr(event, "tag", None) is not None:
            raise YamlError("tags are not allowed", line)
        if self.depth > self.max_depth:
            raise YamlError(f"nested deeper than {self.max_depth}", line)
        self.depth += 1
        node: Any = super().compose_node(parent, index)
        self.depth -= 1
        if node.tag == MERGE:
            raise YamlError("merge keys (<<) are not allowed", line)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Compose a mapping; its keys are compared as values, so ``1`` and ``0x1`` are equal."""
        node = super().compose_mapping_node(anchor)
        first: dict[Hashable, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            value = (key.tag, self.construct_object(key, deep=True))
            line = key.start_mark.line + 1
            if value in first:
                shown = str(key.value)[:40]
                raise YamlError(
                    f"key {shown!r} is given twice (first in line {first[value]})", line
                )
            first[value] = line
        return node


class Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        **yaml.SafeDumper.yaml_implicit_resolvers,
        None: CORE,
    }


def load(text: str, loader: type[Loader] = Loader) -> Any:
    """Read one YAML document.

    Args:
        text: the document.
        loader: ``Loader``, or a stricter one.

    Raises:
        YamlError: the text is not YAML, or a mapping has a key twice; it has the line.
    """
    try:
        return yaml.load(text, Loader=loader)
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(
            " ".join(problem.split()) or "is malformed", mark.line + 1 if mark else None
        ) from error
    except RecursionError as error:
        raise YamlError("is nested too deeply") from error
    except MemoryError as error:
        raise YamlError("is too large") from error
    # A whole number with thousands of digits is a ValueError, a malformed tag may be any of these.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise YamlError(" ".join(str(error).split())[:200] or "is malformed") from error


def line_of(text: str, *keys: str) -> int | None:
    """The line, from 1, of a key below other keys; None if the text has no such key."""
    node, line = yaml.compose(text, Loader=Loader), None
    for wanted in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((k, v) for k, v in pairs if k.value == wanted), None)
        if found is None:
            return None
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def dump(data: Any, allow_unicode: bool = False) -> str:
    """Write plain data as YAML; keys keep their order."""
    text: str = yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=allow_unicode)
    if any(break_ in text for break_ in "\x85\u2028\u2029"):  # YAML 1.1 ends lines with them
        text = yaml.dump(data, Dumper=Dumper, sort_keys=False)
    return text
