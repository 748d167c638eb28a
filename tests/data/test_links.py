"""Links: ``data.path`` may be one, as on clusters; files stay inside the folder that it leads to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import write_npz

from clbench import UsageError
from clbench.data.pictures import MAX_DEPTH
from clbench.data.sets.folder import Folder
from clbench.data.sets.npz import Npz

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX systems")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images a class, in a folder behind two links."""
    real = tmp_path / "storage" / "pictures"
    for number, name in enumerate(("train/a", "train/b", "test/a", "test/b")):
        (real / name).mkdir(parents=True)
        for k in range(2):
            Image.fromarray(np.full((4, 4), 60 * number + k, np.uint8)).save(
                real / name / f"{k}.png"
            )
    (tmp_path / "scratch").symlink_to(tmp_path / "storage")
    (tmp_path / "link").symlink_to(tmp_path / "scratch" / "pictures")
    return tmp_path / "link"


def test_a_folder_behind_links_is_the_folder(root: Path):
    through, direct = (Folder(path=p, size=4).arrays() for p in (root, root.resolve()))
    np.testing.assert_array_equal(through.train_x, direct.train_x)
    np.testing.assert_array_equal(through.test_y, direct.test_y)
    inside = root / "train" / "a" / "2.png"
    inside.symlink_to(root / "train" / "a" / "0.png")
    assert len(Folder(path=root, size=4).arrays().train_x) == len(direct.train_x) + 1


def test_a_file_behind_a_link_is_the_file(tmp_path: Path):
    path = write_npz(tmp_path / "a.npz")
    (tmp_path / "link").symlink_to(path)
    through, direct = (Npz(path=p).arrays() for p in (tmp_path / "link", path))
    np.testing.assert_array_equal(through.train_x, direct.train_x)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda at: (at / "2.png").symlink_to("/etc/hostname"), "is a link out of data.path"),
        (lambda at: (at / "more").symlink_to("/etc"), "is a link out of data.path"),
        (lambda at: (at / "2.png").symlink_to("2.png"), "is a link to itself"),
        (lambda at: (at / "up").symlink_to(".."), "is a link to a folder above it"),
        (lambda at: os.mkfifo(at / "2.png"), "is a pipe or device"),
        (lambda at: os.truncate(_new(at / "2.png"), 1 << 40), "is larger than 256 MiB"),
        (lambda at: at.joinpath(*["d"] * (MAX_DEPTH + 2)).mkdir(parents=True), "folders below"),
    ],
)
def test_what_is_no_image_of_the_folder_is_named(root: Path, spoil, told: str):
    spoil(root / "train" / "a")
    with pytest.raises(UsageError, match=told) as error:
        Folder(path=root, size=4).arrays()
    assert "train/a" in str(error.value)


def test_what_is_no_image_by_its_name_is_left_out_with_a_count(root: Path):
    at = root / "train" / "a"
    (at / "2.txt").symlink_to("/etc/hostname")
    os.mkfifo(at / "pipe.txt")
    [note] = Folder(path=root, size=4).arrays().notes
    assert note == "left out: 2 files ending in .txt"


def test_an_image_of_too_many_pixels_is_refused_by_its_header(root: Path):
    Image.new("1", (10_000, 6_000)).save(root / "train" / "a" / "2.png")
    with pytest.raises(UsageError, match=r"2\.png: has 10,000x6,000 pixels; make it smaller"):
        Folder(path=root, size=4).arrays()


def _new(path: Path) -> Path:
    path.touch()
    return path
