"""Files of named tensors: what goes in comes out; of hostile ones nothing does."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clbench.encoder import weights_sha256
from clbench.errors import UsageError
from clbench.util import tensor_files

TENSORS = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "a.bias": torch.tensor([0.5, 1.5], dtype=torch.float64),
    "half": torch.tensor(2.0, dtype=torch.bfloat16),
    "empty": torch.zeros(0, 4),
    "steps": torch.tensor(7),
}


def refused(path: Path, call: Any = tensor_files.read) -> str:
    with pytest.raises(UsageError) as caught:
        call(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert str(path) in message
    return message


def test_round_trip(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    tensor_files.write(path, TENSORS, {"key": "value"})
    found, header = tensor_files.read(path)
    assert header == {"key": "value"}
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_views_of_one_vector_can_be_written(tmp_path: Path):
    flat = torch.arange(6.0)
    parts = {"a": flat[:4].view(2, 2).T, "b": flat[4:], "tied": flat[4:]}
    tensor_files.write(tmp_path / "a.safetensors", parts, {})
    found, _ = tensor_files.read(tmp_path / "a.safetensors")
    assert all(torch.equal(found[name], part) for name, part in parts.items())


def test_the_hash_is_what_the_docstring_says():
    digest = hashlib.sha256()
    for name, dtype, shape, raw in (
        ("a", "torch.float32", [2, 1], struct.pack("<2f", 1, -2)),
        ("z", "torch.int64", [], struct.pack("<q", 3)),
    ):
        digest.update(
            json.dumps([name, dtype, shape], separators=(",", ":")).encode() + b"\n" + raw
        )
    tensors = {"z": torch.tensor(3), "a": torch.tensor([[1.0], [-2.0]])}
    assert tensor_files.sha256(tensors) == digest.hexdigest()


def test_the_hash_of_an_encoder_has_titles_of_its_own():
    """Records and caches hold it, so it stays another one than that of a file's tensors."""
    network = nn.Linear(1, 2)
    network.load_state_dict({"weight": torch.tensor([[1.0], [-2.0]]), "bias": torch.zeros(2)})
    raw = b"bias torch.float32 (2,)" + struct.pack("<2f", 0, 0)
    raw += b"weight torch.float32 (2, 1)" + struct.pack("<2f", 1, -2)
    assert weights_sha256(network) == hashlib.sha256(raw).hexdigest()


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(TENSORS)), st.sampled_from(["name", "dtype", "shape", "value"]))
def test_the_hash_sees_every_name_dtype_shape_and_value(name: str, what: str):
    changed = dict(TENSORS)
    tensor = changed.pop(name)
    if what == "name":
        changed[name + "_"] = tensor
    elif what == "dtype":
        changed[name] = tensor.to(torch.float16)
    elif what == "shape":
        changed[name] = tensor[None]
    elif tensor.numel():
        changed[name] = tensor + 1
    else:
        return
    assert tensor_files.sha256(changed) != tensor_files.sha256(TENSORS)
    backwards = dict(reversed(TENSORS.items()))
    assert tensor_files.sha256(backwards) == tensor_files.sha256(TENSORS)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_as_finite_numbers(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    whole = safetensors.torch.save({"a": torch.ones(2, 3), "b": torch.ones(4)}, {"k": "v"})
    path = tmp_path_factory.mktemp("damaged") / "a.safetensors"
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        refused(path)
        return
    at = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :])
    try:
        found, _ = tensor_files.read(path)
    except UsageError as error:
        message = str(error)
    else:
        message = ""
        assert all(torch.isfinite(t).all() for t in found.values())
    assert "\n" not in message
    assert message.isprintable()


def with_header(header: Any) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "safetensors"),
        (b"not a file at all", "safetensors"),
        (struct.pack("<Q", 2**62) + b"{}", "safetensors"),
        (struct.pack("<Q", 4) + b"{nan", "safetensors"),
        (with_header([]), "safetensors"),
        (with_header({}), "no tensors"),
        (with_header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}), "safetens"),
        (with_header({"a": {"dtype": "X7", "shape": [], "data_offsets": [0, 0]}}), "safetensors"),
    ],
)
def test_malformed_headers(tmp_path: Path, raw: bytes, reason: str):
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw)
    assert reason in refused(path)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.tensor([1, torch.nan]), "NaN"),
        (torch.tensor([torch.inf]), "infinite"),
        (torch.ones(2, dtype=torch.float8_e4m3fn), "F8"),
        (torch.ones(2, dtype=torch.complex64), "C64"),
    ],
)
def test_what_is_no_finite_number_is_named(tmp_path: Path, tensor: Tensor, reason: str):
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors.torch.save({"fine": torch.ones(1), "bad.one": tensor}))
    message = refused(path)
    assert "'bad.one'" in message
    assert reason in message


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "\u202eabc", "", "x" * 501])
def test_names_are_printable_and_shown_escaped(tmp_path: Path, name: str):
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors.torch.save({name: torch.ones(1)}))
    assert "printable name" in refused(path)


class Gadget:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('unpickled')",))


def test_dictionaries_of_three_kinds(tmp_path: Path):
    tensors = {"a": torch.ones(2, 3), "b": torch.tensor([1.0, 2.0])}
    torch.save(tensors, tmp_path / "a.pt")
    torch.save({k: nn.Parameter(v) for k, v in tensors.items()}, tmp_path / "p.pt")
    np.savez(tmp_path / "a.npz", **{k: v.numpy() for k, v in tensors.items()})
    tensor_files.write(tmp_path / "a.safetensors", tensors, {})
    for file in ("a.pt", "p.pt", "a.npz", "a.safetensors"):
        found = tensor_files.read_dictionary(tmp_path / file)
        assert found.keys() == tensors.keys(), file
        assert all(torch.equal(found[name], tensors[name]) for name in tensors), file
        assert not any(value.requires_grad for value in found.values())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"a": Gadget()}, "without objects"),
        (Gadget(), "without objects"),
        ({"state_dict": {"a": torch.ones(1)}}, "'state_dict' is dict"),
        ([torch.ones(1)], "not a dictionary"),
        ({1: torch.ones(1)}, "'1' is Tensor, not a tensor under a name"),
        ({}, "no tensors"),
        ({"a": torch.tensor([torch.nan])}, "'a' holds NaN"),
        ({"a": torch.ones(2).to_sparse()}, "not dense"),
    ],
)
def test_of_a_pickle_only_a_flat_dictionary_of_tensors(tmp_path: Path, content: Any, reason: str):
    torch.save(content, tmp_path / "a.pt")
    assert reason in refused(tmp_path / "a.pt", tensor_files.read_dictionary)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([{}], dtype=object), "'bad' cannot be read"),
        (np.array(["text"]), "'bad' cannot be read"),
        (np.array([1 + 1j]), "complex"),
        (np.array([np.nan]), "NaN"),
    ],
)
def test_of_an_npz_only_numbers(tmp_path: Path, array: np.ndarray, reason: str):
    np.savez(tmp_path / "a.npz", fine=np.ones(2), bad=array)
    message = refused(tmp_path / "a.npz", tensor_files.read_dictionary)
    assert reason in message
    assert "'bad'" in message


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_of_a_truncated_or_missing_file_nothing(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    assert "no such file" in refused(path, tensor_files.read_dictionary)
    if suffix == ".npz":
        np.savez(path, a=np.ones(500))
    elif suffix == ".pt":
        torch.save({"a": torch.ones(500)}, path)
    else:
        tensor_files.write(path, {"a": torch.ones(500)}, {})
    path.write_bytes(path.read_bytes()[:-900])
    refused(path, tensor_files.read_dictionary)


def test_where_one_may_write(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    assert tensor_files.writable(path, False) == path
    path.write_bytes(b"")
    assert tensor_files.writable(path, True) == path
    for bad, overwrite in ((path, False), (tmp_path, True), (tmp_path / "no" / "a", True)):
        with pytest.raises(UsageError):
            tensor_files.writable(bad, overwrite)
