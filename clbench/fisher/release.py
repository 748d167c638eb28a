"""The release format: one safetensors file with a diagonal Fisher and its metadata.

A tensor per parameter, of the parameter's name and shape, finite and non-negative. The header has
one JSON value under the key ``clbench.fisher``: ``{"format": 1, ...}`` with the fields of
``Metadata``, ``null`` where unknown. No file format of a released Fisher has been published
(Ovsianas et al. 2022, arXiv 2210.16365, announce one); this one is ours.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clbench.errors import UsageError
from clbench.fisher import forms
from clbench.fisher.forms import Form
from clbench.util import seal, tensor_files
from clbench.util.tensor_files import FLOATS, shown

FORMAT = 1
KEY = "clbench.fisher"
TENSORS = "tensors_sha256"
"""Of the tensors; it and the digest of the metadata are not in files of earlier versions."""
LONGEST_TEXT = 1000


@dataclass(frozen=True)
class Metadata:
    """The origin of a Fisher: network, data, estimator; None if unknown."""

    architecture: str | None = None
    """The network; for a model plug-in its name and settings."""
    weights_sha256: str | None = None
    """Hash of the tensors named here, its anchor (``clbench.util.tensor_files.sha256``)."""
    estimator: str | None = None
    """exact, sampled, empirical or batched (``clbench.fisher.estimate``), or another's word."""
    loss: str | None = None
    """The loss, such as ``cross-entropy of softmax(logits)``."""
    label_source: str | None = None
    """Where the labels of the gradients came from."""
    n_samples: int | None = None
    batch_size: int | None = None
    """Samples per squared gradient."""
    data: str | None = None
    """Name and split of the samples."""
    data_sha256: str | None = None
    """Hash of the pool of the samples."""
    seed: int | None = None
    """Seed of the choice and order of samples, and of the labels drawn."""
    normalisation: str | None = None
    """The normalisation, such as ``mean over samples``."""
    date: str | None = None
    code_version: str | None = None
    changes: tuple[str, ...] = ()
    """Later changes of the values, in order."""
    stored: str | None = None
    """How values are stored, where not exactly (``clbench.fisher.forms``)."""
    error: str | None = None
    """How far they then are from those that were computed."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as in the file; the last two fields only where they say something."""
        found = {**dataclasses.asdict(self), "changes": list(self.changes)}
        absent = [name for name in ("stored", "error") if found[name] is None]
        return {name: value for name, value in found.items() if name not in absent}


WHOLE = ("n_samples", "batch_size", "seed")
HASHES = ("weights_sha256", "data_sha256")


@dataclass(frozen=True)
class Release:
    """A file's content, checked."""

    fisher: dict[str, Tensor]
    """Per parameter a non-negative tensor of its shape."""
    metadata: Metadata


def save(
    path: Path | str, fisher: Mapping[str, Tensor], metadata: Metadata, form: Form = "float32"
) -> Release:
    """Write a release atomically; refuse what ``load`` would refuse.

    Args:
        path: the file; one that exists is replaced.
        fisher: a tensor for each parameter, by its name in ``model.named_parameters()``.
        metadata: the origin of the Fisher.
        form: how values are stored; float32: as they are.

    Returns:
        The release as ``load`` reads it, with the error of its values.

    Raises:
        UsageError: there is no tensor, a tensor is not of finite, non-negative floats, a field of the
            metadata has a wrong type, or the folder cannot be written.
    """
    path = Path(path)
    check(str(path), fisher)
    tensors = forms.stored(fisher, form)
    found = forms.restored(tensors, str(path)) if form == "8bit" else tensors
    if form == "float32":
        metadata = dataclasses.replace(metadata, stored=None, error=None)
    else:
        said = {"bfloat16": "bfloat16", "8bit": forms.EIGHT_BITS}[form]
        metadata = dataclasses.replace(metadata, stored=said, error=forms.error(fisher, found))
    data = {"format": FORMAT, **metadata.as_dict()}
    _parsed(path, data)
    text = seal.sealed({**data, TENSORS: tensor_files.sha256(tensors)}).decode()
    tensor_files.write(path, tensors, {KEY: text})
    return Release(found, metadata)


def load(path: Path | str) -> Release:
    """Read a release, on the CPU.

    Raises:
        UsageError: the file is damaged or not a release, its metadata are malformed, or a tensor is
            no array of finite, non-negative floats; one line, which names the tensor.
    """
    path = Path(path)
    fisher, header = tensor_files.read(path)
    if KEY not in header:
        raise UsageError(f"{path}: says nothing of its origin; make a release of it with "
                         "clbench fisher convert")  # fmt: skip
    try:
        data = json.loads(header[KEY])
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: its metadata are not JSON") from error
    if isinstance(data, dict):
        wrong = seal.fault(data)
        if wrong or data.get(TENSORS) not in (None, tensor_files.sha256(fisher)):
            raise UsageError(f"{path}: {wrong or f'its tensors are not those of its {TENSORS}'}")
    metadata = _parsed(path, data)
    if metadata.stored == forms.EIGHT_BITS:
        fisher = forms.restored(fisher, str(path))
    check(str(path), fisher)
    return Release(fisher, metadata)


def check(where: str, fisher: Mapping[str, Tensor]) -> None:
    """Check that tensors form a Fisher.

    Raises:
        UsageError: a tensor is not of finite, non-negative floats; it is named.
    """
    if not fisher:
        raise UsageError(f"{where}: holds no tensors")
    for name, tensor in fisher.items():
        if tensor.dtype not in FLOATS:
            raise UsageError(f"{where}: tensor {shown(name)} is {tensor.dtype}; need floats")
        if not bool(torch.isfinite(tensor).all()):
            raise UsageError(f"{where}: tensor {shown(name)} holds NaN or infinite values")
        if bool((tensor < 0).any()):
            raise UsageError(f"{where}: tensor {shown(name)} holds negative values")


def _parsed(path: Path, data: Any) -> Metadata:
    """Read metadata from untrusted plain data."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else data
        raise UsageError(
            f"{path}: metadata of format {str(found)[:40]!r}; this clbench reads {FORMAT}"
        )
    known = {f.name for f in dataclasses.fields(Metadata)}
    values = {
        name: value for name, value in data.items() if name not in ("format", TENSORS, seal.KEY)
    }
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{path}: metadata have no field {str(name)[:40]!r}")
        if not _fits(name, value):
            raise UsageError(f"{path}: metadata field {name} is malformed ({str(value)[:40]!r})")
    return Metadata(**{**values, "changes": tuple(values.get("changes", ()))})


def _fits(name: str, value: Any) -> bool:
    if name == "changes":
        return isinstance(value, list) and len(value) <= 100 and all(map(_is_text, value))
    if value is None:
        return True
    if name in WHOLE:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    if name in HASHES:
        return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None
    return _is_text(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable()
