"""The user's own arrays: taken as they are or refused in one line."""

import numpy as np
import pytest

from clbench.data.sets.npz import Npz
from clbench.errors import UsageError


def parts(shape=(28, 28), dtype=np.uint8, **changed):
    rng = np.random.default_rng(0)
    arrays = {
        "train_x": (rng.random((6, *shape)) * 255).astype(dtype),
        "train_y": np.array([0, 1, 2, 0, 1, 2]),
        "test_x": (rng.random((3, *shape)) * 255).astype(dtype),
        "test_y": np.array([0, 1, 2], dtype=np.uint8),
    }
    return arrays | changed


def save(tmp_path, arrays):
    np.savez(tmp_path / "own.npz", **arrays)
    return Npz(path=tmp_path / "own.npz")


@pytest.mark.parametrize(
    ("shape", "dtype", "model", "scale"),
    [
        ((28, 28), np.uint8, "scole_cnn", 1 / 255),
        ((1, 28, 28), np.uint8, "scole_cnn", 1 / 255),
        ((8, 8), np.uint8, "mlp", 1 / 255),
        ((3, 16, 16), np.uint8, "slim_resnet18", 1 / 255),
        ((5,), np.float64, "mlp", 1.0),
        ((3, 16, 16), np.float16, "slim_resnet18", 1.0),
    ],
)
def test_shapes_and_dtypes(tmp_path, shape, dtype, model, scale):
    arrays = parts(shape, dtype)
    data = save(tmp_path, arrays)
    got = data.arrays()
    assert got.train_x.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    np.testing.assert_array_equal(got.train_x, arrays["train_x"].astype(got.train_x.dtype))
    assert (got.n_classes, got.scale) == (3, scale)
    assert got.test_y.dtype == np.int64
    assert data.default_model() == model


def test_compressed_files_are_read(tmp_path):
    np.savez_compressed(tmp_path / "own.npz", **parts())
    assert len(Npz(path=tmp_path / "own.npz").arrays().train_x) == 6


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"train_x": np.zeros((6, 28, 28), dtype=np.int64)}, "train_x"),
        ({"train_x": np.full((6, 28, 28), "a")}, "train_x"),
        ({"train_x": np.array([{}] * 6, dtype=object)}, "train_x"),
        ({"train_x": np.zeros(6, dtype=np.uint8)}, "train_x"),
        ({"train_x": np.zeros((0, 28, 28), dtype=np.uint8)}, "train_x"),
        ({"train_x": np.zeros((5, 28, 28), dtype=np.uint8)}, "train_x"),
        ({"test_x": np.zeros((3, 28, 27), dtype=np.uint8)}, "test_x"),
        ({"test_x": np.zeros((3, 28, 28), dtype=np.float32)}, "test_x"),
        ({"train_y": np.zeros(6)}, "train_y"),
        ({"train_y": np.zeros(6, dtype=bool)}, "train_y"),
        ({"train_y": np.zeros((6, 1), dtype=int)}, "train_y"),
        ({"train_y": np.array([0, 1, 2, 0, 1, -1])}, "train_y"),
        ({"test_y": np.array([0, 1, 2**63], dtype=np.uint64)}, "test_y"),
        ({"test_y": np.array(1)}, "test_y"),
    ],
)
def test_malformed_arrays_are_named(tmp_path, changed, key):
    with pytest.raises(UsageError, match=rf"own\.npz: .*{key}") as error:
        save(tmp_path, parts(**changed)).arrays()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_are_no_float32_are_refused(tmp_path, bad):
    values = np.zeros((6, 4))
    values[2, 3] = bad
    arrays = parts((4,), np.float64, train_x=values)
    with pytest.raises(UsageError, match="train_x holds"):
        save(tmp_path, arrays).arrays()


@pytest.mark.parametrize("key", ["train_x", "train_y", "test_x", "test_y"])
def test_a_missing_key_is_named(tmp_path, key):
    arrays = parts()
    del arrays[key]
    with pytest.raises(UsageError, match=f"no array {key}"):
        save(tmp_path, arrays).arrays()


def test_files_that_are_no_npz_are_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("hello")
    whole = tmp_path / "own.npz"
    save(tmp_path, parts())
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole.read_bytes()[:-100])
    for path in (
        tmp_path / "absent.npz",
        tmp_path,
        tmp_path / "one.npy",
        tmp_path / "text.npz",
        cut,
    ):
        for call in (Npz(path=path).arrays, Npz(path=path).default_model):
            with pytest.raises(UsageError, match=path.name):
                call()
    with pytest.raises(UsageError, match=r"data\.path=FILE"):
        Npz().default_model()


def test_damaged_content_is_refused(tmp_path):
    save(tmp_path, parts())
    content = bytearray((tmp_path / "own.npz").read_bytes())
    content[1000] ^= 0xFF  # inside the pixels of train_x: the checksum of the zip must notice
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(UsageError, match="train_x cannot be read"):
        Npz(path=tmp_path / "own.npz").arrays()
