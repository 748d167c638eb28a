"""Fonts, atlas and cache; the data set ``synbols``, stored and endless; files and commands."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from synbols_parts import CPU, FONTS, fonts_folder, generator, shared_cache

from clbench.cli import main
from clbench.data import array_cache
from clbench.data.sets.synbols import Synbols
from clbench.data.synbols import atlas, files, fonts, sheet
from clbench.data.synbols.pool import TEST_START
from clbench.errors import ClbenchError, UsageError

__all__ = ["shared_cache"]
Capture = pytest.CaptureFixture[str]
SMALL = Synbols(
    n_train=300,
    n_test=60,
    resolution=16,
    alphabets=("digits",),
    fonts=FONTS,
    fonts_path=fonts_folder(),
)


def test_fonts_that_come_with_the_install():
    found = {font.name: font for font in fonts.find("matplotlib")}
    assert found["DejaVu Sans"].bold
    assert found["DejaVu Sans"].bold.name == "DejaVuSans-Bold.ttf"
    assert found["DejaVu Sans Oblique"].bold
    assert found["cmr10"].bold is None
    assert not any("Bold" in name or "LastResort" in name for name in found)
    assert list(found) == sorted(found)
    english = [f for f in found.values() if f.covers(fonts.ALPHABETS["english"])]
    assert len(english) == 14
    assert found["DejaVu Sans"].covers(fonts.ALPHABETS["cyrillic"]) == 32
    assert found["DejaVu Sans"].covers(fonts.ALPHABETS["korean"]) == 0


def test_a_folder_a_file_and_a_pattern(tmp_path: Path):
    shutil.copy(fonts_folder() / "cmr10.ttf", tmp_path / "any.ttf")
    assert [f.name for f in fonts.find("matplotlib", tmp_path)] == ["cmr10"]
    assert [f.name for f in fonts.find("cm*", tmp_path / "any.ttf")] == ["cmr10"]
    with pytest.raises(UsageError, match="did you mean 'cmr10'"):
        fonts.find("cmr11", tmp_path)


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "not a font"), (b"\0\1\0\0junk", "not a font"), (None, "holds no")]
)
def test_what_is_no_font_is_refused_in_one_line(tmp_path: Path, content: bytes | None, says: str):
    if content is not None:
        (tmp_path / "bad.ttf").write_bytes(content)
    with pytest.raises(UsageError, match=says) as caught:
        fonts.find("matplotlib", tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no such folder"):
        fonts.find("matplotlib", tmp_path / "nowhere")


def test_a_character_that_no_font_has():
    with pytest.raises(UsageError, match=r"no font has '가' \(U\+AC00\)") as caught:
        fonts.restricted(fonts.find("matplotlib"), "a가")
    assert "\n" not in str(caught.value)


def test_the_atlas_centres_glyphs_and_leaves_out_missing_pairs():
    found = fonts.find("matplotlib")
    chosen = [f for f in found if f.name in ("DejaVu Sans", "cmr10")]
    drawn = atlas.load(chosen, "aé", 64)
    assert drawn.fonts == ("DejaVu Sans", "cmr10")
    assert (drawn.glyph >= 0).tolist() == [[[True, True]] * 2, [[True, True], [False, False]]]
    assert len(drawn.pictures) == 6 + 3
    for i, picture in enumerate(drawn.pictures):
        rows, columns = np.flatnonzero((picture > 9).any(1)), np.flatnonzero((picture > 9).any(0))
        assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - drawn.inner) <= 2
        assert abs(rows[0] + rows[-1] - 63) <= 2
        assert abs(columns[0] + columns[-1] - 63) <= 2
        assert np.ptp(drawn.hull[i], axis=0).max() == pytest.approx(1, abs=0.03)
    regular, bold = drawn.glyph[:, 0].T
    ink = drawn.pictures.mean((1, 2))
    assert (ink[bold] > 1.1 * ink[regular]).all()
    square, triangle, disk = ink[drawn.occluders] / 255 * 64**2 / drawn.inner**2
    assert (square, triangle, disk) == pytest.approx((1, 0.5, np.pi / 4), abs=0.04)


def test_a_blank_glyph_counts_as_missing():
    [font] = (f for f in fonts.find("matplotlib") if f.name == "DejaVu Sans")
    drawn = atlas.load([font], "a\u2003", 64)  # an em space is in the font, and empty
    assert (drawn.glyph[0, :, 0] >= 0).tolist() == [True, False]


def test_the_array_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path))
    made = []

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        return {"a": np.arange(3000)}

    for _ in range(2):
        assert array_cache.fetch("k", {"x": 1}, make)["a"][-1] == 2999
    assert len(made) == 1
    [file] = (tmp_path / "k").glob("*.npz")
    whole = file.read_bytes()
    at = whole.index(np.arange(1000, 1004).tobytes())
    other = tmp_path / "other"
    damaged = (whole[:100], whole[:at] + b"\xff" + whole[at + 1 :], b"", other)
    for number, content in enumerate(damaged, 2):
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:  # a whole file, of another recipe
            monkeypatch.setenv("CLBENCH_CACHE", str(other))
            array_cache.fetch("k", {"x": 2}, lambda: {"a": np.zeros(1)})
            shutil.copy(next((other / "k").glob("*.npz")), file)
            monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path))
        assert array_cache.fetch("k", {"x": 1}, make)["a"][-1] == 2999
        assert len(made) == number
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(ClbenchError, match="cannot write the cache"):
        array_cache.fetch("k", {"x": 1}, make)


@pytest.mark.parametrize("store", [True, False])
def test_the_pool(store: bool):
    pool = dataclasses.replace(SMALL, store=store).pool(CPU)
    assert (pool.size("train"), pool.size("test"), pool.n_classes) == (300, 60, 10)
    assert (pool.input_shape, pool.dtype, pool.scale) == ((3, 16, 16), torch.uint8, 1 / 255)
    index = np.array([7, 0, 299, 7])
    got = pool.gather("train", index)
    assert got.shape == (4, 3, 16, 16)
    assert torch.equal(got, SMALL.generator(CPU).images(index))
    assert torch.equal(got[0], got[3])
    test = pool.gather("test", np.arange(60))
    assert torch.equal(test, SMALL.generator(CPU).images(TEST_START + np.arange(60)))
    more = dataclasses.replace(SMALL, store=store, n_train=500).pool(CPU)
    assert torch.equal(more.gather("test", np.arange(60)), test)
    frame = pool.frame("train")
    assert (frame.char.map("0123456789".index) == pool.labels("train")).all()
    assert len(frame) == 300
    assert (pool.attributes("train", index).number == index).all()


def test_stored_and_endless_are_the_same_data():
    stored, endless = (dataclasses.replace(SMALL, store=s).pool(CPU) for s in (True, False))
    assert stored.sha256 == endless.sha256
    for split in ("train", "test"):
        everything = np.arange(stored.size(split))
        assert torch.equal(stored.gather(split, everything), endless.gather(split, everything))
        assert np.array_equal(stored.labels(split), endless.labels(split))
    arrays = SMALL.arrays()
    assert np.array_equal(arrays.train_x, stored.gather("train", np.arange(300)).numpy())
    assert np.array_equal(arrays.test_y, stored.labels("test"))


def test_an_endless_pool_keeps_no_image():
    pool = dataclasses.replace(SMALL, n_train=200_000, store=False).pool(CPU)
    held = [v for v in vars(pool).values() if isinstance(v, torch.Tensor)]
    assert not held
    assert pool._x is None
    assert torch.equal(
        pool.gather("train", np.array([123_456])), SMALL.generator(CPU).images(np.array([123_456]))
    )


@pytest.mark.parametrize("store", [True, False])
def test_tuning_never_opens_test(store: bool):
    pool = dataclasses.replace(SMALL, store=store).pool(CPU)
    tuning = pool.tuning()
    numbers = [tuning.attributes(split).number for split in ("train", "test")]
    assert sorted(np.concatenate(numbers)) == list(range(300))
    for split in ("train", "test"):
        of = tuning.attributes(split).number
        everything = np.arange(tuning.size(split))
        assert torch.equal(tuning.gather(split, everything), pool.gather("train", of))
        assert np.array_equal(tuning.labels(split), pool.labels("train")[of])
    per_class = np.bincount(pool.labels("train"))
    held = np.bincount(tuning.labels("test"), minlength=10)
    assert (np.abs(held - per_class / 10) <= 0.5 + 1e-9).all()
    assert tuning.sha256 != pool.sha256


def test_labels_are_switched_on_the_same_images():
    pool = dataclasses.replace(SMALL, alphabets=("digits", "latin")).pool(CPU)
    font, alphabet = pool.relabelled("font"), pool.relabelled("alphabet")
    index = np.arange(300)
    assert font._x is pool._x
    assert (font.n_classes, alphabet.n_classes, pool.n_classes) == (4, 2, 36)
    frame = pool.frame("train")
    names = np.array(pool.generator.atlas.fonts)
    assert (names[font.labels("train")] == frame.font).all()
    assert (alphabet.labels("train") == frame.char.str.isalpha()).all()
    assert torch.equal(font.gather("train", index), pool.gather("train", index))
    assert len({pool.sha256, font.sha256, alphabet.sha256}) == 3
    direct = dataclasses.replace(SMALL, alphabets=("digits", "latin"), label="font").pool(CPU)
    assert direct.sha256 == font.sha256


def test_the_hash_is_of_the_recipe():
    base = SMALL.pool(CPU).sha256
    assert SMALL.pool(CPU).sha256 == base
    for change in (
        {"seed": 1},
        {"n_train": 301},
        {"gray": True},
        {"fonts": "DejaVu Sans Mono*"},
        {"attributes": ("rotation=0",)},
        {"preset": "natural-patterns"},
    ):
        assert dataclasses.replace(SMALL, **change).pool(CPU).sha256 != base, change


def test_settings_that_cannot_be():
    for change in (
        {"n_train": 0},
        {"n_test": 0},
        {"seed": -1},
        {"preset": "defautl"},
        {"resolution": 4},
        {"alphabets": ("klingon",)},
        {"attributes": ("scale=99",)},
    ):
        with pytest.raises(UsageError) as caught:
            dataclasses.replace(SMALL, **change)
        assert "\n" not in str(caught.value)
    assert Synbols().default_model() == "slim_resnet18"
    assert Synbols(gray=True).default_model() == "scole_cnn"
    assert Synbols(preset="tiny").default_model() == "mlp"


def test_photographs_of_the_users(tmp_path: Path):
    natural = dataclasses.replace(SMALL, preset="natural-patterns", images_path=tmp_path)
    with pytest.raises(UsageError, match=r"no \.png or \.jpg"):
        natural.pool(CPU)
    Image.new("RGB", (40, 30), (255, 0, 0)).save(tmp_path / "red.png")
    flat = dataclasses.replace(natural, attributes=("max_contrast=false", "inverse_color=false"))
    seen = flat.pool(CPU).gather("train", np.arange(20)).float()
    assert seen[:, 0].mean() > 240
    assert seen[:, 1:].mean() < 10
    (tmp_path / "bad.png").write_bytes(b"junk")
    with pytest.raises(UsageError, match="not a readable PNG"):
        natural.pool(CPU)


def words(*more: str | Path) -> list[str]:
    small = ["data.alphabets=[digits]", "data.resolution=16", f"data.fonts_path={fonts_folder()}"]
    return ["data", "synbols", *map(str, more), *small, "data.fonts=DejaVu Sans*", "device=cpu"]


def test_the_command_writes_images_attributes_and_a_sheet(tmp_path: Path, capsys: Capture):
    out = tmp_path / "x.npz"
    assert main(words("--preset", "many-small-occlusion", "-n", "30", "--out", out)) == 0
    with np.load(out, allow_pickle=False) as file:
        x, mask, y = file["x"], file["mask"], [json.loads(line) for line in file["y"]]
    assert (x.shape, x.dtype, mask.shape) == ((30, 16, 16, 3), np.uint8, (30, 16, 16, 5))
    g = generator(dataclasses.replace(SMALL, preset="many-small-occlusion").spec())
    assert np.array_equal(x.transpose(0, 3, 1, 2), g.images(np.arange(30)).numpy())
    assert [len(row["symbols"]) - 1 for row in y] == [row["n_occlusions"] for row in y]
    assert all(row["symbols"][0]["char"] == row["char"] for row in y)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size[0] > 30 * 32
    assert "30 images" in capsys.readouterr().out
    assert main(words("-n", "3", "--out", out)) == 2
    assert "exists" in capsys.readouterr().err
    assert main(words("-n", "3", "--out", out, "--overwrite", "-q", "data.gray=true")) == 0
    with np.load(out, allow_pickle=False) as file:
        assert file["x"].shape == (3, 16, 16, 1)


def test_the_sheet_of_presets(tmp_path: Path):
    target = tmp_path / "sheet.png"
    assert main(words("--preset", "default-bw", "--sheet", target)) == 0
    assert target.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    rows = {"one": np.zeros((4, 3, 8, 8), np.uint8), "two": np.full((2, 8, 8), 255, np.uint8)}
    import io

    with Image.open(io.BytesIO(sheet.png(rows, zoom=3))) as picture:
        assert picture.size == (4 * 26, 2 * (26 + 14))
        assert picture.getpixel((5, 20)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "nothing to write"),
        (["--out", "x.txt"], "must end in"),
        (["--out", "nowhere/x.npz"], "no folder"),
        (["--out", "x.npz", "-n", "0"], "at least 1"),
        (["--out", "x.npz", "--preset", "camoflage"], "did you mean 'camouflage'"),
        (["--out", "x.npz", "strategy=ewc"], "only data"),
        (["--out", "x.npz", "data.gray=true,false"], "one set"),
    ],
)
def test_what_the_command_refuses(
    more: list[str], says: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(words(*more)) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("x*"))


def test_h5_without_h5py_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match="needs h5py"):
        files.check_suffix(tmp_path / "x.h5")


def test_h5_in_the_layout_of_the_releases(tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    arrays = files.make(generator(), 12)
    files.write(tmp_path / "x.h5", arrays)
    with h5py.File(tmp_path / "x.h5") as file:
        assert np.array_equal(file["x"], arrays["x"])
        assert file["mask"].chunks[0] == 10
        assert json.loads(file["y"][3])["char"] == json.loads(arrays["y"][3])["char"]


def test_fonts_list(capsys: Capture):
    assert main(["data", "fonts"]) == 0
    out = capsys.readouterr().out
    [line] = [line for line in out.splitlines() if line.startswith("cmr10 ")]
    assert "english 26," in line
    assert "latin 26*" in line
    assert main(["data", "fonts", "DejaVu*", "--json", "--path", str(fonts_folder())]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"name", "bold", "file", "covers"} == set(rows[0])
    assert all(row["name"].startswith("DejaVu") for row in rows)
    assert main(["data", "fonts", "Nowhere*"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
