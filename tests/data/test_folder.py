"""Image folders: labels by name, pixels as decoded, nothing from outside."""

import numpy as np
import pytest
from PIL import Image

from clbench.data.sets.folder import Folder
from clbench.errors import UsageError


def write(root, split, name, file, pixels):
    folder = root / split / name
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / file)


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for split, n in (("train", 3), ("test", 2)):
        for name in ("dog", "cat"):
            for i in range(n):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                write(tmp_path / "data", split, name, f"{i}.png", pixels)
    return tmp_path / "data"


def test_pixels_and_labels(root):
    arrays = Folder(path=root).arrays()
    assert arrays.train_x.shape == (6, 3, 32, 32)
    assert arrays.train_y.tolist() == [0, 0, 0, 1, 1, 1]
    assert arrays.test_y.tolist() == [0, 0, 1, 1]
    pixels = np.asarray(Image.open(root / "train" / "cat" / "1.png"))
    np.testing.assert_array_equal(arrays.train_x[1], pixels.transpose(2, 0, 1))
    assert Folder(path=root).default_model() == "slim_resnet18"


def test_gray_resized_and_mixed_modes(root):
    write(root, "train", "cat", "gray.jpg", np.full((50, 20), 100, dtype=np.uint8))
    write(root, "train", "cat", "alpha.PNG", np.full((9, 9, 4), 100, dtype=np.uint8))
    (root / "train" / "cat" / ".hidden.png").write_text("skipped")
    (root / "train" / "cat" / "notes.txt").write_text("skipped")
    (root / "train" / ".cache").mkdir()
    arrays = Folder(path=root, size=16, gray=True).arrays()
    assert arrays.train_x.shape == (8, 16, 16)
    assert (arrays.train_x[3:5] == 100).all()  # "alpha.PNG" and "gray.jpg" come after the digits
    assert Folder(path=root, size=16, gray=True).default_model() == "scole_cnn"


def test_links_out_of_the_folder_are_refused(root, tmp_path):
    outside = tmp_path / "outside.png"
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(outside)
    (root / "train" / "cat" / "link.png").symlink_to(outside)
    with pytest.raises(UsageError, match=r"link\.png.*out of"):
        Folder(path=root).arrays()


def test_linked_class_folders_are_refused(root, tmp_path):
    (root / "train" / "dog").rename(tmp_path / "dog")
    (root / "train" / "dog").symlink_to(tmp_path / "dog")
    with pytest.raises(UsageError, match="out of"):
        Folder(path=root).arrays()


def test_links_inside_the_folder_are_fine(root):
    (root / "train" / "cat" / "again.png").symlink_to(root / "train" / "cat" / "0.png")
    assert len(Folder(path=root).arrays().train_x) == 7


@pytest.mark.parametrize("content", [b"", b"no image", b"GIF89a"])
def test_files_that_are_no_images_are_named(root, content):
    (root / "test" / "dog" / "bad.png").write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.png"):
        Folder(path=root).arrays()


def test_sixteen_bits_are_not_squeezed_silently(root):
    write(root, "test", "dog", "deep.png", np.full((4, 4), 60000, dtype=np.uint16))
    with pytest.raises(UsageError, match=r"deep\.png: mode I;16"):
        Folder(path=root).arrays()


def test_structure_is_checked(root, tmp_path):
    with pytest.raises(UsageError, match=r"data\.path=DIR"):
        Folder().arrays()
    with pytest.raises(UsageError, match="absent"):
        Folder(path=tmp_path / "absent").default_model()
    with pytest.raises(UsageError, match=r"data\.size=0"):
        Folder(path=root, size=0).arrays()
    write(root, "train", "mouse", "0.png", np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(UsageError, match="'mouse'"):
        Folder(path=root).arrays()
    (root / "test" / "mouse").mkdir()
    with pytest.raises(UsageError, match="mouse: holds no"):
        Folder(path=root).arrays()
    (tmp_path / "bare" / "train").mkdir(parents=True)
    with pytest.raises(UsageError, match="no class folders"):
        Folder(path=tmp_path / "bare").default_model()
