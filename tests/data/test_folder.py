"""Image folders: labels by name, pixels as decoded, nothing from outside."""

import shutil

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


def test_images_in_deeper_folders_belong_to_their_class_and_are_counted(root):
    flat = Folder(path=root).arrays()
    for i in range(4):
        pixels = np.full((32, 32, 3), 50 * i, dtype=np.uint8)
        write(root, "train", "cat/more/deep", f"{i}.png", pixels)
    arrays = Folder(path=root).arrays()
    assert len(arrays.train_x) == len(flat.train_x) + 4
    assert (arrays.train_y == 0).sum() == 7
    assert flat.notes == ()
    assert arrays.notes == (
        "4 images in 1 folder below a class folder (train/cat/more/deep) belong to that class",
    )
    assert arrays.class_names == ("cat", "dog")


def test_what_is_left_out_is_said_with_counts(root):
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / "test" / "dog" / "list.TXT").write_text("no image")
    (root / "test" / "dog" / "README").write_text("no image")
    (root / "train" / "loose.png").write_bytes((root / "train" / "cat" / "0.png").read_bytes())
    (root / "train" / ".hidden").mkdir()
    [note] = Folder(path=root).arrays().notes
    assert note == (
        "left out: 2 files ending in .txt, 1 file ending in no dot, 1 hidden file or folder, "
        "1 file beside the class folders"
    )


@pytest.mark.parametrize("ending", ["bmp", "webp", "tiff", "gif", "ppm", "jp2", "tga", "PNG"])
def test_every_raster_format_is_read(root, ending):
    pixels = np.full((32, 32, 3), 200, dtype=np.uint8)
    try:
        write(root, "train", "cat", f"z.{ending}", pixels)
    except (KeyError, ValueError, OSError):
        pytest.skip(f"this Pillow writes no {ending}")
    arrays = Folder(path=root).arrays()
    assert len(arrays.train_x) == 7
    np.testing.assert_allclose(arrays.train_x[3].astype(int), 200, atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_images_are_turned_as_viewers_show_them(root, orientation, ending):
    quarters = np.kron(np.array([[0, 80], [160, 240]], dtype=np.uint8), np.ones((16, 16)))
    image = Image.fromarray(quarters.astype(np.uint8)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(root / "train" / "cat" / f"0.{ending}", exif=exif, quality=100)
    (root / "train" / "cat" / "0.png").unlink(missing_ok=ending != "png")
    if ending == "png":
        image.save(root / "train" / "cat" / "0.png", exif=exif)
    got = Folder(path=root, gray=True).arrays().train_x[0]
    turn = {  # what EXIF 2.3 says of row 0 and column 0
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: a.T[:, ::-1],
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: a.T[::-1],
    }[orientation]
    assert np.abs(got.astype(int) - turn(quarters)).mean() < 6


@pytest.mark.parametrize("transparency", [b"\x00\x80", 0])
def test_palettes_with_transparency_keep_their_colours_and_warn_of_nothing(root, transparency):
    image = Image.new("P", (20, 20), 1)
    image.putpalette([255, 0, 0, 0, 255, 0] * 128)
    image.save(root / "train" / "cat" / "0.png", transparency=transparency)
    arrays = Folder(path=root).arrays()  # a warning would be an error here
    assert (arrays.train_x[0] == np.array([0, 255, 0])[:, None, None]).all()
    transparent = isinstance(transparency, bytes)
    assert ("transparent" in str(arrays.notes)) == transparent


def test_further_frames_are_counted(root):
    frames = [Image.new("RGB", (8, 8), (k, 0, 0)) for k in (10, 200)]
    frames[0].save(root / "train" / "cat" / "z.png", save_all=True, append_images=frames[1:])
    arrays = Folder(path=root).arrays()
    assert arrays.train_x[3][0].max() == 10
    assert arrays.notes == ("1 image with several frames: only the first is used",)


def test_links_in_a_circle_are_refused(root):
    (root / "train" / "cat" / "round").symlink_to(root / "train" / "cat")
    with pytest.raises(UsageError, match="link to a folder above"):
        Folder(path=root).arrays()


@pytest.mark.parametrize("bare", [False, True])
def test_a_test_split_is_made_on_request(root, bare):
    whole = Folder(path=root).arrays()
    shutil.rmtree(root / "test")
    path = root / "train" if bare else root
    word = "data\\.split=0\\.2"
    for call in (Folder(path=path).arrays, Folder(path=path).default_model):
        with pytest.raises(UsageError, match=word):
            call()
    made = Folder(path=path, split=0.34)
    arrays = made.arrays()
    assert (np.bincount(arrays.test_y) == 1).all()
    assert (np.bincount(arrays.train_y) == 2).all()
    both = np.concatenate([arrays.train_x, arrays.test_x])
    assert sorted(map(bytes, both)) == sorted(map(bytes, whole.train_x))
    smaller = Folder(path=path, split=0.34, size=8).arrays()
    assert (smaller.test_y == arrays.test_y).all()
    assert made.default_model() == "slim_resnet18"


def test_a_split_beside_a_test_folder_is_refused(root):
    with pytest.raises(UsageError, match="has a test split already"):
        Folder(path=root, split=0.2).arrays()


def test_what_was_noticed_is_said_once_even_if_quiet(root, tmp_path, capsys):
    from commands import clbench

    (root / "train" / "cat" / "notes.txt").write_text("no image")
    words = ["scenario=class_incremental", "strategy=naive", "seed=0..1", "model=linear"]
    own = ["data=folder", f"data.path={root}", "data.size=4", "device=cpu"]
    code, out, err = clbench(capsys, "run", *words, *own, "-q", "--json", "--dry-run")
    assert code == 0
    assert err == "clbench: data=folder: left out: 1 file ending in .txt\n"
    assert "left out" not in out


def tiny_imagenet(root, annotations="n2\nn1\n"):
    rng = np.random.default_rng(1)
    for name in ("n1", "n2"):
        folder = root / "train" / name / "images"
        folder.mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}_{i}.JPEG")
        (root / "train" / name / f"{name}_boxes.txt").write_text("box")
    for split in ("val", "test"):
        (root / split / "images").mkdir(parents=True)
        for i in range(2):
            pixels = np.full((64, 64, 3), 100 * i, dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / "images" / f"{split}_{i}.JPEG")
    lines = "".join(f"val_{i}.JPEG\t{n}\t0\t0\t63\t63\n" for i, n in enumerate(annotations.split()))
    (root / "val" / "val_annotations.txt").write_text(lines)
    return root


def test_tiny_imagenet_as_it_is(tmp_path):
    arrays = Folder(path=tiny_imagenet(tmp_path / "tiny"), size=64).arrays()
    assert arrays.class_names == ("n1", "n2")
    assert arrays.train_y.tolist() == [0, 0, 0, 1, 1, 1]
    # In the order of the classes; the annotations say that image 1 is of the first class.
    assert arrays.test_y.tolist() == [0, 1]
    assert [round(float(x.mean())) for x in arrays.test_x] == [100, 0]
    assert "val/ is the test split" in arrays.notes
    with pytest.raises(UsageError, match="line 2: no class 'n9'"):
        Folder(path=tiny_imagenet(tmp_path / "bad", "n1\nn9\n")).arrays()


def test_val_stands_in_for_a_missing_test_folder(root):
    (root / "test").rename(root / "val")
    arrays = Folder(path=root).arrays()
    assert arrays.test_y.tolist() == [0, 0, 1, 1]
    assert "val/ is the test split" in arrays.notes
    assert len(Folder(path=root, split=0.3).arrays().train_y) == 4  # as before: val/ is left out


def test_imagenet_r_is_a_folder_of_classes(root):
    (root / "train" / "README.txt").write_text("ImageNet-R")
    arrays = Folder(path=root / "train", split=0.4).arrays()
    assert np.bincount(arrays.test_y).tolist() == [1, 1]
    assert arrays.notes == ("left out: 1 file beside the class folders",)
