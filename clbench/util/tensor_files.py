"""Reads and writes files of named tensors, without unpickling and with checks."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clbench.errors import UsageError
from clbench.util import archives
from clbench.util.atomic import write_atomically

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COUNTS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
LONGEST_NAME = 500
MAX_DIMENSIONS = 32
MAX_TENSORS = 20_000
MAX_HEADER = 1 << 23
"""Bytes of a safetensors file's header."""
_DTYPES = {"F16", "BF16", "F32", "F64", "BOOL", "U8", "I8", "I16", "I32", "I64"}
"""The same, as safetensors writes them."""
UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    MemoryError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    SafetensorError,
)
"""The errors that readers of tensors raise for a damaged file."""


def sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and values.

    Of the tensors in the order of their names (by code point), each as one line of JSON,
    ``["<name>", "<dtype, as torch.float32>", [<shape>]]``, a newline, and its values, row by row,
    in little-endian bytes.
    """

    def line(name: str, tensor: Tensor) -> str:
        words = [name, str(tensor.dtype), list(tensor.shape)]
        return json.dumps(words, separators=(",", ":")) + "\n"

    return sha256_under(tensors, line)


def sha256_under(tensors: Mapping[str, Tensor], title: Callable[[str, Tensor], str]) -> str:
    """SHA-256 over the tensors in the order of their names: the title and then the values of each."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(title(name, tensor).encode())
        flat = tensor.contiguous().reshape(-1)
        if flat.numel():
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def shown(name: str) -> str:
    """A tensor's name for messages: quoted, escaped, shortened."""
    return repr(name if len(name) <= 100 else name[:99] + "…")


def writable(path: Path, overwrite: bool) -> Path:
    """Return the path if a file may be written there.

    Raises:
        UsageError: a file exists there, or the folder does not exist.
    """
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")
    if path.is_dir() or (path.exists() and not overwrite):
        raise UsageError(f"{path}: exists; choose another name, or pass --overwrite")
    return path


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        UsageError: the folder cannot be written.
    """
    # Copies: safetensors refuses tensors that share memory, as those of one flat vector do.
    plain = {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
    try:
        write_atomically(path, safetensors.torch.save(plain, dict(header)))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the CPU, and the strings in its header.

    Raises:
        UsageError: the file is not there, truncated or malformed, or a tensor has a name that is not
            printable, a dtype that is no number, or values that are not finite.
    """
    _require(path)
    try:
        _check_header(path)
        with safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
            if len(file.keys()) > MAX_TENSORS:
                raise UsageError(
                    f"{path}: holds {len(file.keys()):,} tensors; at most {MAX_TENSORS:,}"
                )
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                dtype = file.get_slice(name).get_dtype()
                if dtype not in _DTYPES:
                    raise UsageError(f"{path}: tensor {shown(name)} is of {dtype}; need numbers")
            # Copies, so that the tensors do not change with the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except UNREADABLE as error:
        raise _damaged(path, "a whole safetensors file", error) from error
    return _checked(path, tensors), header


def read_dictionary(path: Path) -> dict[str, Tensor]:
    """A flat dictionary of tensors: ``.safetensors``, ``.npz``, or what ``torch.save`` wrote.

    Raises:
        UsageError: as ``read``; or the file holds objects, which are never unpickled.
    """
    _require(path)
    if path.suffix == ".safetensors":
        return read(path)[0]
    found: Any
    try:
        if path.suffix == ".npz":
            found = _read_npz(path)
        else:
            _check_packed(path)
            with warnings.catch_warnings(action="ignore"):  # torch warns about unusual files
                found = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise _damaged(path, "a dictionary of tensors without objects", error) from error
    if not isinstance(found, Mapping):
        raise UsageError(f"{path}: holds {type(found).__name__}, not a dictionary of tensors")
    if len(found) > MAX_TENSORS:
        raise UsageError(f"{path}: holds {len(found):,} tensors; at most {MAX_TENSORS:,}")
    size = path.stat().st_size
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            # A tuple of tuples can be endless as text.
            said = str(name) if isinstance(name, str | int) else type(name).__name__
            raise UsageError(
                f"{path}: {shown(said)} is {type(value).__name__}, not a tensor under a name; "
                "save the flat dictionary alone"
            )
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise UsageError(f"{path}: tensor {shown(name)} is not dense")
        if path.suffix != ".npz" and value.numel() * value.element_size() > size:
            raise UsageError(
                f"{path}: tensor {shown(name)} has {value.numel():,} values, more than the file holds"
            )
    return _checked(path, {name: t.detach().contiguous() for name, t in found.items()})


def _read_npz(path: Path) -> dict[str, Tensor]:
    found = {}
    for name in archives.members(path):
        archives.header(path, name.removesuffix(".npy"))
    # Opened here, because numpy leaves a file that is no archive open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        for name in archive:
            try:
                found[name] = torch.from_numpy(np.array(archive[name]))
            except (ValueError, TypeError) as error:  # objects, or dtypes that torch does not have
                reason = str(error).splitlines()[0][:120]
                raise UsageError(
                    f"{path}: tensor {shown(name)} cannot be read ({reason})"
                ) from error
    return found


def _check_header(path: Path) -> None:
    """Refuse a safetensors file whose header is longer than that of any network."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if MAX_HEADER < length <= path.stat().st_size:
        raise UsageError(
            f"{path}: has a header of {length / 1e6:,.0f} MB; at most {MAX_TENSORS:,} tensors"
        )


def _check_packed(path: Path) -> None:
    """Refuse a file of ``torch.save`` that unpacks to more than it is; torch itself packs nothing."""
    if not zipfile.is_zipfile(path):
        return
    stated = sum(info.file_size for info in archives.members(path).values())
    if stated > path.stat().st_size:
        raise UsageError(f"{path}: states {stated:,} bytes, more than it holds; save it with torch")


def _require(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")


def _damaged(path: Path, what: str, error: Exception) -> UsageError:
    reason = (str(error).splitlines() or [""])[0][:120]
    if isinstance(error, pickle.UnpicklingError) or not reason.isprintable() or not reason:
        reason = type(error).__name__  # torch's own message advises unpickling
    return UsageError(f"{path}: is not {what} ({reason})")


def _checked(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if not tensors:
        raise UsageError(f"{path}: holds no tensors")
    for name, tensor in tensors.items():
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise UsageError(f"{path}: tensor {shown(name)} has no printable name")
        if tensor.dtype not in (*FLOATS, *COUNTS) or tensor.dim() > MAX_DIMENSIONS:
            raise UsageError(
                f"{path}: tensor {shown(name)} is {tensor.dtype} of {tensor.dim()} dimensions; "
                "need floats or integers"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UsageError(f"{path}: tensor {shown(name)} holds NaN or infinite values")
    return tensors
