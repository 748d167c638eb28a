"""The user's own arrays: taken as they are or refused in one line."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import CPU

from clbench.data.pool import TensorPool
from clbench.data.sets.npz import Npz
from clbench.data.shapes import CHANNELS_FIRST, CHANNELS_LAST, channel_axis
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


OTHER = {CHANNELS_FIRST: CHANNELS_LAST, CHANNELS_LAST: CHANNELS_FIRST, None: None}
SIDES = st.integers(1, 12)


@given(SIDES, SIDES, SIDES)
def test_the_channel_axis_is_the_mirror_image_of_that_of_the_mirrored_shape(a, b, c):
    if (a, b, c) != (1, 1, 1):
        assert channel_axis((c, b, a)) == OTHER[channel_axis((a, b, c))]


@given(st.integers(5, 99), st.integers(5, 99), st.sampled_from([1, 3, 4]))
def test_images_of_any_sides_are_told_by_their_few_channels(height, width, channels):
    assert channel_axis((channels, height, width)) == CHANNELS_FIRST
    assert channel_axis((height, width, channels)) == CHANNELS_LAST


@pytest.mark.parametrize("layout", ["auto", "channels_last"])
def test_channels_last_are_read_as_the_same_pixels_with_channels_first(tmp_path, layout):
    arrays = parts((16, 16, 3))
    turned = {k: v.transpose(0, 3, 1, 2) if k.endswith("_x") else v for k, v in arrays.items()}
    first = save(tmp_path, turned).arrays()
    last = dataclasses.replace(save(tmp_path, arrays), layout=layout)
    for key in ("train_x", "test_x"):
        np.testing.assert_array_equal(getattr(last.arrays(), key), getattr(first, key))
    assert last.default_model() == "slim_resnet18"
    assert first.notes == ()
    assert bool(last.arrays().notes) == (layout == "auto")
    assert TensorPool(first, CPU).sha256 == TensorPool(last.arrays(), CPU).sha256


def test_the_layout_that_is_set_holds(tmp_path):
    data = dataclasses.replace(save(tmp_path, parts((16, 16, 3))), layout="channels_first")
    assert data.arrays().train_x.shape == (6, 16, 16, 3)
    assert data.arrays().notes == ()


@pytest.mark.parametrize("shape", [(3, 8, 3), (5, 6, 7), (3, 3, 3), (9, 1, 128)])
def test_shapes_that_may_be_either_are_refused_naming_the_setting(tmp_path, shape):
    data = save(tmp_path, parts(shape))
    for call in (data.arrays, data.default_model):
        with pytest.raises(UsageError, match=r"data\.layout=channels_first or data\.layout="):
            call()
    assert dataclasses.replace(data, layout="channels_first").arrays().train_x.shape[1:] == shape
    with pytest.raises(UsageError, match=r"data\.layout=channels_last"):
        dataclasses.replace(save(tmp_path, parts((8, 8))), layout="channels_last").arrays()


@pytest.mark.parametrize("label", [-1, 10**5, 2_000_000_000, 2**40])
def test_labels_that_are_no_class_numbers_are_refused_before_anything_is_allocated(tmp_path, label):
    arrays = parts(train_y=np.array([0, 1, 2, 0, 1, label]))
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=rf"train_y has labels from .*{label}") as error:
            save(tmp_path, arrays).arrays()
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)


def without_test(**changed):
    arrays = parts(**changed)
    return {key: value for key, value in arrays.items() if not key.startswith("test")}


def test_a_test_split_is_made_on_request(tmp_path):
    arrays = without_test()
    data = save(tmp_path, arrays)
    with pytest.raises(UsageError, match=r"has no test split.*data\.split=0\.2"):
        data.arrays()
    got = dataclasses.replace(data, split=0.2).arrays()
    assert (sorted(got.test_y), sorted(got.train_y)) == ([0, 1, 2], [0, 1, 2])
    both = np.concatenate([got.train_x, got.test_x])
    assert sorted(map(bytes, both)) == sorted(map(bytes, arrays["train_x"]))
    with pytest.raises(UsageError, match=r"data\.split=0\.2.*has a test split already"):
        dataclasses.replace(save(tmp_path, parts()), split=0.2).arrays()
    for share in (0.0, 1.0, -0.5):
        with pytest.raises(UsageError, match=r"data\.split="):
            dataclasses.replace(data, split=share)


def test_class_names_are_read(tmp_path):
    names = np.array(["ape", "bee", "cat"])
    assert save(tmp_path, parts(class_names=names)).arrays().class_names == ("ape", "bee", "cat")
    assert save(tmp_path, parts()).arrays().class_names == ()
    for wrong in (names[:2], np.array([1, 2, 3]), names[None]):
        with pytest.raises(UsageError, match="class_names"):
            save(tmp_path, parts(class_names=wrong)).arrays()
