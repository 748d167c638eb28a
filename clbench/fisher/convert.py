"""Converts a dictionary of tensors to a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from clbench.errors import UsageError
from clbench.fisher import release
from clbench.fisher.anchored import weights_hash
from clbench.fisher.release import HASHES, WHOLE, Metadata, Release
from clbench.plugins.registry import did_you_mean
from clbench.util import tensor_files

SETTABLE = [f.name for f in fields(Metadata) if f.name not in (*HASHES, "changes")]


def converted(path: Path, weights: Path | None, words: Sequence[str]) -> Release:
    """Read a file as a release.

    Args:
        path: a release, or a flat dictionary in a ``.safetensors``, ``.pt`` or ``.npz`` file.
        weights: a flat dictionary of the weights at which it was computed; a release has their hash.
        words: ``field=value`` of the metadata.

    Raises:
        UsageError: the file holds no Fisher, the weights have no tensor of a name and shape, or a
            word names no field.
    """
    released = _read(path)
    metadata = replace(released.metadata, **_fields(words))
    if weights is not None:
        sha256 = weights_hash(released.fisher, tensor_files.read_dictionary(weights), str(weights))
        if metadata.weights_sha256 not in (None, sha256):
            raise UsageError(f"{path}: was taken at other weights than those in {weights}")
        metadata = replace(metadata, weights_sha256=sha256)
    if metadata.weights_sha256 is None:
        raise UsageError(f"{path}: does not say of which weights it is; give them with --weights")
    return Release(released.fisher, metadata)


def _read(path: Path) -> Release:
    if path.suffix == ".safetensors":
        fisher, header = tensor_files.read(path)
        if release.KEY in header:
            return release.load(path)
    else:
        fisher = tensor_files.read_dictionary(path)
    release.check(str(path), fisher)
    return Release(fisher, Metadata())


def _fields(words: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in SETTABLE:
            raise UsageError(
                f"{word!r}: expected field=value{did_you_mean(name, SETTABLE)} (fields: "
                f"{', '.join(SETTABLE)})"
            )
        if name in WHOLE and not text.isdecimal():
            raise UsageError(f"{word}: must be a whole number")
        found[name] = int(text) if name in WHOLE else text
    return found
