"""The cache of latents: damage is found and named, two processes encode once, nothing is half there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import beside
import numpy as np
import pytest
import small
import torch
from encoding import TINY, calls, latents, sum_of_latents, write

from clbench.data import latent_cache
from clbench.data.latent import ProgressSink
from clbench.data.latent_cache import Damaged
from clbench.errors import ClbenchError, UsageError
from clbench.util import seal
from clbench.util.hashing import file_sha256

Damage = Callable[[Path], None]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write(tmp_path)


@pytest.fixture
def entry(tiny: Path) -> Path:
    latents(tiny)
    [folder] = latent_cache.entries()
    return folder


def change_meta(folder: Path, **changes: object) -> None:
    file = folder / "meta.json"
    data = {**json.loads(file.read_text()), **changes}
    file.write_bytes(seal.sealed(data))


def flip(folder: Path) -> None:
    file = folder / "latents.npy"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


def truncate(folder: Path) -> None:
    file = folder / "latents.npy"
    file.write_bytes(file.read_bytes()[:-8])


def pickled(folder: Path) -> None:
    """Something that would run code if it were unpickled, with a right checksum."""
    np.save(folder / "latents.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    change_meta(folder, sha256=file_sha256(folder / "latents.npy"))


DAMAGE: dict[str, tuple[Damage, str]] = {
    "flipped": (flip, "checksum"),
    "truncated": (truncate, "checksum"),
    "no latents": (lambda f: (f / "latents.npy").unlink(), "latents.npy: No such file"),
    "no meta": (lambda f: (f / "meta.json").unlink(), "meta.json: No such file"),
    "meta is no JSON": (lambda f: (f / "meta.json").write_text("{"), "malformed"),
    "meta is a list": (lambda f: (f / "meta.json").write_text("[]"), "malformed"),
    "other format": (lambda f: change_meta(f, format=2), "another version (format 2, not 1)"),
    "unknown key": (lambda f: change_meta(f, more=2), "malformed"),
    "other recipe": (lambda f: change_meta(f, recipe={}), "its recipe does not match"),
    "other shape": (lambda f: change_meta(f, shape=[2, 2]), "shape and dtype"),
    "pickled": (pickled, "not a matrix"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_entry_is_named_and_made_anew(tiny: Path, entry: Path, kind: str):
    damage, said = DAMAGE[kind]
    wanted = latents(tiny).gather("train", np.arange(48)).clone()
    once = len(calls(tiny))
    damage(entry)
    with pytest.raises(Damaged):
        latent_cache.open_checked(entry)
    told: list[str] = []
    pool = latents(tiny, sink=ProgressSink(warn=told.append))
    assert torch.equal(pool.gather("train", np.arange(48)), wanted)
    assert len(calls(tiny)) == 2 * once
    [line] = told
    assert entry.name in line
    assert said in line
    assert "\n" not in line
    assert latent_cache.check(entry).format == latent_cache.FORMAT
    latents(tiny, sink=ProgressSink(warn=told.append))
    assert (len(calls(tiny)), len(told)) == (2 * once, 1)


def test_an_entry_says_what_was_encoded_by_what(entry: Path):
    meta = latent_cache.read_meta(entry)
    assert meta.data == "blobs"
    assert meta.recipe["encoder"] == "tiny"
    assert meta.recipe["settings"] == {"batch_size": 64, "dtype": "float32", "factor": 1.0}
    assert meta.recipe["data_sha256"] == small.pool().sha256
    assert meta.shape == (68, 3)
    assert {path.name for path in entry.iterdir()} == {"latents.npy", "meta.json"}
    assert str(Path.home()) not in (entry / "meta.json").read_text()


def test_latents_are_mapped_and_not_written_to(tiny: Path, entry: Path):
    before = (entry / "latents.npy").read_bytes()
    pool = latents(tiny)
    pool._latents[:] = 0  # a strategy that writes into what it is given
    assert (entry / "latents.npy").read_bytes() == before


def test_another_engine_or_platform_is_another_entry_of_the_same_pool(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    first = latents(tiny)
    monkeypatch.setattr("clbench.data.latent._engine", lambda *a: "e" * 64)
    assert latents(tiny).sha256 == first.sha256
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert latents(tiny).sha256 == first.sha256
    assert len(latent_cache.entries()) == 3


def test_an_encoding_that_fails_leaves_nothing(tmp_path: Path):
    text = TINY.replace("CALLS.append(len(x))", "CALLS.append(len(x)); 1 / (2 - len(CALLS))")
    said = r"tiny\.py line \d+: fails for samples of shape \(6,\): ZeroDivisionError: "
    with pytest.raises(UsageError, match=said):
        latents(write(tmp_path, text), batch_size=8)
    left = [path.name for path in latent_cache.root().iterdir()]
    assert all(name.endswith(".lock") for name in left)


def test_what_a_killed_process_left_is_cleared_away(tiny: Path, entry: Path):
    left = entry.with_name(f".{entry.name}.x.part")
    shutil.copytree(entry, left)
    shutil.rmtree(entry)
    assert latent_cache.entries() == []
    latents(tiny)
    assert not left.exists()
    assert latent_cache.entries() == [entry]


def test_a_cache_that_cannot_be_written_gets_one_line(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(ClbenchError, match="set CLBENCH_CACHE") as caught:
        latents(tiny)
    assert not isinstance(caught.value, UsageError)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CLBENCH_CACHE", "/x")
    assert latent_cache.root() == Path("/x/latents")
    monkeypatch.delenv("CLBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/y")
    assert latent_cache.root() == Path("/y/clbench/latents")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert latent_cache.root() == tmp_path / ".cache/clbench/latents"


LOGGING = TINY.replace(
    "CALLS.append(len(x))",
    'import os, time; open(os.environ["TINY_LOG"], "a").write(f"{len(x)}\\n"); time.sleep(0.05)',
)


def test_two_processes_encode_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log, tiny = tmp_path / "log", write(tmp_path, LOGGING)
    monkeypatch.setenv("TINY_LOG", str(log))
    with beside.pool(2) as workers:
        found = set(workers.map(sum_of_latents, [str(tiny)] * 2))
    assert len(found) == 1
    assert len(log.read_text().split()) == 6 + 3
    assert len(latent_cache.entries()) == 1
    assert sum_of_latents(str(tiny)) in found
    assert len(log.read_text().split()) == 6 + 3
    assert os.environ["TINY_LOG"]


def test_progress_counts_every_sample(tiny: Path):
    seen: list[tuple[str, int, list[int]]] = []

    class Watch:
        def __init__(self, title: str, total: int) -> None:
            seen.append((title, total, []))

        def __enter__(self) -> Callable[[int], None]:
            return seen[-1][2].append

        def __exit__(self, *error: object) -> None:
            pass

    latents(tiny, sink=ProgressSink(watch=Watch), batch_size=16)
    latents(tiny, sink=ProgressSink(watch=Watch), batch_size=16)
    assert seen == [("encoding blobs with tiny", 68, [16, 32, 48, 64, 68])]
