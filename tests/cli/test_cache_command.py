"""``clbench cache``, and what ``clbench run`` tells of encoding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import clbench, tiny
from encoding import write
from PIL import Image

from clbench.data import decoded_entries, latent_cache
from clbench.data.sets.folder import Folder

pytestmark = pytest.mark.usefixtures("quick")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def filled(npz: Path, tmp_path: Path, capsys: Capture) -> list[Path]:
    words = ["run", *tiny(npz), "strategy=naive", "--out", tmp_path / "runs", "-q"]
    for encoder in ("identity", write(tmp_path)):
        assert clbench(capsys, *words, f"encoder={encoder}").code == 0
    return latent_cache.entries()


def listed(capsys: Capture, *words: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(clbench(capsys, "cache", *words, "--json").out)
    return found


def test_an_empty_cache(capsys: Capture):
    for action in ("list", "verify", "clear"):
        code, out, err = clbench(capsys, "cache", action)
        assert (code, out) == (0, "")
        assert "0 entries" in err


def test_list(filled: list[Path], capsys: Capture):
    code, out, err = clbench(capsys, "cache", "list")
    assert code == 0
    assert "2 entries" in err
    for folder, encoder in zip(filled, ("identity", "tiny"), strict=True):
        [line] = [line for line in out.splitlines() if folder.name in line]
        assert {"npz", encoder, "68", "float32"} <= set(line.split())
    [only] = listed(capsys, "list", "tin*")
    assert (only["encoder"], only["samples"], only["latents"]) == ("tiny", 68, 3)
    assert len(listed(capsys, "list", "npz")) == 2
    assert listed(capsys, "list", filled[0].name[:6])[0]["name"] == filled[0].name
    assert listed(capsys, "list", "nothing") == []


def test_verify_finds_damage(filled: list[Path], capsys: Capture):
    assert clbench(capsys, "cache", "verify").code == 0
    with (filled[1] / "latents.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x77")
    assert {row["state"] for row in listed(capsys, "list")} == {""}  # reads no latents
    code, out, _ = clbench(capsys, "cache", "verify")
    assert code == 1
    [line] = [line for line in out.splitlines() if "checksum" in line]
    assert filled[1].name in line


def test_clear(filled: list[Path], capsys: Capture):
    code, out, _ = clbench(capsys, "cache", "clear", "identity", "--dry-run")
    assert (code, "would be removed" in out) == (0, True)
    assert latent_cache.entries() == filled
    code, out, _ = clbench(capsys, "cache", "clear", "identity")
    assert (code, filled[0].name in out) == (0, True)
    assert latent_cache.entries() == filled[1:]
    assert [row["state"] for row in listed(capsys, "clear")] == ["removed"]
    assert latent_cache.entries() == []


def test_a_run_tells_what_it_encodes_once(npz: Path, tmp_path: Path, capsys: Capture):
    words = ["run", *tiny(npz), "strategy=naive", "encoder=identity", "--out", tmp_path / "runs"]
    err = clbench(capsys, *words).err
    assert "encoding npz with identity: 68 samples in " in err
    assert "encoding" not in clbench(capsys, *words, "seed=1").err
    assert "already done" in clbench(capsys, *words).err
    [folder] = latent_cache.entries()
    (folder / "meta.json").write_text("{}")
    assert f"warning: cache entry {folder.name}: " in clbench(capsys, *words, "seed=2").err


def test_the_record_of_a_run_has_the_recipe(npz: Path, tmp_path: Path, capsys: Capture):
    words = ["run", *tiny(npz), "strategy=naive", f"encoder={write(tmp_path)}"]
    assert clbench(capsys, *words, "--out", tmp_path / "runs", "-q").code == 0
    [file] = (tmp_path / "runs").rglob("record.json")
    record = json.loads(file.read_text())
    assert record["encoder"]["weights_sha256"]
    assert record["config"]["encoder"]["name"] == "tiny"
    from clbench.results.record_schema import faults

    assert faults(record) == []
    for change in (
        {"encoder": {**record["encoder"], "weights_sha256": "0" * 64}},
        {"encoder": {**record["encoder"], "more": 1}},
        {"cost": {k: v for k, v in record["cost"].items() if k != "encode_flops"}},
        {"sources": {k: v for k, v in record["sources"].items() if k != "encoder"}},
        {"config": {k: v for k, v in record["config"].items() if k != "encoder"}},
    ):
        assert faults({**record, **change}), change
    for key in ("encoder", "config", "sources", "cost"):
        without = {k: v for k, v in record.items() if k != "encoder"}
        assert key != "encoder" or faults(without)


@pytest.fixture
def decoded(tmp_path: Path) -> Path:
    """The entry of a data set of 12 images that was decoded into a file."""
    for split in ("train", "test"):
        for c in range(2):
            folder = tmp_path / "data" / split / f"class{c}"
            folder.mkdir(parents=True)
            for i in range(3):
                pixels = np.full((9, 9, 3), 20 * i + 100 * c, np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    Folder(path=tmp_path / "data", size=8, storage="mapped").pool(torch.device("cpu"))
    [found] = decoded_entries.entries()
    return found


def test_decoded_data_sets_are_listed(decoded: Path, filled: list[Path], capsys: Capture):
    assert len(listed(capsys, "list")) == 3
    for pattern in ("decoded", "fold*", decoded.name[:5]):
        [row] = listed(capsys, "list", pattern)
        assert row["name"] == decoded.name
        assert (row["data"], row["samples"], row["latents"]) == ("folder", 12, 192)
        assert row["bytes"] >= 12 * 192  # type: ignore[operator]
    assert "decoded" in clbench(capsys, "cache", "list").out


@pytest.mark.parametrize(
    ("damage", "says"),
    [("flip", "block 0 does not match"), ("cut", "size of its samples"), ("meta", "malformed")],
)
def test_verify_finds_damage_of_decoded_data(
    decoded: Path, capsys: Capture, damage: str, says: str
):
    assert [row["state"] for row in listed(capsys, "verify")] == ["ok"]
    pixels = decoded / "pixels.u8"
    content = pixels.read_bytes()
    if damage == "flip":
        pixels.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "cut":
        pixels.write_bytes(content[:-1])
    else:
        (decoded / "meta.json").write_text("{")
    code, out, _ = clbench(capsys, "cache", "verify", "decoded", "--json")
    assert code == 1
    assert says in json.loads(out)[0]["state"]


def test_an_unfinished_data_set_is_said_and_cleared(decoded: Path, capsys: Capture):
    part = decoded.with_name(f".{decoded.name}.part")
    decoded.rename(part)
    code, out, _ = clbench(capsys, "cache", "verify", "--json")
    assert (code, [(r["name"], r["state"]) for r in json.loads(out)]) == (
        0,
        [(decoded.name, "unfinished")],
    )
    assert [r["state"] for r in listed(capsys, "clear", "--dry-run")] == ["would be removed"]
    assert part.exists()
    assert [r["state"] for r in listed(capsys, "clear")] == ["removed"]
    assert not part.exists()
    assert listed(capsys, "list") == []


def test_clear_removes_what_matches_alone(decoded: Path, filled: list[Path], capsys: Capture):
    assert len(listed(capsys, "clear", "decoded")) == 1
    assert not decoded.exists()
    assert latent_cache.entries() == filled
