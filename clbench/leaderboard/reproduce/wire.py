"""Frames between an isolated strategy and its parent: JSON and tensors, without pickle.

A frame is two little-endian integers (bytes of the header: 4, bytes of the payload: 8), a JSON
object, and a payload in the safetensors format (empty without tensors).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

if TYPE_CHECKING:  # the worker reads its first frame before any large import
    from torch import Tensor

LENGTHS = struct.Struct("<IQ")
MAX_HEADER = 1 << 16
"""Largest header in bytes, except for the job's."""


class WireError(Exception):
    """The data received are not a frame, or exceed the limits."""


def write_frame(stream: BinaryIO, header: Mapping[str, Any], payload: bytes = b"") -> None:
    """Send one frame."""
    text = json.dumps(header).encode()
    stream.write(LENGTHS.pack(len(text), len(payload)) + text)
    stream.write(payload)
    stream.flush()


def read_frame(
    stream: BinaryIO, max_payload: int, max_header: int = MAX_HEADER
) -> tuple[dict[str, Any], bytes]:
    """Receive one frame; the limits are checked before anything is allocated.

    Raises:
        EOFError: the other side has closed the pipe.
        WireError: it is not a frame, or exceeds the limits.
    """
    n_header, n_payload = LENGTHS.unpack(_read(stream, LENGTHS.size))
    if n_header > max_header or n_payload > max_payload:
        raise WireError(
            f"a frame of {n_header} + {n_payload} bytes, where {max_header} + {max_payload} "
            "are allowed"
        )
    try:
        header = json.loads(_read(stream, n_header), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise WireError("a header that is not JSON") from error
    if not isinstance(header, dict):
        raise WireError("a header that is not a JSON object")
    return header, _read(stream, n_payload)


def _read(stream: BinaryIO, n: int) -> bytes:
    found = stream.read(n)
    if len(found) < n:
        raise EOFError
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def pack(tensors: Mapping[str, Tensor | None]) -> bytes:
    """Pack tensors into a payload, on the CPU and contiguous; None is left out."""
    import torch
    from safetensors.torch import save

    there = {name: t.detach().to("cpu") for name, t in tensors.items() if t is not None}
    plain = {n: t.clone(memory_format=torch.contiguous_format) for n, t in there.items()}
    return save(plain) if plain else b""


def unpack(payload: bytes) -> dict[str, Tensor]:
    """Unpack the tensors of a payload into memory aligned by torch, which bits may depend on.

    Raises:
        WireError: it is not safetensors.
    """
    from safetensors.torch import load

    if not payload:
        return {}
    try:
        return {name: t.clone() for name, t in load(payload).items()}
    except Exception as error:  # the reader raises several types of errors
        raise WireError("a payload that is not safetensors") from error
