"""Images are decoded once, into a file that is mended after whatever happens."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import beside
import numpy as np
import pytest
from decoding import decode
from mapping import CPU, both
from PIL import Image

from clbench.data import decoded
from clbench.data.pool import TensorPool
from clbench.data.sets.folder import Folder
from clbench.errors import ClbenchError, UsageError


def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the samples that are decoded from now on."""
    seen: list[int] = []
    original = Folder.listing

    def listing(self: Folder) -> decoded.Listing:
        found = original(self)
        decode = found.decode

        def watched(number: int, tally: object) -> np.ndarray:
            seen.append(number)
            return decode(number, tally)  # type: ignore[arg-type]

        object.__setattr__(found, "decode", watched)
        return found

    monkeypatch.setattr(Folder, "listing", listing)
    return seen


def test_samples_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch):
    seen = decodes(monkeypatch)
    first, _ = both(root)
    assert sorted(seen) == list(range(64))
    again, _ = both(root)
    assert len(seen) == 64
    assert again.sha256 == first.sha256
    file = root / "train" / "class0" / "000.png"
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(1, 1))
    both(root)
    assert len(seen) == 128  # a file that was written anew may hold other pixels


def entry() -> Path:
    [folder] = [p for p in decoded.root().iterdir() if p.is_dir()]
    return folder


@pytest.mark.parametrize("damage", ["flip", "cut", "meta", "gone"])
def test_a_damaged_file_is_mended(
    root: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch, damage: str
):
    good = both(root)[0].sha256
    seen = decodes(monkeypatch)
    pixels = entry() / decoded.PIXELS
    content = bytearray(pixels.read_bytes())
    if damage == "flip":
        content[200] ^= 1
        pixels.write_bytes(bytes(content))
    elif damage == "cut":
        pixels.write_bytes(bytes(content[:-1]))
    elif damage == "meta":
        (entry() / decoded.META).write_text("{")
    else:
        pixels.unlink()
    assert both(root)[0].sha256 == good
    assert bytes(content) != entry().joinpath(decoded.PIXELS).read_bytes() or damage != "flip"
    # Only what is damaged is decoded again, where it is known.
    assert len(seen) == {"flip": 7, "cut": 1, "meta": 64, "gone": 64}[damage]


def test_a_file_that_ends_while_it_is_read_is_named(root: Path):
    mine, _ = both(root)
    os.truncate(entry() / decoded.PIXELS, 1000)
    with pytest.raises(ClbenchError, match=r"pixels\.u8: ends too early"):
        mine.gather("train", np.arange(20))


def test_a_damaged_image_is_named_and_the_rest_is_kept(
    root: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
):
    bad = root / "train" / "class3" / "005.png"
    bad.write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"class3/005\.png"):
        both(root)
    journal = next(decoded.root().glob(".*.part")) / decoded.JOURNAL
    assert len(journal.read_text().splitlines()) == 41 // 7


def test_a_killed_decoding_goes_on_where_it_was(root: Path, tmp_path: Path):
    log = tmp_path / "log"
    answer = tmp_path / "answer"
    process = beside.start(decode, root, log, 0.05, answer)
    deadline = time.monotonic() + 60
    part = decoded.root()
    while time.monotonic() < deadline:
        lines = [p.read_text().count("\n") for p in part.glob(f".*.part/{decoded.JOURNAL}")]
        if lines and lines[0] >= 3:
            break
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not answer.exists()
    [journal] = part.glob(f".*.part/{decoded.JOURNAL}")
    done = journal.read_text().count("\n")
    assert 3 <= done < 10
    log.unlink()
    beside.start(decode, root, log, 0, answer).join()
    assert log.read_text().count("\n") == 64 - 7 * done
    assert answer.read_text() == TensorPool(Folder(path=root, size=8).arrays(), CPU).sha256


def test_what_a_killed_process_left_is_compared_with_its_hash(
    root: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
):
    good = both(root)[0].sha256
    folder = entry()
    meta = json.loads((folder / decoded.META).read_text())
    lines = [
        {"block": i, "sha256": s, "frames": 0, "transparent": 0, "warned": []}
        for i, s in enumerate(meta["blocks"])
    ]
    (folder / decoded.META).unlink()
    with (folder / decoded.PIXELS).open("r+b") as file:
        file.write(b"\0" * 5)  # of the first block
    text = "".join(json.dumps(line) + "\n" for line in lines[:5]) + '{"block": 5, "sha'
    (folder / decoded.JOURNAL).write_text(text)
    folder.rename(folder.with_name(f".{folder.name}.part"))
    seen = decodes(monkeypatch)
    assert both(root)[0].sha256 == good
    assert sorted(set(seen)) == sorted({*range(7), *range(35, 64)})


def test_two_processes_decode_once(root: Path, tmp_path: Path):
    log = tmp_path / "log"
    answers = [tmp_path / f"answer{n}" for n in range(2)]
    processes = [beside.start(decode, root, log, 0.01, answer) for answer in answers]
    for process in processes:
        process.join()
    assert len({answer.read_text() for answer in answers}) == 1
    assert log.read_text().count("\n") == 64


def test_warnings_of_images_are_told_once_each_by_their_own_file(root: Path):
    for name in ("class0", "class2"):
        file = root / "train" / name / "001.png"
        palette = Image.open(file).convert("P")
        palette.save(file, transparency=b"\x00\x80")
    pool = Folder(path=root, size=8).pool(CPU)
    direct = Folder(path=root, size=8).arrays().notes
    assert pool.notes == direct
    assert Folder(path=root, size=8).pool(CPU).notes == direct  # from the file


def test_an_unwritable_cache_is_one_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(ClbenchError, match="set CLBENCH_CACHE"):
        Folder(path=root, size=8).pool(CPU)
